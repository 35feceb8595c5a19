"""Reads everything a person may want to see out of an engine. Changes nothing; never called on the hot path."""

from __future__ import annotations

from arbitrage.engine.engine import Engine
from arbitrage.engine.views import EngineView, MarketView
from arbitrage.model.instruments import Venue
from arbitrage.model.money import Asset


def view_of(engine: Engine, now_ns: int) -> EngineView:
    """Return the whole picture. Built anew each time: for screens and status files, not for the hot path."""
    board, ledger = engine.board, engine.ledger
    reporting = Asset(engine.settings.strategy.reporting_asset)
    markets = []
    for market, (venue, symbol) in enumerate(engine.markets):
        book, doubt = board.books[market], board.doubt(market, now_ns)
        age_ms = board.age_ms(market, now_ns)
        word = doubt.value if doubt is not None else None
        markets.append(MarketView(market, venue, symbol, book.best_bid, book.best_ask, age_ms, book.version, word))
    venues = tuple(board.venue_health(Venue(name), now_ns) for name in dict.fromkeys(venue for venue, _ in engine.markets))
    assert len(markets) == len(board.books), "every configured market is shown"
    return EngineView(
        at_ns=now_ns,
        not_armed_because=engine.not_armed_because(),
        spreads=tuple(engine.detector.spreads(board, now_ns)),
        markets=tuple(markets),
        venues=venues,
        opportunities=tuple(engine.opportunities),
        outcomes=tuple(engine.outcomes),
        tally=engine.tally,
        counters={**board.counters, **engine.episodes.counters},
        reporting_asset=reporting,
        realised_e8=ledger.realised_e8().get(reporting, 0),
        open_plans=len(engine.desk.open_plans()),
        links_lost={str(venue): count for venue, count in board.links_lost.items()},
        dust=engine.dust.lines,
        pairs_off=engine.pairs.off(),
        accounts={venue: account.standing_text() for venue, account in engine.reconciler.accounts.items()},
        balances={node: (ledger.free_e8(node), ledger.reserved_e8(node)) for node in ledger.nodes()},
    )
