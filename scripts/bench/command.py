"""The `make bench` command: the gate first, then every measurement, then PASS or FAIL for each floor. Measures nothing itself.

Exit status: 0 every floor that was measured is met; 1 the gate is shut or a floor is missed; 2 bad usage.
"""

from __future__ import annotations

import argparse
import importlib
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from bench import booking, decision, gate, loopback, memory, orders, size, surface
from bench.figures import Floor, machine, pin
from bench.frames import Universe

SCRIPTS = Path(__file__).resolve().parents[1]
DEFAULT_SEED = 20_251_121
PARTS = ("gate", "book", "engine", "orders", "loopback", "surface", "memory", "size")
QUICK_PARTS = ("gate", "book", "engine", "orders", "loopback", "memory")
"""`size` installs packages and `surface` takes minutes, so a quick run leaves them out."""
SYMBOL_COUNTS = (1, 10, 100)
STORM_PREMIUM_STEP_PPM = 400.0
EPILOG = 'Example: make bench ARGS="--only engine --seed 7 --json"'


class Scale(msgspec.Struct, frozen=True):
    """How much is measured."""

    gate_frames: int = 30_000
    book_frames: int = 3_000
    book_rounds: int = 5
    engine_frames: int = 36_000
    engine_rounds: int = 3
    orders: int = 300
    loopback_repeats: int = 5
    loopback_share: float = 1.0
    memory_frames: int = 10_000_000


QUICK = Scale(1_500, 600, 1, 3_600, 1, 30, 1, 0.05, 60_000)


