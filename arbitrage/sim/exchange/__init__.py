"""The simulated exchanges' inside: one account a venue, orders, matching, faults. Knows no wire and opens no socket."""
