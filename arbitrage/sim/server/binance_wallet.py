"""Binance's wallet endpoints (`/sapi`): status of coins, deposits and withdrawals, and what a key may do. Transfers nothing.

Reference sheet, section 9. Each endpoint has its own budget.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable

import msgspec

from arbitrage.model.money import format_e8
from arbitrage.sim.exchange.exchange import Exchange
from arbitrage.sim.exchange.nouns import ApiKey
from arbitrage.sim.server.binance_keys import SIGNED_NAMES
from arbitrage.sim.server.binance_orders import Row
from arbitrage.sim.server.binance_wire import Parameters, VenueError, decimal_text

KEY_CREATED_MS = 1_698_645_219_000
LIST_NAMES = frozenset({"coin", "status", "offset", "limit", "startTime", "endTime"})
CHAINS = {"BTC": "BTC", "ETH": "ETH", "USDT": "TRX", "XRP": "XRP", "SOL": "SOL", "DOGE": "DOGE", "BNB": "BSC"}
_SIGNED = SIGNED_NAMES | {"symbol"}
"""ccxt asks for the margin pairs before it knows the markets, signed although it need not; there are none here."""
ADDRESS = "T" + "1" * 33
DEPOSITED, WITHDRAWN = 1, 6
"""How a deposit and a withdrawal stand that are over."""
ROWS_MAX = 1_000
FIAT = frozenset({"KRW", "USD", "EUR"})


class WalletCall(msgspec.Struct, frozen=True):
    """One wallet endpoint. `weight` is charged to its own budget, per address or per account."""

    answer: Callable[[Parameters, ApiKey], object]
    weight: int = 1
    known: frozenset[str] = frozenset()
    is_uid: bool = False
    is_signed: bool = True


class BinanceWallet:
    """What the wallet tells."""

    def __init__(self, exchange: Exchange, now_ms: Callable[[], int]) -> None:
        self._exchange = exchange
        self._now_ms = now_ms
        exchange.listen_grants(self._on_grant)
        self.deposits: list[Row] = []
        """Rows of `deposit/hisrec`, newest first."""
        self.withdrawals: list[Row] = []
        """Rows of `withdraw/history`, newest first."""
        self.calls = {
            "/sapi/v1/system/status": WalletCall(lambda *_: {"status": 0, "msg": "normal"}, is_signed=False),
            "/sapi/v1/account/apiRestrictions": WalletCall(_restrictions),
            "/sapi/v1/account/status": WalletCall(lambda *_: {"data": "Normal"}),
            "/sapi/v1/margin/allPairs": WalletCall(lambda *_: [], is_signed=False, known=_SIGNED),
            "/sapi/v1/margin/isolated/allPairs": WalletCall(lambda *_: [], 10, is_signed=False, known=_SIGNED),
            "/sapi/v1/capital/config/getall": WalletCall(self._coins, 10),
            "/sapi/v1/capital/deposit/hisrec": WalletCall(
                self._deposits, known=LIST_NAMES | {"txId", "includeSource"}
            ),
            "/sapi/v1/capital/withdraw/history": WalletCall(
                self._withdrawals, 18_000, LIST_NAMES | {"withdrawOrderId", "idList"}, is_uid=True
            ),
            "/sapi/v1/asset/tradeFee": WalletCall(self._fees, known=frozenset({"symbol"})),
        }  # fmt: skip

    def _on_grant(self, asset: str, delta_e8: int) -> None:
        """Keep a deposit or a withdrawal that is over as its row; the oldest beyond the limit are forgotten."""
        now_ms, rows = self._now_ms(), self.deposits if delta_e8 > 0 else self.withdrawals
        common: Row = {
            "id": f"{len(rows):032x}", "amount": format_e8(abs(delta_e8)), "coin": asset, "network": CHAINS.get(asset, asset),
            "address": ADDRESS, "addressTag": "", "txId": f"{now_ms:064x}", "transferType": 0, "walletType": 0,
        }  # fmt: skip
        if delta_e8 > 0:
            ended: Row = {"status": DEPOSITED, "insertTime": now_ms, "completeTime": now_ms, "confirmTimes": "1/1"}
            ended |= {"unlockConfirm": 1, "sourceAddress": ADDRESS, "travelRuleStatus": 0}
        else:
            times = dict.fromkeys(("applyTime", "completeTime"), _date(now_ms))
            ended = {"status": WITHDRAWN, "applyMs": now_ms, "transactionFee": "0", "info": "", "confirmNo": 1, **times}
        rows.insert(0, common | ended)
        del rows[ROWS_MAX:]

    def _coins(self, parameters: Parameters, key: ApiKey) -> list[Row]:
        markets = [market.rules for market in self._exchange.markets.values()]
        assets = {asset for rules in markets for asset in (rules.base, rules.quote)}
        return [self._coin(asset) for asset in sorted(assets | set(self._exchange.account.assets()))]

    def _coin(self, asset: str) -> Row:
        account, is_open = self._exchange.account, asset not in self._exchange.suspended
        network: Row = {
            "network": CHAINS.get(asset, asset), "coin": asset, "withdrawIntegerMultiple": "0.00000001", "isDefault": True,
            "depositEnable": is_open, "withdrawEnable": is_open,
            **dict.fromkeys(("depositDesc", "withdrawDesc"), "" if is_open else "Wallet Maintenance"), "specialTips": "",
            "name": CHAINS.get(asset, asset), "resetAddressStatus": False, "addressRegex": "^[0-9a-zA-Z]{20,64}$",
            "memoRegex": "", "withdrawFee": "0.001", "withdrawMin": "0.002", "withdrawMax": "10000000",
            "withdrawInternalMin": "0.00000001", "depositDust": "0.00000001", "minConfirm": 1, "unLockConfirm": 1,
            "sameAddress": False, "withdrawTag": False, "estimatedArrivalTime": 1, "busy": False, "contractAddressUrl": "",
            "contractAddress": "", "denomination": 1,
        }  # fmt: skip
        return {
            "coin": asset, "depositAllEnable": is_open, "withdrawAllEnable": is_open, "name": asset,
            "free": decimal_text(account.free_e8(asset)), "locked": decimal_text(account.locked_e8(asset)),
            **dict.fromkeys(("freeze", "withdrawing", "ipoing", "ipoable", "storage"), "0"),
            "isLegalMoney": asset in FIAT, "trading": True, "networkList": [] if asset in FIAT else [network],
        }  # fmt: skip

    def _deposits(self, parameters: Parameters, key: ApiKey) -> list[Row]:
        return _page(self.deposits, parameters, time_name="insertTime")

    def _withdrawals(self, parameters: Parameters, key: ApiKey) -> list[Row]:
        rows = _page(self.withdrawals, parameters, time_name="applyMs")
        return [{name: value for name, value in row.items() if name != "applyMs"} for row in rows]

    def _fees(self, parameters: Parameters, key: ApiKey) -> list[Row]:
        symbol = parameters.optional("symbol")
        if symbol is not None and symbol not in self._exchange.markets:
            raise VenueError(-1121, "Invalid symbol.")
        return [
            {
                "symbol": rules.symbol,
                "makerCommission": f"{rules.maker_ppm // 1_000_000}.{rules.maker_ppm % 1_000_000:06d}",
                "takerCommission": f"{rules.taker_ppm // 1_000_000}.{rules.taker_ppm % 1_000_000:06d}",
            }
            for rules in (market.rules for market in self._exchange.markets.values())
            if symbol in (None, rules.symbol)
        ]  # fmt: skip


def _date(at_ms: int) -> str:
    return datetime.datetime.fromtimestamp(at_ms / 1000, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S")


def _restrictions(parameters: Parameters, key: ApiKey) -> Row:
    """Tell what the key may do: how a client learns whether it could withdraw."""
    return {
        "ipRestrict": False, "createTime": KEY_CREATED_MS, "enableReading": True, "enableWithdrawals": key.can_withdraw,
        "enableInternalTransfer": False, "enableMargin": False, "enableFutures": False, "permitsUniversalTransfer": False,
        "enableVanillaOptions": False, "enableFixApiTrade": False, "enableFixReadOnly": True,
        "enableSpotAndMarginTrading": key.can_trade, "enablePortfolioMarginTrading": False,
    }  # fmt: skip


def _page(rows: list[Row], parameters: Parameters, *, time_name: str) -> list[Row]:
    start_ms, end_ms = parameters.integer("startTime", 0), parameters.integer("endTime", 2**62)
    coin, status = parameters.optional("coin"), parameters.optional("status")
    found: list[Row] = []
    for row in rows:
        at_ms = row[time_name]
        assert isinstance(at_ms, int), "a row knows when it happened"
        is_wanted = coin in (None, row["coin"]) and status in (None, str(row["status"]))
        if is_wanted and start_ms <= at_ms <= end_ms:
            found.append(row)
    offset = parameters.integer("offset", 0)
    return found[offset : offset + min(parameters.integer("limit", 1000), 1000)]
