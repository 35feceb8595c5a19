"""The templates' code that set-up leaves: read by every start, no harm where it is missing, cut short or of another text."""

from __future__ import annotations

from pathlib import Path

import pytest

from arbitrage.web.screen.render import TEMPLATES, TemplateCode, compile_templates, read_templates


def compiled_by_a_start(folder: Path) -> int:
    code = TemplateCode(folder)
    drawn = read_templates(code).get_template("away.html")
    assert drawn.name == "away.html"
    return code.made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where set-up has been."""
    compile_templates(tmp_path)
    assert len(list(tmp_path.iterdir())) == len(list(TEMPLATES.glob("*.html"))) > 20
    return tmp_path


def test_a_start_after_set_up_compiles_nothing(folder: Path) -> None:
    assert compiled_by_a_start(folder) == 0


def test_without_set_up_a_start_compiles_all_and_leaves_nothing(tmp_path: Path) -> None:
    assert compiled_by_a_start(tmp_path / "nowhere") == len(list(TEMPLATES.glob("*.html")))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kept", [0, 3, 14, 80, -1])
def test_code_that_was_cut_short_is_made_anew(folder: Path, kept: int) -> None:
    victim = sorted(folder.iterdir())[0]
    victim.write_bytes(victim.read_bytes()[:kept])
    assert compiled_by_a_start(folder) == 1


def test_code_of_another_text_is_made_anew(folder: Path) -> None:
    one, other = sorted(folder.iterdir())[:2]
    one.write_bytes(other.read_bytes())
    assert compiled_by_a_start(folder) == 1
