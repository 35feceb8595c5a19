"""The simulated world put together: real engine, door, journal records, codecs over `sim/world.py`. Without an event loop."""
