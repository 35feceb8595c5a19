"""The bars on shape: sizes, names, docstrings, finished work, silencers. Each checker is shown a violation first."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator

import house_checks as checks
import pytest
from house_source import Source, package, suite, tell

FUNCTION_LINES_MAX = 70
FUNCTION_LINES_P95_MAX = 45
FILE_LINES_MAX = 500
FILE_LINES_MEDIAN_MAX = 150
SILENCERS_PER_KLOC_MAX = 0.5
DOCUMENTED = '"""It is a file, and refuses to be another."""\n'
Check = Callable[[Source], Iterator[str]]


def file(text: str, name: str = "arbitrage/model/example.py") -> Source:
    return Source(name, text)


def function(lines: int) -> str:
    return "def f():\n" + "    x = 1\n" * (lines - 1)


def too_long(sources: list[Source]) -> list[str]:
    sizes = sorted((size, where) for source in sources for size, where in checks.long_functions(source))
    faults = [f"{size} lines: {where}" for size, where in sizes if size > FUNCTION_LINES_MAX]
    p95 = sizes[min(len(sizes) - 1, int(0.95 * len(sizes)))]
    if p95[0] > FUNCTION_LINES_P95_MAX:
        faults.append(f"the 95th percentile is {p95[0]} lines ({p95[1]}), {FUNCTION_LINES_P95_MAX} are allowed")
    return faults


def too_large(sources: list[Source]) -> list[str]:
    faults = [f"{source.lines} lines: {source.name}" for source in sources if source.lines > FILE_LINES_MAX]
    median = statistics.median([source.lines for source in sources])
    if median > FILE_LINES_MEDIAN_MAX:
        faults.append(f"the median file has {median} lines, {FILE_LINES_MEDIAN_MAX} are allowed")
    return faults


def too_silenced(sources: list[Source]) -> list[str]:
    found = [where for source in sources for where, _ in checks.silencers(source)]
    allowed = SILENCERS_PER_KLOC_MAX * sum(source.lines for source in sources) / 1_000
    return [*found, f"{len(found)} silencers, {allowed:.1f} are allowed"] if len(found) > max(1.0, allowed) else []


def unexplained(sources: list[Source]) -> list[str]:
    return [where for source in sources for where, is_explained in checks.silencers(source) if not is_explained]


def test_functions_fit_on_a_screen() -> None:
    assert too_long([file(function(71) + function(9) * 40)]) == ["71 lines: arbitrage/model/example.py:1 f"]
    assert too_long([file(function(70) + function(45) * 40)]) == []
    assert "95th percentile is 46" in too_long([file(function(46) * 40)])[0]
    faults = too_long(list(package()))
    assert not faults, tell(faults, "keep decisions in the parent, move arithmetic into leaves with a name")


def test_files_hold_one_noun_each() -> None:
    assert too_large([file("x = 1\n" * 501), file(""), file("")]) == ["501 lines: arbitrage/model/example.py"]
    assert too_large([file("x = 1\n" * 500), file(""), file("")]) == []
    assert "median" in too_large([file("x = 1\n" * 151)])[0]
    faults = too_large(list(package()))
    assert not faults, tell(faults, "split by noun: if its first sentence needs `and`, it is two files")


def test_functions_take_few_values() -> None:
    good = file("class A:\n    def f(self, a, b, *, c, d, e, **rest): ...\n")
    bad = file("def f(a, /, b, c, *, d, e, g): ...\n")
    assert list(checks.many_parameters(good)) == []
    assert list(checks.many_parameters(bad)) == ["arbitrage/model/example.py:1 f takes 6"]
    faults = [fault for source in package() for fault in checks.many_parameters(source)]
    assert not faults, tell(faults, "values that travel together are a noun: give them a Struct")


def test_silencers_are_rare() -> None:
    two = "x = 1  # noqa: E501 - the wire's own words\ny = 2  # type: ignore[misc] - the stub is wrong\n"
    assert len(too_silenced([file(two)])) == 3
    assert too_silenced([file(two + "\n" * 4_000)]) == []
    assert too_silenced([file('x = "# noqa"\n' * 9)]) == []
    faults = too_silenced(list(package()))
    assert not faults, tell(faults, "mend what the checker found; a silencer is for the checker's own mistake")


@pytest.mark.parametrize(
    "mark", ["noqa", "noqa: E501", "type: ignore[misc]", "pragma: no cover", "noqa: A1, B2 -", "ruff: noqa"]
)
def test_a_silencer_without_words_is_seen(mark: str) -> None:
    assert len(unexplained([file(f"x = 1  # {mark}\n")])) == 1
    assert unexplained([file(f"x = 1  # {mark} - the end of a task, which reports it\n")]) == []


def test_every_silencer_carries_its_reason() -> None:
    faults = unexplained([*package(), *suite()])
    assert not faults, tell(faults, "write why beside it: `# noqa: CODE - reason`")


REMEDIES: dict[Check, str] = {
    checks.unfinished: "finish it; a shape without a body is a Protocol or an abstract method",
    checks.undocumented: "say in the first sentence what the module is and what it refuses to do",
    checks.weak_names: "name it by what it is in the field, not by what it does to others",
    checks.globals_and_state: "give the state one owner and hand it in; a constant is UPPER_CASE and never changed",
}
WORD = "TO" "DO"  # fmt: skip
REFUSAL = "NotImplemented" "Error"  # fmt: skip
DIRECTIONS: list[tuple[Check, str, str]] = [
    (checks.unfinished, f"x = 1  # {WORD} later\n", f'x = "{WORD}"\n'),
    (checks.unfinished, f"def f():\n    raise {REFUSAL}('x')\n", "def f(): ...\n"),
    (checks.undocumented, "x = 1\n", DOCUMENTED),
    (checks.undocumented, '"""Short."""\n', DOCUMENTED),
    (checks.weak_names, "class OrderManager: ...\n", "class Desk: ...\n"),
    (checks.globals_and_state, "def f():\n    global x\n", "LIMITS = {'a': 1}\n__all__ = ['a']\n"),
    (checks.globals_and_state, "cache = {}\n", "cache: dict[str, int]\n"),
    (
        checks.globals_and_state,
        "SEEN: set[int] = c.deque()\ndef f():\n    SEEN.add(1)\n",
        "SEEN = {1}\ndef f(seen):\n    seen.add(1)\n",
    ),
    (checks.globals_and_state, "SEEN = [1]\ndef f():\n    SEEN[0] = 2\n", "SEEN = [1]\ndef f():\n    return SEEN[0]\n"),
    (checks.globals_and_state, "SEEN = [1]\ndef f():\n    SEEN += [2]\n", "SEEN = [1]\nSEEN += [2]\n"),
]


@pytest.mark.parametrize(("check", "bad", "good"), DIRECTIONS)
def test_each_checker_sees_a_violation_and_lets_the_right_way_pass(check: Check, bad: str, good: str) -> None:
    assert len(list(check(file(bad)))) == 1
    assert list(check(file(good))) == []


@pytest.mark.parametrize("check", REMEDIES, ids=lambda check: check.__name__)
def test_every_file_of_the_package_keeps_the_bar(check: Check) -> None:
    faults = [fault for source in package() for fault in check(source)]
    assert not faults, tell(faults, REMEDIES[check])


def test_a_file_for_anything_is_seen() -> None:
    assert list(checks.weak_names(file("", "arbitrage/ops/utils.py"))) == ["arbitrage/ops/utils.py"]
    assert list(checks.weak_names(file("", "arbitrage/ops/health.py"))) == []
