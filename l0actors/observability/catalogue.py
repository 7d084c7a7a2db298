"""The catalogue of observability events, and how the messages of a session become them.

An event is for people and dashboards: few types, upper-case names, plain data. A message is for
actors. The mapping is pure and knows one session at a time.
"""

from collections.abc import Callable, Iterator
from enum import Enum
from typing import Any

import msgspec

from l0actors.bus.messages import (
    AttemptMessage,
    AttemptStarted,
    FallbackSelected,
    Message,
    RetryScheduled,
    RolledBack,
    SessionAborted,
    SessionCompleted,
    SessionEnded,
    SessionFailed,
    SessionStarted,
    StreamFailed,
    StreamOpened,
    TimeoutFired,
    ToolCallReady,
)
from l0actors.errors import ErrorCategory, ErrorCode, ErrorInfo


class ObservabilityEventType(str, Enum):
    """What an `ObservabilityEvent` tells. Each is emitted by some run; none is emitted per token.

    `META` lists what is in `meta`.
    """

    SESSION_START = "SESSION_START"
    SESSION_END = "SESSION_END"
    STREAM_INIT = "STREAM_INIT"
    ADAPTER_DETECTED = "ADAPTER_DETECTED"
    STREAM_READY = "STREAM_READY"
    ATTEMPT_START = "ATTEMPT_START"
    RETRY_START = "RETRY_START"
    RETRY_ATTEMPT = "RETRY_ATTEMPT"
    RETRY_END = "RETRY_END"
    RETRY_GIVE_UP = "RETRY_GIVE_UP"
    FALLBACK_START = "FALLBACK_START"
    FALLBACK_MODEL_SELECTED = "FALLBACK_MODEL_SELECTED"
    FALLBACK_END = "FALLBACK_END"
    NETWORK_ERROR = "NETWORK_ERROR"
    NETWORK_RECOVERY = "NETWORK_RECOVERY"
    TIMEOUT_TRIGGERED = "TIMEOUT_TRIGGERED"
    ERROR = "ERROR"
    ROLLBACK = "ROLLBACK"
    TOOL_REQUESTED = "TOOL_REQUESTED"
    COMPLETE = "COMPLETE"
    ABORT_REQUESTED = "ABORT_REQUESTED"
    ABORT_COMPLETED = "ABORT_COMPLETED"


_Type = ObservabilityEventType

_ATTEMPT = {"attempt": "the number of the attempt that it is about, from 1"}
_SOURCE = {"source": "the source's name", "source_index": "0 for the primary source"}
_ERROR = {
    "attempt": "the number of the attempt that failed; 0 if none was under way",
    "source": "the name of its source",
    "code": "an ErrorCode",
    "category": "an ErrorCategory",
    "error": "what was wrong, without keys",
    "status_code": "the HTTP status, None if there was none",
    "request_id": "the provider's id of the request, None if it gave none",
}
_TOTALS = {
    "attempts": "how many attempts were made",
    "token_count": "pieces of content received",
    "content_length": "characters of content received",
    "duration_ms": "from the opening of the session",
}

META: dict[ObservabilityEventType, dict[str, str]] = {
    _Type.SESSION_START: {"sources": "the names of the sources, the primary first", "delivery": "the mode"},
    _Type.SESSION_END: {
        "outcome": "completed, failed or aborted",
        "code": "the ErrorCode that the consumer is told, None unless it failed",
        **_TOTALS,
    },
    _Type.STREAM_INIT: {**_ATTEMPT, **_SOURCE, "reason": "first, retry or fallback"},
    _Type.ADAPTER_DETECTED: {**_ATTEMPT, "adapter": "the name of the adapter that reads the stream"},
    _Type.STREAM_READY: {**_ATTEMPT, **_SOURCE},
    _Type.ATTEMPT_START: {**_ATTEMPT, **_SOURCE, "retry": "which retry of this source it is, from 1"},
    _Type.RETRY_START: {**_ATTEMPT, **_SOURCE, "reason": "the ErrorCode of the first failure"},
    _Type.RETRY_ATTEMPT: {
        "attempt": "the number of the attempt that failed",
        "retry": "which retry of this source is to come, from 1",
        "reason": "the ErrorCode of the failure",
        "delay_ms": "the pause before it",
        "counted": "whether it counts against RetryConfig.attempts",
    },
    _Type.RETRY_END: {**_ATTEMPT, **_SOURCE, "retries": "of this source", "success": "always True"},
    _Type.RETRY_GIVE_UP: {
        **_ATTEMPT,
        **_SOURCE,
        "retries": "of this source; 0 if the failure allowed none",
        "reason": "the ErrorCode of the last failure",
    },
    _Type.FALLBACK_START: {
        "from_source": "the name of the source that is given up",
        "from_index": "its index",
        "to_source": "the name of the source that takes over",
        "to_index": "its index",
        "reason": "the ErrorCode of the last failure",
    },
    _Type.FALLBACK_MODEL_SELECTED: _SOURCE,
    _Type.FALLBACK_END: {**_ATTEMPT, **_SOURCE, "success": "whether a fallback gave the answer"},
    _Type.NETWORK_ERROR: _ERROR,
    _Type.NETWORK_RECOVERY: {**_ATTEMPT, **_SOURCE, "failures": "how many NETWORK_ERROR it took"},
    _Type.TIMEOUT_TRIGGERED: {
        **_ATTEMPT,
        "clock": "initial_token, inter_token, content or total",
        "limit_ms": "its limit",
        "waited_ms": "how long the wait was",
    },
    _Type.ERROR: _ERROR,
    _Type.ROLLBACK: {**_ATTEMPT, "keep": "how many characters stay", "reason": "why"},
    _Type.TOOL_REQUESTED: {
        **_ATTEMPT,
        "index": "the call's place in the answer",
        "call_id": "the provider's id",
        "name": "the tool's name",
    },
    _Type.COMPLETE: {
        **_SOURCE,
        "model": "as the provider reported it",
        "finish_reason": "in the provider's word",
        "usage": "tokens as the provider counted them, summed over the attempts",
        **_TOTALS,
    },
    _Type.ABORT_REQUESTED: {"reason": "in the words of whoever stopped it"},
    _Type.ABORT_COMPLETED: {"reason": "in the words of whoever stopped it", **_TOTALS},
}
"""What stands in `meta`, by type of event: each key with its meaning. The user's own keys come on top."""


