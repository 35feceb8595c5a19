"""`arbitrage`: a single-process trading daemon for cross-venue arbitrage. Rooms and layers: docs/ARCHITECTURE.md."""

__version__ = "0.1.0"
