"""Local venue servers on loopback that speak the exchanges' own REST and WebSocket. Knows no strategy and no order yet."""
