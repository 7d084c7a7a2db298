"""The documentation shows code that works, output that is real, and every promise."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import anthropic
import msgspec
import openai
import pytest

from l0actors import L0Options
from l0actors.testing import FaultProvider

ROOT = Path(__file__).parents[1]
PAGES = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
}
README, SEMANTICS = PAGES["README.md"], PAGES["docs/semantics.md"]

_BLOCK = re.compile(r"(?P<marked><!-- run -->\n)?^```python\n(?P<code>.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks(*, marked: bool = False) -> list[Any]:
    """Return the Python blocks of all pages; only those that are marked to be run if asked for."""
    return [
        pytest.param(match["code"], id=f"{page}-{number}")
        for page, text in PAGES.items()
        for number, match in enumerate(_BLOCK.finditer(text), 1)
        if match["marked"] or not marked
    ]


def compiled(code: str) -> Any:
    """Return the code of a block, in which `await` may stand at the top."""
    return compile(code, "a block", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


@pytest.mark.parametrize("code", blocks())
def test_python_blocks_compile(code: str) -> None:
    """What is shown is Python."""
    assert compiled(code)


@pytest.mark.parametrize("code", blocks(marked=True))
def test_marked_blocks_run(code: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What stands after a `run` mark works as it stands, given clients and messages."""

    async def run() -> None:
        async with (
            FaultProvider() as provider,
            openai.AsyncOpenAI(base_url=provider.openai_url, api_key="none", max_retries=0) as client,
            anthropic.AsyncAnthropic(base_url=provider.anthropic_url, api_key="none", max_retries=0) as other,
        ):
            messages = [{"role": "user", "content": "Hello"}]
            ran = eval(compiled(code), {"client": client, "other": other, "messages": messages})
            if inspect.isawaitable(ran):
                await ran

    asyncio.run(run())
    assert "Error" not in capsys.readouterr().err


def test_tests_that_are_shown_pass() -> None:
    """The change that CONTRIBUTING shows is one that stands: its tests pass."""
    names: dict[str, Any] = {}
    for code in _BLOCK.findall(PAGES["CONTRIBUTING.md"]):
        exec(compiled(code[1]), names)
    shown = [value for name, value in names.items() if name.startswith("test_")]
    assert len(shown) == 2
    for test in shown:
        ran = test()
        if inspect.iscoroutine(ran):
            asyncio.run(ran)


# The quickstart


def test_the_quickstart_is_the_example() -> None:
    """The code in the README stands in the example, word for word."""
    shown = README.split("## Quickstart")[1].split("```python\n")[1].split("```")[0]
    assert shown in (ROOT / "examples" / "quickstart.py").read_text(encoding="utf-8")


def test_the_output_of_the_quickstart_is_real() -> None:
    """The output in the README is what the example prints."""
    shown = README.split("$ python -m examples.quickstart\n")[1].split("```")[0]
    ran = subprocess.run(
        [sys.executable, "-m", "examples.quickstart"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=50,
        check=True,
    )
    assert ran.stdout == shown


# What is told


def test_every_option_is_told_with_its_default() -> None:
    """The README's table has each option, but those that are refused, with its default."""
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", README.split("## Options")[1], re.MULTILINE))
    refused = {"guardrails", "drift", "continuation", "check", "callbacks", "record"}
    fields = {field.name: field for field in msgspec.structs.fields(L0Options)}
    assert set(rows) == set(fields) - refused
    assert all(f"`{name}`" in README.split("## What is not there yet")[1] for name in refused)
    for name, told in rows.items():
        field = fields[name]
        if field.required:
            assert told == "required"
        elif name in ("retry", "timeout"):
            assert told.strip("`") == f"{type(field.default).__name__}()"
            _check_nested(name, field.default)
        else:
            default = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
            assert ast.literal_eval(told.strip("`")) == default


def _check_nested(name: str, config: Any) -> None:
    row = next(line for line in README.splitlines() if line.startswith(f"| `{name}` |"))
    for key, value in re.findall(r"`(\w+)=(\w+)`", row):
        assert getattr(config, key) == ast.literal_eval(value)


def test_every_promise_has_its_paragraph() -> None:
    """P1 to P27 each have one heading, and say where they are kept and tested."""
    parts = re.split(r"^### (P\d+) ", SEMANTICS, flags=re.MULTILINE)[1:]
    told = dict(zip(parts[::2], parts[1::2], strict=True))
    assert len(parts) == 2 * len(told)
    assert set(told) == {f"P{number}" for number in range(1, 28)}
    assert all("Code: " in text and "Tests:" in text for text in told.values())


@pytest.mark.parametrize("page", PAGES)
def test_files_that_are_named_exist(page: str) -> None:
    """A path in a page, in backticks or as a link, is that of a file."""
    text = PAGES[page]
    paths = re.findall(r"`((?:l0actors|tests|examples|docs|benchmarks)/[\w./]+?)`", text)
    links = [link for link in re.findall(r"\]\(([^)#]+)[^)]*\)", text) if "://" not in link]
    missing = [path for path in paths if not (ROOT / path).exists()]
    assert missing + [link for link in links if not ((ROOT / page).parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES)
def test_links_into_pages_have_their_heading(page: str) -> None:
    """A link to a heading finds it."""
    for target, anchor in re.findall(r"\]\(([^):]*)#([^)]+)\)", PAGES[page]):
        aimed = (ROOT / page).parent / target if target else ROOT / page
        headings = re.findall(r"^#+ (.*)$", aimed.read_text(encoding="utf-8"), re.MULTILINE)
        slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
        assert anchor in slugs


def test_docstring_examples_hold() -> None:
    """What a public docstring shows after `>>>` is what comes out."""
    import doctest
    import importlib

    names = ("events", "recovery.manager", "recovery.output")
    for name in names:
        module = importlib.import_module(f"l0actors.{name}")
        names_in_it = {**vars(module), **vars(importlib.import_module("l0actors"))}
        outcome = doctest.testmod(module, extraglobs=names_in_it)
        assert outcome.attempted
        assert outcome.failed == 0, textwrap.dedent(name)
