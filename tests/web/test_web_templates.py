"""The templates' code that set-up leaves: read by every start, no harm where it is missing, cut short or of another text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import jinja2.environment
import pytest

from arbitrage.web.screen import render


@pytest.fixture
def compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A place of the test's own for the code; gives the texts that the compiler has seen since."""
    texts: list[str] = []
    real = jinja2.environment.Environment.compile

    def compile_and_tell(self: jinja2.Environment, source: str, *words: object, **named: object) -> object:
        texts.append(source)
        return real(self, source, *words, **named)

    monkeypatch.setattr(render, "COMPILED", tmp_path / "pages")
    monkeypatch.setattr(jinja2.environment.Environment, "compile", compile_and_tell)
    render._templates.cache_clear()
    yield texts
    render._templates.cache_clear()


def test_a_start_after_set_up_compiles_nothing(compiled: list[str]) -> None:
    templates = len(list(render.TEMPLATES.glob("*.html")))
    render.compile_templates()
    assert len(compiled) == templates == len(list(render.COMPILED.iterdir()))
    render.Pages()
    assert len(compiled) == templates


def test_without_set_up_a_start_compiles_and_leaves_nothing(compiled: list[str]) -> None:
    render.Pages()
    assert compiled and not render.COMPILED.exists()


@pytest.mark.parametrize("kept", [0, 3, 14, 80, -1])
def test_code_that_was_cut_short_is_compiled_anew(compiled: list[str], kept: int) -> None:
    render.compile_templates()
    compiled.clear()
    victim = sorted(render.COMPILED.iterdir())[0]
    victim.write_bytes(victim.read_bytes()[:kept])
    render.Pages()
    assert len(compiled) == 1


def test_code_of_another_text_is_compiled_anew(compiled: list[str]) -> None:
    render.compile_templates()
    compiled.clear()
    one, other = sorted(render.COMPILED.iterdir())[:2]
    one.write_bytes(other.read_bytes())
    render.Pages()
    assert len(compiled) == 1
