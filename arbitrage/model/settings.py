"""The configuration as frozen types: unknown keys, wrong types and values out of range have no constructor.

Where a value comes from (file, environment, secret) is not known here; `ops/config` layers and explains it.
Durations and money carry their unit in the name; money in settings is decimal text, read exactly by `money.parse_e8`.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Count = Annotated[int, Meta(ge=1, le=1_000_000)]
Milliseconds = Annotated[int, Meta(ge=0, le=86_400_000)]
PositiveMilliseconds = Annotated[int, Meta(ge=1, le=86_400_000)]
Ppm = Annotated[int, Meta(ge=-100_000, le=1_000_000)]
DecimalText = Annotated[str, Meta(pattern=r"^-?\d{1,18}(\.\d{1,8})?$")]
"""Money or a quantity as exact decimal text, at most 8 decimals."""
Symbol = Annotated[str, Meta(min_length=1, max_length=40)]
Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
Url = Annotated[str, Meta(pattern=r"^(https?|wss?)://[^\s]+$", max_length=300)]
Port = Annotated[int, Meta(ge=0, le=65535)]
TimeOfDay = Annotated[str, Meta(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]
"""Hours and minutes, `HH:MM`."""


class _Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A block of settings."""


class FeeSettings(_Section, frozen=True):
    """Fees of a venue's markets until the account's own are read (live, a later step)."""

    maker_ppm: Ppm
    taker_ppm: Ppm
    payment: Literal["received", "quote", "named"]
    named_asset: str | None = None


class VenueSettings(_Section, frozen=True):
    """One venue: where it is, what we watch there, and the limits of talking to it."""

    kind: Literal["binance", "upbit"]
    rest_url: Url
    stream_url: Url
    symbols: tuple[Symbol, ...]
    fees: FeeSettings
    account_url: Url | None = None
    """Live only: Binance's WebSocket API, Upbit's private stream."""
    quote_fees: dict[str, FeeSettings] = {}
    """Fees that differ by quote asset (Upbit's BTC and USDT markets)."""
    snapshot_levels: Annotated[int, Meta(ge=5, le=5000)] = 1000
    book_levels: Literal[1, 5, 15, 30] = 30
    connect_timeout_ms: PositiveMilliseconds = 5_000
    request_timeout_ms: PositiveMilliseconds = 10_000
    ping_interval_ms: PositiveMilliseconds = 1_000
    """Upbit allows 100 messages a minute, pings included."""
    silence_ms_max: PositiveMilliseconds = 6_000
    """No frame, pong or status for this long: the connection is dead and is replaced."""
    backoff_ms_min: PositiveMilliseconds = 250
    backoff_ms_max: PositiveMilliseconds = 30_000
    connections_per_5min_max: Count = 100
    messages_per_s_max: Count = 4
    streams_per_connection_max: Count = 200
    instruments_reload_ms: PositiveMilliseconds = 3_600_000
    clock_measure_ms: PositiveMilliseconds = 60_000


class MarketDataSettings(_Section, frozen=True):
    """When a market is doubted."""

    symbol_age_ms_max: PositiveMilliseconds = 30_000
    """A symbol without an update for longer is gated; its connection is left alone."""
    link_age_ms_max: PositiveMilliseconds = 1_800
    """A connection without any sign of life for longer gates every symbol behind it: half-open ones within 2 s."""
    price_jump_ppm_max: Annotated[int, Meta(ge=1, le=10_000_000)] = 200_000
    """A mid price that moves by more within one update is implausible until `price_jump_confirmations` agree."""
    price_jump_confirmations: Count = 3
    clock_offset_ms_max: PositiveMilliseconds = 1_000
    cross_check_ms_max: PositiveMilliseconds = 2_000
    """A book that disagrees with an independent best price (ticker, last trade) for longer is doubtful."""
    identity_ratio_ppm_max: Annotated[int, Meta(ge=1, le=10_000_000)] = 300_000
    """The same ticker at two venues further apart than this is another coin until proven."""


