"""The metrics as Prometheus reads them: base units, `_total` for what only grows. Keeps no figure of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector, CollectorRegistry

from arbitrage.model.events import FaultKind
from arbitrage.model.money import E8
from arbitrage.ops.alerts.nouns import RANK, ChannelStanding, OfficeStanding
from arbitrage.ops.hops import HOP_BOUNDS_S
from arbitrage.web.ports import Ports

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
SHARED_NS = 1_000_000_000
NS = 1e9
BOOK_COUNTERS = ("gaps", "resyncs", "compared", "equal", "sweeps", "refills", "merges", "crossed", "implausible", "old")
Rows = Iterable[tuple[tuple[str, ...], float]]


class Exposition(Collector):
    """One daemon's metrics."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        self._text = b""
        self._drawn_ns = 0

    def text(self) -> bytes:
        """Return the page; who asks again within a second gets the same."""
        now_ns = self._ports.views.now_ns()
        if not self._text or now_ns - self._drawn_ns >= SHARED_NS:
            self._text, self._drawn_ns = generate_latest(self._registry), now_ns
        return self._text

    def describe(self) -> Iterable[Metric]:
        """Describe nothing ahead: names are fixed in here."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield every metric."""
        yield from self._standing()
        yield from self._feeds()
        yield from self._trading()
        yield from self._hops()
        yield from self._stores()
        yield from self._process()
        yield from self._surface()
        yield from self._access()
        yield from self._alerts()

    def _standing(self) -> Iterator[Metric]:
        views = self._ports.views
        standing, settings = views.standing(), views.loaded().settings
        info = InfoMetricFamily("arbitrage", "What runs")
        version = views.loaded().version
        named = {"env": settings.env, "mode": standing.mode, "session": standing.session, "configuration": version}
        info.add_metric((), named)
        yield info
        yield _gauge("arbitrage_armed", "1 while new arbitrages may be entered", float(standing.armed))
        yield _gauge("arbitrage_ready", "1 once the daemon became ready", float(views.is_ready()))
        yield _gauge("arbitrage_killed", "1 while the kill switch is on", float(bool(standing.killed)))
        yield _gauge("arbitrage_paused", "1 while paused", float(bool(standing.paused)))
        yield _gauge("arbitrage_differences", "Differences that keep trading disarmed", len(standing.differences))
        yield _gauge("arbitrage_start_time_seconds", "Start of the process, since 1970", standing.started_at_ns / NS)
        proven_ns = standing.kill_last_proven_ns or 0
        text = "When the kill switch last proved itself, since 1970; 0: never"
        yield _gauge("arbitrage_kill_last_proven_timestamp_seconds", text, proven_ns / NS)

    def _feeds(self) -> Iterator[Metric]:
        views = self._ports.views
        view = views.view()
        venues = [((str(health.venue),), health) for health in view.venues]
        label = ("venue",)
        connected = ((key, float(health.is_connected)) for key, health in venues)
        yield _gauges("arbitrage_feed_connected", "1 while a venue's market data is connected", label, connected)
        ages = ((key, health.alive_age_ms / 1e3) for key, health in venues)
        yield _gauges("arbitrage_feed_alive_age_seconds", "Since a venue last gave a sign of life", label, ages)
        offsets = ((key, health.clock_offset_ms / 1e3) for key, health in venues if health.clock_offset_ms is not None)
        yield _gauges("arbitrage_feed_clock_offset_seconds", "A venue's clock minus ours", label, offsets)
        usable = [((each.venue,), float(each.markets), float(each.usable)) for each in views.standing().venues]
        yield _gauges("arbitrage_markets", "Configured markets", label, ((key, count) for key, count, _ in usable))
        yield _gauges("arbitrage_markets_usable", "Markets without a doubt", label, ((key, count) for key, _, count in usable))
        connects = (((venue,), float(count)) for venue, count in views.connects().items())
        yield _counters("arbitrage_feed_connects", "Connections made, the first ones included", label, connects)
        counters = view.counters
        faults = (((kind.value,), float(counters.get(kind.value, 0))) for kind in FaultKind)
        yield _counters("arbitrage_feed_faults", "What venues did wrong, by kind", ("kind",), faults)
        books = (((name,), float(counters.get(name, 0))) for name in BOOK_COUNTERS)
        yield _counters("arbitrage_book_events", "What befell books: gaps, resyncs, comparisons", ("kind",), books)
        yield _counter("arbitrage_frames", "Frames taken in", views.process().frames)

    def _trading(self) -> Iterator[Metric]:
        views = self._ports.views
        view, standing = views.view(), views.standing()
        tally = view.tally
        yield _counter("arbitrage_opportunities_seen", "Opportunities sized exactly", tally.seen)
        yield _counter("arbitrage_opportunities_taken", "Opportunities that became orders", tally.taken)
        refused = (((reason,), float(count)) for reason, count in tally.refused.items())
        yield _counters("arbitrage_opportunities_refused", "Opportunities that did not, by reason", ("reason",), refused)
        ends = {"completed": tally.completed, "recovered": tally.recovered, "missed": tally.missed, "residual": tally.residual}
        rows = (((end,), float(count)) for end, count in ends.items())
        yield _counters("arbitrage_plans_closed", "Arbitrages that ended, by how", ("end",), rows)
        yield _counter("arbitrage_decisions", "Decisions made", tally.decisions)
        yield _gauge("arbitrage_open_plans", "Arbitrages under way", standing.open_plans)
        yield _gauge("arbitrage_open_orders", "Orders under way", standing.open_orders)
        asset = (str(view.reporting_asset),)
        realised = [(asset, view.realised_e8 / E8)]
        yield _gauges("arbitrage_realised_profit", "Realised profit of the session, in the asset", ("asset",), realised)
        limits = [limit for limit in views.limits() if limit.used_ppm is not None]
        used = (((limit.name, limit.subject), (limit.used_ppm or 0) / 1e6) for limit in limits)
        yield _gauges("arbitrage_limit_used_ratio", "What is used of a limit; 1 is all of it", ("limit", "subject"), used)

    def _hops(self) -> Iterator[Metric]:
        family = HistogramMetricFamily(
            "arbitrage_hop_seconds", "How long each hop takes; the first is sampled once a second and market", labels=("hop",)
        )
        bounds = [*(str(bound) for bound in HOP_BOUNDS_S), "+Inf"]
        for hop, histogram in self._ports.views.metrics().hops.histograms.items():
            buckets = list(zip(bounds, map(float, accumulate(histogram.counts)), strict=True))
            family.add_metric((hop,), buckets, histogram.sum_s)
        yield family

    def _stores(self) -> Iterator[Metric]:
        stores = self._ports.views.stores()
        up = [(("postgres",), float(stores.is_postgres_up)), (("redis",), float(stores.is_redis_up))]
        yield _gauges("arbitrage_store_up", "1 while a store answers", ("store",), up)
        yield _gauge("arbitrage_redis_latency_seconds", "Of the last answer", stores.redis_latency_ms / 1e3)
        yield _gauge("arbitrage_journal_bytes_waiting", "Facts that PostgreSQL does not hold yet", stores.journal_bytes_waiting)
        yield _gauge("arbitrage_journal_full", "1 while no new facts are taken for entries", float(stores.is_journal_full))
        yield _counter("arbitrage_journal_facts", "Facts of the session", stores.journal_sequence)
        yield _gauge("arbitrage_rows_waiting", "Rows that wait to be written", stores.rows_waiting)
        counters = stores.counters
        dropped = {
            "opportunities": counters.opportunities_dropped, "episodes": counters.episodes_dropped,
            "logs": counters.logs_dropped, "redis_lines": stores.redis_lines_dropped, "snapshots": counters.snapshots_skipped,
        }  # fmt: skip
        rows = (((queue,), float(count)) for queue, count in dropped.items())
        yield _counters("arbitrage_queue_dropped", "What found no room in a queue, or was replaced by newer", ("queue",), rows)
        text = "Refused opportunities that were no sample: their opening counts them"
        yield _counter("arbitrage_opportunities_left_out", text, counters.opportunities_left_out)
        yield _counter("arbitrage_embedded_restarts", "Embedded databases that were started again", stores.embedded_restarts)
        wal = stores.wal
        if wal is not None and wal.line:
            yield _gauge("arbitrage_archive_behind_seconds", "How far the archive of the log is behind", wal.behind_s)
            yield _gauge("arbitrage_archive_trouble", "1 while the archive does not go on", float(bool(wal.trouble)))

    def _process(self) -> Iterator[Metric]:
        process, views = self._ports.views.process(), self._ports.views
        yield _gauge("arbitrage_resident_memory_bytes", "Resident memory", process.resident_bytes)
        yield _counter("arbitrage_cpu_seconds", "Processor time", process.cpu_seconds)
        yield _gauge("arbitrage_open_fds", "Open file descriptors", process.open_files)
        late = [(("mean",), process.loop_late_ms_mean / 1e3), (("worst",), process.loop_late_ms_worst / 1e3)]
        yield _gauges("arbitrage_loop_lateness_seconds", "How late the loop was over 60 s", ("of",), late)
        figures = views.figures()
        yield _gauge("arbitrage_errors_per_minute", "Errors over 60 s", float(figures["errors_per_minute"]))
        yield _gauge("arbitrage_trades_per_minute", "Fills over 60 s", float(figures["trades_per_minute"]))

    def _surface(self) -> Iterator[Metric]:
        ports = self._ports
        answers = (((name, str(status)), float(count)) for (name, status), count in sorted(ports.counts.answers.items()))
        yield _counters("arbitrage_http_answers", "Answers of this surface", ("endpoint", "status"), answers)
        faults = (((where,), float(count)) for where, count in sorted(ports.faults.counts.items()))
        yield _counters("arbitrage_surface_faults", "Failures of this surface itself", ("where",), faults)
        traffic = ports.traffic
        yield _gauge("arbitrage_http_connections", "Open connections", traffic.connections)
        shed = [(("refused",), float(traffic.refused)), (("dropped",), float(traffic.dropped))]
        yield _counters("arbitrage_http_connections_shed", "Connections past a bound, or too slow", ("why",), shed)
        yield _counter("arbitrage_http_timeouts", "Requests past their time", ports.counts.timeouts)
        events = ports.events
        yield _gauge("arbitrage_event_followers", "Clients that follow events", events.followers)
        yield _counter("arbitrage_event_followers_dropped", "Clients that were too slow", events.dropped)
        yield _counter("arbitrage_event_followers_refused", "Clients that found no place", events.refused)
        yield _counter("arbitrage_events_published", "Events that were told to all", events.published)
        yield _gauge("arbitrage_audit_lines_waiting", "Audit lines that PostgreSQL does not hold yet", ports.audit.waiting)
        yield _counter("arbitrage_audit_lines_dropped", "Audit lines that found no room", ports.audit.dropped)

    def _access(self) -> Iterator[Metric]:
        access = self._ports.access()
        yield _gauge("arbitrage_sessions", "Open sessions of people", access.sessions)
        refused = (((reason,), float(count)) for reason, count in sorted(access.refused.items()))
        yield _counters("arbitrage_requests_refused", "Requests that the guard turned away", ("reason",), refused)
        yield _counter("arbitrage_requests_rate_limited", "Of those, over a limit on requests", access.requests_hurried)
        held = [(("failures",), float(access.sign_ins_held)), (("rate",), float(access.sign_ins_hurried))]
        yield _counters("arbitrage_sign_ins_held", "Tries to sign in that had to wait", ("why",), held)

    def _alerts(self) -> Iterator[Metric]:
        standing = self._ports.views.alerts() or OfficeStanding()
        board = standing.board
        firing = Counter(each.severity for each in board.firing)
        rows: Rows = [((severity,), float(firing[severity])) for severity in RANK]
        yield _gauges("arbitrage_alerts_firing", "Alerts that are on, by severity", ("severity",), rows)
        yield _gauge("arbitrage_alerts_pending", "Alerts that are held back until they have lasted", len(board.pending))
        yield _counter("arbitrage_alert_events_lost", "Events that found no room before they were judged", standing.events_lost)
        yield _counter("arbitrage_alert_faults", "Faults of the alerts themselves", standing.faults)
        yield _gauge("arbitrage_alert_spool_bytes", "What outlives the process, as last written", standing.spool_bytes)
        text = "1 while the disk does not take what must outlive the process"
        yield _gauge("arbitrage_alert_spool_failing", text, float(bool(standing.spool_faults)))
        yield from _channels(standing.channels)


