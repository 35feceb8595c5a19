"""Exchanges that go away, refuse for a while, or fall silent on an open connection."""

from __future__ import annotations

import re
import signal
import time
from functools import partial

from reliability.faults.lab import Lab, Sample
from reliability.faults.nouns import Row

from arbitrage.model.facts import LegDecided, OrderChanged

AWAY_S = 3.0
GUARD_S_MAX = 2.0
"""Issue 4: so soon no book behind a half-open connection is trusted any more."""
BAN_S = 8.0
UPBIT_HOLD_S_MAX = 150.0
"""Upbit names no end of a block: it is given more time than this one takes."""
IN_FLIGHT_MAX = 12
"""Requests that were on their way when a ban began; none leaves after its first answer."""
SETTLED_S = 1.0
HOLDS = re.compile(r"rate_limited: .*? for ([0-9.]+) s")
SEEN_NS = 200_000_000
"""An arbitrage may be on its way while the refusal is; and this harness hears of it a moment late."""
REFUSED_WORDS = ("429", "-1003")


def exchange_cut(lab: Lab) -> str:
    run = lab.trading()
    told = []
    for venue in ("binance", "upbit"):
        with lab.watch() as watch:
            cut_ns = time.time_ns()
            for endpoint in ("*", "socket *", "connect *"):
                lab.house.fault("cut", venue, endpoint, times=0)
            lab.until(lambda at=watch, name=venue: _is_blind(at.samples[-1:], name), "none of its markets is trusted", 10)
            blind_ns = time.time_ns()
            time.sleep(AWAY_S)
            lab.demand(f"{venue} down" in lab.health(), "the health check says which exchange is down")
            healed_ns = time.time_ns()
            lab.house.heal()
            back_s = lab.recovers()
        blind_s = (blind_ns - cut_ns) / 1e9
        lab.demand_no_entry(blind_ns, healed_ns, f"while {venue} is away", venue)
        told.append(f"{venue} distrusted after {blind_s:.2f} s, traded {back_s:.1f} s after it came back")
    lab.demand("cannot connect" in run.text(), "the log says so")
    orders = lab.settles()
    return f"{'; '.join(told)}; {orders} orders, every balance equal"


def half_open(lab: Lab) -> str:
    proxies = lab.proxied()
    lab.start()
    told = []
    for venue, proxy in proxies.items():
        with lab.watch() as watch:
            swallowed_ns = time.time_ns()
            proxy.faults.swallows = True
            lab.until(lambda at=watch, name=venue: _is_blind(at.samples[-1:], name), "none of its markets is trusted", 20)
            time.sleep(SETTLED_S)
            healed_ns = time.time_ns()
            proxy.heal()
            back_s = lab.recovers()
        guard_s = watch.first_s(lambda each, name=venue: _is_blind([each], name), swallowed_ns)
        assert guard_s is not None, "it was waited for"
        lab.demand(guard_s <= GUARD_S_MAX, f"no book of {venue} is trusted after {GUARD_S_MAX} s; it took {guard_s:.2f} s")
        lab.demand_no_entry(swallowed_ns + int(guard_s * 1e9), healed_ns, f"on the last books of {venue}", venue)
        told.append(f"{venue} distrusted after {guard_s:.2f} s, back {back_s:.1f} s after it spoke")
    orders = lab.settles()
    return f"{'; '.join(told)}; {orders} orders, every balance equal"


