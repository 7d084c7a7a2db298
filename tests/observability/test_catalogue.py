"""The observability events of a session: their orders, their details, and what never happens."""

from collections.abc import Iterable
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from l0actors.bus.messages import (
    AnyMessage,
    AttemptStarted,
    AttemptSuperseded,
    ContentMessage,
    FallbackSelected,
    Heartbeat,
    Message,
    RetryScheduled,
    RolledBack,
    SessionAborted,
    SessionCompleted,
    SessionFailed,
    SessionStarted,
    StreamEnded,
    StreamFailed,
    StreamOpened,
    TimeoutFired,
    Tokens,
    ToolCallReady,
    UsageReported,
)
from l0actors.errors import ErrorCategory, ErrorCode, ErrorInfo, ProviderFields
from l0actors.observability import META, ObservabilityEvent, ObservabilityEventType
from l0actors.observability.catalogue import OBSERVED, SessionEvents

RESET = ErrorInfo(code=ErrorCode.NETWORK_ERROR, category=ErrorCategory.NETWORK, message="reset")
SILENT = ErrorInfo(code=ErrorCode.INITIAL_TOKEN_TIMEOUT, category=ErrorCategory.TIMEOUT, message="silent")
ODD = ErrorInfo(code=ErrorCode.PROVIDER_ERROR, category=ErrorCategory.MODEL, message="odd")
BUSY = ErrorInfo(
    code=ErrorCode.RATE_LIMITED,
    category=ErrorCategory.TRANSIENT,
    message="busy",
    provider=ProviderFields(status_code=429, request_id="req_1"),
)
EXHAUSTED = ErrorInfo(
    code=ErrorCode.ALL_STREAMS_EXHAUSTED, category=ErrorCategory.PROVIDER, message="all were tried"
)
LATE = ErrorInfo(code=ErrorCode.TOTAL_TIMEOUT, category=ErrorCategory.TIMEOUT, message="out of time")

OPENED = "SESSION_START STREAM_INIT ADAPTER_DETECTED STREAM_READY"
AGAIN = "STREAM_INIT ADAPTER_DETECTED STREAM_READY"
RETRIED = f"RETRY_ATTEMPT ATTEMPT_START {AGAIN}"
FELL_BACK = f"RETRY_GIVE_UP FALLBACK_START FALLBACK_MODEL_SELECTED {AGAIN}"
DONE = "COMPLETE SESSION_END"


def attempt(number: int, source_index: int = 0, reason: str = "first") -> list[Message]:
    """Return the messages of an attempt that begins well."""
    source = "primary" if source_index == 0 else f"fallback-{source_index}"
    return [
        AttemptStarted(attempt=number, source=source, source_index=source_index, reason=reason),
        StreamOpened(attempt=number, adapter="plain"),
        Tokens(attempt=number, start=0, texts=("a",)),
    ]


def failed(number: int, error: ErrorInfo) -> Message:
    """Return the end of an attempt that failed."""
    return StreamFailed(attempt=number, error=error)


def retry(number: int, source_index: int = 0) -> list[Message]:
    """Return the decision for a retry after an attempt, and the retry."""
    scheduled = RetryScheduled(attempt=number, delay_ms=5.0, reason="NETWORK_ERROR", counted=False)
    return [scheduled, *attempt(number + 1, source_index, "retry")]


def fallback(number: int, source_index: int = 1) -> list[Message]:
    """Return the decision for a fallback after an attempt, and the fallback's attempt."""
    source = f"fallback-{source_index}"
    selected = FallbackSelected(attempt=number, source=source, source_index=source_index, reason="X")
    return [selected, *attempt(number + 1, source_index, "fallback")]


