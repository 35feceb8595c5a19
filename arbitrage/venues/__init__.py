"""Exchanges as the engine sees them: codecs turn bytes into events, sessions own sockets and REST. Decides no trade."""
