"""Streams that fail, and what their reader sees of it. Run it with `make demo`."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from examples._table import table
from examples._terminal import Paint, Screen
from l0actors import EventType, L0Error, L0Options, L0Result, RetryConfig, Source, TimeoutConfig, l0
from l0actors.testing import Cut, FaultProvider, Reply, Reset, Stall, Wire

if TYPE_CHECKING:
    import anthropic
    import openai

TOKEN_MS = 15
"""The provider's pace, slow enough to watch."""

OPENAI_MODEL = "gpt-4o-mini"
ANTHROPIC_MODEL = "claude-haiku-4-5"
QUESTION = "In three sentences: what is an actor system, and why would one stream tokens through it?"

ANSWER = (
    "An actor system is a tree of small, independent units that share nothing and talk by messages. "
    "Each unit handles one message at a time, and a supervisor above it decides what happens when it "
    "fails. Streaming tokens through one keeps every failure where it happened: the reader of the text "
    "waits a moment, and then reads on."
)
OTHER_ANSWER = (
    "An actor system is a tree of small, independent units that share nothing and talk by messages. "
    "Nothing in it waits for anything else, so a slow check cannot delay a token. What a model says "
    "the second time may differ from the first; then the part that no longer holds is taken back."
)


@dataclass(frozen=True)
class Scene:
    """One session of the demo.

    Attributes:
        name: its name in the table.
        what: what goes wrong.
        options: what is asked of the library.
        answer: what the provider means to say; None if nobody can know.
        replies: what the provider answers, request by request, each for one format.
    """

    name: str
    what: str
    options: L0Options
    answer: str | None = None
    replies: tuple[tuple[Wire, Reply], ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What became of a scene.

    Attributes:
        name: the scene's.
        result: its session.
        exact: whether its reader has seen exactly the answer, and the session says so too.
    """

    name: str
    result: L0Result
    exact: bool


# The sources. This is all that an application writes about a provider.


def openai_chat(client: openai.AsyncOpenAI, model: str = OPENAI_MODEL, question: str = QUESTION) -> Source:
    """OpenAI's chat completions."""
    return Source(
        lambda: client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": question}], stream=True
        ),
        name="openai",
    )


def openai_responses(client: openai.AsyncOpenAI) -> Source:
    """OpenAI's responses."""
    return Source(
        lambda: client.responses.create(model=OPENAI_MODEL, input=QUESTION, stream=True), name="openai"
    )


def anthropic_messages(
    client: anthropic.AsyncAnthropic, model: str = ANTHROPIC_MODEL, question: str = QUESTION
) -> Source:
    """Anthropic's messages."""
    return Source(
        lambda: client.messages.create(
            model=model, messages=[{"role": "user", "content": question}], max_tokens=500, stream=True
        ),
        name="anthropic",
    )


# The scenes


def scenes(first: openai.AsyncOpenAI, second: anthropic.AsyncAnthropic) -> list[Scene]:
    """Return what goes wrong, in order."""
    chat, responses, messages = openai_chat(first), openai_responses(first), anthropic_messages(second)
    soon = RetryConfig(base_delay_ms=400)
    whole, other = Reply(ANSWER, token_delay_ms=TOKEN_MS), Reply(OTHER_ANSWER, token_delay_ms=TOKEN_MS)
    return [
        Scene(
            "cut",
            "the body ends half way as if it were whole; the retry starts anew, and nothing is shown twice",
            L0Options(stream=chat, retry=soon),
            ANSWER,
            (("chat", _with(whole, Cut(after_tokens=24))), ("chat", whole)),
        ),
        Scene(
            "diverges",
            "the connection is reset, and the retry goes another way: what no longer holds is taken back",
            L0Options(stream=chat, retry=soon),
            OTHER_ANSWER,
            (("chat", _with(whole, Reset(after_tokens=30))), ("chat", other)),
        ),
        Scene(
            "rate limit",
            "HTTP 429 with Retry-After: 1; the retry waits for as long as the provider asked",
            L0Options(stream=messages, retry=soon),
            ANSWER,
            (("messages", Reply.status(429, retry_after=1)), ("messages", whole)),
        ),
        Scene(
            "stall",
            "the connection stays open and nothing comes any more; the inter-token clock (500 ms) ends it",
            L0Options(stream=responses, retry=soon, timeout=TimeoutConfig(inter_token_ms=500)),
            ANSWER,
            (("responses", _with(whole, Stall(after_tokens=20))), ("responses", whole)),
        ),
        Scene(
            "fallback",
            "OpenAI answers 503 twice; Anthropic takes over",
            L0Options(stream=chat, fallbacks=[messages], retry=RetryConfig(base_delay_ms=400, max_retries=1)),
            ANSWER,
            (("chat", Reply.status(503)), ("chat", Reply.status(503)), ("messages", whole)),
        ),
    ]


def _with(reply: Reply, fault: Any) -> Reply:
    return Reply(reply.text, token_delay_ms=reply.token_delay_ms, fault=fault)


# Playing and telling