def venue_429(lab: Lab) -> str:
    """An order at each exchange is answered 429: nothing is sent there before its time, open legs are governed without it."""
    run = lab.trading()
    told: list[str] = []
    for venue, endpoint in (("upbit", "POST /v1/orders"), ("binance", "order.place")):
        lab.house.fault("error_before", venue, endpoint, status=429)
        lab.until(partial(_has_fired, lab, "error_before", len(told) + 1), f"{venue} refuses an order")
        struck_ns = time.time_ns()
        lab.says("rate_limited", times=len(told) + 1)
        held_s = float(HOLDS.findall(run.text())[-1])
        time.sleep(held_s)
        ends_ns = struck_ns + int(held_s * 1e9) - SEEN_NS
        lab.demand_no_entry(struck_ns + SEEN_NS, ends_ns, f"while {venue} takes no order", venue)
        told.append(f"{venue} held for {held_s:g} s, traded {lab.recovers() + lab.trades_on():.1f} s after")
    truth = lab.house.truth()
    early = {venue: truth[venue]["violations"].get("requests_while_limited", 0) for venue in ("binance", "upbit")}
    lab.demand(not any(early.values()), f"nothing is asked before its time: {early}")
    facts = lab.house.facts()
    refused = [fact for fact in facts if isinstance(fact, OrderChanged) and any(word in fact.reason for word in REFUSED_WORDS)]
    wasted = [fact.reason for fact in facts if isinstance(fact, OrderChanged) and fact.reason.startswith("not sent")]
    governed = {fact.plan_id for fact in facts if isinstance(fact, LegDecided)}
    left = {name for fact in refused if (name := plan_of(fact.client_order_id)) not in governed}
    lab.demand(len(refused) >= 2 and not left, f"every plan with a refused leg is governed: {left}")
    lab.demand(not wasted, f"no order is intended for a venue that takes none: {wasted}")
    orders = lab.settles()
    return f"{', '.join(told)}; no request before its time, no order intended in vain; {orders} orders, every balance equal"


def plan_of(client_order_id: str) -> str:
    """Return the plan of a first order or of a governor's: its id less what stands after the last dash."""
    return client_order_id.rpartition("-")[0]


def venue_418(lab: Lab) -> str:
    """Both addresses are banned; killed and started again meanwhile, it still asks nothing before the ban ends."""
    lab.trading()
    banned_ns = time.time_ns()
    for venue in ("binance", "upbit"):
        lab.house.fault("ban", venue, for_s=BAN_S)
    for venue in ("binance", "upbit"):
        lab.says(f"{venue}: banned")
    first = _while_banned(lab)
    lab.demand(all(count <= IN_FLIGHT_MAX for count in first.values()), f"it stops asking: {first}")
    time.sleep(SETTLED_S)
    lab.run.end(signal.SIGKILL)
    lab.run = lab.house.start()
    lab.until(lambda: (now := lab.standing()) is not None and not now.armed, "the next start is not armed, with the reason")
    lab.until(lambda: time.time_ns() > banned_ns + (BAN_S - 0.5) * 1e9, "the ban is nearly over")
    more = {venue: count - first[venue] for venue, count in _while_banned(lab).items()}
    lab.demand(time.time_ns() < banned_ns + BAN_S * 1e9, "this was looked at within the ban: the machine is too slow")
    lab.demand(not any(more.values()), f"a restart asks nothing before the ban ends: {more}")
    lab.demand_no_entry(banned_ns + int(1e9), banned_ns + int(BAN_S * 1e9), "while it is banned")
    back_s = lab.recovers(UPBIT_HOLD_S_MAX)
    orders = lab.settles("requests_while_b")
    words = f"{sum(first.values())} requests were on their way, none after, none by the restart"
    return f"{words}; armed {back_s:.1f} s later; {orders} orders, every balance equal"


def _while_banned(lab: Lab) -> dict[str, int]:
    truth = lab.house.truth()
    names = ("requests_while_banned", "requests_while_blocked")
    return {venue: sum(truth[venue]["violations"].get(name, 0) for name in names) for venue in ("binance", "upbit")}


def _has_fired(lab: Lab, kind: str, times: int) -> bool:
    return len(_fired(lab, kind)) >= times


def _fired(lab: Lab, kind: str) -> list[object]:
    return [one for one in lab.house.control("GET", "/faults")["fired"] if one["kind"] == kind]


def _is_blind(samples: list[Sample], venue: str) -> bool:
    return bool(samples) and samples[-1].usable(venue) == 0


ROWS = (
    Row("exchange_cut", "an exchange cuts and refuses every connection, one and then the other",
        "nothing entered meanwhile, the health check names it, trading goes on by itself", exchange_cut, is_quick=False),
    Row("venue_429", "an order at each exchange is answered 429",
        "no request before its time, the other legs governed", venue_429, is_quick=False),
    Row("venue_418", "both exchanges ban the address for 8 s, kill -9 meanwhile",
        "no request during the ban, across the restart too", venue_418, is_quick=False),
    Row("half_open", "the sockets of an exchange stay open and pass nothing, one and then the other",
        "no book trusted after 2 s, nothing entered on the last ones", half_open),
)  # fmt: skip
