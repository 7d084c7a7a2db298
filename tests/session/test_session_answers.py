"""What the real SDKs' answers amount to: tool calls, usage, finish reasons, empty ones; many at once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from session_kit import PATIENT, QUICK, Bench, Seen, bench, consume, first_then

from l0actors import ErrorCategory, ErrorCode, EventType, L0Error, RetryConfig, l0
from l0actors.testing import WIRES, Close, Cut, Fault, Reply, Reset, Stall, ToolCall, Usage, Wire
from l0actors.testing.faults import ErrorEvent

ARGUMENTS = '{"city": "Zürich", "days": [1, 2, 3], "note": "a \\"quoted\\" word"}'
PARSED = {"city": "Zürich", "days": [1, 2, 3], "note": 'a "quoted" word'}
CALLS = (ToolCall("c1", "weather", ARGUMENTS), ToolCall("c2", "time", "{}"))


@pytest.fixture(scope="module")
def b() -> Iterator[Bench]:
    """Share one provider and one client of each SDK."""
    with bench() as made:
        yield made


async def ask(b: Bench, wire: Wire, answer: Any, **fields: Any) -> Seen:
    """Run one session."""
    fields = {"timeout": PATIENT, "retry": QUICK, **fields}
    return await consume(await l0(stream=b.source(wire, answer), **fields))


def calls_of(seen: Seen) -> list[tuple[str, str, dict[str, Any]]]:
    """Return the tool calls that the consumer was given."""
    found = [event.data or {} for event in seen.of(EventType.TOOL_CALL)]
    return [(data["id"], data["name"], data["arguments"]) for data in found]


WHOLE = [("c1", "weather", PARSED), ("c2", "time", {})]


@pytest.mark.parametrize("delivery", ["live", "append", "final"])
@pytest.mark.parametrize("wire", WIRES)
def test_tool_calls(b: Bench, wire: Wire, delivery: str) -> None:
    """Tool calls are given once, whole, after the text and before `COMPLETE`."""
    seen = b.run(ask(b, wire, lambda _: Reply("Let me see.", tool_calls=CALLS), delivery=delivery))
    assert calls_of(seen) == WHOLE
    kinds = [event.type for event in seen.events if event.type is not EventType.PROGRESS]
    assert kinds[-3:] == [EventType.TOOL_CALL, EventType.TOOL_CALL, EventType.COMPLETE]
    state = seen.result.state
    assert [(call.id, call.name, call.arguments) for call in state.tool_calls] == WHOLE
    assert seen.text == "Let me see."


FAULTS: list[Fault] = [
    fault
    for tokens in (3, 5, 8, 11, 12)
    for fault in (Cut(after_tokens=tokens), Reset(after_tokens=tokens), ErrorEvent(after_tokens=tokens))
]


@pytest.mark.parametrize("wire", WIRES)
def test_tool_calls_that_are_cut(b: Bench, wire: Wire) -> None:
    """A failed attempt's tool call is never given: after the retry there is each call once, whole."""

    async def scenario() -> list[Seen]:
        healthy = Reply("Let me see.", tool_calls=CALLS)
        broken = [Reply("Let me see.", tool_calls=CALLS, fault=fault) for fault in FAULTS]
        return await asyncio.gather(*(ask(b, wire, first_then(each, healthy)) for each in broken))

    sessions = b.run(scenario())
    for seen in sessions:
        assert calls_of(seen) == WHOLE
        assert len(seen.result.state.tool_calls) == 2
        assert seen.text == "Let me see."
    assert max(len(seen.result.attempts) for seen in sessions) == 2


@pytest.mark.parametrize("wire", WIRES)
def test_arguments_that_are_no_json(b: Bench, wire: Wire) -> None:
    """Arguments that do not parse are a failure, never an event; a session that only gets such ones fails."""
    bad = Reply(tool_calls=[ToolCall("c1", "weather", '{"city": "Zür')])
    seen = b.run(ask(b, wire, lambda _: bad, retry=RetryConfig(base_delay_ms=1, attempts=1)))
    assert isinstance(seen.error, L0Error)
    assert calls_of(seen) == []
    assert seen.result.state.tool_calls == []
    assert len(seen.result.attempts) == 2


@pytest.mark.parametrize("wire", WIRES)
def test_a_tool_call_is_output(b: Bench, wire: Wire) -> None:
    """An answer of tool calls only is no empty answer."""
    seen = b.run(ask(b, wire, lambda _: Reply(tool_calls=CALLS)))
    assert (calls_of(seen), seen.text, seen.error) == (WHOLE, "", None)


