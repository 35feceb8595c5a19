"""Do the settings make sense together? Limits in order, a profit that can be reached, fees that are covered. Asks no venue.

About fees: an opportunity's edge is already net of every cost, so the gross spread that is demanded is the cycle's fees plus
`edge_ppm_min`. It exceeds the fees of the cheapest cycle exactly if `edge_ppm_min` or `profit_min` is above zero, which is
refused otherwise. A `edge_ppm_max` at or below those fees is refused too: a ceiling on the net edge that small is a limit
written in another unit (basis points) and would refuse all that is worth having.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from urllib.parse import parse_qsl, urlsplit

import msgspec

from arbitrage.model.money import PPM, fee_up_e8, format_e8, parse_e8
from arbitrage.model.settings import ChannelSettings, ExecutionSettings, FeeSettings, Settings, VenueSettings
from arbitrage.ops.alerts.addresses import LOOPBACK, is_safe
from arbitrage.ops.alerts.quiet import ZoneUnknown, zone_named
from arbitrage.ops.exposure import exposures

SECRET_WORDS = ("key", "token", "secret", "password", "auth", "app_id", "appid", "signature")
"""An address whose query has a name with one of these in it bears a secret."""
MONEY_LADDER = (
    "notional_per_order_max",
    "notional_per_opportunity_max",
    "notional_per_pair_max",
    "notional_per_venue_max",
)
"""Each is at most the next: a wider limit below a narrower one would make the narrower one a lie."""
MONEY_POSITIVE = (*MONEY_LADDER, "exposure_per_asset_max", "loss_today_max", "drawdown_max")
MONEY_NOT_NEGATIVE = ("carried_fx_max", "profit_min")


class Clash(msgspec.Struct, frozen=True):
    """Two settings that do not fit, or one that cannot be meant."""

    key: str
    what: str
    mend: str


class Edge(msgspec.Struct, frozen=True):
    """A configured market as far as the configuration alone tells."""

    venue: str
    symbol: str
    base: str
    quote: str
    fee_ppm: int


class CheapestCycle(msgspec.Struct, frozen=True):
    """The configured cycle of two markets (and the FX market, where the quotes differ) with the least fees."""

    markets: tuple[str, ...]
    fees_ppm: int
    """Taker fees of all its legs and rebalancing costs of its transfers, compounded, rounded up."""


def clashes(settings: Settings) -> list[Clash]:
    """List everything that does not fit together."""
    found = [*_money(settings), *_profit(settings), *_fees(settings), *_times(settings), *_names(settings), *_alerts(settings)]
    found += _bank_rates(settings)
    found += [Clash(*exposed) for exposed in exposures(settings.web)]
    cheapest = cheapest_cycle(settings)
    if cheapest is not None and settings.risk.edge_ppm_max <= cheapest.fees_ppm:
        what = f"{settings.risk.edge_ppm_max} is not above the fees of the cheapest cycle ({cheapest.fees_ppm} ppm)"
        found.append(Clash("risk.edge_ppm_max", what, "write it in parts per million of the notional, such as 50000"))
    return found


def cheapest_cycle(settings: Settings) -> CheapestCycle | None:
    """Find the cheapest cycle across two venues, or None where no confirmed asset is traded at two (then there is no such fee).

    A symbol without a separator is split only where both halves are assets that the configuration names somewhere; what
    it really trades is read from the venue later. Fixed transfer costs depend on the size and are left out.
    """
    edges = list(_edges(settings))
    best: CheapestCycle | None = None
    for first in edges:
        for second in edges:
            if first.venue == second.venue or first.base != second.base:
                continue
            for cycle, returned in _closed(first, second, edges):
                fees_ppm = _compounded_ppm(cycle, (first.base, returned), settings)
                if fees_ppm is not None and (best is None or fees_ppm < best.fees_ppm):
                    best = CheapestCycle(tuple(f"{edge.venue}:{edge.symbol}" for edge in cycle), fees_ppm)
    return best


def _closed(first: Edge, second: Edge, edges: list[Edge]) -> Iterator[tuple[tuple[Edge, ...], str]]:
    """Buy at the first, sell at the second, turn the proceeds back where the quotes differ; beside it the asset moved back."""
    if first.quote == second.quote:
        yield (first, second), first.quote
        return
    for fx in edges:
        if fx.venue in (first.venue, second.venue) and {fx.base, fx.quote} == {first.quote, second.quote}:
            yield (first, second, fx), second.quote if fx.venue == first.venue else first.quote


def _compounded_ppm(cycle: tuple[Edge, ...], moved: tuple[str, ...], settings: Settings) -> int | None:
    """Return what of a unit is lost on the way round; None when an asset that must move is not confirmed as one coin."""
    transfers = [settings.strategy.transfers.get(asset) for asset in moved]
    costs = [edge.fee_ppm for edge in cycle]
    for transfer in transfers:
        if transfer is None or not transfer.is_identity_confirmed:
            return None
        costs.append(transfer.cost_ppm)
    scale = PPM * PPM
    kept = scale
    for cost_ppm in costs:
        kept -= fee_up_e8(kept, cost_ppm)
    return -((kept - scale) // PPM)


def _edges(settings: Settings) -> Iterator[Edge]:
    assets = _known_assets(settings)
    for venue, section in settings.venues.items():
        for symbol in section.symbols:
            for base, quote in _splits(symbol, section, assets):
                fees = section.quote_fees.get(quote, section.fees)
                yield Edge(venue, symbol, base, quote, fees.taker_ppm)


def _known_assets(settings: Settings) -> set[str]:
    strategy = settings.strategy
    assets = {strategy.reporting_asset, *strategy.fx_assets, *strategy.transfers}
    for inventory in settings.paper.inventory.values():
        assets.update(inventory)
    for section in settings.venues.values():
        assets.update(part for symbol in section.symbols if "-" in symbol for part in symbol.split("-"))
    return assets


def _splits(symbol: str, section: VenueSettings, assets: set[str]) -> list[tuple[str, str]]:
    if section.kind == "upbit":
        quote, _, base = symbol.partition("-")
        return [(base, quote)] if base else []
    pairs = [(symbol[:cut], symbol[cut:]) for cut in range(1, len(symbol))]
    known = [(base, quote) for base, quote in pairs if base in assets and quote in assets]
    return known if len(known) == 1 else []


def _money(settings: Settings) -> Iterator[Clash]:
    risk = settings.risk
    amounts = {name: parse_e8(getattr(risk, name)) for name in (*MONEY_POSITIVE, *MONEY_NOT_NEGATIVE)}
    for name in MONEY_POSITIVE:
        if amounts[name] <= 0:
            yield Clash(f"risk.{name}", f"{format_e8(amounts[name])} is not above zero", "write a limit above zero")
    for name in MONEY_NOT_NEGATIVE:
        if amounts[name] < 0:
            yield Clash(f"risk.{name}", f"{format_e8(amounts[name])} is negative", "write zero or more")
    for narrow, wide in (*itertools.pairwise(MONEY_LADDER), (MONEY_LADDER[0], "exposure_per_asset_max")):
        if amounts[narrow] > amounts[wide]:
            what = f"{format_e8(amounts[narrow])} is above risk.{wide} ({format_e8(amounts[wide])})"
            yield Clash(f"risk.{narrow}", what, f"lower it or raise risk.{wide}")
    if risk.orders_per_minute_max < settings.strategy.legs_max:
        what = f"{risk.orders_per_minute_max} is below strategy.legs_max ({settings.strategy.legs_max}): no plan could be sent"
        yield Clash("risk.orders_per_minute_max", what, "raise it or lower strategy.legs_max")
    for key, text in (("execution.dust_value_max", settings.execution.dust_value_max), *_inventory(settings)):
        if parse_e8(text) < 0:
            yield Clash(key, f"{text} is negative", "write zero or more")


def _inventory(settings: Settings) -> Iterator[tuple[str, str]]:
    for venue, assets in settings.paper.inventory.items():
        for asset, text in assets.items():
            yield f"paper.inventory.{venue}.{asset}", text
    for asset, transfer in settings.strategy.transfers.items():
        yield f"strategy.transfers.{asset}.cost", transfer.cost


def _profit(settings: Settings) -> Iterator[Clash]:
    risk = settings.risk
    profit_e8 = parse_e8(risk.profit_min)
    if risk.edge_ppm_min < 0 or (risk.edge_ppm_min == 0 and profit_e8 == 0):
        what = f"{risk.edge_ppm_min} demands no more than the fees of the cheapest cycle (the edge is net of them)"
        yield Clash("risk.edge_ppm_min", what, "write at least 1, or a risk.profit_min above zero")
    if risk.edge_ppm_min >= risk.edge_ppm_max:
        what = f"{risk.edge_ppm_min} is not below risk.edge_ppm_max ({risk.edge_ppm_max}): nothing could pass"
        yield Clash("risk.edge_ppm_min", what, "lower it")
    if settings.strategy.screen_edge_ppm >= risk.edge_ppm_max:
        what = f"{settings.strategy.screen_edge_ppm} is not below risk.edge_ppm_max ({risk.edge_ppm_max}): nothing could pass"
        yield Clash("strategy.screen_edge_ppm", what, "lower it")
    reachable_e8 = parse_e8(risk.notional_per_opportunity_max) * risk.edge_ppm_max // PPM
    if profit_e8 > reachable_e8:
        what = f"{risk.profit_min} is out of reach: notional_per_opportunity_max at edge_ppm_max is {format_e8(reachable_e8)}"
        yield Clash("risk.profit_min", what, "lower it or raise risk.notional_per_opportunity_max")


def _fees(settings: Settings) -> Iterator[Clash]:
    for venue, section in settings.venues.items():
        schedules: list[tuple[str, FeeSettings]] = [("fees", section.fees)]
        schedules += [(f"quote_fees.{quote}", fees) for quote, fees in section.quote_fees.items()]
        for name, fees in schedules:
            if (fees.payment == "named") != (fees.named_asset is not None):
                what = f"payment is `{fees.payment}` and named_asset is {fees.named_asset or 'not set'}"
                yield Clash(f"venues.{venue}.{name}.payment", what, "name the asset exactly when payment is `named`")


def _times(settings: Settings) -> Iterator[Clash]:
    pairs = [
        ("execution.acknowledgement_ms_max", settings.execution.acknowledgement_ms_max,
         "execution.plan_deadline_ms", settings.execution.plan_deadline_ms),
        ("paper.acknowledgement_ms", settings.paper.acknowledgement_ms,
         "execution.acknowledgement_ms_max", settings.execution.acknowledgement_ms_max),
    ]
    for venue, section in settings.venues.items():
        prefix = f"venues.{venue}"
        pairs += [
            (f"{prefix}.backoff_ms_min", section.backoff_ms_min, f"{prefix}.backoff_ms_max", section.backoff_ms_max + 1),
            (f"{prefix}.ping_interval_ms", section.ping_interval_ms, f"{prefix}.silence_ms_max", section.silence_ms_max),
            (f"{prefix}.ping_interval_ms", section.ping_interval_ms,
             "market_data.link_age_ms_max", settings.market_data.link_age_ms_max),
        ]
    for shorter, value, longer, bound in pairs:
        if value >= bound:
            yield Clash(shorter, f"{value} is not below {longer}", f"lower it or raise {longer}")
    yield from _absence(settings.execution)


def _absence(execution: ExecutionSettings) -> Iterator[Clash]:
    """An order must be found absent while its plan can still mend what that leaves, and before the plan gives up waiting."""
    found_ms = execution.order_validity_ms + execution.absence_horizon_ms + 2 * execution.query_interval_ms
    bounds = {"plan_deadline_ms": execution.plan_deadline_ms, "answer_horizon_ms": execution.answer_horizon_ms}
    for name, bound_ms in bounds.items():
        if found_ms >= bound_ms:
            what = (
                f"order_validity_ms, absence_horizon_ms and two query_interval_ms make {found_ms}, which is not below"
                f" execution.{name} ({bound_ms}): an absent order would be found too late"
            )
            yield Clash("execution.absence_horizon_ms", what, f"lower it or raise execution.{name}")


def _names(settings: Settings) -> Iterator[Clash]:
    if not settings.venues:
        yield Clash("venues", "names no venue", "add at least one")
    for venue, section in settings.venues.items():
        if len(set(section.symbols)) != len(section.symbols):
            yield Clash(f"venues.{venue}.symbols", "lists a symbol twice", "remove one")
        if section.rest_url.startswith("ws") or section.stream_url.startswith("http"):
            yield Clash(f"venues.{venue}.rest_url", "and stream_url are swapped", "rest is http(s), stream is ws(s)")
    for venue in settings.paper.inventory:
        if venue not in settings.venues:
            yield Clash(f"paper.inventory.{venue}", "is not a configured venue", f"known: {', '.join(settings.venues)}")
    if "/" in settings.session_name or settings.session_name.strip(".") == "":
        yield Clash("session_name", "is not usable as a name", "use letters, digits, `_` and `-`")


def _alerts(settings: Settings) -> Iterator[Clash]:
    try:
        zone_named(settings.alerts.quiet_zone)
    except ZoneUnknown as unknown:
        yield Clash("alerts.quiet_zone", str(unknown), "write one such as Asia/Seoul or UTC")
    for name, channel in settings.alerts.channels.items():
        for key, what, mend in _channel(channel):
            yield Clash(f"alerts.channels.{name}.{key}", what, mend)


def _bank_rates(settings: Settings) -> Iterator[Clash]:
    for asset, source in settings.web.bank_rates.items():
        key = f"web.bank_rates.{asset}"
        if not is_safe(source.url):
            yield Clash(f"{key}.url", "is not https", "write an address that begins with https://")
        if _bears_a_secret(source.url):
            yield Clash(f"{key}.url", "bears a password or key, and pages show it", "name a source that needs none")
        if source.pointer and not source.pointer.startswith("/"):
            yield Clash(f"{key}.pointer", "is no JSON pointer", "write one such as /0/basePrice, or nothing")
        if source.age_s_max < source.every_s:
            what = f"{source.age_s_max} is below {key}.every_s ({source.every_s}): it would be unknown between two reads"
            yield Clash(f"{key}.age_s_max", what, "raise it or lower every_s")


def _bears_a_secret(url: str) -> bool:
    place = urlsplit(url)
    names = (name.lower() for name, _ in parse_qsl(place.query, keep_blank_values=True))
    return "@" in place.netloc or any(word in name for name in names for word in SECRET_WORDS)


def _channel(channel: ChannelSettings) -> Iterator[tuple[str, str, str]]:
    """Name what a channel of its kind lacks, and where others could read what is sent."""
    match channel.kind:
        case "webhook" if channel.url is None:
            yield "url", "is missing", "write where the webhook is"
        case "telegram" if not channel.chat:
            yield "chat", "is missing", "write the id of the chat"
        case "email":
            if not channel.smtp_host or not channel.sender or not channel.recipients:
                yield "smtp_host", "or sender or recipients is missing", "write all three"
            if channel.smtp_security == "none" and channel.smtp_user and channel.smtp_host not in LOOPBACK:
                yield "smtp_security", "would send the password for all to read", "write starttls or tls"
            if any("\n" in text or "\r" in text for text in (channel.sender, *channel.recipients)):
                yield "recipients", "or sender holds a line break", "write addresses"
    if channel.url is not None and not is_safe(channel.url):
        yield "url", "is not https", "write an address that begins with https://"