STARTED = SessionStarted(sources=("primary", "fallback-1"))
COMPLETED = [StreamEnded(attempt=9), SessionCompleted(source="primary", model="m", usage={"input_tokens": 3})]
CALL = ToolCallReady(attempt=1, index=0, call_id="c1", name="look", arguments={"secret": "of the user"})
CLOCK = TimeoutFired(attempt=1, clock="initial_token", limit_ms=20, waited_ms=21)
TOTAL = TimeoutFired(attempt=1, clock="total", limit_ms=20, waited_ms=21)
BACK = RolledBack(attempt=3, keep=1, reason="attempt 3 differs")
SUPERSEDED = AttemptSuperseded(attempt=1, reason="why")

RUNS: dict[str, tuple[list[Message], str]] = {
    "success": (
        [STARTED, *attempt(1), UsageReported(attempt=1, usage={}), *COMPLETED],
        f"{OPENED} {DONE}",
    ),
    "tools": (
        [STARTED, *attempt(1), StreamEnded(attempt=1), CALL, COMPLETED[1]],
        f"{OPENED} TOOL_REQUESTED {DONE}",
    ),
    "retry after a network error": (
        [STARTED, *attempt(1), failed(1, RESET), *retry(1), *COMPLETED],
        f"{OPENED} NETWORK_ERROR ERROR RETRY_START {RETRIED} NETWORK_RECOVERY RETRY_END {DONE}",
    ),
    "retry after another error": (
        [STARTED, *attempt(1), failed(1, ODD), *retry(1), *COMPLETED],
        f"{OPENED} ERROR RETRY_START {RETRIED} RETRY_END {DONE}",
    ),
    "two retries": (
        [STARTED, *attempt(1), failed(1, BUSY), *retry(1), failed(2, ODD), *retry(2), *COMPLETED],
        f"{OPENED} ERROR RETRY_START {RETRIED} ERROR {RETRIED} RETRY_END {DONE}",
    ),
    "fallback": (
        [STARTED, *attempt(1), failed(1, ODD), *fallback(1), *COMPLETED],
        f"{OPENED} ERROR {FELL_BACK} FALLBACK_END {DONE}",
    ),
    "two fallbacks": (
        [STARTED, *attempt(1), failed(1, ODD), *fallback(1), failed(2, ODD), *fallback(2, 2), *COMPLETED],
        f"{OPENED} ERROR {FELL_BACK} ERROR {FELL_BACK} FALLBACK_END {DONE}",
    ),
    "a fallback that is retried and takes text back": (
        [STARTED, *attempt(1), failed(1, ODD), *fallback(1), failed(2, ODD), *retry(2, 1), BACK, *COMPLETED],
        f"{OPENED} ERROR {FELL_BACK} ERROR RETRY_START {RETRIED} ROLLBACK RETRY_END FALLBACK_END {DONE}",
    ),
    "timeout": (
        [STARTED, *attempt(1), CLOCK, failed(1, SILENT), *fallback(1), *COMPLETED],
        f"{OPENED} TIMEOUT_TRIGGERED NETWORK_ERROR ERROR {FELL_BACK} NETWORK_RECOVERY FALLBACK_END {DONE}",
    ),
    "failure": (
        [STARTED, *attempt(1), failed(1, BUSY), SessionFailed(error=BUSY)],
        f"{OPENED} ERROR RETRY_GIVE_UP SESSION_END",
    ),
    "all sources exhausted": (
        [STARTED, *attempt(1), failed(1, ODD), *fallback(1), failed(2, ODD), SessionFailed(error=EXHAUSTED)],
        f"{OPENED} ERROR {FELL_BACK} ERROR RETRY_GIVE_UP FALLBACK_END SESSION_END",
    ),
    "out of time while reading": (
        [STARTED, *attempt(1), TOTAL, SUPERSEDED, SessionFailed(error=LATE)],
        f"{OPENED} TIMEOUT_TRIGGERED ERROR RETRY_GIVE_UP SESSION_END",
    ),
    "out of time in a pause": (
        [STARTED, *attempt(1), failed(1, ODD), retry(1)[0], TOTAL, SessionFailed(error=LATE)],
        f"{OPENED} ERROR RETRY_START RETRY_ATTEMPT TIMEOUT_TRIGGERED ERROR RETRY_GIVE_UP SESSION_END",
    ),
    "an end that cannot be delivered": (
        [STARTED, *attempt(1), failed(1, ODD), *retry(1), StreamEnded(attempt=2), SessionFailed(error=ODD)],
        f"{OPENED} ERROR RETRY_START {RETRIED} ERROR RETRY_GIVE_UP SESSION_END",
    ),
    "failure before any attempt": (
        [STARTED, SessionFailed(error=ODD)],
        "SESSION_START ERROR SESSION_END",
    ),
    "abort": (
        [STARTED, *attempt(1), SUPERSEDED, SessionAborted(reason="enough")],
        f"{OPENED} ABORT_REQUESTED ABORT_COMPLETED SESSION_END",
    ),
}


