"""The sink behind `on_event`: what it calls, when, and what it never lets through."""

import asyncio
import logging
import threading
from typing import Any

import pytest

from l0actors.actors.sink import ObservabilitySink
from l0actors.bus.messages import (
    AttemptStarted,
    DataReceived,
    Heartbeat,
    Lagged,
    Message,
    ProgressReported,
    RolledBack,
    SessionCompleted,
    SessionStarted,
    StreamOpened,
    TimeoutFired,
    Tokens,
    ToolCallDelta,
)
from l0actors.bus.selection import resolve
from l0actors.observability import ObservabilityEvent


def session(name: str) -> list[Message]:
    """Return the messages of a session that completes."""
    return [
        SessionStarted(session=name, sources=("primary",)),
        AttemptStarted(session=name, attempt=1, source="primary"),
        StreamOpened(session=name, attempt=1, adapter="plain"),
        SessionCompleted(session=name, source="primary"),
    ]


ORDER = ["SESSION_START", "STREAM_INIT", "ADAPTER_DETECTED", "STREAM_READY", "COMPLETE", "SESSION_END"]


class Seen(list[ObservabilityEvent]):
    """A list of events, with their types."""

    @property
    def types(self) -> list[str]:
        return [event.type.value for event in self]

    def of(self, name: str) -> list[str]:
        return [event.type.value for event in self if event.stream_id == name]


async def feed(sink: ObservabilitySink, messages: list[Message]) -> None:
    """Hand messages to a sink, one after the other."""
    for message in messages:
        await sink.receive(message)


async def test_on_event_is_called_with_each_event_in_order() -> None:
    """Each event reaches `on_event` once, in the order of the catalogue."""
    seen = Seen()
    await feed(ObservabilitySink(seen.append), session("a"))
    assert seen.types == ORDER


async def test_an_async_on_event_is_awaited_before_the_next_event() -> None:
    """Events are told one at a time: the next one waits for the last one's coroutine."""
    log: list[str] = []

    async def on_event(event: ObservabilityEvent) -> None:
        log.append("begin")
        await asyncio.sleep(0)
        log.append("end")

    await feed(ObservabilitySink(on_event), session("a"))
    assert log == ["begin", "end"] * len(ORDER)


@pytest.mark.parametrize("is_async", [False, True])
async def test_what_on_event_raises_is_logged_and_forgotten(
    is_async: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """An exception costs nothing but its event; the log has its type and not what it says."""
    seen = Seen()

    def broken(event: ObservabilityEvent) -> None:
        seen.append(event)
        raise RuntimeError("the user's secret")

    async def broken_async(event: ObservabilityEvent) -> None:
        broken(event)

    with caplog.at_level(logging.WARNING, logger="l0actors"):
        await feed(ObservabilitySink(broken_async if is_async else broken), session("a"))
    assert seen.types == ORDER
    assert len(caplog.records) == len(ORDER)
    assert all(record.levelno == logging.WARNING for record in caplog.records)
    assert "RuntimeError" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize("stop", [asyncio.CancelledError, KeyboardInterrupt])
async def test_what_is_no_exception_passes(stop: type[BaseException]) -> None:
    """A cancellation or an interrupt is not swallowed."""

    async def on_event(event: ObservabilityEvent) -> None:
        raise stop

    with pytest.raises(stop):
        await feed(ObservabilitySink(on_event), session("a"))


async def test_meta_is_added_and_the_events_own_keys_win() -> None:
    """The user's keys stand in each event; a key that the event has itself keeps its value."""
    seen = Seen()
    await feed(ObservabilitySink(seen.append, meta={"user": 7, "outcome": "mine"}), session("a"))
    assert all(event.meta["user"] == 7 for event in seen)
    assert seen[0].meta["outcome"] == "mine"
    assert seen[-1].meta["outcome"] == "completed"


async def test_meta_is_copied_once_and_deeply() -> None:
    """What the caller changes in it later, or a reader in an event's meta, is in no other event."""
    mine: dict[str, Any] = {"tags": ["a"]}
    seen = Seen()

    def on_event(event: ObservabilityEvent) -> None:
        assert "added" not in event.meta
        event.meta["added"] = True
        seen.append(event)

    sink = ObservabilitySink(on_event, meta=mine)
    mine["tags"].append("b")
    mine["more"] = 1
    await feed(sink, session("a"))
    assert len(seen) == len(ORDER)
    assert all(event.meta["tags"] == ["a"] and "more" not in event.meta for event in seen)
    assert mine == {"tags": ["a", "b"], "more": 1}


def test_meta_that_cannot_be_copied_is_refused() -> None:
    """A lock in `meta` is an error when the sink is made, not when the first event comes."""
    with pytest.raises(ValueError, match="meta must be data that can be copied: TypeError"):
        ObservabilitySink(print, meta={"lock": threading.Lock()})


async def test_sessions_do_not_mix() -> None:
    """One sink for all sessions of a system tells each of them as if it were alone."""
    seen = Seen()
    sink = ObservabilitySink(seen.append)
    for pair in zip(session("a"), session("b"), strict=True):
        await feed(sink, list(pair))
    assert seen.of("a") == seen.of("b") == ORDER


async def test_a_session_that_ended_leaves_nothing_behind() -> None:
    """What was known about a session is dropped with its end, also when messages come late."""
    seen = Seen()
    sink = ObservabilitySink(seen.append)
    late = TimeoutFired(session="a", attempt=1, clock="content", limit_ms=1, waited_ms=2)
    await feed(sink, [*session("a"), late, RolledBack(session="a", attempt=1, keep=0)])
    assert seen.types == ORDER
    assert sink._sessions == {}


async def test_a_session_whose_start_was_missed_tells_only_its_end() -> None:
    """A sink that comes late, or lost messages, still tells the end, which is never dropped."""
    seen = Seen()
    sink = ObservabilitySink(seen.append)
    await feed(sink, session("a")[1:])
    assert seen.types == ["COMPLETE", "SESSION_END"]
    assert sink._sessions == {}


async def test_lost_messages_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    """When the mailbox had to drop messages, the log says how many; `on_event` is not called."""
    seen = Seen()
    with caplog.at_level(logging.WARNING, logger="l0actors"):
        await feed(ObservabilitySink(seen.append), [Lagged(missed=12, first_seq=1, last_seq=12)])
    assert seen == []
    assert "missed=12" in caplog.text


def test_it_subscribes_to_nothing_that_is_published_per_token() -> None:
    """A session that is only observed does not publish its tokens at all."""
    wanted = resolve(ObservabilitySink.subscribes)
    assert wanted.isdisjoint({Tokens, ToolCallDelta, Heartbeat, ProgressReported, DataReceived})
