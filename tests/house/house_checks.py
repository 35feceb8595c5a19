"""The bars of style as functions over source text: each returns what it finds, as `name:line words`. Reads no files."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator

from house_source import Source, dotted, functions, imports

CLOCK_NAMES = ("time", "monotonic", "perf_counter", "process_time", "thread_time")
CLOCKS = {f"time.{name}{suffix}" for name in CLOCK_NAMES for suffix in ("", "_ns")} | {
    "time.clock_gettime",
    "time.clock_gettime_ns",
}
CALENDARS = re.compile(r"(^|\.)(datetime|date)\.(now|utcnow|today)$")
LOOPS = re.compile(r"(^|[._])loop$")
MUTABLE_CALLS = {"list", "dict", "set", "bytearray", "deque", "defaultdict", "Counter", "OrderedDict"}
MUTATORS = {
    "add", "append", "appendleft", "clear", "discard", "extend", "insert", "pop", "popitem", "popleft", "remove", "setdefault",
    "sort", "update",
}  # fmt: skip
BROAD = {"Exception", "BaseException"}
SILENCER = re.compile(
    r"#\s*(noqa(:\s*[A-Z]+[0-9]+(,\s*[A-Z]+[0-9]+)*)?|type:\s*ignore(\[[^\]]*\])?|mypy:|pylint:|pragma:\s*no cover|nosec"
    r"|ruff:\s*noqa)(?P<reason>.*)"
)
REASON = re.compile(r"[A-Za-z]{2,}.*[A-Za-z]{2,}")
UNFINISHED = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b")
WEAK_NAMES = re.compile(r"(Manager|Helper|Utils?|Util)$")
WEAK_FILES = {"util", "utils", "helper", "helpers", "misc", "common", "manager", "stuff"}
MONKEY_FREE = {"setenv", "delenv", "chdir", "syspath_prepend", "context"}
PARAMETERS_MAX = 5


def long_functions(source: Source) -> Iterator[tuple[int, str]]:
    """Yield every function with its number of lines."""
    for node in functions(source.tree):
        yield (node.end_lineno or node.lineno) - node.lineno + 1, f"{source.name}:{node.lineno} {node.name}"


def many_parameters(source: Source) -> Iterator[str]:
    """Find functions that take more than five values, `self` and `cls` aside."""
    for node in functions(source.tree):
        names = [one.arg for one in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
        count = len([name for name in names if name not in {"self", "cls"}])
        if count > PARAMETERS_MAX:
            yield f"{source.name}:{node.lineno} {node.name} takes {count}"


def clock_reads(source: Source) -> Iterator[str]:
    """Find readings of a clock, also ones handed on uncalled or imported by name."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.ImportFrom) and node.module == "time":
            for alias in node.names:
                if f"time.{alias.name}" in CLOCKS:
                    yield f"{source.name}:{node.lineno} imports {alias.name}"
        name = dotted(node) if isinstance(node, ast.Attribute) else ""
        if name in CLOCKS or CALENDARS.search(name):
            yield f"{source.name}:{node.lineno} {name}"
        if isinstance(node, ast.Attribute) and node.attr == "time" and _is_loop(node.value):
            yield f"{source.name}:{node.lineno} the loop's time"


def globals_and_state(source: Source) -> Iterator[str]:
    """Find `global`, and module-level containers that are not constants or that a function changes."""
    containers = {name: node.lineno for node in source.tree.body for name in _containers(node)}
    for name, line in containers.items():
        if name != "__all__" and not name.lstrip("_").isupper():
            yield f"{source.name}:{line} {name} is a container at module level"
    for node in (inner for function in functions(source.tree) for inner in ast.walk(function)):
        if isinstance(node, ast.Global):
            yield f"{source.name}:{node.lineno} global {', '.join(node.names)}"
        changed = _changed_name(node)
        if changed in containers:
            yield f"{source.name}:{getattr(node, 'lineno', 0)} {changed} is changed in place"


