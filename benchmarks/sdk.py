"""CPU time per token: the providers' SDKs bare against `l0()` over them, on the same bytes.

    python -m benchmarks.sdk [--rounds 7] [--count 5000]

The bytes come from memory, through the SDKs' own HTTP client with a mock transport, so that nothing
hides what reading costs. The figures that count are the ratios: this machine's speed cancels out.
"""

import argparse
import asyncio
import importlib
import json
import platform
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import anthropic
import openai

from l0actors import l0

EVENTS_PER_READ = 16
TOKEN = "token "
MODEL = "bench-model"

Open = Callable[[], Awaitable[Any]]


def event(data: dict[str, Any], name: str | None = None) -> bytes:
    """Return one server-sent event."""
    head = "" if name is None else f"event: {name}\n"
    return f"{head}data: {json.dumps(data, separators=(',', ':'))}\n\n".encode()


def chat(count: int) -> Iterator[bytes]:
    """Yield the events of a chat completion of `count` tokens, as OpenAI sends them."""

    def chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": MODEL}
        return event({**head, "service_tier": "default", "system_fingerprint": "fp", "choices": [choice]})

    yield chunk({"role": "assistant", "content": "", "refusal": None})
    yield from (chunk({"content": TOKEN}) for _ in range(count))
    yield chunk({}, "stop")
    yield b"data: [DONE]\n\n"


def responses(count: int) -> Iterator[bytes]:
    """Yield the events of a response of `count` tokens, as OpenAI sends them."""
    whole = {"id": "resp_1", "object": "response", "created_at": 1, "model": MODEL, "output": []}
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0, "logprobs": []}

    def numbered(number: int, kind: str, **fields: Any) -> bytes:
        return event({"type": kind, "sequence_number": number, **fields}, kind)

    yield numbered(0, "response.created", response={**whole, "status": "in_progress"})
    for number in range(1, count + 1):
        yield numbered(number, "response.output_text.delta", delta=TOKEN, **place)
    yield numbered(count + 1, "response.completed", response={**whole, "status": "completed"})


def messages(count: int) -> Iterator[bytes]:
    """Yield the events of a message of `count` tokens, as Anthropic sends them."""

    def named(kind: str, **fields: Any) -> bytes:
        return event({"type": kind, **fields}, kind)

    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": MODEL, "content": []}
    usage = {"input_tokens": 1, "output_tokens": 1}
    yield named("message_start", message={**message, "stop_reason": None, "usage": usage})
    yield named("content_block_start", index=0, content_block={"type": "text", "text": ""})
    delta = {"type": "text_delta", "text": TOKEN}
    yield from (named("content_block_delta", index=0, delta=delta) for _ in range(count))
    yield named("content_block_stop", index=0)
    yield named("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": count})
    yield named("message_stop")


def reads_of(events: Iterator[bytes]) -> list[bytes]:
    """Return the events as reads from the network, of several events each."""
    each = list(events)
    return [b"".join(each[i : i + EVENTS_PER_READ]) for i in range(0, len(each), EVENTS_PER_READ)]


def client_of(sdk: Any, kind: str, reads: list[bytes]) -> Any:
    """Return a client of an SDK whose requests are answered with these reads."""
    bases = [base for base in sdk.DefaultAsyncHttpxClient.__mro__ if base.__name__ == "AsyncClient"]
    http = importlib.import_module(bases[-1].__module__.partition(".")[0])

    async def body() -> AsyncIterator[bytes]:
        for read in reads:
            yield read

    def answer(_request: Any) -> Any:
        return http.Response(200, headers={"content-type": "text/event-stream"}, content=body())

    transport = http.AsyncClient(transport=http.MockTransport(answer))
    return getattr(sdk, kind)(api_key="none", base_url="http://bench/v1", http_client=transport)


def openers(count: int) -> dict[str, Open]:
    """Return, by format, what opens a stream of `count` tokens."""
    first = client_of(openai, "AsyncOpenAI", reads_of(chat(count)))
    second = client_of(openai, "AsyncOpenAI", reads_of(responses(count)))
    third = client_of(anthropic, "AsyncAnthropic", reads_of(messages(count)))
    return {
        "openai chat": lambda: first.chat.completions.create(model=MODEL, messages=[], stream=True),
        "openai responses": lambda: second.responses.create(model=MODEL, input="x", stream=True),
        "anthropic messages": lambda: third.messages.create(
            model=MODEL, messages=[], max_tokens=9, stream=True
        ),
    }


async def bare(opening: Open) -> None:
    """Read the SDK's own stream."""
    async with await opening() as stream:
        async for _ in stream:
            pass


async def through(opening: Open) -> None:
    """Read it through `l0()`, with the default timeouts."""
    async for _ in await l0(stream=opening):
        pass


async def as_objects(opening: Open) -> None:
    """Read it through `l0()`, from the SDK's objects."""
    async for _ in await l0(stream=opening, raw_chunks=True):
        pass


async def cpu_per_token(run: Callable[[Open], Awaitable[None]], opening: Open, count: int) -> float:
    """Return the microseconds of CPU that `run` takes per token."""
    begin = time.process_time()
    await run(opening)
    return (time.process_time() - begin) / count * 1e6


async def main(rounds: int, count: int) -> None:
    """Print one row for each format."""
    print(
        f"{platform.python_implementation()} {platform.python_version()}, openai {openai.__version__}, "
        f"anthropic {anthropic.__version__}; {count:,} tokens, {EVENTS_PER_READ} events a read, "
        f"median of {rounds} rounds"
    )
    print(f"{'':<20} {'SDK µs':>8} {'l0() µs':>8} {'ratio':>6} {'with raw_chunks µs':>19} {'ratio':>6}")
    runs = (bare, through, as_objects)
    for name, opening in openers(count).items():
        for run in runs:
            await run(opening)
        samples = [[await cpu_per_token(run, opening, count) for run in runs] for _ in range(rounds)]
        sdk, ours, raw = (statistics.median(column) for column in zip(*samples, strict=True))
        print(f"{name:<20} {sdk:>8.1f} {ours:>8.1f} {ours / sdk:>6.3f} {raw:>19.1f} {raw / sdk:>6.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7, help="how often everything is measured (7)")
    parser.add_argument("--count", type=int, default=5_000, help="tokens of a stream (5,000)")
    arguments = parser.parse_args()
    asyncio.run(main(arguments.rounds, arguments.count))
