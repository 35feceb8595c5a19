"""What Upbit tells of an account: balances, what may be ordered, wallets, keys and their rights (sheet, section 6)."""

from __future__ import annotations

from collections.abc import Iterable

from arbitrage.model.money import E8, PPM, format_e8
from arbitrage.sim.exchange.exchange import Exchange
from arbitrage.sim.server.upbit_errors import UpbitRefusal
from arbitrage.sim.server.upbit_keys import UpbitKey
from arbitrage.sim.server.upbit_orders import Row, iso_kst, uuid_of

FIAT = "KRW"
BID_TYPES = ["best_fok", "best_ioc", "limit", "limit_fok", "limit_ioc", "price"]
ASK_TYPES = ["best_fok", "best_ioc", "limit", "limit_fok", "limit_ioc", "market"]
TOTAL_MAX = "1000000000"
WITHDRAWAL_FEE = "0.0008"
_NETWORKS = {"BTC": "Bitcoin", "ETH": "Ethereum", "XRP": "Ripple", "SOL": "Solana", "DOGE": "Dogecoin", "USDT": "Tron"}
_NET_TYPES = {"USDT": "TRX"}


def account_row(exchange: Exchange, asset: str) -> Row:
    """Return one balance: `balance` is the free part."""
    return {
        "currency": asset,
        "balance": _with_point(exchange.account.free_e8(asset)),
        "locked": _with_point(exchange.account.locked_e8(asset)),
        "avg_buy_price": "0",
        "avg_buy_price_modified": False,
        "unit_currency": FIAT,
    }


def account_rows(exchange: Exchange) -> list[Row]:
    """Return every balance that is not nothing, the fiat first."""
    account = exchange.account
    held = [asset for asset in account.assets() if account.free_e8(asset) or account.locked_e8(asset)]
    return [account_row(exchange, asset) for asset in sorted(held, key=lambda asset: (asset != FIAT, asset))]


def chance_row(exchange: Exchange, symbol: str) -> Row:
    """Return what may be ordered in a market: fees, minimums, types and both balances."""
    if symbol not in exchange.markets:
        raise UpbitRefusal("validation_error", "market does not have a valid value")
    rules = exchange.rules(symbol)
    maker, taker = (format_e8(rate_ppm * E8 // PPM) for rate_ppm in (rules.maker_ppm, rules.taker_ppm))
    least = format_e8(rules.notional_e8_min)
    return {
        "bid_fee": taker,
        "ask_fee": taker,
        "maker_bid_fee": maker,
        "maker_ask_fee": maker,
        "market": {
            "id": symbol,
            "name": f"{rules.base}/{rules.quote}",
            "order_types": ["limit"],
            "order_sides": ["ask", "bid"],
            "bid_types": BID_TYPES,
            "ask_types": ASK_TYPES,
            "bid": {"currency": rules.quote, "min_total": least},
            "ask": {"currency": rules.base, "min_total": least},
            "max_total": TOTAL_MAX,
            "state": "offline" if symbol in exchange.halted else "active",
        },
        "bid_account": account_row(exchange, rules.quote),
        "ask_account": account_row(exchange, rules.base),
    }


def wallet_rows(exchange: Exchange, assets: Iterable[str], now_ns: int) -> list[Row]:
    """Return the state of every coin's wallet."""
    return [
        {
            "currency": asset,
            "wallet_state": "paused" if asset in exchange.suspended else "working",
            "block_state": "normal",
            "block_height": 921_000,
            "block_updated_at": iso_kst(now_ns, "milliseconds"),
            "block_elapsed_minutes": 0,
            "net_type": _NET_TYPES.get(asset, asset),
            "network_name": _NETWORKS.get(asset, asset),
        }
        for asset in assets
    ]


def key_rows(keys: Iterable[UpbitKey]) -> list[Row]:
    """Return the pocket's keys and when each ends."""
    return [{"access_key": key.access_key, "expire_at": iso_kst(key.ends_ns)} for key in keys]


def pocket_rows(keys: Iterable[UpbitKey]) -> list[Row]:
    """Return the pocket's keys with what each may do: where a client learns whether its own can withdraw."""
    rows = [
        {
            "access_key": key.access_key,
            "permissions": sorted(key.rights),
            "allowed_ips": list(key.allowed_ips),
            "created_at": iso_kst(key.created_ns),
            "expired_at": iso_kst(key.ends_ns),
        }
        for key in keys
    ]
    return [{"uuid": uuid_of("pocket", 0), "keys": rows}]


def withdrawal_row(exchange: Exchange, asset: str) -> Row:
    """Return what may be withdrawn of an asset."""
    is_paused = asset in exchange.suspended
    return {
        "member_level": {
            "security_level": 4, "fee_level": 0, "email_verified": True, "identity_auth_verified": True,
            "bank_account_verified": True, "two_factor_auth_verified": True, "locked": False, "wallet_locked": False,
        },
        "currency": {
            "code": asset, "withdraw_fee": WITHDRAWAL_FEE, "is_coin": asset != FIAT, "wallet_state": "working",
            "wallet_support": [] if is_paused else ["deposit", "withdraw"],
        },
        "account": account_row(exchange, asset),
        "withdraw_limit": {
            "currency": asset, "fiat_currency": FIAT, "remaining_daily_fiat": "5000000000.0", "minimum": "0.001", "fixed": 8,
            "withdraw_delayed_fiat": "0.0", "can_withdraw": not is_paused,
        },
    }  # fmt: skip


def _with_point(value_e8: int) -> str:
    """Print an amount with at least one decimal, as balances are."""
    text = format_e8(value_e8)
    return text if "." in text else f"{text}.0"
