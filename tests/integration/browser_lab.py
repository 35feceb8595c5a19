"""A demo with its surface, and a real Chromium that looks at it: Debian's, driven by Debian's driver, cut off from all else."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from daemon_lab import PROJECT, clean_environment, wait_until
from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from store_servers import reachable_folder

from arbitrage.ops.status import Status, read_status

THEMES, WIDTHS = ("light", "dark"), (390, 1440)
ADMIN, PASSWORD = "kim", "plum barrow lantern 7"
VIEWER = "vera"
LINK = re.compile(r"(http://127\.0\.0\.1:\d+)(/setup\?token=[\w-]+)")
PROGRAMS = {"chromium": "chromium", "chromedriver": "chromium-driver"}
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync", "--no-first-run", "--hide-scrollbars", "--disable-gpu", "--disable-lcd-text",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)  # fmt: skip
PAGES = (
    "/", "/alerts", "/spreads", "/edge", "/opportunities", "/money", "/inventory", "/orders", "/latency", "/reports",
    "/drills", "/configuration", "/configuration/history", "/audit", "/users", "/runbook/kill_switch",
)  # fmt: skip


def program(name: str) -> str:
    """Return where a program is; say what to install where it is not."""
    found = shutil.which(name)
    assert found is not None, f"{name} is missing: apt-get install {' '.join(PROGRAMS.values())}"
    return found


class DemoHouse:
    """`arbitrage demo` in a folder of its own, its surface on a free port; `settings` are variables of its environment."""

    def __init__(self, *words: str, **settings: str) -> None:
        self.folder = reachable_folder()
        environment = clean_environment(
            ARBITRAGE__STORE__DATA_DIR=str(self.folder), ARBITRAGE__LOG__DIRECTORY=str(self.folder / "logs"),
            ARBITRAGE__WEB__PORT="0", **settings,
        )  # fmt: skip
        command = [sys.executable, "-m", "arbitrage", "demo", *words]
        self._screen = (self.folder / "screen.txt").open("w+b")
        self._process = subprocess.Popen(
            command, cwd=PROJECT, env=environment, stdout=self._screen, stderr=subprocess.STDOUT, start_new_session=True
        )

    @property
    def shown(self) -> str:
        """What it printed so far."""
        return (self.folder / "screen.txt").read_text(errors="replace")

    @property
    def status(self) -> Status:
        """Return its own word about itself."""
        found = read_status(self.folder)
        assert isinstance(found, Status), found
        return found

    def set_up_link(self) -> tuple[str, str]:
        """Wait for the set-up link; return where the surface is, and the link's path."""
        wait_until(lambda: LINK.search(self.shown) or self._process.poll() is not None, "the set-up link is printed")
        found = LINK.search(self.shown)
        assert found is not None, f"the demo ended with {self._process.poll()}: {self.shown[-2000:]}"
        return found[1], found[2]

    def stop(self) -> None:
        """End it as a service manager does."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        self._process.wait(60)

    def close(self) -> None:
        """End it and remove its folder."""
        try:
            self.stop()
        finally:
            self._screen.close()
            shutil.rmtree(self.folder)


class Browser:
    """One Chromium."""

    def __init__(self, base: str) -> None:
        self.base = base
        self._profile = Path(tempfile.mkdtemp(prefix="arbitrage-browser-"))
        options = Options()
        options.binary_location = program("chromium")
        for flag in (*FLAGS, f"--user-data-dir={self._profile}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=Service(program("chromedriver")))
        self.asked: list[str] = []
        """Every address that a page asked for."""
        self.said: list[str] = []
        """Every line of the console; a violation of the content security policy is one."""

    def close(self) -> None:
        """End it."""
        self.driver.quit()
        shutil.rmtree(self._profile, ignore_errors=True)

    def open(self, path: str) -> None:
        """Open a page of the surface."""
        self.driver.get(self.base + path)

    def script(self, text: str, *arguments: object) -> Any:
        """Run a script in the page and return what it returns."""
        return self.driver.execute_script(text, *arguments)

    def cdp(self, command: str, **parameters: object) -> Any:
        """Say something in the DevTools protocol."""
        return self.driver.execute_cdp_cmd(command, parameters)

    def look(self, theme: str, width: int, height: int = 900) -> None:
        """Be a screen of this width whose owner likes this theme."""
        self.cdp("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}])
        self.cdp("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def text(self, selector: str) -> str:
        """Return the text of the first element that fits; empty where none does."""
        try:
            found = self.driver.find_elements(By.CSS_SELECTOR, selector)
            return found[0].text if found else ""
        except WebDriverException:
            return ""  # it left with the page that it was on

    def texts(self, selector: str) -> list[str]:
        """Return the texts of all elements that fit, shown or not."""
        return [str(text).strip() for text in self.script(
            "return [...document.querySelectorAll(arguments[0])].map(e => e.textContent)", selector
        )]  # fmt: skip

    def fill(self, **fields: str) -> None:
        """Fill fields of the first form that has them."""
        for name, value in fields.items():
            field = self.driver.find_element(By.NAME, name)
            field.clear()
            field.send_keys(value)

    def press(self, selector: str) -> None:
        """Press a button."""
        self.driver.find_element(By.CSS_SELECTOR, selector).click()

    def act(self, word: str, reason: str) -> None:
        """Open one of the first screen's actions, give the reason, and do it."""
        form = f"form[action='/actions/{word}']"
        self.driver.find_element(By.XPATH, f"//form[@action='/actions/{word}']/../summary").click()
        self.driver.find_element(By.CSS_SELECTOR, f"{form} input[name=reason]").send_keys(reason)
        self.press(f"{form} button")

    def sign_in(self, name: str, password: str) -> None:
        """Sign in by the form."""
        self.open("/login")
        self.fill(name=name, password=password)
        self.press("form[action='/login'] button")

    def gather(self) -> None:
        """Take in what was asked for and said since the last time."""
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                self.asked.append(message["params"]["request"]["url"])
        self.said += [f"{entry['level']} {entry['message']}" for entry in self.driver.get_log("browser")]

    def strangers(self) -> list[str]:
        """Return addresses that were asked for and are not ours."""
        self.gather()
        ours = urlsplit(self.base).netloc
        return [url for url in self.asked if url.startswith(("http", "ws")) and urlsplit(url).netloc != ours]

    def shoot(self, path: Path, heights: Sequence[int] = (300, 4_000)) -> None:
        """Keep a picture of the whole page, between these heights."""
        tall = int(self.script("return document.documentElement.scrollHeight"))
        width = int(self.script("return innerWidth"))
        height = min(max(tall, heights[0]), heights[1])
        self.cdp("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.driver.save_screenshot(str(path))


def make_admin(browser: Browser, link: str) -> None:
    """Become the first admin by the set-up link."""
    browser.open(link)
    browser.fill(name=ADMIN, password=PASSWORD)
    browser.press("form[action='/setup'] button")
    wait_until(lambda: browser.text("h1") and "/setup" not in browser.driver.current_url, "the first screen after set-up")
