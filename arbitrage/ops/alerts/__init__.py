"""Alerts: what hurts, told once to people by the channels that they chose. Trades nothing and never holds what trades."""