class TransferSettings(_Section, frozen=True):
    """Moving one asset between venues from own inventory."""

    cost_ppm: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    cost: DecimalText = "0"
    """Fixed cost for each use, in the asset."""
    is_identity_confirmed: bool = False


class StrategySettings(_Section, frozen=True):
    """What is looked for."""

    reporting_asset: Name = "USDT"
    legs_max: Annotated[int, Meta(ge=2, le=8)] = 4
    cycles_max: Annotated[int, Meta(ge=1, le=20_000_000)] = 2_000_000
    screen_edge_ppm: Ppm = 0
    """A cycle whose top-of-book product exceeds one by more than this is sized exactly."""
    survivors_max: Count = 32
    """At most so many cycles are sized in one decision; the rest are counted as `time_budget`."""
    sizing_budget_us: Count = 5_000
    resize_interval_ms: Milliseconds = 0
    """A cycle found above the screen is sized again at most this often."""
    levels_max: Annotated[int, Meta(ge=1, le=5000)] = 100
    price_slack_ppm: Annotated[int, Meta(ge=0, le=100_000)] = 0
    """How much worse than the worst touched level an order's limit price may be, before rounding against us."""
    fx_assets: tuple[Name, ...] = ("KRW",)
    """Fiat assets whose conversion leg follows the FX policy."""
    fx_policy: Literal["execute", "carry"] = "execute"
    fx_policy_by_pair: dict[str, Literal["execute", "carry"]] = {}
    """By traded asset, such as `BTC: carry`."""
    transfers: dict[str, TransferSettings] = {}
    """By asset. An asset listed at two venues but not here is never treated as the same coin."""


class RiskSettings(_Section, frozen=True):
    """Limits. Money is in the reporting asset."""

    notional_per_order_max: DecimalText = "5000"
    notional_per_opportunity_max: DecimalText = "10000"
    notional_per_pair_max: DecimalText = "20000"
    notional_per_venue_max: DecimalText = "50000"
    exposure_per_asset_max: DecimalText = "10000"
    """Unhedged (net, over all venues) value of one asset out of open plans and residuals."""
    carried_fx_max: DecimalText = "20000"
    open_plans_max: Count = 4
    orders_per_minute_max: Count = 120
    loss_today_max: DecimalText = "200"
    drawdown_max: DecimalText = "500"
    profit_min: DecimalText = "0.10"
    edge_ppm_min: Ppm = 100
    edge_ppm_max: Annotated[int, Meta(ge=1, le=10_000_000)] = 50_000
    """Too good to be true above this."""
    edge_ppm_quarantine: Annotated[int, Meta(ge=1, le=100_000_000)] = 1_000_000
    """No edge at all from here on, but another coin under the same name: the pair is off until somebody accepts it."""


class ExecutionSettings(_Section, frozen=True):
    """How legs are worked and how long anything may take."""

    acknowledgement_ms_max: PositiveMilliseconds = 3_000
    query_interval_ms: PositiveMilliseconds = 1_000
    order_validity_ms: Annotated[int, Meta(ge=100, le=60_000)] = 2_000
    """How long after its intent an order may be sent and taken."""
    absence_horizon_ms: PositiveMilliseconds = 10_000
    """How long past its validity an order is asked about before a venue's "does not exist" is believed."""
    plan_deadline_ms: PositiveMilliseconds = 20_000
    """No governor's order after this; leaves room for an order to be found absent, and for what must follow."""
    answer_horizon_ms: PositiveMilliseconds = 60_000
    """How long past its deadline a plan waits for a venue's answer about an unknown order, before it closes without it."""
    governor_attempts_max: Count = 3
    governor_slippage_ppm_max: Annotated[int, Meta(ge=0, le=1_000_000)] = 20_000
    """Complete or reverse never pays more than this against the price the plan expected."""
    hold_cost_ppm: Annotated[int, Meta(ge=0, le=1_000_000)] = 3_000
    """What holding a residual for the plan's horizon is priced at while its volatility has not been measured."""
    dust_value_max: DecimalText = "1"
    """A residual worth less (reporting asset) needs no governor; it stays in the ledger and in the outcome."""
    cooldown_ms: Milliseconds = 1_000
    """After a plan closes, its cycle rests this long."""
    hedge_interval_ms: PositiveMilliseconds = 5_000
    """What closed plans left of an asset is hedged, once a venue's minimum is reached, at most this often."""
    account_read_ms: PositiveMilliseconds = 60_000
    """How often a quiet account is compared with the ledger while running."""
    realised_plans: Annotated[int, Meta(ge=1, le=200)] = 12
    """A pair is judged by so many of its last arbitrages that traded."""
    realised_ratio_ppm_min: Annotated[int, Meta(ge=-10_000_000, le=1_000_000)] = 0
    """A pair whose realised over expected profit falls below this disarms itself."""


