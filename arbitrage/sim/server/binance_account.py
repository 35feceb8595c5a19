"""Binance's account calls: balances and commission rates. Changes nothing. Reference sheet, section 8."""

from __future__ import annotations

from collections.abc import Callable

from arbitrage.sim.exchange.exchange import Exchange
from arbitrage.sim.server.binance_orders import Row
from arbitrage.sim.server.binance_wire import Call, Parameters, VenueError, decimal_text, weighs

UID = 354_937_868
_NO_RATES = {"maker": "0.00000000", "taker": "0.00000000", "buyer": "0.00000000", "seller": "0.00000000"}


def rate_text(ppm: int) -> str:
    """Print a rate with eight decimals."""
    return decimal_text(ppm * 100)


class BinanceAccount:
    """What the account tells of itself."""

    def __init__(self, exchange: Exchange, now_ms: Callable[[], int]) -> None:
        self.exchange = exchange
        self._now_ms = now_ms
        self.calls = {
            "account.status": Call(self._status, weighs(20), frozenset({"omitZeroBalances"}), is_signed=True),
            "account.commission": Call(self._commission, weighs(20), frozenset({"symbol"}), is_signed=True),
        }

    def test_rates(self, symbol: str) -> Row:
        """Return what `order/test` tells of an order's rates."""
        names = ("standardCommission", "specialCommission", "taxCommission")
        row = self._rates(symbol)
        rates: Row = {}
        for name in names:
            both = row[name]
            assert isinstance(both, dict), "a commission is its rates by name"
            rates[f"{name}ForOrder"] = {"maker": both["maker"], "taker": both["taker"]}
        return {**rates, "discount": row["discount"]}

    def _status(self, parameters: Parameters) -> Row:
        account = self.exchange.account
        maker, taker = self._typical_rates()
        is_short = parameters.optional("omitZeroBalances") == "true"
        balances = [
            {"asset": asset, "free": decimal_text(account.free_e8(asset)), "locked": decimal_text(account.locked_e8(asset))}
            for asset in account.assets()
            if not is_short or account.free_e8(asset) or account.locked_e8(asset)
        ]
        return {
            "makerCommission": maker // 100, "takerCommission": taker // 100, "buyerCommission": 0, "sellerCommission": 0,
            "commissionRates": {**_NO_RATES, "maker": rate_text(maker), "taker": rate_text(taker)},
            "canTrade": True, "canWithdraw": True, "canDeposit": True, "brokered": False, "requireSelfTradePrevention": False,
            "preventSor": False, "updateTime": self._now_ms(), "accountType": "SPOT", "balances": balances,
            "permissions": ["SPOT"], "uid": UID,
        }  # fmt: skip

    def _commission(self, parameters: Parameters) -> Row:
        symbol = parameters.text("symbol")
        if symbol not in self.exchange.markets:
            raise VenueError(-1121, "Invalid symbol.")
        return self._rates(symbol)

    def _rates(self, symbol: str) -> Row:
        rules = self.exchange.rules(symbol)
        asset = self.exchange.settlement.named_fee_asset
        return {
            "symbol": symbol,
            "standardCommission": {**_NO_RATES, "maker": rate_text(rules.maker_ppm), "taker": rate_text(rules.taker_ppm)},
            "specialCommission": dict(_NO_RATES),
            "taxCommission": dict(_NO_RATES),
            "discount": {
                "enabledForAccount": bool(asset), "enabledForSymbol": True, "discountAsset": asset or "BNB",
                "discount": rate_text(self.exchange.policy.named_fee_share_ppm),
            },
        }  # fmt: skip

    def _typical_rates(self) -> tuple[int, int]:
        """Return the first market's rates: the account shows one pair for all."""
        rules = next(market.rules for market in self.exchange.markets.values())
        return rules.maker_ppm, rules.taker_ppm