async def play(number: int, scene: Scene, paint: Paint) -> Outcome:
    """Run one session and show its text as it comes."""
    print(f"{paint(f'{number} {scene.name}', 'bold', 'cyan')}  {paint(scene.what, 'dim')}")
    screen = Screen(sys.stdout, paint)
    async with await l0(scene.options) as result:
        try:
            async for event in result:
                if event.type is EventType.TOKEN and event.value:
                    screen.add(event.value)
                elif event.type is EventType.ROLLBACK and event.data:
                    await screen.take_back(event.data["keep"])
        except L0Error as error:
            screen.line(f"{error.code.value}: {error}", "red")
    screen.line(" -> ".join(_attempts(result)), "dim")
    print()
    content = result.state.content
    expected = content if scene.answer is None else scene.answer
    return Outcome(scene.name, result, result.state.completed and screen.text == content == expected)


def _attempts(result: L0Result) -> list[str]:
    return [
        f"{attempt.source}: {attempt.error.code.value if attempt.error else attempt.outcome}"
        + (f" after {attempt.tokens} tokens" if attempt.tokens else "")
        for attempt in result.attempts
    ]


def summary(outcomes: Sequence[Outcome], paint: Paint) -> str:
    """Return the table of what happened."""
    head = ("session", "attempts", "sources", "errors", "tokens", "first token", "retries", "ended", "text")
    colours = {"exact": "green", "WRONG": "red", "completed": "green", "failed": "red"}

    def painted(column: int, cell: str) -> str:
        style = "yellow" if column == head.index("errors") else colours.get(cell.strip())
        return paint(cell, style) if style else cell

    return table(head, [_row(outcome) for outcome in outcomes], painted)


def _row(outcome: Outcome) -> tuple[str, ...]:
    state, attempts = outcome.result.state, outcome.result.attempts
    first = state.first_token_at
    return (
        outcome.name,
        str(len(attempts)),
        _counted([attempt.source for attempt in attempts]),
        _counted([attempt.error.code.value for attempt in attempts if attempt.error]) or "none",
        str(state.token_count),
        "none" if first is None else f"{first - attempts[0].started_at:.0f} ms",
        str(state.model_retry_count + state.network_retry_count),
        "completed" if state.completed else "failed",
        "exact" if outcome.exact else "WRONG",
    )


def _counted(names: Sequence[str]) -> str:
    groups = [(name, len(list(group))) for name, group in groupby(names)]
    return ", ".join(name if count == 1 else f"{count} {name}" for name, count in groups)


# The two ways to run it


async def embedded(paint: Paint) -> int:
    """Play all scenes against a provider on this machine that fails on command."""
    print(paint("Loading the SDKs ...", "dim"), flush=True)
    import anthropic
    import openai

    async with FaultProvider() as provider:
        async with (
            openai.AsyncOpenAI(base_url=provider.openai_url, api_key="none", max_retries=0) as first,
            anthropic.AsyncAnthropic(
                base_url=provider.anthropic_url, api_key="none", max_retries=0
            ) as second,
        ):
            outcomes = []
            for number, scene in enumerate(scenes(first, second), 1):
                for wire, reply in scene.replies:
                    provider.script(reply, wire=wire)
                outcomes.append(await play(number, scene, paint))
        await provider.all_closed()
        print(summary(outcomes, paint))
        print(f"\n{provider.total_requests} requests, open connections left: {provider.open_connections}")
    return 0 if all(outcome.exact for outcome in outcomes) else 1


async def live(paint: Paint, arguments: argparse.Namespace) -> int:
    """Ask the real providers whose keys are set: one as the source, the other as its fallback."""
    async with AsyncExitStack() as stack:
        sources: list[Source] = []
        if os.environ.get("OPENAI_API_KEY"):
            import openai

            first = await stack.enter_async_context(openai.AsyncOpenAI(max_retries=0))
            sources.append(openai_chat(first, arguments.openai_model, arguments.ask))
        if os.environ.get("ANTHROPIC_API_KEY"):
            import anthropic

            second = await stack.enter_async_context(anthropic.AsyncAnthropic(max_retries=0))
            sources.append(anthropic_messages(second, arguments.anthropic_model, arguments.ask))
        if not sources:
            print("--live needs OPENAI_API_KEY or ANTHROPIC_API_KEY; neither is set.", file=sys.stderr)
            return 2
        names = ", then ".join(str(source.name) for source in sources)
        scene = Scene(
            "live", f"{names}: {arguments.ask}", L0Options(stream=sources[0], fallbacks=sources[1:])
        )
        outcome = await play(1, scene, paint)
        print(summary([outcome], paint))
    return 0 if outcome.exact else 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; return 0 if every text was exact."""
    parser = argparse.ArgumentParser(prog="python -m examples.demo", description=__doc__)
    parser.add_argument(
        "--live", action="store_true", help="ask the real providers, with OPENAI_API_KEY or ANTHROPIC_API_KEY"
    )
    parser.add_argument("--ask", default=QUESTION, metavar="TEXT", help="what to ask with --live")
    parser.add_argument("--openai-model", default=OPENAI_MODEL, metavar="NAME", help=OPENAI_MODEL)
    parser.add_argument("--anthropic-model", default=ANTHROPIC_MODEL, metavar="NAME", help=ANTHROPIC_MODEL)
    parsed = parser.parse_args(arguments)
    paint = Paint(sys.stdout)
    try:
        return asyncio.run(live(paint, parsed) if parsed.live else embedded(paint))
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