class PaperSettings(_Section, frozen=True):
    """The paper venue: its order latency and what it starts with."""

    latency_ms_median: PositiveMilliseconds = 40
    latency_sigma: Annotated[float, Meta(ge=0, le=3)] = 0.4
    """Shape of the log-normal that order entry latency is drawn from."""
    acknowledgement_ms: Milliseconds = 5
    reject_ppm: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    seed: int = 1
    inventory: dict[str, dict[str, DecimalText]] = {}
    """By venue, by asset."""


class StoreSettings(_Section, frozen=True):
    """Where state lives. Empty hosts mean the embedded servers in the data folder."""

    data_dir: str = "var"
    postgres_host: str = ""
    postgres_port: Port = 5432
    postgres_user: str = "arbitrage"
    postgres_password: str = ""
    postgres_database: str = "arbitrage"
    redis_host: str = ""
    redis_port: Port = 6379
    redis_password: str = ""
    redis_db: Annotated[int, Meta(ge=0, le=15)] = 0
    journal_bytes_max: Annotated[int, Meta(ge=65_536, le=10_000_000_000)] = 64_000_000
    """Bound of facts not yet in PostgreSQL; past it no new entries are made."""
    snapshot_interval_ms: PositiveMilliseconds = 30_000
    snapshots_kept: Count = 20
    writer_queue_max: Count = 100_000


class BackupSettings(_Section, frozen=True):
    """Where backups go, how many stay, and what the archive of the write-ahead log may take."""

    directory: str = ""
    """Empty: `backups` in the data folder. Better a folder of another disk."""
    kept: Annotated[int, Meta(ge=1, le=1000)] = 7
    key_required: bool = False
    """Refuses to make a backup without a key, so that a key that went missing is noticed."""
    wal_archive: bool = True
    """From the first backup on, the embedded PostgreSQL's write-ahead log is archived as it is written."""
    wal_switch_ms: Annotated[int, Meta(ge=1_000, le=3_600_000)] = 30_000
    """A file of the log is finished at least this often while there is anything in it."""
    wal_bytes_max: Annotated[int, Meta(ge=1_000_000, le=10_000_000_000_000)] = 20_000_000_000
    """Bound of the archive. Past it files that only older backups need go; then archiving stops, visibly."""


