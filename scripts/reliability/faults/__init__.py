"""The fault table: every fault injected for real into the real daemon, each with its invariant."""
