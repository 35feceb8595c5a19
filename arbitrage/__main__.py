"""`python -m arbitrage`: the same as the console script."""

from arbitrage.app.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