class LogSettings(_Section, frozen=True):
    """Where lines go and how many may wait."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    directory: str = "logs"
    file_bytes_max: Count = 1_000_000
    files_kept: Annotated[int, Meta(ge=1, le=1000)] = 10
    queue_max: Count = 10_000
    stream_length_max: Count = 10_000


class HotPathSettings(_Section, frozen=True):
    """Switches of the hot path."""

    busy_poll: bool = False
    """Never sleep: needs a core of its own."""
    transport: Literal["websockets", "picows"] = "websockets"
    frames_per_decision_max: Count = 256


class HealthSettings(_Section, frozen=True):
    """What `healthcheck.py` calls unhealthy."""

    redis_latency_ms_max: PositiveMilliseconds = 30
    log_age_s_max: Count = 300
    loop_latency_ms_max: PositiveMilliseconds = 100
    snapshot_age_s_max: Count = 300
    backup_age_h_max: Count = 50
    """Asked only where a backup was ever made."""
    ready_timeout_ms: PositiveMilliseconds = 30_000
    """READY is told to systemd once books are in sync, or after this long with the reason why not."""


class ChannelSettings(_Section, frozen=True):
    """One way to a person: where alerts go, from which severity on, and how many. Its secret is no setting: `ops/keys`."""

    kind: Literal["webhook", "telegram", "slack", "discord", "email"]
    url: Url | None = None
    """webhook: where to. telegram: its server, when it is another. Slack's and Discord's address is a secret."""
    chat: str = ""
    """telegram: the id of the chat."""
    smtp_host: str = ""
    smtp_port: Port = 587
    smtp_security: Literal["starttls", "tls", "none"] = "starttls"
    """`none` is taken on loopback only when there is a user, whose password would be readable."""
    smtp_user: str = ""
    sender: str = ""
    recipients: tuple[str, ...] = ()
    severity_min: Literal["info", "warning", "critical"] = "warning"
    messages_per_minute_max: Count = 10
    burst_max: Annotated[int, Meta(ge=2, le=1000)] = 5
    """So many at once; the last of them is kept for what is critical."""
    timeout_ms: Annotated[int, Meta(ge=100, le=60_000)] = 5_000
    heartbeat_ms: Milliseconds = 0
    """A sign of life this often, so that silence is an alert too; 0: none."""


class AlertSettings(_Section, frozen=True):
    """Who is told, and when something is worth it."""

    channels: dict[Name, ChannelSettings] = {}
    quiet_from: TimeOfDay = "00:00"
    quiet_until: TimeOfDay = "00:00"
    """Between these only what is critical is sent; the rest waits. The same time twice: no quiet hours."""
    quiet_zone: str = "UTC"
    """Time zone of the quiet hours, such as `Asia/Seoul`."""
    group_ms: Milliseconds = 3_000
    """What is not critical waits this long for others, to go as one message."""
    clear_ms: PositiveMilliseconds = 30_000
    """An alert is over once its reason was gone for so long."""
    repeat_ms: PositiveMilliseconds = 14_400_000
    """An alert that lasts is told again this often."""
    waiting_max: Annotated[int, Meta(ge=10, le=10_000)] = 200
    """Bound of what waits for one channel, in memory and on disk."""
    disarmed_ms: Milliseconds = 60_000
    feed_down_ms: Milliseconds = 10_000
    errors_per_minute_max: Count = 60
    loss_near_ppm: Annotated[int, Meta(ge=1, le=1_000_000)] = 800_000
    """Share of a loss limit at which it is told that it is near."""
    ready_ppm_min: Annotated[int, Meta(ge=1, le=999_999)] = 990_000
    """Share of the time that all is to be ready to trade; what is left is the error budget."""


class BankRateSettings(_Section, frozen=True):
    """Where a bank's rate of one fiat asset for a dollar is read from, for the page of premiums; trading never sees it."""

    url: Url
    """https, or http on loopback. Answers JSON."""
    pointer: str = ""
    """JSON pointer to the number, such as `/0/basePrice`; empty: the whole answer is the number."""
    every_s: Annotated[int, Meta(ge=1, le=86_400)] = 600
    age_s_max: Annotated[int, Meta(ge=1, le=604_800)] = 3_600
    """Older than this it is not used, and the page says so."""
    timeout_ms: Annotated[int, Meta(ge=100, le=60_000)] = 5_000
    bytes_max: Annotated[int, Meta(ge=16, le=1_000_000)] = 65_536