def stamped(messages: Iterable[Message]) -> list[Message]:
    """Return the messages as the bus gives them: of one session, in time."""
    return [
        msgspec.structs.replace(message, session="s1", seq=number, ts=1000.0 + number)
        for number, message in enumerate(messages, start=1)
    ]


def observed(messages: Iterable[Message]) -> list[ObservabilityEvent]:
    """Return the events of one session."""
    session = SessionEvents()
    return [event for message in stamped(messages) for event in session.observe(message)]


def types(events: Iterable[ObservabilityEvent]) -> list[str]:
    """Return the types of events."""
    return [event.type.value for event in events]


def meta_of(events: Iterable[ObservabilityEvent], kind: str) -> list[dict[str, Any]]:
    """Return the details of the events of one type."""
    return [event.meta for event in events if event.type.value == kind]


@pytest.mark.parametrize("name", RUNS)
def test_the_order_of_events_is_that_of_the_catalogue(name: str) -> None:
    """Each way that a session can go has its events in exactly one order."""
    messages, expected = RUNS[name]
    assert types(observed(messages)) == expected.split()


def test_every_declared_type_is_emitted() -> None:
    """A type that no run emits is not declared."""
    told = {event.type for messages, _ in RUNS.values() for event in observed(messages)}
    assert told == set(ObservabilityEventType)


@pytest.mark.parametrize("name", RUNS)
def test_meta_holds_exactly_what_is_documented(name: str) -> None:
    """The keys of an event's meta are those of `META` for its type, in each run."""
    for event in observed(RUNS[name][0]):
        assert set(event.meta) == set(META[event.type]), event.type


def test_every_key_is_explained() -> None:
    """`META` has an entry for each type, and a meaning for each key."""
    assert set(META) == set(ObservabilityEventType)
    assert all(meaning for keys in META.values() for meaning in keys.values())


def test_values_equal_names() -> None:
    """The value of a type is its upper-case name."""
    assert all(kind.value == kind.name == kind.name.upper() for kind in ObservabilityEventType)


@pytest.mark.parametrize("name", RUNS)
def test_events_are_plain_data(name: str) -> None:
    """Each event can be written as JSON as it is."""
    for event in observed(RUNS[name][0]):
        assert msgspec.json.decode(msgspec.json.encode(event.meta)) == event.meta


def test_an_event_cannot_be_changed() -> None:
    """An event is frozen, and its meta is no other event's."""
    first, second = observed([STARTED, *attempt(1), failed(1, RESET)])[-2:]
    with pytest.raises(AttributeError):
        first.ts = 0.0  # type: ignore[misc]
    assert first.meta == second.meta
    assert first.meta is not second.meta


def test_time_and_session_are_those_of_the_message() -> None:
    """An event has the time and the session of the message that it tells of."""
    (start,) = SessionEvents().observe(SessionStarted(session="s7", ts=1234.5))
    assert (start.ts, start.stream_id) == (1234.5, "s7")


