"""The sink that writes the life of sessions and actors to structlog."""

import re
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any

import msgspec
import structlog

from l0actors.actors.actor import Actor
from l0actors.bus.messages import (
    ActorCrashed,
    ActorRestarted,
    AttemptMessage,
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
from l0actors.errors import ErrorInfo

REDACTED = ("authorization", "api_key", "token", "secret", "password", "cookie")
"""A value whose name contains one of these is not logged."""

_GONE = "[redacted]"
_CONTENT = {"texts", "arguments", "data", "evidence", "violations", "findings"}
_ENVELOPE = {"session", "seq", "ts"}
_NOT_A_LETTER = re.compile("[^a-z0-9]")
_WORD_START = re.compile("(?<!^)(?=[A-Z])")

_LEVELS: dict[type[Message], str | None] = {
    SessionFailed: "error",
    ActorCrashed: "error",
    StreamFailed: "warning",
    TimeoutFired: "warning",
    RuleDemoted: "warning",
    RuleQuarantined: "warning",
    ActorRestarted: "warning",
    Lagged: "warning",
    RetryScheduled: "info",
    FallbackSelected: "info",
    RolledBack: "info",
    ToolCallReady: "info",
    **dict.fromkeys((Tokens, ToolCallDelta, DataReceived, ProgressReported, Heartbeat)),
}


def level_of(message: Message) -> str | None:
    """Return the level at which `message` is logged by default; None leaves it out.

    What is published per token is left out. The rest of an attempt's messages are `debug`, failures are
    `warning`, a failed session and a crashed actor are `error`, and everything else is `info`.
    """
    default = "debug" if isinstance(message, AttemptMessage) else "info"
    return _LEVELS.get(type(message), default)


class LogSink(Actor):
    """Logs each step in the life of a session: one structlog event per message, none per token.

    The event's name is that of the message, `session_completed` for `SessionCompleted`, and its fields
    are the message's; `stream_id` names the session. What the model or its user wrote is never logged.
    structlog is used as the application configured it.

    Args:
        logger: a structlog logger with synchronous methods. Default: `structlog.get_logger("l0actors")`.
        redact: parts of names, in any spelling; a value whose name contains one is not logged, however
            deep it lies. A number of tokens is no token.
        level_of: gives the level for a message (`debug`, `info`, `warning`, `error`, `critical`), or None to
            leave it out.
    """

    subscribes = (
        SessionStarted,
        SessionCompleted,
        SessionFailed,
        SessionAborted,
        AttemptStarted,
        AttemptSuperseded,
        StreamOpened,
        StreamEnded,
        StreamFailed,
        UsageReported,
        ToolCallReady,
        RetryScheduled,
        FallbackSelected,
        CheckpointSaved,
        RolledBack,
        TimeoutFired,
        RuleDemoted,
        RuleQuarantined,
        ActorCrashed,
        ActorRestarted,
    )

    def __init__(
        self,
        logger: Any = None,
        *,
        redact: tuple[str, ...] = REDACTED,
        level_of: Callable[[Message], str | None] = level_of,
    ) -> None:
        self._log = structlog.get_logger("l0actors") if logger is None else logger
        self._redact = tuple(_squashed(part) for part in redact)
        self._level_of = level_of

    async def receive(self, message: Message) -> None:
        """Log what happened."""
        level = self._level_of(message)
        if level is not None:
            getattr(self._log, level)(_name_of(message), **self._fields(message))

    def _fields(self, message: Message) -> dict[str, Any]:
        shown = msgspec.structs.asdict(message)
        for name in _ENVELOPE | _CONTENT:
            shown.pop(name, None)
        if isinstance(error := shown.pop("error", None), ErrorInfo):
            shown.update(_told(error))
        if message.session:
            shown = {"stream_id": message.session, **shown}
        return {name: self._shown(name, value) for name, value in shown.items()}

    def _shown(self, name: str, value: Any) -> Any:
        """Return `value` as plain data, without what is secret."""
        if self._secret(name, value):
            return _GONE
        if isinstance(value, msgspec.Struct):
            value = msgspec.structs.asdict(value)
        if isinstance(value, Mapping):
            return {key: self._shown(str(key), each) for key, each in value.items()}
        if isinstance(value, (list, tuple, set, frozenset)):
            return [self._shown("", each) for each in value]
        return value.value if isinstance(value, Enum) else value

    def _secret(self, name: str, value: Any) -> bool:
        squashed = _squashed(name).replace("tokencount", "")
        counts = isinstance(value, (int, float)) or value is None
        return any(part in squashed for part in self._redact if not (counts and part == "token"))


def _told(error: ErrorInfo) -> dict[str, Any]:
    """Return the fields of an error, flat, without what the provider did not say."""
    provider = {} if error.provider is None else msgspec.structs.asdict(error.provider)
    said = {
        "provider" if name == "name" else name: value for name, value in provider.items() if value is not None
    }
    return {"code": error.code, "category": error.category, "error": error.message, **said}


def _name_of(message: Message) -> str:
    return _WORD_START.sub("_", type(message).__name__).lower()


def _squashed(name: str) -> str:
    return _NOT_A_LETTER.sub("", name.lower())
