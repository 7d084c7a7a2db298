"""The examples run as a reader runs them, and print what they say."""

from __future__ import annotations

import asyncio
import io
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest

from examples import _terminal, demo
from examples._table import table
from examples._terminal import Paint, Screen
from l0actors.testing import Cut, FaultProvider, Reply

ROOT = Path(__file__).parents[2]

QUICKSTART = """\
An actor has a mailbox, handles one message at a time, and shares nothing.
attempt 1: failed (NETWORK_ERROR) after 6 tokens
attempt 2: completed after 14 tokens
"""

FALLBACKS = """\
A supervisor restarts its children, each by the rule that it was given.
attempt 1, openai: failed (PROVIDER_ERROR)
attempt 2, openai: failed (AUTHENTICATION)
attempt 3, anthropic: completed
answered by anthropic, model claude-haiku-4-5
ALL_STREAMS_EXHAUSTED: 2 sources were tried in 3 attempts; the last error: anthropic answered HTTP 529 \
(overloaded_error): The fault provider was told to fail.
tell the user: The service is not available right now. Please try again later.
"""

SERVICE = """\
4 sessions in flight
/sinks/Accounts: running, 0 messages dropped
You asked: what is a bus?
You asked: what is a mailbox?
You asked: what is an actor?
You asked: what is a sink?
in flight at the stop: 4 completed, 0 aborted
booked: 4 completed, in 5 attempts
"""

SINKS = (
    """\
/sinks/TokenMeter: started
/sinks/broken: given up
not delivered: {'crashed_while_handling': 4}
meter: stopped (shutdown), 0 sessions left open
"""
    + 4
    * (
        "meter: 9 tokens\n"
        "tell: finish reason stop, 47 characters\n"
        "A sink costs its own messages and nothing else.\n"
    )
)


def _environment() -> dict[str, str]:
    """Return this process's environment without what the SDKs read."""
    sdks = ("OPENAI_", "ANTHROPIC_")
    return {name: value for name, value in os.environ.items() if not name.startswith(sdks)}


