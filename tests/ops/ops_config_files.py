"""A small valid configuration on disk, made for one test and changed by it."""

from __future__ import annotations

from pathlib import Path

BASE = """\
venues:
  binance:
    kind: binance
    rest_url: http://127.0.0.1:1
    stream_url: ws://127.0.0.1:2
    symbols: [BTCUSDT, XRPUSDT]
    fees: {maker_ppm: 1000, taker_ppm: 1000, payment: received}
  upbit:
    kind: upbit
    rest_url: http://127.0.0.1:3
    stream_url: ws://127.0.0.1:4
    symbols:
      - KRW-BTC
      - KRW-XRP
      - KRW-USDT
    fees: {maker_ppm: 500, taker_ppm: 500, payment: quote}
risk:
  open_plans_max: 4
  profit_min: "0.10"
strategy:
  transfers:
    BTC: {cost_ppm: 200, is_identity_confirmed: true}
    USDT: {cost_ppm: 100, is_identity_confirmed: true}
"""


def write_config(folder: Path, *, base: str = BASE, development: str = "", secrets: str | None = None) -> Path:
    """Write a configuration folder with the three environments and, if given, a private secrets file."""
    (folder / "environments").mkdir(parents=True, exist_ok=True)
    (folder / "base.yaml").write_text(base)
    (folder / "environments" / "development.yaml").write_text(development)
    for name in ("staging", "production"):
        (folder / "environments" / f"{name}.yaml").write_text("log:\n  level: WARNING\n")
    if secrets is not None:
        path = folder / "secrets.yaml"
        path.write_text(secrets)
        path.chmod(0o600)
    return folder
