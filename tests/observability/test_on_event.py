"""`on_event` of real sessions: the events come as the catalogue says, and hold up nothing."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

from l0actors.actors.sink import ObservabilitySink
from l0actors.errors import ErrorCode, L0Error
from l0actors.events import EventType, L0Event
from l0actors.facade import l0
from l0actors.observability import META, ObservabilityEvent
from l0actors.options import RetryConfig, TimeoutConfig
from l0actors.system import ActorSystem

FAST = RetryConfig(base_delay_ms=1)
NONE = RetryConfig(attempts=0, max_retries=0)

OPENED = "SESSION_START STREAM_INIT ADAPTER_DETECTED STREAM_READY"
AGAIN = "STREAM_INIT ADAPTER_DETECTED STREAM_READY"
RETRIED = f"RETRY_ATTEMPT ATTEMPT_START {AGAIN}"
FELL_BACK = f"RETRY_GIVE_UP FALLBACK_START FALLBACK_MODEL_SELECTED {AGAIN}"
DONE = "COMPLETE SESSION_END"
ABORTED = "ABORT_REQUESTED ABORT_COMPLETED SESSION_END"

Stream = AsyncIterator[Any]


async def answer() -> Stream:
    """A source that answers."""
    yield "good "
    yield "morning"


async def other_answer() -> Stream:
    """A source that answers something else."""
    yield "bonjour"


async def silent() -> Stream:
    """A source that never says anything."""
    await asyncio.Event().wait()
    yield ""


async def calls_a_tool() -> Stream:
    """A source that wants a tool to be called."""
    yield L0Event(
        EventType.TOOL_CALL, data={"id": "c1", "name": "look", "arguments": {"at": "it"}, "index": 0}
    )


def failing(error: Exception, times: int = 1) -> Callable[[], Stream]:
    """Return a source that fails in the middle of its answer, so many times."""
    left = [error] * times

    async def stream() -> Stream:
        yield "good "
        if left:
            raise left.pop()
        yield "morning"

    return stream


def types(events: list[ObservabilityEvent]) -> str:
    """Return the types of events, in a line."""
    return " ".join(event.type.value for event in events)


async def run(**options: Any) -> list[ObservabilityEvent]:
    """Run a session to its end and return its events."""
    seen: list[ObservabilityEvent] = []
    async with ActorSystem() as system:
        result = await system.l0(on_event=seen.append, **options)
        try:
            await result.text()
        except L0Error:
            assert not result.state.completed
    check(seen, result.stream_id)
    return seen


def check(events: list[ObservabilityEvent], stream_id: str) -> None:
    """Assert what holds for the events of every session."""
    told = types(events).split()
    assert (told[0], told[-1]) == ("SESSION_START", "SESSION_END")
    assert told.count("SESSION_START") == told.count("SESSION_END") == 1
    assert {event.stream_id for event in events} == {stream_id}
    assert [event.ts for event in events] == sorted(event.ts for event in events)
    assert all(set(event.meta) == set(META[event.type]) for event in events)


async def test_success() -> None:
    """An answer that comes at once has one start, one stream and one end."""
    events = await run(stream=answer)
    assert types(events) == f"{OPENED} {DONE}"
    complete = events[-2].meta
    assert (complete["source"], complete["token_count"], complete["content_length"]) == ("primary", 2, 12)


async def test_retry_after_a_network_error() -> None:
    """A connection that broke is told, then the retry, then that it helped."""
    events = await run(stream=failing(ConnectionError("reset")), retry=FAST)
    assert (
        types(events)
        == f"{OPENED} NETWORK_ERROR ERROR RETRY_START {RETRIED} NETWORK_RECOVERY RETRY_END {DONE}"
    )


async def test_retries_of_one_source_are_one_series() -> None:
    """Each retry has its RETRY_ATTEMPT, all of them one RETRY_START and one RETRY_END."""
    events = await run(stream=failing(ValueError("odd"), times=2), retry=FAST)
    assert types(events) == f"{OPENED} ERROR RETRY_START {RETRIED} ERROR {RETRIED} RETRY_END {DONE}"


async def test_fallback_with_rollback() -> None:
    """The source is given up, the next one is named, and what it takes back is told."""
    events = await run(stream=failing(ValueError("odd")), fallbacks=[other_answer], retry=NONE)
    assert types(events) == f"{OPENED} ERROR {FELL_BACK} ROLLBACK FALLBACK_END {DONE}"


async def test_failure_of_all_sources() -> None:
    """When nothing helps, the end says what the consumer is told."""
    broken = failing(ValueError("odd"))
    events = await run(stream=failing(ValueError("odd")), fallbacks=[broken], retry=NONE)
    assert types(events) == f"{OPENED} ERROR {FELL_BACK} ERROR RETRY_GIVE_UP FALLBACK_END SESSION_END"
    assert (events[-1].meta["outcome"], events[-1].meta["code"]) == ("failed", "ALL_STREAMS_EXHAUSTED")


async def test_a_recovery_that_cannot_be_delivered() -> None:
    """With `append` an answer that would take text back fails the session, and ERROR tells of it."""
    events = await run(
        stream=failing(ValueError("odd")), fallbacks=[other_answer], retry=NONE, delivery="append"
    )
    assert types(events) == f"{OPENED} ERROR {FELL_BACK} ERROR RETRY_GIVE_UP FALLBACK_END SESSION_END"


async def test_timeout_of_the_first_token() -> None:
    """A source that says nothing is timed out, and the fallback answers."""
    limits = TimeoutConfig(initial_token_ms=10)
    events = await run(stream=silent, fallbacks=[answer], timeout=limits)
    assert types(events) == (
        f"{OPENED} TIMEOUT_TRIGGERED NETWORK_ERROR ERROR {FELL_BACK} NETWORK_RECOVERY FALLBACK_END {DONE}"
    )
    timeout = events[4].meta
    assert (timeout["clock"], timeout["limit_ms"]) == ("initial_token", 10)
    assert timeout["waited_ms"] >= 10


async def test_the_sessions_time_is_over() -> None:
    """A session that takes too long has one ERROR, though no attempt failed."""
    events = await run(stream=silent, timeout=TimeoutConfig(total_ms=10))
    assert types(events) == f"{OPENED} TIMEOUT_TRIGGERED ERROR RETRY_GIVE_UP SESSION_END"
    assert events[5].meta["code"] == ErrorCode.TOTAL_TIMEOUT.value


async def test_tool_calls_are_told_without_their_arguments() -> None:
    """A tool call that was released is told by its name."""
    events = await run(stream=calls_a_tool)
    assert types(events) == f"{OPENED} TOOL_REQUESTED {DONE}"
    assert events[4].meta == {"attempt": 1, "index": 0, "call_id": "c1", "name": "look"}


async def test_abort_while_the_source_is_silent() -> None:
    """An abort is told with its reason, and is the end."""
    seen: list[ObservabilityEvent] = []
    opened = asyncio.Event()

    def on_event(event: ObservabilityEvent) -> None:
        seen.append(event)
        if event.type.value == "STREAM_READY":
            opened.set()

    result = await l0(stream=silent, on_event=on_event)
    await opened.wait()
    result.abort("enough")
    await result.aclose()
    check(seen, result.stream_id)
    assert types(seen) == f"{OPENED} {ABORTED}"
    assert (seen[-1].meta["outcome"], seen[-2].meta["reason"]) == ("aborted", "enough")


async def test_abort_at_once() -> None:
    """A session that is aborted before its first attempt still has its start and its end."""
    seen: list[ObservabilityEvent] = []
    result = await l0(stream=answer, on_event=seen.append)
    await result.aclose()
    check(seen, result.stream_id)
    assert types(seen) == f"SESSION_START {ABORTED}"


async def test_a_quick_on_event_has_seen_everything_when_the_text_is_there() -> None:
    """After the end of the iteration a synchronous `on_event` has been called with SESSION_END."""
    seen: list[ObservabilityEvent] = []
    result = await l0(stream=answer, on_event=seen.append)
    assert await result.text() == "good morning"
    assert types(seen) == f"{OPENED} {DONE}"


async def test_an_on_event_that_raises_changes_nothing() -> None:
    """The consumer gets its text, and the next event is told."""
    seen: list[ObservabilityEvent] = []

    def broken(event: ObservabilityEvent) -> None:
        seen.append(event)
        raise RuntimeError("broken")

    async with ActorSystem() as system:
        result = await system.l0(stream=answer, on_event=broken)
        assert await result.text() == "good morning"
    assert types(seen) == f"{OPENED} {DONE}"


async def test_an_async_on_event_is_told_everything_in_order() -> None:
    """A coroutine function is awaited for each event, after the session's end as well."""
    seen: list[ObservabilityEvent] = []

    async def slow(event: ObservabilityEvent) -> None:
        for _ in range(50):
            await asyncio.sleep(0)
        seen.append(event)

    async with ActorSystem() as system:
        result = await system.l0(stream=failing(ValueError("odd")), retry=FAST, on_event=slow)
        assert await result.text() == "good morning"
        assert len(seen) < len(f"{OPENED} ERROR RETRY_START {RETRIED} RETRY_END {DONE}".split())
    assert types(seen) == f"{OPENED} ERROR RETRY_START {RETRIED} RETRY_END {DONE}"


