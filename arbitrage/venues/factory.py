"""Makes the session that a venue's settings ask for, so that nothing above needs a venue's name. Opens nothing."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Literal, cast

from arbitrage.model.instruments import Venue
from arbitrage.model.settings import VenueSettings
from arbitrage.venues.binance.account_session import BinanceAccountSession
from arbitrage.venues.binance.session import BinanceSession
from arbitrage.venues.rest import Limits
from arbitrage.venues.session import Session
from arbitrage.venues.trading import AccountContext, AccountSession
from arbitrage.venues.transport import Transport, connect_websockets
from arbitrage.venues.upbit.account_session import UpbitAccountSession
from arbitrage.venues.upbit.session import UpbitSession
from arbitrage.venues.wiring import Wiring


def make_session(name: Venue, settings: VenueSettings, markets: Mapping[str, int], wiring: Wiring) -> Session:
    """Build the session of one venue; `markets` maps its symbols to their dense ids."""
    match settings.kind:
        case "binance":
            return BinanceSession(name, settings, markets, wiring)
        case "upbit":
            return UpbitSession(name, settings, markets, wiring)


def make_account_session(account: AccountContext, limits: Limits) -> AccountSession:
    """Build the order entry of one venue; `limits` are its market-data session's own (`Session.limits`)."""
    match account.context.settings.kind:
        case "binance":
            return BinanceAccountSession(account, limits)
        case "upbit":
            return UpbitAccountSession(account, limits)


def transport_named(name: Literal["websockets", "picows"]) -> Transport:
    """Return a transport; `picows` is an optional extra and is imported only when asked for. Raises ModuleNotFoundError."""
    if name == "websockets":
        return connect_websockets
    module = importlib.import_module("arbitrage.venues.transport_picows")
    return cast(Transport, module.connect_picows)