def _channels(channels: Sequence[ChannelStanding]) -> Iterator[Metric]:
    """Yield how the channels of alerts stand; times are since 1970, so that an age is `time()` minus one."""
    named = [((each.name,), each) for each in channels]
    beating = [(key, each) for key, each in named if each.heartbeat_ns]
    label = ("channel",)
    sent = ((key, float(each.sent)) for key, each in named)
    yield _counters("arbitrage_alert_messages_sent", "Messages that arrived, signs of life included", label, sent)
    failed = ((key, float(each.failed)) for key, each in named)
    yield _counters("arbitrage_alert_messages_failed", "Messages that did not, each try counted", label, failed)
    lost = ((key, float(each.dropped)) for key, each in named)
    yield _counters("arbitrage_alert_notes_dropped", "Alerts that never arrived: no room, or a day old", label, lost)
    waiting = ((key, float(each.waiting)) for key, each in named)
    yield _gauges("arbitrage_alert_notes_waiting", "Alerts that have not arrived yet, kept on disk", label, waiting)
    tokens = ((key, float(each.tokens)) for key, each in named)
    yield _gauges("arbitrage_alert_tokens", "Messages that may leave at once", label, tokens)
    failing = ((key, float(bool(each.trouble))) for key, each in named)
    yield _gauges("arbitrage_alert_channel_failing", "1 while the last message did not arrive", label, failing)
    beats = ((key, (each.beat_ns or 0) / NS) for key, each in beating)
    text = "When the last sign of life arrived, since 1970; 0: none since the start"
    yield _gauges("arbitrage_alert_heartbeat_timestamp_seconds", text, label, beats)
    every = ((key, each.heartbeat_ns / NS) for key, each in beating)
    yield _gauges("arbitrage_alert_heartbeat_interval_seconds", "How often a sign of life goes", label, every)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(name, text, value=value)


def _gauges(name: str, text: str, labels: tuple[str, ...], rows: Rows) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for key, value in rows:
        family.add_metric(key, value)
    return family


def _counters(name: str, text: str, labels: tuple[str, ...], rows: Rows) -> Metric:
    family = CounterMetricFamily(name, text, labels=labels)
    for key, value in rows:
        family.add_metric(key, value)
    return family
