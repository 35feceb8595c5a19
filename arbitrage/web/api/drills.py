"""The fire drills by name and story, as the command's catalog has them (a test holds them equal). Runs none.

The catalog itself is not read here: it would load the simulated exchanges into the daemon.
"""

from __future__ import annotations

KILL_EXERCISE = "kill-exercise"
KILL_STORY = "The kill switch proves itself on paper, in the daemon itself."
DRILLS: tuple[tuple[str, str], ...] = (
    ("lost-ack", "An order fills, and nobody says so: no answer, no stream, no query."),
    ("leg-reject", "One leg fills at once, the other is refused."),
    ("partial-dust", "Sales come short by less than a venue takes, again and again."),
    ("cancel-fill-race", "An order fills while its cancel is on the way."),
    ("gap", "One update of a book is lost, and the book shows a price that is gone."),
    ("frozen-feed", "One symbol stops under a connection that lives."),
    ("fx-gone", "The market that prices the fiat is empty."),
    ("silent-private-stream", "The private stream falls silent on a connection that lives."),
    ("restart-with-fills", "The daemon crashes, and an order fills while it is down."),
    ("ban", "A venue bans the address, and the daemon is restarted meanwhile."),
    ("clock-skew", "A venue's clock goes wrong by seconds."),
    ("venue-halt", "A venue halts a market."),
    ("wallet-suspended", "A venue closes the wallet of a coin."),
    ("wrong-tick", "A venue changes the price grid of a market."),
)
