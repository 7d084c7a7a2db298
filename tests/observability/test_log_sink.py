"""The structlog sink: one event for each step of a session, and nothing that is private."""

from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from l0actors.bus.messages import (
    ActorCrashed,
    ActorRestarted,
    AttemptStarted,
    AttemptSuperseded,
    CheckpointSaved,
    DataReceived,
    FallbackSelected,
    Heartbeat,
    Lagged,
    Message,
    ProgressReported,
    RetryScheduled,
    RolledBack,
    RuleDemoted,
    RuleQuarantined,
    SessionAborted,
    SessionCompleted,
    SessionFailed,
    SessionStarted,
    StreamEnded,
    StreamFailed,
    StreamOpened,
    TimeoutFired,
    Tokens,
    ToolCallDelta,
    ToolCallReady,
    UsageReported,
)
from l0actors.bus.selection import resolve
from l0actors.errors import ErrorCategory, ErrorCode, ErrorInfo, ProviderFields
from l0actors.observability import LogSink
from l0actors.observability.log import level_of
from l0actors.system import ActorSystem

BUSY = ErrorInfo(
    code=ErrorCode.RATE_LIMITED,
    category=ErrorCategory.TRANSIENT,
    message="busy",
    provider=ProviderFields(name="openai", status_code=429, request_id="req_1"),
)
CALL = ToolCallReady(attempt=1, index=0, call_id="c1", name="look", arguments={"who": "private"})

PER_TOKEN: list[Message] = [
    Tokens(attempt=1, start=0, texts=("private",)),
    ToolCallDelta(attempt=1, index=0, arguments="private"),
    DataReceived(attempt=1, data={"image": "private"}),
    ProgressReported(attempt=1, kind="thinking", data={"text": "private"}),
    Heartbeat(attempt=1),
]

LOGGED: list[tuple[Message, str, str]] = [
    (SessionStarted(), "info", "session_started"),
    (SessionCompleted(), "info", "session_completed"),
    (SessionFailed(error=BUSY), "error", "session_failed"),
    (SessionAborted(), "info", "session_aborted"),
    (AttemptStarted(attempt=1), "debug", "attempt_started"),
    (AttemptSuperseded(attempt=1), "debug", "attempt_superseded"),
    (StreamOpened(attempt=1), "debug", "stream_opened"),
    (StreamEnded(attempt=1), "debug", "stream_ended"),
    (StreamFailed(attempt=1, error=BUSY), "warning", "stream_failed"),
    (UsageReported(attempt=1, usage={}), "debug", "usage_reported"),
    (CALL, "info", "tool_call_ready"),
    (RetryScheduled(attempt=1, delay_ms=5, reason="X", counted=True), "info", "retry_scheduled"),
    (FallbackSelected(attempt=1, source="b", source_index=1, reason="X"), "info", "fallback_selected"),
    (CheckpointSaved(attempt=1, offset=4), "debug", "checkpoint_saved"),
    (RolledBack(attempt=1, keep=4), "info", "rolled_back"),
    (TimeoutFired(attempt=1, clock="total", limit_ms=1, waited_ms=2), "warning", "timeout_fired"),
    (RuleDemoted(attempt=1, rule="r", took_ms=9), "warning", "rule_demoted"),
    (RuleQuarantined(attempt=1, rule="r", error=BUSY), "warning", "rule_quarantined"),
    (ActorCrashed(path="/sinks/a", incarnation=1, error=BUSY), "error", "actor_crashed"),
    (ActorRestarted(path="/sinks/a", incarnation=2), "warning", "actor_restarted"),
    (Lagged(missed=3, first_seq=1, last_seq=3), "warning", "lagged"),
]


class Headers(Message, frozen=True, kw_only=True):
    """A message of an application."""

    headers: dict[str, Any]
    pairs: tuple[dict[str, Any], ...] = ()
    level: str = "low"


async def logged(message: Message, **options: Any) -> list[Any]:
    """Return what a sink writes about one message."""
    with capture_logs() as entries:
        await LogSink(**options).receive(message)
    return list(entries)


@pytest.mark.parametrize(("message", "level", "event"), LOGGED)
async def test_each_step_is_one_event(message: Message, level: str, event: str) -> None:
    """A message is one log event, named after it, at the level of its kind."""
    (entry,) = await logged(message)
    assert (entry["event"], entry["log_level"]) == (event, level)


def test_the_table_is_complete() -> None:
    """Every type that the sink subscribes to has its event in the table above."""
    assert {type(message) for message, _, _ in LOGGED} - {Lagged} == set(resolve(LogSink.subscribes))


@pytest.mark.parametrize("message", PER_TOKEN)
async def test_nothing_is_logged_per_token(message: Message) -> None:
    """What may come once per token is neither subscribed to nor logged."""
    assert type(message) not in resolve(LogSink.subscribes)
    assert await logged(message) == []