def broad_excepts(source: Source) -> Iterator[str]:
    """Find handlers that catch everything, suppressions included."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.ExceptHandler):
            kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
            if any(kind is None or dotted(kind).split(".")[-1] in BROAD for kind in kinds):
                yield f"{source.name}:{node.lineno}"
        is_suppression = isinstance(node, ast.Call) and dotted(node.func).split(".")[-1] == "suppress"
        if is_suppression and any(dotted(argument).split(".")[-1] in BROAD for argument in node.args):
            yield f"{source.name}:{node.lineno}"


def comments(source: Source) -> Iterator[tuple[int, str]]:
    """Yield every comment with its line."""
    for token in tokenize.generate_tokens(io.StringIO(source.text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def silencers(source: Source) -> Iterator[tuple[str, bool]]:
    """Yield every lint silencer and whether words beside it say why."""
    for line, comment in comments(source):
        match = SILENCER.search(comment)
        if match:
            yield f"{source.name}:{line} {comment}", bool(REASON.search(match["reason"]))


def unfinished(source: Source) -> Iterator[str]:
    """Find marks of unfinished work: comments that promise, bodies that only refuse."""
    for line, comment in comments(source):
        if UNFINISHED.search(comment):
            yield f"{source.name}:{line} {comment}"
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Raise) and node.exc is not None:
            raised = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            if dotted(raised) == "NotImplementedError":
                yield f"{source.name}:{node.lineno} raises {dotted(raised)}"


def undocumented(source: Source) -> Iterator[str]:
    """Find modules whose first statement is no docstring of at least a sentence."""
    docstring = ast.get_docstring(source.tree)
    if docstring is None or not re.match(r".{15,}?[.:](\s|$)", docstring, re.DOTALL):
        yield source.name


def weak_names(source: Source) -> Iterator[str]:
    """Find names that say nothing: classes that manage or help, files for anything."""
    if source.module.split(".")[-1] in WEAK_FILES:
        yield source.name
    for node in ast.walk(source.tree):
        if isinstance(node, ast.ClassDef) and WEAK_NAMES.search(node.name):
            yield f"{source.name}:{node.lineno} class {node.name}"


def assertions(source: Source) -> tuple[int, int]:
    """Count assertions, and functions that have a body (a protocol's members have none)."""
    asserts = sum(isinstance(node, ast.Assert) for node in ast.walk(source.tree))
    return asserts, sum(not _is_signature(node) for node in functions(source.tree))


def impure_imports(source: Source, forbidden: set[str]) -> Iterator[str]:
    """Find imports of what touches the world, inside functions too."""
    for name, line in imports(source):
        if name.split(".")[0] in forbidden:
            yield f"{source.name}:{line} imports {name}"


def loose_tasks(source: Source) -> Iterator[str]:
    """Find tasks started without an owner; a `TaskGroup` is one."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            is_asyncio = dotted(node.func) in {"asyncio.create_task", "asyncio.ensure_future"}
            if is_asyncio or (node.func.attr == "create_task" and _is_loop(node.func.value)):
                yield f"{source.name}:{node.lineno} {ast.unparse(node.func)}"


def shared_dice(source: Source) -> Iterator[str]:
    """Find draws from the process-wide generator; a `random.Random` is handed in instead."""
    for node in ast.walk(source.tree):
        name = dotted(node) if isinstance(node, ast.Attribute) else ""
        if name.startswith("random.") and name != "random.Random":
            yield f"{source.name}:{node.lineno} {name}"
        if isinstance(node, ast.ImportFrom) and node.module == "random":
            yield from (f"{source.name}:{node.lineno} imports {alias.name}" for alias in node.names if alias.name != "Random")


def calls_of(source: Source, name: str) -> Iterator[str]:
    """Find calls of a class or function by its last name, also under another name it was imported as."""
    aliases = {name}
    for node in ast.walk(source.tree):
        if isinstance(node, ast.ImportFrom):
            aliases |= {alias.asname for alias in node.names if alias.name == name and alias.asname}
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call) and dotted(node.func).split(".")[-1] in aliases:
            yield f"{source.name}:{node.lineno}"


def sleeps(source: Source) -> Iterator[str]:
    """Find real waiting; `sleep(0)` only yields."""
    named = {alias.asname or alias.name for node in ast.walk(source.tree) if isinstance(node, ast.ImportFrom)
             and node.module in {"time", "asyncio"} for alias in node.names if alias.name == "sleep"}  # fmt: skip
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call) and (dotted(node.func) in {"time.sleep", "asyncio.sleep"} | named):
            is_yield = bool(node.args) and isinstance(node.args[0], ast.Constant) and node.args[0].value == 0
            if not is_yield:
                yield f"{source.name}:{node.lineno} {dotted(node.func)}"


def patches(source: Source) -> Iterator[str]:
    """Find mocks and replaced attributes; a set environment is a real input."""
    for name, line in imports(source):
        if name.startswith(("unittest.mock", "mock.", "pytest_mock")) or name in {"mock", "unittest.mock"}:
            yield f"{source.name}:{line} imports {name}"
    for node in ast.walk(source.tree):
        if isinstance(node, ast.arg) and node.arg == "mocker":
            yield f"{source.name}:{node.lineno} mocker"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = dotted(node.func.value)
            if owner.split(".")[-1] in {"monkeypatch", "MonkeyPatch"} and node.func.attr not in MONKEY_FREE:
                yield f"{source.name}:{node.lineno} {owner}.{node.func.attr}"


def empty_tests(source: Source) -> Iterator[str]:
    """Find tests that cannot fail: no assertion, no expected exception, no call of something that asserts.

    A helper of the same file that asserts counts; one from elsewhere says so in its name.
    """
    asserting = {node.name for node in functions(source.tree) if any(isinstance(inner, ast.Assert) for inner in ast.walk(node))}
    for node in functions(source.tree):
        if not node.name.startswith("test_"):
            continue
        called = {dotted(call.func).split(".")[-1] for call in ast.walk(node) if isinstance(call, ast.Call)}
        asserts = any(isinstance(inner, ast.Assert) for inner in ast.walk(node))
        helped = any(name.startswith(("assert", "check", "expect", "verify")) for name in called)
        if not (asserts or helped or called & ({"raises", "fail", "warns"} | asserting)):
            yield f"{source.name}:{node.lineno} {node.name}"


def _is_loop(node: ast.expr) -> bool:
    called = isinstance(node, ast.Call) and dotted(node.func).split(".")[-1] in {"get_running_loop", "get_event_loop"}
    return called or bool(LOOPS.search(dotted(node)))


def _containers(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.Assign):
        targets, value = node.targets, node.value
    elif isinstance(node, ast.AnnAssign) and node.value is not None:
        targets, value = [node.target], node.value
    else:
        return []
    is_display = isinstance(value, ast.List | ast.Dict | ast.Set | ast.ListComp | ast.DictComp | ast.SetComp)
    is_call = isinstance(value, ast.Call) and dotted(value.func).split(".")[-1] in MUTABLE_CALLS
    return [target.id for target in targets if isinstance(target, ast.Name)] if is_display or is_call else []


def _changed_name(node: ast.AST) -> str:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in MUTATORS:
        return dotted(node.func.value)
    if isinstance(node, ast.AugAssign):
        return dotted(node.target)
    if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del):
        return dotted(node.value)
    return ""


def _is_signature(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return all(isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant) for line in node.body)