class Bench:
    """One run: what was asked for, what was found, which floors were held against it."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.seed: int = options.seed
        self.fresh_seed: int = options.fresh_seed
        scale = QUICK if options.quick else Scale()
        self.scale = msgspec.structs.replace(scale, memory_frames=options.frames or scale.memory_frames)
        self.found: dict[str, Any] = {
            "seed": self.seed,
            "fresh_seed": self.fresh_seed,
            "is_quick": options.quick,
            "is_pinned": pin(loopback.CLIENT_CORE),
            "machine": machine(),
        }
        self.floors: list[Floor] = []
        self._peers: list[Callable[[Universe], decision.Peer]] = []

    def run(self) -> bool:
        """Do every part that was asked for; say whether all is well."""
        wanted = (self.options.only,) if self.options.only else QUICK_PARTS if self.options.quick else PARTS
        self.say(f"{self.found['machine']}, seed {self.seed}, fresh seed {self.fresh_seed}")
        if not self.gate():
            return False
        if not {"book", "engine"}.isdisjoint(wanted):
            peers = importlib.import_module("bench.peers")
            self._peers = [peers.CcxtPro, peers.Cryptofeed]
        steps = {
            "book": self.book, "engine": self.engine, "orders": self.orders, "loopback": self.loopback,
            "surface": self.surface, "memory": self.memory, "size": self.size,
        }  # fmt: skip
        for name in wanted:
            if name in steps:
                steps[name]()
        self.found["machine_after"] = machine()
        return all(floor.is_met for floor in self.floors)

    def say(self, text: str) -> None:
        """Print a line for people: on standard error when standard output carries JSON."""
        print(text, file=sys.stderr if self.options.json else sys.stdout, flush=True)

    def gate(self) -> bool:
        """Open the gate with both seeds, or say what is wrong."""
        found = [gate.run(seed, self.scale.gate_frames) for seed in (self.seed, self.fresh_seed)]
        self.found["gate"] = found
        for each in found:
            self.say(
                f"gate, seed {each.seed}: {'open' if each.is_open else 'SHUT'}: {each.deliveries:,} deliveries, "
                f"{each.gaps} gaps, {each.snapshots} snapshots, {each.levels:,} levels, {each.decisions:,} decisions, "
                f"{each.gaining:,} gaining cycles, {each.opportunities:,} opportunities to the last unit, "
                f"{each.disagreements} disagreements"
            )
            for text in each.shown:
                self.say(f"  {text}")
        return all(each.is_open for each in found)

    def book(self) -> None:
        """Measure decoding and booking."""
        found = booking.run(self.seed, self.scale.book_frames, self._peers, self.scale.book_rounds)
        self.found["book"] = found
        for kind, row in found.us.items():
            words = (f"{name} {us:.2f} us ({us / row['ours']:.1f}x)" for name, us in row.items())
            self.say(f"decode + book, {kind}: {', '.join(words)}")
        self._hold(booking.floors(found))

    def engine(self) -> None:
        """Measure frame to decision, at each number of symbols with the fixed seed, and at the largest with the fresh one."""
        self.found["engine"] = []
        for seed, symbols in [*((self.seed, count) for count in SYMBOL_COUNTS), (self.fresh_seed, SYMBOL_COUNTS[-1])]:
            universe = Universe(symbols, seed)
            frames = universe.frames(self.scale.engine_frames)
            found = decision.run(universe, frames, self._peers, self.scale.engine_rounds)
            self.found["engine"].append({"seed": seed, **msgspec.to_builtins(found)})
            self.say(
                f"frame to decision, {symbols} symbols, {found.cycles:,} cycles, seed {seed}: {found.frames:,} frames, "
                f"{found.survivors} times a cycle above its costs, {found.sized} sized, {found.judged} judged"
            )
            ours = found.rows["ours"].frames_per_s
            for name, row in found.rows.items():
                self.say(f"  {name:<28} {row}  ({row.cpu_frames_per_s:,}/s by CPU)  ours is {ours / row.frames_per_s:.1f}x")
            self._hold(decision.floors(found))
            if not found.are_books_equal:
                self._hold([Floor("the peers' books end as ours", 0, 1, is_least=True)])

        self._storm()

    def _storm(self) -> None:
        """Measure ours once more where dozens of cycles gain at any time: what sizing them costs. No floor is held here."""
        universe = Universe(SYMBOL_COUNTS[-1], self.seed, STORM_PREMIUM_STEP_PPM)
        found = decision.run(universe, universe.frames(self.scale.engine_frames), [], self.scale.engine_rounds)
        self.found["storm"] = found
        self.say(f"a storm: {found.survivors} times a cycle above its costs, {found.sized} sized: {found.rows['ours']}")

    def orders(self) -> None:
        """Measure the way of an order to the socket."""
        found = orders.run(self.seed, self.scale.orders)
        self.found["orders"] = found
        for leg in found:
            self.say(f"order leg, {leg}")
        self._hold(orders.floors(found))

    def loopback(self) -> None:
        """Measure over WebSockets."""
        rows = loopback.run(self.seed, self.scale.loopback_repeats, self.scale.loopback_share)
        self.found["loopback"] = rows
        for row in rows:
            self.say(f"loopback {row}")
        self._hold(loopback.floors(rows))

    def surface(self) -> None:
        """Measure what the operator's surface costs the loop."""
        found = surface.run(self.options.run_python)
        self.found["surface"] = found
        for words, side in (("without", found.without), ("with", found.loaded)):
            self.say(f"surface, {words} load: {side}")
        for client in found.clients:
            self.say(f"  clients: {client}")
        self._hold(surface.floors(found))

    def memory(self) -> None:
        """Watch memory."""
        command = [sys.executable, "-m", "bench.memory", str(self.seed), str(self.scale.memory_frames)]
        answer = subprocess.run(command, cwd=SCRIPTS, stdout=subprocess.PIPE, check=True).stdout
        found = msgspec.json.decode(answer, type=memory.Memory)
        self.found["memory"] = found
        self.say(
            f"memory over {found.frames:,} frames: {found.lowest_mb} to {found.highest_mb} MB resident "
            f"({found.at_start_mb} at the start), {found.blocks_grown:+,} blocks, {found.frames_per_s:,} frames/s, "
            f"p50 {found.p50_us:.1f} us, p99 {found.p99_us:.1f} us, "
            f"{found.judged:,} opportunities seen"
        )
        self._hold(memory.floors(found))

    def size(self) -> None:
        """Weigh an installation."""
        found = size.run()
        self.found["size"] = found
        self.say(f"installed: {found.environment_mb} MB, of which {found.packages}")
        self._hold(size.floors(found))

    def _hold(self, floors: list[Floor]) -> None:
        """Remember floors and tell them."""
        for floor in floors:
            self.say(f"  {floor}")
        self.floors += floors


def parse(arguments: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__, epilog=EPILOG)
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED, help="of the frames (default %(default)s)")
    drawn = random.SystemRandom().randrange(10**9)
    parser.add_argument("--fresh-seed", type=int, default=drawn, help="a second one, drawn anew each run unless given")
    parser.add_argument("--quick", action="store_true", help="a short run: tells, but its times are rough")
    parser.add_argument("--only", choices=PARTS, help="this part alone; the gate comes first all the same")
    parser.add_argument("--frames", type=int, default=0, help="of the memory run")
    parser.add_argument("--run-python", default=sys.executable, help="of the daemon's environment, for the part `surface`")
    parser.add_argument("--json", action="store_true", help="one line of JSON on standard output, words on standard error")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    """Run and return the exit status."""
    bench = Bench(parse(arguments))
    is_good = bench.run()
    met = sum(floor.is_met for floor in bench.floors)
    bench.say(f"{'PASS' if is_good else 'FAIL'}: {met} of {len(bench.floors)} floors met")
    if bench.options.json:
        floors = [{**msgspec.to_builtins(floor), "is_met": floor.is_met} for floor in bench.floors]
        print(msgspec.json.encode({**bench.found, "floors": floors, "is_good": is_good}).decode())
    return 0 if is_good else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