class WebSettings(_Section, frozen=True):
    """The operator's surface: where it listens, who may reach it at all, and every bound of what clients may take."""

    enabled: bool = True
    host: str = "127.0.0.1"
    """Loopback by default. Another address needs TLS files here or a trusted proxy in front."""
    port: Port = 8320
    """0 takes any free one; the log and the status file say which."""
    public_url: str = ""
    """How browsers reach it where a proxy stands in front; empty: host and port."""
    certificate_file: str = ""
    private_key_file: str = ""
    """PEM files; both or neither."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses or networks whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed."""
    allowed_addresses: tuple[str, ...] = ()
    """Addresses or networks that may ask at all; empty: whoever reaches the port."""
    probes_open_to: Literal["nobody", "loopback", "everybody"] = "loopback"
    """Who may read `/metrics`, and in `/health` why it is not ready, without a key: who asks from this machine, and no proxy.

    Whether it lives and is ready is told to whoever may reach the port.
    """
    connections_max: Annotated[int, Meta(ge=4, le=10_000)] = 128
    backlog: Annotated[int, Meta(ge=1, le=10_000)] = 128
    body_bytes_max: Annotated[int, Meta(ge=1_024, le=10_000_000)] = 65_536
    header_bytes_max: Annotated[int, Meta(ge=1_024, le=1_000_000)] = 16_384
    header_ms_max: PositiveMilliseconds = 5_000
    """A connection that has not sent a whole request head after so long is dropped."""
    request_ms_max: PositiveMilliseconds = 10_000
    """From the first byte of a request to the last of its answer; streams aside."""
    keep_alive_ms: PositiveMilliseconds = 15_000
    streams_max: Annotated[int, Meta(ge=1, le=1_000)] = 16
    """Clients that follow events at the same time."""
    stream_events_kept: Annotated[int, Meta(ge=10, le=100_000)] = 1_000
    """How far back `Last-Event-ID` reaches."""
    stream_queue_max: Annotated[int, Meta(ge=10, le=10_000)] = 256
    """Events that may wait for one client; who is slower is told so and dropped."""
    page_rows_max: Annotated[int, Meta(ge=10, le=10_000)] = 500
    requests_per_s_max: Count = 500
    """Of all clients together."""
    client_requests_per_s_max: Count = 100
    """Of one address or key."""
    session_minutes_max: Annotated[int, Meta(ge=1, le=43_200)] = 720
    session_idle_minutes_max: Annotated[int, Meta(ge=1, le=43_200)] = 60
    token_minutes_max: Annotated[int, Meta(ge=1, le=1_440)] = 15
    logins_per_minute_max: Count = 10
    """Tries to sign in from one address or for one name; more wait."""
    bank_rates: dict[Name, BankRateSettings] = {}
    """By fiat asset; none unless configured."""


class TradingSettings(_Section, frozen=True):
    """All that the engine may know."""

    market_data: MarketDataSettings = MarketDataSettings()
    strategy: StrategySettings = StrategySettings()
    risk: RiskSettings = RiskSettings()
    execution: ExecutionSettings = ExecutionSettings()


class Settings(_Section, frozen=True):
    """The whole configuration."""

    venues: dict[Name, VenueSettings]
    env: Name = "development"
    mode: Literal["paper", "shadow", "live"] = "paper"
    """`shadow` trades on paper, and has the venues' test endpoints check every order beside it."""
    confirm_live: str = ""
    """Live needs exactly `I understand that this trades real money` here, beside MODE=live and keys."""
    keys_dir: str = ""
    """Folder with the files of the trading keys, mode 0600 each; empty: systemd credentials only."""
    session_name: Name = "default"
    market_data: MarketDataSettings = MarketDataSettings()
    strategy: StrategySettings = StrategySettings()
    risk: RiskSettings = RiskSettings()
    execution: ExecutionSettings = ExecutionSettings()
    paper: PaperSettings = PaperSettings()
    store: StoreSettings = StoreSettings()
    backup: BackupSettings = BackupSettings()
    log: LogSettings = LogSettings()
    hot_path: HotPathSettings = HotPathSettings()
    health: HealthSettings = HealthSettings()
    alerts: AlertSettings = AlertSettings()
    web: WebSettings = WebSettings()

    @property
    def trading(self) -> TradingSettings:
        """The part that enters the engine."""
        return TradingSettings(market_data=self.market_data, strategy=self.strategy, risk=self.risk, execution=self.execution)

    @property
    def market_symbols(self) -> tuple[tuple[str, str], ...]:
        """Every configured (venue, symbol), in the order that gives markets their dense ids."""
        return tuple((venue, symbol) for venue, section in self.venues.items() for symbol in section.symbols)