def test_nothing_is_told_per_token() -> None:
    """What may be published once per token is not even read."""
    per_token = {kind for kind in get_args(AnyMessage) if issubclass(kind, ContentMessage)} - {ToolCallReady}
    assert per_token >= {Tokens, Heartbeat}
    assert per_token.isdisjoint(OBSERVED)
    assert observed([Tokens(attempt=1, start=0, texts=("a",)), Heartbeat(attempt=1)]) == []


def test_content_is_not_told() -> None:
    """Neither text nor the arguments of a tool call stand in an event."""
    told = msgspec.json.encode(observed(RUNS["tools"][0])).decode()
    assert "look" in told
    assert "of the user" not in told


@pytest.mark.parametrize(
    "late", [failed(1, RESET), CLOCK, SessionAborted(), SessionFailed(error=ODD), STARTED]
)
def test_nothing_comes_after_the_end(late: Message) -> None:
    """SESSION_END is the last event, whatever message comes later."""
    events = observed([*RUNS["success"][0], late])
    assert types(events).count("SESSION_END") == 1
    assert events[-1].type is ObservabilityEventType.SESSION_END


@pytest.mark.parametrize("late", [failed(1, RESET), StreamOpened(attempt=1), CLOCK])
def test_a_superseded_attempt_tells_nothing(late: Message) -> None:
    """What an attempt says after a later one has begun is not told."""
    before = [STARTED, *attempt(1), failed(1, ODD), *retry(1)]
    assert observed([*before, late]) == observed(before)


def test_retries_are_counted_per_source() -> None:
    """RETRY_ATTEMPT says which retry of the source is to come; a fallback starts anew."""
    primary = [STARTED, *attempt(1), failed(1, ODD), *retry(1), failed(2, ODD), *retry(2), failed(3, ODD)]
    events = observed([*primary, *fallback(3), failed(4, ODD), *retry(4, 1), *COMPLETED])
    assert [meta["retry"] for meta in meta_of(events, "RETRY_ATTEMPT")] == [1, 2, 1]
    assert [meta["retry"] for meta in meta_of(events, "ATTEMPT_START")] == [1, 2, 1]
    assert [meta["retries"] for meta in meta_of(events, "RETRY_GIVE_UP")] == [2]
    (end,) = meta_of(events, "RETRY_END")
    assert (end["source"], end["retries"], end["success"]) == ("fallback-1", 1, True)


def test_an_error_names_its_attempt_and_what_the_provider_said() -> None:
    """ERROR has the attempt, the source, the code, and the provider's status and request id."""
    (error,) = meta_of(observed(RUNS["failure"][0]), "ERROR")
    assert error == {
        "attempt": 1,
        "source": "primary",
        "code": "RATE_LIMITED",
        "category": "transient",
        "error": "busy",
        "status_code": 429,
        "request_id": "req_1",
    }


def test_a_fallback_names_both_sources() -> None:
    """FALLBACK_START says who is given up, who takes over, and why."""
    (start,) = meta_of(observed(RUNS["fallback"][0]), "FALLBACK_START")
    assert start == {
        "from_source": "primary",
        "from_index": 0,
        "to_source": "fallback-1",
        "to_index": 1,
        "reason": "X",
    }


@pytest.mark.parametrize(
    ("name", "outcome", "code"),
    [
        ("success", "completed", None),
        ("failure", "failed", "RATE_LIMITED"),
        ("all sources exhausted", "failed", "ALL_STREAMS_EXHAUSTED"),
        ("abort", "aborted", None),
    ],
)
def test_the_end_says_how_it_went(name: str, outcome: str, code: str | None) -> None:
    """SESSION_END has the outcome, and the code that the consumer is told."""
    end = observed(RUNS[name][0])[-1]
    assert (end.meta["outcome"], end.meta["code"]) == (outcome, code)


def test_a_failed_fallback_ends_without_success() -> None:
    """FALLBACK_END tells whether the fallback gave the answer."""
    (failure,) = meta_of(observed(RUNS["all sources exhausted"][0]), "FALLBACK_END")
    (success,) = meta_of(observed(RUNS["fallback"][0]), "FALLBACK_END")
    assert (failure["success"], success["success"]) == (False, True)