def run(module: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run an example in a process of its own, without keys and with warnings as errors."""
    return subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", "-m", f"examples.{module}", *arguments],
        cwd=ROOT,
        env=_environment() | environment,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


@pytest.mark.parametrize(
    ("module", "output"),
    [("quickstart", QUICKSTART), ("fallbacks", FALLBACKS), ("embed_in_a_service", SERVICE)],
)
def test_an_example_prints_what_its_reader_is_told(module: str, output: str) -> None:
    """Each example runs without a key and prints exactly this, and nothing on standard error."""
    ran = run(module)
    assert (ran.stdout, ran.stderr, ran.returncode) == (output, "", 0)


def test_the_sinks_print_beside_each_other() -> None:
    """Sinks and consumer print in no fixed order, but each line as often as it happened."""
    ran = run("custom_sink")
    assert (ran.stderr, ran.returncode) == ("", 0)
    assert Counter(ran.stdout.splitlines()) == Counter(SINKS.splitlines())


def test_every_example_is_tested_and_documented() -> None:
    """An example that is added is run here and named in the README."""
    examples = {path.stem for path in (ROOT / "examples").glob("[a-z]*.py")}
    assert examples == {"quickstart", "fallbacks", "embed_in_a_service", "custom_sink", "demo"}
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert all(f"examples/{name}.py" in readme for name in examples)


# The demo


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the demo's provider send as fast as it can, to a pipe of 80 columns."""
    monkeypatch.setattr(demo, "TOKEN_MS", 0)
    monkeypatch.setenv("COLUMNS", "80")


@pytest.mark.usefixtures("fast")
def test_the_demo_gives_every_text_exactly(capsys: pytest.CaptureFixture[str]) -> None:
    """Its five sessions survive their faults, and it says so in its exit code and its table."""
    assert demo.main([]) == 0
    told = capsys.readouterr().out
    assert "\x1b" not in told
    assert "[rollback: 66 characters are taken back, 95 stay]" in told
    rows = {row.split("  ")[0]: " ".join(row.split()) for row in told.partition("-----\n")[2].splitlines()}
    assert rows["cut"].startswith("cut 2 2 openai STREAM_TRUNCATED 58 ")
    assert rows["diverges"].startswith("diverges 2 2 openai NETWORK_ERROR ")
    assert rows["rate limit"].startswith("rate limit 2 2 anthropic RATE_LIMITED 58 1")
    assert rows["stall"].startswith("stall 2 2 openai INTER_TOKEN_TIMEOUT 58 ")
    assert rows["fallback"].startswith("fallback 3 2 openai, anthropic 2 PROVIDER_ERROR 58 ")
    sessions = [row for row in rows.values() if " ms " in row]
    assert len(sessions) == 5
    assert all(row.endswith("1 completed exact") for row in sessions)
    assert "11 requests, open connections left: 0" in told


@pytest.mark.usefixtures("fast")
def test_the_demo_fails_if_a_text_is_wrong(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What counts is what the provider meant to say, not what the session believes."""
    scenes = demo.scenes

    def one_wrong(*clients: object) -> list[demo.Scene]:
        [scene, *_] = scenes(*clients)  # type: ignore[arg-type]
        return [demo.Scene(scene.name, scene.what, scene.options, scene.answer, (("chat", Reply("No.")),))]

    monkeypatch.setattr(demo, "scenes", one_wrong)
    assert demo.main([]) == 1
    assert "WRONG" in capsys.readouterr().out


def test_the_demo_explains_itself() -> None:
    """`--help` tells what it shows and how to run it live."""
    ran = run("demo", "--help")
    assert ran.returncode == 0
    assert "--live" in ran.stdout
    assert "OPENAI_API_KEY" in ran.stdout


def test_live_needs_a_key() -> None:
    """Without any key `--live` says which it looks for, on standard error, and asks nobody."""
    ran = run("demo", "--live")
    assert (ran.stdout, ran.returncode) == ("", 2)
    assert ran.stderr == "--live needs OPENAI_API_KEY or ANTHROPIC_API_KEY; neither is set.\n"


async def live(provider: FaultProvider, **keys: str) -> tuple[int, str]:
    """Run the live demo in a process, with the SDKs' own variables for the address."""
    environment = _environment() | {
        "OPENAI_BASE_URL": provider.openai_url,
        "ANTHROPIC_BASE_URL": provider.anthropic_url,
        **keys,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "examples.demo",
        "--live",
        "--ask",
        "Why?",
        cwd=ROOT,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


async def test_live_takes_the_same_path_to_the_endpoint_of_the_sdk() -> None:
    """With both keys OpenAI is asked first and Anthropic is its fallback, at their SDKs' addresses."""
    async with FaultProvider(default=Reply("Because.")) as provider:
        provider.script(Reply.status(401), wire="chat")
        code, told = await live(provider, OPENAI_API_KEY="one", ANTHROPIC_API_KEY="two")
        assert code == 0, told
        assert "Because." in told
        assert [request.wire for request in provider.requests] == ["chat", "messages"]
        keys = [headers.get("x-api-key", headers.get("authorization")) for headers in _headers(provider)]
        assert keys[0] == "Bearer one"
        assert keys[1] in ("two", "Bearer two")  # it depends on the SDK's version
        assert provider.requests[1].body["messages"] == [{"role": "user", "content": "Why?"}]


def _headers(provider: FaultProvider) -> list[Mapping[str, str]]:
    return [request.headers for request in provider.requests]


async def test_live_with_one_key_has_one_source() -> None:
    """With Anthropic's key alone only Anthropic is asked, and a cut stream is retried there."""
    async with FaultProvider(default=Reply("Just because.")) as provider:
        provider.script(Reply("Just because.", fault=Cut(after_tokens=1)))
        code, told = await live(provider, OPENAI_API_KEY="", ANTHROPIC_API_KEY="two")
        assert code == 0, told
        assert [request.wire for request in provider.requests] == ["messages", "messages"]


# What the demo draws with


class Terminal(io.StringIO):
    """Standard output on a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A terminal of 20 columns that knows escape sequences."""
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setenv("LINES", "10")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(_terminal, "STRIKE_S", 0)
    return Terminal()


def seen(written: str) -> list[str]:
    """Return the lines that a terminal shows after `written`: it knows just what the screen uses."""
    lines, row = [""], 0
    for part in re.split(r"(\x1b\[\d*(?:;\d+)*[A-Zm]|[\n\r])", written):
        if part == "\n":
            row += 1
            lines.insert(row, "")
        elif part == "\r":
            pass  # always followed by an erase
        elif part.endswith("A") and part.startswith("\x1b"):
            row -= int(part[2:-1])
        elif part == "\x1b[J":
            lines[row:] = [""]
        elif not part.startswith("\x1b"):
            lines[row] += part
    return lines


async def test_a_terminal_is_redrawn(terminal: Terminal) -> None:
    """Text that is taken back is struck through, then gone; what stays and what follows stand as one text."""
    screen = Screen(terminal, Paint(terminal))
    for piece in ("one ", "two ", "three ", "four ", "five"):
        screen.add(piece)
    await screen.take_back(8)
    for piece in ("six ", "seven ", "eight"):
        screen.add(piece)
    assert "\x1b[9;31mthree" in terminal.getvalue()
    assert seen(terminal.getvalue()) == ["  one two six seven", "  eight"]
    assert screen.text == "one two six seven eight"


@pytest.mark.parametrize("variable", [("NO_COLOR", "1"), ("TERM", "dumb")])
async def test_a_plain_terminal_gets_a_marker_line(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, variable: tuple[str, str]
) -> None:
    """With NO_COLOR or a dumb terminal there is no escape sequence: a line says what is taken back."""
    monkeypatch.setenv(*variable)
    screen = Screen(terminal, Paint(terminal))
    screen.add("one two")
    await screen.take_back(4)
    screen.add("three")
    screen.line("end", "dim")
    assert terminal.getvalue() == (
        "  one two\n  [rollback: 3 characters are taken back, 4 stay]\n  one three\n  end\n"
    )


def test_a_table_is_as_wide_as_its_cells() -> None:
    """Columns are aligned, and painting a cell does not move its neighbours."""
    painted = table(("a", "b"), [("long", "x"), ("y", "z")], lambda column, cell: f"<{cell}>")
    assert painted == "a     b\n----  -\n<long>  <x>\n<y   >  <z>"
