"""A real live daemon with its exchanges for one row: started, watched from outside, and held against the exchanges' truth."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from daemon_lab import Run, TimesOut, wait_until
from live_lab import LiveHouse, ledger, live_house_in, processes_in, sent_once
from reliability.faults.nouns import NotHeld, Options
from reliability.faults.proxy import Proxy
from store_servers import reachable_folder

from arbitrage.app.child import ACCOUNT_WORDS
from arbitrage.app.control_client import NoAnswer, ask
from arbitrage.app.control_words import Ask
from arbitrage.execution.hedging import HEDGE_CYCLE
from arbitrage.model.facts import PlanClosed, PlanOpened
from arbitrage.ops.standing import Standing
from arbitrage.store.embedded import Embedded

ARMED = "arbitrage.daemon: armed"
ENDED = "arbitrage.engine: arbitrage "
LOOK_S = 0.02
PATIENCE_S = 60.0
"""For what must come at all; what must come soon is measured and named by its row."""
WORDS_SHOWN = 6


class Cluster:
    """A data folder with an initialised PostgreSQL, to be copied: making one costs seconds."""

    def __enter__(self) -> Cluster:
        self.folder = reachable_folder()
        embedded = Embedded(self.folder, wants_postgres=True, wants_redis=True)
        embedded.start()
        embedded.stop()
        return self

    def __exit__(self, *failure: object) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def copy_to(self, folder: Path) -> None:
        """Copy it with its owners."""
        subprocess.run(["cp", "-a", f"{self.folder}/.", folder], check=True)


@dataclasses.dataclass(frozen=True)
class Sample:
    """How the daemon stood at a moment, by its own door; `standing` is None when it did not answer."""

    at_ns: int
    standing: Standing | None

    @property
    def armed(self) -> bool:
        return self.standing is not None and self.standing.armed

    def usable(self, venue: str) -> int:
        """Return how many of a venue's markets were usable; -1 when the daemon did not say."""
        if self.standing is None:
            return -1
        return next(each.usable for each in self.standing.venues if each.venue == venue)


class Watch:
    """Looks at the daemon's door again and again while a block runs."""

    def __init__(self, lab: Lab) -> None:
        self.samples: list[Sample] = []
        self._lab = lab
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._over.set()
        self._thread.join()

    def first_s(self, holds: Callable[[Sample], bool], since_ns: int) -> float | None:
        """Return how many seconds after `since_ns` something was first seen to hold; None when it never did."""
        return next(((each.at_ns - since_ns) / 1e9 for each in self.samples if each.at_ns >= since_ns and holds(each)), None)

    @property
    def answers(self) -> list[Standing]:
        return [each.standing for each in self.samples if each.standing is not None]

    @property
    def reasons(self) -> set[str]:
        """Return every reason for not being armed that was seen."""
        return {reason for each in self.answers for reason in each.not_armed_because}

    def _look(self) -> None:
        while not self._over.wait(LOOK_S):
            at_ns = time.time_ns()
            self.samples.append(Sample(at_ns, self._lab.standing()))


