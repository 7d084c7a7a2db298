"""The bytes under an SDK's stream and the SDK's own objects: one body, read in both ways."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass, field
from typing import Any

import anthropic
import openai
import pytest
from provider_wires import MODEL, OPEN, http_of, read, real_clients

from l0actors.classify import to_l0_error
from l0actors.errors import ErrorCategory, ErrorCode, L0Error
from l0actors.events import L0Event, fold
from l0actors.providers import close_stream, decoder_for, detect_adapter, items_for
from l0actors.providers.decoder import events_of
from l0actors.testing import WIRES, FaultCase, FaultProvider, Reply, ToolCall, Wire, fault_matrix

PATHS = {"chat": "/v1/chat/completions", "responses": "/v1/responses", "messages": "/v1/messages"}
REPLY = Reply("one two three д👍 five", tool_calls=[ToolCall("c", "look", '{"at": [1, 2]}')])
CASES = [case for wire in WIRES for case in fault_matrix(wire).values() if not case.hangs]

# What only the bytes can be read of.
_ODD = {"ids_and_comments", "data_empty", "data_null", "data_list", "data_object"}
RECOVERED: dict[Wire, set[str]] = {
    "chat": {*_ODD, "finish_without_blank_line"},
    "responses": {*_ODD, "finish_without_blank_line"},
    "messages": {"byte_order_mark", "no_event_lines", "finish_without_blank_line"},
}
# What both fail, the SDK without knowing why.
TOLD_APART = {"json_error_200", "json_answer_200"}


def in_pieces(body: bytes, rng: random.Random) -> list[bytes]:
    """Cut a body at random places."""
    edges = [0, *sorted(rng.randrange(len(body) + 1) for _ in range(rng.randrange(60))), len(body)]
    return [body[begin:end] for begin, end in itertools.pairwise(edges)]


@dataclass
class Seen:
    """What came of a stream, however it ended."""

    events: list[L0Event] = field(default_factory=list)
    error: L0Error | None = None

    @property
    def how(self) -> tuple[ErrorCode, ErrorCategory] | None:
        """How it failed."""
        return None if self.error is None else (self.error.code, self.error.category)


async def look(opened: Any, *, raw: bool) -> Seen:
    """Read a stream to its end or failure, as the SDK's objects if `raw`, and close it."""
    adapter, seen = detect_adapter(opened), Seen()
    decoder, items = decoder_for(adapter), items_for(adapter, opened, raw=raw)
    try:
        async for item in items:
            seen.events += events_of(decoder.feed(item))
    except Exception as error:
        seen.error = None if decoder.finished else to_l0_error(error)
    finally:
        await close_stream(adapter, opened, items)
    try:
        seen.events += [] if seen.error else decoder.end()
    except L0Error as error:
        seen.error = error
    return seen


async def body_of(case: FaultCase) -> tuple[bytes, str, str] | None:
    """Return the body of a case, how its connection failed ("" if not), and its type; None without a body."""
    http = http_of(openai)
    async with FaultProvider() as provider, http.AsyncClient(timeout=5) as client:
        provider.script(case.on(REPLY))
        request = client.build_request(
            "POST", provider.url + PATHS[case.wire], json={"model": MODEL, "stream": True}
        )
        try:
            response = await client.send(request, stream=True)
        except http.TransportError:
            return None
        body, failure = b"", ""
        try:
            async for piece in response.aiter_bytes():
                body += piece
        except http.RequestError as error:
            failure = type(error).__name__
        await response.aclose()
        return None if response.status_code != 200 else (body, failure, response.headers["content-type"])


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.wire}-{case.name}")
async def test_both_ways_agree(case: FaultCase) -> None:
    """The same bytes, wherever they are cut, give the same events and the same failure in both ways."""
    sent = await body_of(case)
    if sent is None:
        return
    body, failure, content_type = sent
    sdk = anthropic if case.wire == "messages" else openai
    end = [getattr(http_of(sdk), failure)] if failure else []
    for seed in range(3):
        arriving = [*in_pieces(body, random.Random(f"{case.name} {seed}")), *end]
        by_bytes = await look(await OPEN[case.wire](arriving, content_type), raw=False)
        by_objects = await look(await OPEN[case.wire](arriving, content_type), raw=True)
        if case.name in RECOVERED[case.wire]:
            assert (fold(by_bytes.events), by_bytes.error) == (REPLY.text, None)
            assert by_objects.error is not None
        else:
            assert by_bytes.events == by_objects.events
            assert (by_bytes.how == by_objects.how) is (case.name not in TOLD_APART)
            assert (by_bytes.error is None) is (case.outcome == "recovers" or case.name == "no_tokens")


@pytest.mark.parametrize("wire", WIRES)
async def test_what_no_token_carries_is_read_too(wire: Wire) -> None:
    """Reasoning, refusals, tool calls, usage and the finish reason are the same in both ways."""
    calls = [ToolCall("x", "f", '{"a": "ж"}'), ToolCall("y", "g")]
    replies = (
        Reply("a b", reasoning="so it is", tool_calls=calls),
        Reply("a b", finish="length"),
        Reply(refusal="I will not"),
    )
    async with FaultProvider() as provider, real_clients(provider) as opening:
        for reply in replies:
            provider.script(reply, reply)
            seen = [await read(await opening(wire), raw=raw) for raw in (False, True)]
            first, second = [
                (one.events, one.decoder.usage, one.decoder.finish_reason, one.decoder.model) for one in seen
            ]
            assert first == second