errors = st.sampled_from([ODD, BUSY, RESET, SILENT])


@st.composite
def sessions(draw: st.DrawFn) -> list[Message]:
    """Draw the messages of a session as its supervisor may publish them, and some that come too late."""
    number, source_index = 1, 0
    messages: list[Message] = [STARTED, *_begun(draw, attempt(1))]
    for falls_back, error in draw(st.lists(st.tuples(st.booleans(), errors), max_size=5)):
        source_index += falls_back
        decided = fallback(number, source_index) if falls_back else retry(number, source_index)
        messages += [failed(number, error), decided[0], *_begun(draw, decided[1:])]
        number += 1
    messages += draw(st.sampled_from(_ends(number)))
    late = [failed(number, RESET), CLOCK, StreamOpened(attempt=number), RolledBack(attempt=number, keep=0)]
    return messages + draw(st.lists(st.sampled_from(late), max_size=2))


def _begun(draw: st.DrawFn, messages: list[Message]) -> list[Message]:
    """Draw how far an attempt gets, from its start to a rollback."""
    number = getattr(messages[0], "attempt", 0)
    return [*messages, RolledBack(attempt=number, keep=0)][: draw(st.integers(1, 4))]


def _ends(number: int) -> list[list[Message]]:
    expired = TimeoutFired(attempt=number, clock="total", limit_ms=1, waited_ms=2)
    return [
        COMPLETED,
        [failed(number, ODD), SessionFailed(error=ODD)],
        [failed(number, RESET), SessionFailed(error=EXHAUSTED)],
        [expired, AttemptSuperseded(attempt=number), SessionFailed(error=LATE)],
        [AttemptSuperseded(attempt=number), SessionAborted()],
    ]


@given(sessions())
def test_invariants_hold_for_every_session(messages: list[Message]) -> None:
    """One start, one end, nothing outside them, one stream id, no step back in time, known keys only."""
    events = observed(messages)
    told = types(events)
    assert told[0] == "SESSION_START"
    assert told[-1] == "SESSION_END"
    assert told.count("SESSION_START") == told.count("SESSION_END") == 1
    assert {event.stream_id for event in events} == {"s1"}
    assert [event.ts for event in events] == sorted(event.ts for event in events)
    assert all(set(event.meta) == set(META[event.type]) for event in events)


@given(sessions())
def test_what_begins_ends_unless_the_session_is_aborted(messages: list[Message]) -> None:
    """Each series of retries is closed once, a fallback is closed once, and each retry begins an attempt."""
    events = observed(messages)
    told = types(events)
    retried = sum(isinstance(message, RetryScheduled) for message in messages)
    assert told.count("RETRY_ATTEMPT") == told.count("ATTEMPT_START") == retried
    assert told.count("COMPLETE") == told.count("RETRY_END") or "RETRY_END" not in told
    if "ABORT_COMPLETED" not in told:
        given_up = sum(meta["retries"] > 0 for meta in meta_of(events, "RETRY_GIVE_UP"))
        assert told.count("RETRY_START") == told.count("RETRY_END") + given_up
        assert told.count("FALLBACK_END") == ("FALLBACK_START" in told)


@given(sessions())
def test_every_failed_attempt_is_told_once(messages: list[Message]) -> None:
    """ERROR comes once for each failed attempt, and once for a failure that is no attempt's."""
    end = next(
        i for i, m in enumerate(messages) if isinstance(m, (SessionCompleted, SessionFailed, SessionAborted))
    )
    attempts = [message.error for message in messages[:end] if isinstance(message, StreamFailed)]
    expired = messages[end] == SessionFailed(error=LATE)
    codes = [meta["code"] for meta in meta_of(observed(messages), "ERROR")]
    assert codes == [error.code.value for error in attempts] + [LATE.code.value] * expired
