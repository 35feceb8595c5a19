"""Packets lost and rates cut between a live daemon and its exchanges, in a network namespace of the row's own."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from reliability.faults.lab import Lab
from reliability.faults.nouns import NFT, ROOT, NotHeld, Row

from arbitrage.app.housekeeping import WIRE_LATE_MS_MAX

LATE, ON_TIME = "nothing is entered until they are on time", "frames arrive on time again"
LOOK_S = 0.05
INSIDE = "ARBITRAGE_FAULTS_INSIDE"
MAIN = Path(__file__).with_name("main.py")
INSIDE_S_MAX = 300
LASTS_S = 12.0
LOST_PERCENT = 10
RATE_KBYTES = 60
"""A second and exchange port: about a tenth of what the scenario sends."""


def packet_loss(lab: Lab) -> str:
    return _isolated(lab, "packet_loss", f"numgen random mod 100 < {LOST_PERCENT} drop")


def rate_cut(lab: Lab) -> str:
    return _isolated(lab, "rate_cut", f"limit rate over {RATE_KBYTES} kbytes/second burst 20 kbytes drop")


def _isolated(lab: Lab, name: str, rule: str) -> str:
    """Run the row in a namespace with nothing but its own loopback: here when we are inside, else in a child."""
    if os.environ.get(INSIDE):
        return _lossy(lab, rule)
    script = f"ip link set lo up && exec {sys.executable} {MAIN} --only {name} --json"
    command = ["unshare", "--net", "--", "sh", "-c", script]
    environ = {**os.environ, INSIDE: "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=INSIDE_S_MAX, check=False, env=environ)
    lines = done.stdout.strip().splitlines()
    if not lines or not lines[-1].startswith("{"):
        raise NotHeld(f"the row said nothing in its namespace: {done.stderr[-500:]}")
    (result,) = json.loads(lines[-1])["results"]
    lab.demand(result["verdict"] == "PASS", result["text"])
    return str(result["text"])


def _lossy(lab: Lab, rule: str) -> str:
    house = lab.open()
    ports = ", ".join(house.venues.description[venue]["rest"].rpartition(":")[2] for venue in ("binance", "upbit"))
    run = lab.start()
    began_ns = time.time_ns()
    _filter(f"tcp sport {{ {ports} }} {rule}", f"tcp dport {{ {ports} }} {rule}")
    late: list[tuple[int, bool]] = []
    with lab.watch() as watch:
        while time.time_ns() - began_ns < LASTS_S * 1e9:
            late.append((time.time_ns(), run.text().count(LATE) > run.text().count(ON_TIME)))
            time.sleep(LOOK_S)
    wire_ms, dropped, until_ns = _wire_ms(lab), _dropped(), time.time_ns()
    _filter()
    lab.demand(dropped, "packets were dropped")
    back_s = lab.recovers()
    lab.until(lambda: run.text().count(LATE) == run.text().count(ON_TIME), "frames arrive on time again")
    entered = lab.entered(began_ns, until_ns)
    known = [at_ns for (before_ns, was), (at_ns, now) in itertools.pairwise(late) if was and now and before_ns]
    wrong = [fact.plan_id for fact in entered if any(0 <= at_ns - fact.at_ns < LOOK_S * 1e9 for at_ns in known)]
    lab.demand(not wrong, f"nothing is entered while frames are known to be late: {wrong}")
    if wire_ms > 2 * WIRE_LATE_MS_MAX:
        lab.demand(known, f"frames that are {wire_ms:.0f} ms old on average are noticed")
    doubted = sum(venue.usable < venue.markets for each in watch.answers for venue in each.venues)
    lab.demand("Traceback" not in run.text(), "no trace of an error")
    orders = lab.settles()
    share = len(known) / max(1, len(late))
    words = f"{dropped} packets dropped, frames {wire_ms:.0f} ms old, held {share:.0%} of the time"
    words += f", {doubted} of {2 * len(watch.answers)} looks with doubt, {len(entered)} entries"
    return f"{words}, all usable {back_s:.1f} s after; {orders} orders, every balance equal"


def _wire_ms(lab: Lab) -> float:
    """Return how old frames are on arrival, by the operator's own figure (a mean over a minute)."""
    lines = lab.house.script("tools/monitor.py", "--metrics", "--once").stdout.splitlines()
    return next((float(line.split()[1]) for line in lines if line.startswith("avg_ws_latency_ms")), 0.0)


def _filter(*rules: str) -> None:
    """Replace the namespace's rules."""
    body = "\n".join(rules).replace(" drop", " counter drop")
    chain = f"chain input {{\n type filter hook input priority 0; policy accept;\n{body}\n}}"
    text = f"flush ruleset\ntable inet faults {{\n{chain}\n}}\n"
    subprocess.run(["nft", "-f", "-"], input=text, text=True, check=True, capture_output=True)


def _dropped() -> int:
    """Return how many packets the rules took."""
    listed = subprocess.run(["nft", "-j", "list", "ruleset"], capture_output=True, text=True, check=True).stdout
    found = 0
    for entry in json.loads(listed)["nftables"]:
        for part in entry.get("rule", {}).get("expr", ()):
            found += part.get("counter", {}).get("packets", 0)
    return found


HOLDS = "no late picture is traded on, every order is found, trading goes on by itself"
ROWS = (
    Row("packet_loss", f"{LOST_PERCENT} % of the packets from and to the exchanges lost", HOLDS, packet_loss, (ROOT, NFT),
        is_quick=False),
    Row("rate_cut", f"{RATE_KBYTES} kB a second to and from the exchanges, the rest dropped", HOLDS, rate_cut, (ROOT, NFT),
        is_quick=False),
)  # fmt: skip
