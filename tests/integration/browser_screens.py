"""Takes the screenshots of docs/screens/ anew: a demo, a real Chromium, both themes, two widths. Compares nothing.

Usage: python tests/integration/browser_screens.py [FOLDER] [SECONDS]    (default docs/screens, 45 s of trading first)
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from browser_lab import THEMES, WIDTHS, Browser, DemoHouse, make_admin
from daemon_lab import PROJECT, wait_until
from small_png import shrink

SHOWN = {
    "overview": "/", "spreads": "/spreads?span=10m", "edge": "/edge", "money": "/money", "latency": "/latency",
    "drills": "/drills",
}  # fmt: skip
BYTES_MAX = 200_000
HEIGHTS = (700, 2_600)


def take(folder: Path, seconds: float) -> list[Path]:
    """Trade for a while, then photograph; return what was made."""
    folder.mkdir(parents=True, exist_ok=True)
    house = DemoHouse("--scenario", "synthetic")
    try:
        base, link = house.set_up_link()
        browser = Browser(base)
        try:
            make_admin(browser, link)
            wait_until(lambda: browser.texts("#fall tr"), "an arbitrage on the first screen", 120)
            time.sleep(seconds)
            return [shot for name, path in SHOWN.items() for shot in photograph(browser, folder, name, path)]
        finally:
            browser.close()
    finally:
        house.close()


def photograph(browser: Browser, folder: Path, name: str, path: str) -> list[Path]:
    """Photograph one page in every theme and width."""
    made = []
    for theme in THEMES:
        for width in WIDTHS:
            browser.look(theme, width)
            browser.open(path)
            time.sleep(1.5)
            shot = folder / f"{name}-{theme}-{width}.png"
            browser.shoot(shot, HEIGHTS)
            size = shrink(shot)
            assert size < BYTES_MAX, f"{shot} has {size} bytes, {BYTES_MAX} are allowed"
            made.append(shot)
    return made


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else PROJECT / "docs" / "screens"
    for made in take(target, float(sys.argv[2]) if len(sys.argv) > 2 else 45.0):
        print(made.relative_to(PROJECT) if made.is_relative_to(PROJECT) else made, made.stat().st_size)
