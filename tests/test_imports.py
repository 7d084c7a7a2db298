"""Imports run one way (docs/design.md): whoever decides knows nothing of whoever acts."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = "l0actors"

# The vocabulary and the leaves: each may be imported by all of them.
VOCABULARY = {
    "classify",
    "clock",
    "error_codes",
    "errors",
    "events",
    "ids",
    "known_errors",
    "logs",
    "options",
    "redaction",
    "retry_after",
    "state",
    "validation",
}
# What the bus and the kernel may know: nothing of options, states, events and providers.
PLAIN = {"classify", "clock", "errors", "logs", "validation"}
# The actors of a session. All others are the kernel, which any actors can be made with.
LLM = {f"actors.{name}" for name in ("outlet", "reader", "retry", "sink", "unit", "watchdog")}
# Of the test kit, what simulates; it stands on the public surface, the fault provider on nothing.
KIT = {
    f"testing.{name}"
    for name in (
        "checked_system",
        "leaks",
        "probe",
        "ready_queue",
        "simulated_loop",
        "simulation",
        "trace",
        "whereabouts",
    )
}

# Who may import whom, from the top. A group may always import itself.
ALLOWED: dict[str, set[str]] = {
    "names": {
        "facade",
        "system",
        "session",
        "kernel",
        "bus",
        "providers",
        "recovery",
        "catalogue",
        "observability",
        *VOCABULARY,
    },
    "facade": {"system", "session", *VOCABULARY},
    "system": {"session", "actors", "kernel", "bus", *VOCABULARY},
    "session": {"actors", "kernel", *VOCABULARY},
    "actors": {"kernel", "bus", "providers", "recovery", "catalogue", *VOCABULARY},
    "observability": {"catalogue", "kernel", "bus", *VOCABULARY},
    "kernel": {"bus", *PLAIN},
    "catalogue": {"bus", "errors"},
    "bus": {*PLAIN},
    "providers": {*VOCABULARY},
    "recovery": {*VOCABULARY},
    "testing": {"kit"},
    "kit": {"system", "kernel", "bus", *VOCABULARY},
    **dict.fromkeys(VOCABULARY, VOCABULARY),
}

# The functional core: no asyncio, so it is tested without a loop.
PURE = ("recovery", "catalogue", "providers", *VOCABULARY)
THREADED = "providers.threaded"


def group(module: str) -> str:
    """Return the layer of a module, named from the package on: `bus.mailbox` is of `bus`."""
    if module == "":
        return "names"
    if module.partition(".")[0] == "actors" and module not in LLM:
        return "kernel"
    if module in KIT:
        return "kit"
    if module == "observability.catalogue":
        return "catalogue"
    return module.partition(".")[0]


def wrong(arrows: Mapping[str, Iterable[str]]) -> list[str]:
    """Return the arrows that run the wrong way."""
    return [
        f"{source or PACKAGE} -> {target or PACKAGE}"
        for source, targets in arrows.items()
        for target in targets
        if group(source) != group(target) and group(target) not in ALLOWED.get(group(source), set())
    ]


def cycles(arrows: Mapping[str, Iterable[str]]) -> list[str]:
    """Return a circle of modules, if there is one."""
    done: set[str] = set()

    def walk(module: str, path: tuple[str, ...]) -> list[str]:
        if module in path:
            return [*path[path.index(module) :], module]
        if module not in done:
            for target in arrows.get(module, ()):
                if found := walk(target, (*path, module)):
                    return found
            done.add(module)
        return []

    return next((found for module in arrows if (found := walk(module, ()))), [])


def modules() -> dict[str, Path]:
    """Return the modules of the package by their names, as `group` takes them."""
    found = {}
    for path in sorted((ROOT / PACKAGE).rglob("*.py")):
        parts = path.relative_to(ROOT / PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def statements(path: Path, *, types_too: bool) -> Iterator[ast.Import | ast.ImportFrom]:
    """Yield the imports of a file; those that only a type checker sees if asked for."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    unseen = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)) and (types_too or node not in unseen):
            yield node


def imported(path: Path, *, types_too: bool = True) -> Iterator[str]:
    """Yield the full names of the modules that a file imports; of a name in a module, the module."""
    known = modules()
    for node in statements(path, types_too=types_too):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
            continue
        assert node.level == 0, f"{path}: imports are absolute"
        base = node.module or ""
        for alias in node.names:
            inner = f"{base}.{alias.name}".removeprefix(f"{PACKAGE}.")
            yield f"{PACKAGE}.{inner}" if inner in known and base.startswith(PACKAGE) else base


def arrows(*, types_too: bool = True) -> dict[str, list[str]]:
    """Return what each module imports of the package."""
    return {
        name: sorted(
            {
                target.removeprefix(PACKAGE).removeprefix(".")
                for target in imported(path, types_too=types_too)
                if target.partition(".")[0] == PACKAGE
            }
        )
        for name, path in modules().items()
    }


def test_imports_run_one_way() -> None:
    """Facade -> system -> session -> actors -> bus, and actors -> the pure core -> the vocabulary."""
    assert wrong(arrows()) == []


def test_every_module_has_its_layer() -> None:
    """A new package or module is put into a layer before it is imported."""
    assert {group(name) for name in modules()} <= set(ALLOWED)


def test_modules_import_in_no_circle() -> None:
    """At run time no module needs itself."""
    inner = {name: targets for name, targets in arrows(types_too=False).items() if name}
    assert cycles(inner) == []


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("bus.mailbox", "actors.actor"),
        ("bus.messages", "events"),
        ("actors.cell", "options"),
        ("actors.supervisor", "actors.reader"),
        ("actors.reader", "session"),
        ("actors.retry", "observability"),
        ("observability.catalogue", "actors.actor"),
        ("recovery.policy", "bus.messages"),
        ("providers.openai", "recovery.policy"),
        ("session", "system"),
        ("system", "facade"),
        ("state", "providers"),
        ("testing.provider", "errors"),
        ("actors.retry", "testing"),
        ("events", ""),
    ],
)
def test_an_arrow_that_runs_the_wrong_way_is_found(source: str, target: str) -> None:
    """The rule has teeth."""
    assert wrong({source: [target]}) == [f"{source} -> {target or PACKAGE}"]


def test_a_circle_is_found() -> None:
    """So has the search for circles."""
    assert cycles({"a": ["b"], "b": ["c"], "c": ["b"]}) == ["b", "c", "b"]
    assert cycles({"a": ["b", "c"], "b": ["c"], "c": []}) == []


def test_the_core_is_without_asyncio() -> None:
    """What decides can be tested without a loop."""
    pure = {name: path for name, path in modules().items() if group(name) in PURE and name != THREADED}
    assert len(pure) > 30
    assert [name for name, path in pure.items() if "asyncio" in set(imported(path))] == []


def test_no_sdk_is_imported() -> None:
    """An SDK, and an HTTP library, is the caller's: nothing of it is imported, not even lazily."""
    foreign = {"openai", "anthropic", "litellm", "httpx", "httpx2", "aiohttp", "pydantic"}
    assert {
        name: found
        for name, path in modules().items()
        if (found := foreign & {target.partition(".")[0] for target in imported(path, types_too=False)})
    } == {}