async def test_an_on_event_that_hangs_holds_up_nothing() -> None:
    """The text is there while `on_event` still waits in its first event; nothing is lost to it."""
    seen: list[ObservabilityEvent] = []
    released = asyncio.Event()

    async def hang(event: ObservabilityEvent) -> None:
        seen.append(event)
        await released.wait()

    async with ActorSystem() as system:
        result = await system.l0(stream=answer, on_event=hang)
        assert await result.text() == "good morning"
        assert types(seen) == "SESSION_START"
        released.set()
    assert types(seen) == f"{OPENED} {DONE}"


async def test_meta_is_on_every_event() -> None:
    """`meta` stands in each event of the session, beside the event's own keys."""
    seen: list[ObservabilityEvent] = []
    async with ActorSystem() as system:
        result = await system.l0(stream=answer, on_event=seen.append, meta={"user": 7})
        await result.text()
    assert [event.meta["user"] for event in seen] == [7] * 6


async def test_a_sink_on_the_system_is_told_of_all_sessions() -> None:
    """One `ObservabilitySink` on a system tells each of its sessions apart."""
    seen: list[ObservabilityEvent] = []
    async with ActorSystem(sinks=[ObservabilitySink(seen.append)]) as system:
        results = [await system.l0(stream=answer) for _ in range(20)]
        await asyncio.gather(*(result.text() for result in results))
    for result in results:
        events = [event for event in seen if event.stream_id == result.stream_id]
        check(events, result.stream_id)
        assert types(events) == f"{OPENED} {DONE}"