@pytest.mark.parametrize("wire", WIRES)
def test_usage(b: Bench, wire: Wire) -> None:
    """The usage of the attempts is summed, and is in the state, on `COMPLETE` and in the records."""
    fields = {"stream_options": {"include_usage": True}} if wire == "chat" else {}

    async def scenario() -> Seen:
        reply = Reply("one two three", usage=Usage(11, 7))
        result = await l0(stream=b.source(wire, lambda _: reply, **fields), timeout=PATIENT)
        return await consume(result)

    seen = b.run(scenario())
    usage = seen.result.state.usage
    assert (usage["input_tokens"], usage["output_tokens"]) == (11, 7)
    assert seen.events[-1].usage == usage
    assert seen.result.attempts[0].usage_status == "reported"


REASONS = {
    "chat": {"length": "length", "content_filter": "content_filter", "stop": "stop"},
    "responses": {"length": "length", "content_filter": "content_filter", "stop": "stop"},
    "messages": {"length": "max_tokens", "content_filter": "refusal", "stop": "end_turn"},
}


@pytest.mark.parametrize("reason", ["length", "content_filter", "stop"])
@pytest.mark.parametrize("wire", WIRES)
def test_finish_reasons(b: Bench, wire: Wire, reason: str) -> None:
    """An answer that ran into a limit completes, and why it ended is in the state."""
    seen = b.run(ask(b, wire, lambda _: Reply("one two", finish=reason)))
    assert (seen.text, seen.error) == ("one two", None)
    assert seen.result.state.finish_reason in (reason, REASONS[wire][reason])
    assert seen.events[-1].data is not None
    assert seen.events[-1].data["finish_reason"] == seen.result.state.finish_reason
    assert len(seen.result.attempts) == 1


@pytest.mark.parametrize("wire", WIRES)
def test_a_refusal(b: Bench, wire: Wire) -> None:
    """A refusal without any text ends the session as refused: neither retried nor taken for an answer."""
    seen = b.run(ask(b, wire, lambda _: Reply(refusal="I cannot do that.", finish="content_filter")))
    assert isinstance(seen.error, L0Error)
    assert (seen.error.code, seen.error.category) == (ErrorCode.CONTENT_REFUSED, ErrorCategory.REFUSED)
    assert len(seen.result.attempts) == 1
    other = b.run(
        ask(
            b,
            wire,
            lambda _: Reply(refusal="I cannot do that."),
            fallbacks=[b.source("chat", lambda _: Reply("I can."))],
            retry=RetryConfig(fallback_on_refusal=True),
        )
    )
    assert other.text == "I can."


@pytest.mark.parametrize("text", ["", "  \n ", "...", [" ", "."]], ids=["nothing", "blank", "dots", "pieces"])
@pytest.mark.parametrize("wire", WIRES)
def test_zero_output(b: Bench, wire: Wire, text: Any) -> None:
    """An answer that says nothing is retried, counted, and reported as `ZERO_OUTPUT` when it stays so."""
    seen = b.run(ask(b, wire, first_then(Reply(text), Reply("something"))))
    assert seen.text == "something"
    assert [error.code for error in seen.result.errors] == [ErrorCode.ZERO_OUTPUT]  # type: ignore[attr-defined]
    assert seen.result.state.model_retry_count == 1

    failed = b.run(ask(b, wire, lambda _: Reply(text), retry=RetryConfig(attempts=1, base_delay_ms=1)))
    assert isinstance(failed.error, L0Error)
    assert (failed.error.code, len(failed.result.attempts)) == (ErrorCode.ZERO_OUTPUT, 2)


def test_two_hundred_sessions_do_not_mix(b: Bench) -> None:
    """Two hundred sessions at once, of all formats and with many failures, each get their own text."""
    faults: list[tuple[Fault, ...]] = [
        (),
        (Cut(after_tokens=2),),
        (Close(after_tokens=1),),
        (Reset(after_tokens=3),),
        (ErrorEvent(after_tokens=2),),
        (Stall(after_tokens=2, for_ms=5),),
    ]

    async def one(number: int) -> Seen:
        wire = WIRES[number % 3]
        first = Reply(f"session {number} says its own text {number}", fault=faults[number % 6])
        second = Reply(f"session {number} says its own other text {number}")
        seen = await ask(b, wire, first_then(first, second), delivery=("live", "final")[number % 2])
        assert seen.error is None
        return seen

    async def scenario() -> list[Seen]:
        return await asyncio.gather(*map(one, range(200)))

    sessions = b.run(scenario())
    for number, seen in enumerate(sessions):
        retried = len(seen.result.attempts) == 2
        other = "other " if retried else ""
        assert seen.text == f"session {number} says its own {other}text {number}"
        assert retried == (number % 6 in (1, 2, 3, 4))
    assert len({seen.result.stream_id for seen in sessions}) == 200