class ObservabilityEvent(msgspec.Struct, frozen=True):
    """Something that happened to a session.

    Attributes:
        type: what.
        ts: when, Unix epoch milliseconds.
        stream_id: the session.
        meta: its details, by `META`, and the user's own keys.
    """

    type: ObservabilityEventType
    ts: float
    stream_id: str
    meta: dict[str, Any] = {}


_Told = Iterator[tuple[ObservabilityEventType, dict[str, Any]]]


class SessionEvents:
    """Turns the messages of one session into its observability events.

    `RETRY_START` comes once for all retries of a source; `RETRY_END` closes them when the session
    completes on it, `RETRY_GIVE_UP` when the source is not tried again. `FALLBACK_END` comes once, when
    the session completes or fails on a fallback, and `NETWORK_RECOVERY` when a session completes after
    a network error. What an abort leaves open is closed by `SESSION_END`, which is always the last.

    Attributes:
        ended: `SESSION_END` was told; nothing more comes.
    """

    def __init__(self) -> None:
        self.ended = False
        self._attempt = 0
        self._source: dict[str, Any] = {"source": "", "source_index": 0}
        self._retries = 0
        self._network_errors = 0
        self._failure: ErrorInfo | None = None

    def observe(self, message: Message) -> list[ObservabilityEvent]:
        """Return the events of `message`, in their order; none for what was superseded or came too late."""
        tell = _TELLERS.get(type(message))
        if tell is None or self.ended or self._superseded(message):
            return []
        return [
            ObservabilityEvent(kind, message.ts, message.session, meta) for kind, meta in tell(self, message)
        ]

    def _superseded(self, message: Message) -> bool:
        return isinstance(message, AttemptMessage) and message.attempt < self._attempt

    # attempts

    def _session_started(self, message: SessionStarted) -> _Told:
        yield _Type.SESSION_START, {"sources": list(message.sources), "delivery": message.delivery}

    def _attempt_started(self, message: AttemptStarted) -> _Told:
        self._attempt, self._failure = message.attempt, None
        self._source = {"source": message.source, "source_index": message.source_index}
        if message.reason == "retry":
            yield _Type.ATTEMPT_START, {**self._here(), "retry": self._retries}
        yield _Type.STREAM_INIT, {**self._here(), "reason": message.reason}

    def _stream_opened(self, message: StreamOpened) -> _Told:
        yield _Type.ADAPTER_DETECTED, {"attempt": message.attempt, "adapter": message.adapter}
        yield _Type.STREAM_READY, self._here()

    def _rolled_back(self, message: RolledBack) -> _Told:
        yield _Type.ROLLBACK, {"attempt": message.attempt, "keep": message.keep, "reason": message.reason}

    def _tool_call_ready(self, message: ToolCallReady) -> _Told:
        meta = {"index": message.index, "call_id": message.call_id, "name": message.name}
        yield _Type.TOOL_REQUESTED, {"attempt": message.attempt, **meta}

    def _timeout_fired(self, message: TimeoutFired) -> _Told:
        meta = {"clock": message.clock, "limit_ms": message.limit_ms, "waited_ms": message.waited_ms}
        yield _Type.TIMEOUT_TRIGGERED, {"attempt": message.attempt, **meta}

    # failures

    def _stream_failed(self, message: StreamFailed) -> _Told:
        self._failure = message.error
        if message.error.category.group is ErrorCategory.NETWORK:
            self._network_errors += 1
            yield _Type.NETWORK_ERROR, self._error(message.error)
        yield _Type.ERROR, self._error(message.error)

    def _retry_scheduled(self, message: RetryScheduled) -> _Told:
        self._failure = None
        self._retries += 1
        if self._retries == 1:
            yield _Type.RETRY_START, {**self._here(), "reason": message.reason}
        yield (
            _Type.RETRY_ATTEMPT,
            {
                "attempt": message.attempt,
                "retry": self._retries,
                "reason": message.reason,
                "delay_ms": message.delay_ms,
                "counted": message.counted,
            },
        )

    def _fallback_selected(self, message: FallbackSelected) -> _Told:
        yield _Type.RETRY_GIVE_UP, self._given_up(message.reason)
        self._retries = 0
        yield (
            _Type.FALLBACK_START,
            {
                "from_source": self._source["source"],
                "from_index": self._source["source_index"],
                "to_source": message.source,
                "to_index": message.source_index,
                "reason": message.reason,
            },
        )
        meta = {"source": message.source, "source_index": message.source_index}
        yield _Type.FALLBACK_MODEL_SELECTED, meta

    # the end

    def _session_completed(self, message: SessionCompleted) -> _Told:
        if self._network_errors:
            yield _Type.NETWORK_RECOVERY, {**self._here(), "failures": self._network_errors}
        if self._retries:
            yield _Type.RETRY_END, {**self._here(), "retries": self._retries, "success": True}
        yield from self._fallback_ended(success=True)
        yield (
            _Type.COMPLETE,
            {
                "source": message.source,
                "source_index": message.source_index,
                "model": message.model,
                "finish_reason": message.finish_reason,
                "usage": dict(message.usage),
                **_totals(message),
            },
        )
        yield self._session_ended(message, "completed")

    def _session_failed(self, message: SessionFailed) -> _Told:
        if not self._knows(message.error):
            yield _Type.ERROR, self._error(message.error)
        if self._attempt:
            reason = message.error.code if self._failure is None else self._failure.code
            yield _Type.RETRY_GIVE_UP, self._given_up(reason.value)
        yield from self._fallback_ended(success=False)
        yield self._session_ended(message, "failed", message.error.code.value)

    def _session_aborted(self, message: SessionAborted) -> _Told:
        yield _Type.ABORT_REQUESTED, {"reason": message.reason}
        yield _Type.ABORT_COMPLETED, {"reason": message.reason, **_totals(message)}
        yield self._session_ended(message, "aborted")

    def _fallback_ended(self, *, success: bool) -> _Told:
        if self._source["source_index"]:
            yield _Type.FALLBACK_END, {**self._here(), "success": success}

    def _session_ended(
        self, message: SessionEnded, outcome: str, code: str | None = None
    ) -> tuple[ObservabilityEventType, dict[str, Any]]:
        self.ended = True
        return _Type.SESSION_END, {"outcome": outcome, "code": code, **_totals(message)}

    # what is known

    def _knows(self, error: ErrorInfo) -> bool:
        """Whether the session's error was told as that of its last attempt."""
        return self._failure is not None and error.code in (
            self._failure.code,
            ErrorCode.ALL_STREAMS_EXHAUSTED,
        )

    def _here(self) -> dict[str, Any]:
        return {"attempt": self._attempt, **self._source}

    def _given_up(self, reason: str) -> dict[str, Any]:
        return {**self._here(), "retries": self._retries, "reason": reason}

    def _error(self, error: ErrorInfo) -> dict[str, Any]:
        provider = error.provider
        return {
            "attempt": self._attempt,
            "source": self._source["source"],
            "code": error.code.value,
            "category": error.category.value,
            "error": error.message,
            "status_code": provider.status_code if provider else None,
            "request_id": provider.request_id if provider else None,
        }


def _totals(message: SessionEnded) -> dict[str, Any]:
    return {name: getattr(message, name) for name in _TOTALS}


_TELLERS: dict[type[Message], Callable[[SessionEvents, Any], _Told]] = {
    SessionStarted: SessionEvents._session_started,
    AttemptStarted: SessionEvents._attempt_started,
    StreamOpened: SessionEvents._stream_opened,
    StreamFailed: SessionEvents._stream_failed,
    RetryScheduled: SessionEvents._retry_scheduled,
    FallbackSelected: SessionEvents._fallback_selected,
    RolledBack: SessionEvents._rolled_back,
    ToolCallReady: SessionEvents._tool_call_ready,
    TimeoutFired: SessionEvents._timeout_fired,
    SessionCompleted: SessionEvents._session_completed,
    SessionFailed: SessionEvents._session_failed,
    SessionAborted: SessionEvents._session_aborted,
}

OBSERVED: tuple[type[Message], ...] = tuple(_TELLERS)
"""The message types that `SessionEvents` reads. None of them is published per token."""
