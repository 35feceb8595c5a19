"""Binance spot: its wire format and its connections. Knows no other venue."""