class Lab:
    """What a row works with."""

    def __init__(self, cluster: Cluster, options: Options, say: Callable[[str], None], stack: contextlib.ExitStack) -> None:
        self.cluster = cluster
        self.options = options
        self.say = say
        self.stack = stack
        self.house: LiveHouse
        self.run: Run

    # -- doing --------------------------------------------------------------------------------------------------

    def folder(self) -> Path:
        """Make a data folder with an initialised cluster; gone with the row."""
        folder = reachable_folder()
        self.stack.callback(shutil.rmtree, folder, ignore_errors=True)
        self.cluster.copy_to(folder)
        return folder

    def open(self, folder: Path | None = None, *, speed: float = 8.0, **environ: str) -> LiveHouse:
        """Start the exchanges and configure a daemon for them."""
        home = folder or self.folder()
        self.stack.callback(wait_until, lambda: not processes_in(home), "the servers of an ended daemon are gone", 30)
        self.house = self.stack.enter_context(live_house_in(home, speed=speed, **environ))
        self.house.program = self.options.program
        return self.house

    def start(self, **environ: str) -> Run:
        """Start the daemon and wait until it trades."""
        self.run = self.house.start(**environ)
        self.run.says(ARMED)
        self.run.says(ENDED)
        return self.run

    def proxied(self, *, is_public_only: bool = False) -> dict[str, Proxy]:
        """Open a house whose sockets to each exchange, public and private, go through a proxy; give the proxies by venue."""
        house, proxies, changes = self.open(), {}, {}
        for venue, word in ACCOUNT_WORDS.items():
            port = int(house.venues.description[venue]["rest"].rpartition(":")[2])
            proxy = proxies[venue] = self.stack.enter_context(Proxy(port))
            stream = house.tree["venues"][venue]["stream_url"]
            urls = {"stream_url": stream}
            if not is_public_only:
                urls["account_url"] = house.venues.description[venue][word]
            changes |= {f"venues.{venue}.{key}": url.replace(f":{port}", f":{proxy.port}") for key, url in urls.items()}
        house.configure(changes)
        return proxies

    def trading(self, **environ: str) -> Run:
        """Open a house as it comes, and start its daemon."""
        self.open()
        return self.start(**environ)

    def standing(self) -> Standing | None:
        """Ask the daemon how it stands; None when it does not answer."""
        try:
            return ask(self.house.folder, Ask("status")).standing
        except (NoAnswer, OSError):
            return None

    def watch(self) -> Watch:
        """Watch the daemon's door while a block runs."""
        return Watch(self)

    # -- demanding ----------------------------------------------------------------------------------------------

    def demand(self, holds: object, what: str) -> None:
        """Go on only if this holds. Raises NotHeld."""
        if not holds:
            raise NotHeld(f"not so: {what}")

    def until(self, holds: Callable[[], object], what: str, seconds: float = PATIENCE_S) -> float:
        """Wait until something holds; return after how many seconds. Raises NotHeld."""
        try:
            return wait_until(holds, what, seconds)
        except TimesOut as late:
            raise NotHeld(str(late)) from None

    def says(self, words: str, *, times: int = 1, seconds: float = PATIENCE_S) -> None:
        """Demand that the daemon prints these words. Raises NotHeld."""
        self.until(lambda: self._has_said(words, times), f"the daemon says {words!r}", seconds)

    def closed(self) -> int:
        """Count the arbitrages that ended, by the journal."""
        return sum(isinstance(fact, PlanClosed) for fact in self.house.facts())

    def trades_on(self, seconds: float = PATIENCE_S) -> float:
        """Demand that one more arbitrage ends. Returns after how many seconds."""
        before = self.closed()
        return self.until(lambda: self.closed() > before, "one more arbitrage ends", seconds)

    def entered(self, since_ns: int, until_ns: int, venue: str = "") -> list[PlanOpened]:
        """Return every arbitrage that was entered in this time (with a leg at a venue); hedges of leftovers are none."""
        opened = [fact for fact in self.house.facts() if isinstance(fact, PlanOpened)]
        return [
            fact
            for fact in opened
            if since_ns <= fact.at_ns < until_ns
            and fact.opportunity.cycle != HEDGE_CYCLE
            and any(venue in ("", leg.spent.venue) for leg in fact.opportunity.legs)
        ]

    def demand_no_entry(self, since_ns: int, until_ns: int, why: str, venue: str = "") -> None:
        """Demand that nothing was entered in this time (with a leg at a venue). Raises NotHeld."""
        found = self.entered(since_ns, until_ns, venue)
        late = [f"{fact.plan_id} {(fact.at_ns - since_ns) / 1e9:.3f} s after" for fact in found]
        self.demand(not found, f"nothing is entered {why}: {', '.join(late)}")

    def recovers(self, seconds: float = PATIENCE_S) -> float:
        """Demand that it is armed with every book usable, by itself, and trades on. Returns after how many seconds it was."""

        def is_well() -> bool:
            now = self.standing()
            return now is not None and now.armed and all(each.usable == each.markets for each in now.venues)

        took_s = self.until(is_well, "armed by itself, every book usable", seconds)
        self.trades_on()
        return took_s

    def settles(self, *excused: str) -> int:
        """Demand what must hold after every row: nothing lost, nothing doubled, every balance the exchanges'. Ends the daemon.

        Returns how many orders the exchanges took in all. Violations that are excused the row looks at itself.
        """
        self.command("pause")
        self.until(self._is_quiet, "nothing is under way any more")
        status = self.run.end()
        self.demand(status == 0, f"it stops with status 0, not {status}")
        self.demand("Traceback" not in self.run.text(), "no trace of an error in what it printed")
        return self.compare(*excused)

    def compare(self, *excused: str) -> int:
        """Demand that ledger and orders are the exchanges'; the daemon is down. Returns how many orders there were."""
        unequal = self.house.unequal(ledger(self.house))
        self.demand(not unequal, f"every balance is the ledger's to the last unit: {unequal}")
        sent_once(self.house, excused)
        truth = self.house.truth()
        return sum(len(truth[venue]["orders"]) for venue in ("binance", "upbit"))

    def command(self, word: Any) -> None:
        """Say a word at the operator's door."""
        answer = ask(self.house.folder, Ask(word, reason="the fault table"))
        self.demand(answer.done, f"{word}: {answer.text}")

    def health(self) -> str:
        """Return what the health check prints."""
        return self.house.script("healthcheck.py").stdout

    def last_words(self) -> str:
        """Return the newest lines of the daemon, for a failure's text."""
        if not hasattr(self, "run"):
            return "it was not started"
        lines = [line for line in self.run.text().splitlines() if ENDED not in line]
        return " | ".join(lines[-WORDS_SHOWN:])

    def _is_quiet(self) -> bool:
        now = self.standing()
        return now is not None and not now.open_plans and not now.open_orders

    def _has_said(self, words: str, times: int) -> bool:
        self.demand(self.run.process.poll() is None or words in self.run.text(), f"it ended before it said {words!r}")
        return self.run.text().count(words) >= times


@contextlib.contextmanager
def lab_in(cluster: Cluster, options: Options, say: Callable[[str], None]) -> Iterator[Lab]:
    """Give a lab; everything is gone afterwards."""
    with contextlib.ExitStack() as stack:
        yield Lab(cluster, options, say, stack)
