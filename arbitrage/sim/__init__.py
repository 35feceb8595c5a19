"""Simulated venues: paper matching, wire-faithful loopback servers, and what they serve. Never imports the engine."""
