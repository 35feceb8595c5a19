"""Turns templates and values into pages, and hands out the files they need. Reads the disk once, at the start; asks nobody.

Templates are compiled once in a process and before the first page, which costs no file and no compiler while the daemon trades.
"""

from __future__ import annotations

import functools
import hashlib
import pickle
from pathlib import Path
from typing import Any

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from jinja2.bccache import Bucket, BytecodeCache
from starlette.responses import Response

from arbitrage.web.callers import Role
from arbitrage.web.endpoints import Call
from arbitrage.web.screen import figures
from arbitrage.web.screen.overview import readable, tone_of

HERE = Path(__file__).resolve().parent
TEMPLATES, FILES = HERE / "pages", HERE / "static"
COMPILED = HERE / "__pycache__" / "pages"
"""Where set-up leaves the templates' code, as Python does a module's; a daemon only reads it, and compiles where it is not."""
PACKAGED = HERE / "vendor" / "node_modules" / "uplot" / "dist"
"""Where npm's locked package lies once the set-up has installed it, in a wheel too; git does not hold it."""
PLOTTER = ("uPlot.iife.min.js", "uPlot.min.css")
MEDIA = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
FOR_EVER = {"cache-control": "public, max-age=31536000, immutable"}
SESSION = "arbitrage.session"
"""Key of the ASGI scope under which the guard leaves the caller's session."""


class Me(msgspec.Struct, frozen=True):
    """Who looks at a page."""

    name: str = ""
    role: str = ""
    csrf: str = ""
    may_trade: bool = False
    may_configure: bool = False


class PageLink(msgspec.Struct, frozen=True):
    """One page in the list of pages."""

    path: str
    title: str
    role: Role = Role.VIEWER


class Pages:
    """All templates and files, in memory."""

    def __init__(self, links: tuple[PageLink, ...] = (), packaged: Path = PACKAGED) -> None:
        self._links = links
        self.files = {path.name: path.read_bytes() for path in sorted(FILES.iterdir()) if path.suffix in MEDIA}
        self.has_plots = all((packaged / name).is_file() for name in PLOTTER)
        """Whether browsers can draw charts themselves; where not, they keep the server's pictures."""
        if self.has_plots:
            self.files |= {name: (packaged / name).read_bytes() for name in PLOTTER}
        digest = hashlib.sha256(b"".join(name.encode() + content for name, content in sorted(self.files.items())))
        self.version = digest.hexdigest()[:12]
        self._templates = _templates()

    def page(self, call: Call, template: str, status: int = 200, **values: Any) -> Response:
        """Draw a page for whoever asked."""
        me = me_of(call)
        role = call.caller.role or 0
        links = [link for link in self._links if link.role <= role]
        path = str(call.scope.get("path", ""))
        static = f"/static/{self.version}"
        text = self._templates.get_template(template).render(me=me, pages=links, path=path, static=static, **values)
        return Response(text, status, media_type="text/html")

    def away(self, call: Call, why: str, status: int = 503) -> Response:
        """Draw the page that says why there is nothing else to show."""
        return self.page(call, "away.html", status, why=why, problem_status=status)

    def file(self, version: str, name: str) -> Response | None:
        """Return a file; None where there is none. One that is asked for under another version may not be kept."""
        content = self.files.get(name)
        if content is None:
            return None
        headers = FOR_EVER if version == self.version else {"cache-control": "no-cache"}
        return Response(content, headers=headers, media_type=MEDIA[Path(name).suffix])


class TemplateCode(BytecodeCache):
    """The templates' code in files. Code of another text or another Python is refused by the library, and made anew."""

    def __init__(self, folder: Path, *, may_write: bool = False) -> None:
        self.made = 0
        """How many templates had to be compiled."""
        self._folder = folder
        self._may_write = may_write

    def load_bytecode(self, bucket: Bucket) -> None:
        try:
            bucket.bytecode_from_string((self._folder / bucket.key).read_bytes())
        except (OSError, EOFError, pickle.UnpicklingError):
            return  # set-up left none, or was cut short

    def dump_bytecode(self, bucket: Bucket) -> None:
        self.made += 1
        if self._may_write:
            (self._folder / bucket.key).write_bytes(bucket.bytecode_to_string())


def compile_templates(folder: Path = COMPILED) -> None:
    """Leave the templates' code beside them, for every start from now on: compiling them takes a quarter of a second."""
    folder.mkdir(parents=True, exist_ok=True)
    read_templates(TemplateCode(folder, may_write=True))


@functools.cache
def _templates() -> Environment:
    return read_templates(TemplateCode(COMPILED))


def read_templates(code: TemplateCode) -> Environment:
    """Return every template, ready to be drawn."""
    loader = FileSystemLoader(TEMPLATES)
    made = Environment(
        loader=loader, bytecode_cache=code, autoescape=True, undefined=StrictUndefined, auto_reload=False,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    made.filters |= {
        "at": _at,
        "tone": _tone,
        "readable": readable,
        "moment": figures.moment,
        "percent": figures.percent,
        "cut": figures.cut,
        "signed": figures.signed,
        "cycle": figures.cycle,
        "gain": tone_of,
    }
    for name in loader.list_templates():
        made.get_template(name)
    return made


def me_of(call: Call) -> Me:
    """Say who looks, what they may, and the token that their forms carry."""
    caller, session = call.caller, call.scope.get(SESSION)
    if caller.role is None:
        return Me()
    return Me(
        name=caller.name,
        role=caller.role.word,
        csrf=session.csrf_token if session is not None else "",
        may_trade=caller.role >= Role.OPERATOR,
        may_configure=caller.role >= Role.ADMIN,
    )


def _at(value: Any, path: str) -> Any:
    """Return the field at a dotted path; nothing where there is none, as in a row that is only a pattern."""
    for name in path.split(".") if path else ():
        value = getattr(value, name, None)
    return "" if value is None else value


def _tone(value: Any, path: str) -> Any:
    """Return the tone that stands beside a text."""
    return _at(value, path.removesuffix("text") + "tone") if path.endswith(".text") else ""