async def test_the_fields_are_those_of_the_message() -> None:
    """An event has the session and the message's own fields, as plain data."""
    message = SessionCompleted(
        session="s1", source="primary", model="m", usage={"input_tokens": 3}, token_count=7, attempts=1
    )
    (entry,) = await logged(message)
    assert entry == {
        "event": "session_completed",
        "log_level": "info",
        "stream_id": "s1",
        "source": "primary",
        "source_index": 0,
        "model": "m",
        "finish_reason": None,
        "usage": {"input_tokens": 3},
        "token_count": 7,
        "content_length": 0,
        "attempts": 1,
        "duration_ms": 0.0,
    }


async def test_an_error_is_told_flat() -> None:
    """The error's code, category, message and what the provider said are fields of their own."""
    (entry,) = await logged(StreamFailed(session="s1", attempt=2, error=BUSY))
    assert entry == {
        "event": "stream_failed",
        "log_level": "warning",
        "stream_id": "s1",
        "attempt": 2,
        "token_count": 0,
        "code": "RATE_LIMITED",
        "category": "transient",
        "error": "busy",
        "provider": "openai",
        "status_code": 429,
        "request_id": "req_1",
    }
    assert type(entry["code"]) is str


async def test_content_is_never_logged() -> None:
    """The arguments of a tool call are not written, nor is text when a level is given for it."""
    for message in (CALL, *PER_TOKEN):
        (entry,) = await logged(message, level_of=lambda _: "info")
        assert "private" not in repr(entry)


@pytest.mark.parametrize(
    "name",
    [
        *["authorization", "Proxy-Authorization", "api_key", "x-api-key", "apiKey", "OPENAI_API_KEY"],
        *["token", "access_token", "refreshToken", "client_secret", "password", "db.password", "Set-Cookie"],
    ],
)
async def test_secrets_are_redacted_however_deep(name: str) -> None:
    """A value whose name contains a secret's is replaced, in mappings and lists as well."""
    (entry,) = await logged(Headers(headers={"outer": {name: "hush"}}, pairs=({name: {"a": "hush"}},)))
    assert entry["headers"] == {"outer": {name: "[redacted]"}}
    assert entry["pairs"] == [{name: "[redacted]"}]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("token_count", 5),
        ("tokenCount", "5"),
        ("input_tokens", 3),
        ("tokens", None),
        ("host", "a"),
        ("key", 1),
    ],
)
async def test_a_number_of_tokens_is_no_token(name: str, value: object) -> None:
    """Counts of tokens, and names without a secret, are written as they are."""
    (entry,) = await logged(Headers(headers={name: value}))
    assert entry["headers"] == {name: value}


async def test_a_secret_number_is_redacted_too() -> None:
    """Only a token can be a number that may be shown: a password of digits is none."""
    (entry,) = await logged(Headers(headers={"password": 1234}))
    assert entry["headers"] == {"password": "[redacted]"}


async def test_the_redacted_names_can_be_chosen() -> None:
    """`redact` replaces the default names."""
    (entry,) = await logged(Headers(headers={"password": "a", "tenant-id": "b"}), redact=("tenant_id",))
    assert entry["headers"] == {"password": "a", "tenant-id": "[redacted]"}


async def test_levels_can_be_chosen() -> None:
    """`level_of` decides on the level; None leaves the message out."""

    def only_ends(message: Message) -> str | None:
        return "critical" if isinstance(message, SessionCompleted) else None

    assert await logged(SessionStarted(), level_of=only_ends) == []
    (entry,) = await logged(SessionCompleted(), level_of=only_ends)
    assert entry["log_level"] == "critical"
    assert level_of(SessionCompleted()) == "info"


async def test_a_given_logger_is_used_with_what_is_bound_to_it() -> None:
    """A logger of the application keeps its context."""
    (entry,) = await logged(SessionStarted(session="s1"), logger=structlog.get_logger().bind(service="chat"))
    assert (entry["service"], entry["stream_id"]) == ("chat", "s1")


async def test_structlog_is_used_as_it_is_configured_when_the_event_comes() -> None:
    """The sink configures nothing, and sees a configuration that is made after it."""
    sink = LogSink()
    before = structlog.get_config()
    with capture_logs() as entries:
        await sink.receive(SessionStarted())
    assert [entry["event"] for entry in entries] == ["session_started"]
    assert structlog.get_config() == before


async def test_it_logs_the_sessions_of_a_system() -> None:
    """Attached to a system, it tells each session's life and never its text."""

    async def answer() -> Any:
        for text in ("private ", "words"):
            yield text

    with capture_logs() as entries:
        async with ActorSystem(sinks=[LogSink()]) as system:
            assert await (await system.l0(stream=answer)).text() == "private words"
    events = [entry["event"] for entry in entries]
    assert events == [
        "session_started",
        "attempt_started",
        "stream_opened",
        "stream_ended",
        "session_completed",
    ]
    assert len({entry["stream_id"] for entry in entries}) == 1
    assert "private" not in repr(entries)
