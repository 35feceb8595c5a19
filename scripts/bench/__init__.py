"""Benchmarks of the real engine beside its peers. Not part of the package; never imported by it."""
