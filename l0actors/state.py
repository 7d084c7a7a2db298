"""A session's state: what its consumer can read of it, and the machine that says where it is."""

from collections.abc import Callable, Iterator
from enum import Enum
from typing import Any, Protocol, cast

import msgspec

from l0actors.errors import ErrorCode, L0Error
from l0actors.logs import log


class Phase(str, Enum):
    """Where a session is."""

    IDLE = "idle"
    INITIALIZING = "initializing"
    AWAITING_FIRST_TOKEN = "awaiting_first_token"
    STREAMING = "streaming"
    RETRYING = "retrying"
    COMPLETING = "completing"
    COMPLETED = "completed"
    FAILED = "failed"


class Transition(str, Enum):
    """What can happen to a session."""

    START = "START"
    STREAM_CREATED = "STREAM_CREATED"
    FIRST_TOKEN = "FIRST_TOKEN"
    TOKEN = "TOKEN"
    STREAM_END = "STREAM_END"
    ERROR = "ERROR"
    TIMEOUT = "TIMEOUT"
    ABORT = "ABORT"
    RETRY = "RETRY"
    FALLBACK = "FALLBACK"
    COMPLETE = "COMPLETE"


TRANSITIONS: dict[Phase, dict[Transition, Phase]] = {
    Phase.IDLE: {Transition.START: Phase.INITIALIZING, Transition.ABORT: Phase.FAILED},
    Phase.INITIALIZING: {
        Transition.STREAM_CREATED: Phase.AWAITING_FIRST_TOKEN,
        Transition.ERROR: Phase.FAILED,
        Transition.ABORT: Phase.FAILED,
    },
    Phase.AWAITING_FIRST_TOKEN: {
        Transition.FIRST_TOKEN: Phase.STREAMING,
        Transition.TIMEOUT: Phase.RETRYING,
        Transition.ERROR: Phase.RETRYING,
        Transition.ABORT: Phase.FAILED,
    },
    Phase.STREAMING: {
        Transition.TOKEN: Phase.STREAMING,
        Transition.STREAM_END: Phase.COMPLETING,
        Transition.TIMEOUT: Phase.RETRYING,
        Transition.ERROR: Phase.RETRYING,
        Transition.ABORT: Phase.FAILED,
    },
    Phase.RETRYING: {
        Transition.RETRY: Phase.INITIALIZING,
        Transition.FALLBACK: Phase.INITIALIZING,
        Transition.ERROR: Phase.FAILED,
        Transition.ABORT: Phase.FAILED,
    },
    Phase.COMPLETING: {
        Transition.COMPLETE: Phase.COMPLETED,
        Transition.ERROR: Phase.FAILED,
        Transition.ABORT: Phase.FAILED,
    },
    Phase.COMPLETED: {},
    Phase.FAILED: {},
}
"""The second seed's table, with `ABORT` wherever a session can be left, and without the checks."""


class CountingIterator(Protocol):
    """An iterator over text that knows how many pieces are left, as that of a list does."""

    def __iter__(self) -> Iterator[str]: ...

    def __next__(self) -> str: ...

    def __length_hint__(self) -> int: ...


Listener = Callable[[Phase, Transition], None]


class StateMachine:
    """Where a session is, and what may happen next.

    Attributes:
        state: the phase it is in.
        history: the transitions so far with the phase that each led to.
    """

    __slots__ = ("_listeners", "history", "state")

    def __init__(self) -> None:
        self.state = Phase.IDLE
        self.history: list[tuple[Transition, Phase]] = []
        self._listeners: list[Listener] = []

    def transition(self, event: Transition) -> Phase:
        """Take `event` and return the new phase.

        Raises:
            L0Error: `INVALID_STATE_TRANSITION`, the table does not have it.
        """
        following = TRANSITIONS[self.state].get(event)
        if following is None:
            known = ", ".join(each.value for each in self.possible()) or "nothing: it has ended"
            raise L0Error(
                f"{event.value} cannot happen in {self.state.value}; possible: {known}",
                code=ErrorCode.INVALID_STATE_TRANSITION,
            )
        self.state = following
        self.history.append((event, following))
        for listener in tuple(self._listeners):
            try:
                listener(following, event)
            except Exception as error:
                log.warning("state_listener_raised", error=type(error).__name__)
        return following

    def possible(self) -> tuple[Transition, ...]:
        """Return what may happen now."""
        return tuple(TRANSITIONS[self.state])

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call `listener(phase, transition)` after each transition; return a function that ends it.

        What a listener raises is logged: it cannot stop the session.
        """
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener) if listener in self._listeners else None


class ToolCall(msgspec.Struct, frozen=True, kw_only=True):
    """A whole tool call of the answer."""

    id: str
    name: str
    arguments: dict[str, Any]
    index: int


class AttemptRecord(msgspec.Struct, kw_only=True):
    """What became of one attempt.

    Attributes:
        number: from 1.
        source: the source's name.
        source_index: 0 for the primary.
        started_at: Unix epoch milliseconds, as are the next two.
        first_token_at: when the first piece of text came; None if none did.
        ended_at: None while it runs.
        outcome: `running`, `completed`, `failed` or `aborted`.
        error: why it failed.
        tokens: pieces of text received.
        last_at: when the last piece came.
        usage: tokens as the provider counted them.
        usage_status: `reported` when the provider gave them, else `unknown`.
        finish_reason: why the model stopped, in the provider's word.
        model: the model, as the provider reported it.
        streamed: whether there was any sign of work: text, a tool call, reasoning.
    """

    number: int
    source: str
    source_index: int
    started_at: float
    first_token_at: float | None = None
    ended_at: float | None = None
    outcome: str = "running"
    error: L0Error | None = None
    tokens: int = 0
    last_at: float = 0.0
    usage: dict[str, int] = {}
    usage_status: str = "unknown"
    finish_reason: str | None = None
    model: str | None = None
    streamed: bool = False


class L0State:
    """What a consumer can read of its session, at any moment.

    `content` and `token_count` are what the consumer has been given: folding the events that it has
    seen gives `content`. Times are Unix epoch milliseconds.

    Attributes:
        checkpoint: the last content from which a new attempt may continue.
        model_retry_count: retries that counted against `RetryConfig.attempts`.
        network_retry_count: retries that did not count.
        fallback_index: the source in use: 0 for the primary.
        violations: what the guardrails found.
        drift_detected: whether drift was found.
        completed: whether the provider said that the answer is whole. A consumer that leaves before it has
            taken all of it has `aborted` set too.
        aborted: whether the consumer stopped or left the session.
        first_token_at: when the first piece of text was received.
        last_token_at: when the last one was.
        duration: seconds from the opening of the session to its end; None before.
        resumed: whether an attempt continued from a checkpoint.
        network_errors: the errors of category network, timeout and transient.
        finish_reason: why the model stopped, in the provider's word.
        usage: tokens as the providers counted them, summed over the attempts.
        tool_calls: the whole tool calls of the answer.
        committed: the offset up to which the text will not be taken back by a check.
        model: the model, as the provider reported it.
        source: the name of the source in use.
        machine: where the session is.
    """

    def __init__(self, content: str = "", **fields: Any) -> None:
        self._pieces: list[str] = [content] if content else []
        self._batch: list[str] = []
        self._batch_iterator = cast(CountingIterator, iter(self._batch))
        self._caught_up = 0
        self._text = ""
        self._joined = 0
        self.checkpoint = ""
        self.model_retry_count = 0
        self.network_retry_count = 0
        self.fallback_index = 0
        self.violations: list[Any] = []
        self.drift_detected = False
        self.completed = False
        self.aborted = False
        self.first_token_at: float | None = None
        self.last_token_at: float | None = None
        self.duration: float | None = None
        self.resumed = False
        self.network_errors: list[Exception] = []
        self.finish_reason: str | None = None
        self.usage: dict[str, int] = {}
        self.tool_calls: list[ToolCall] = []
        self.committed = 0
        self.model: str | None = None
        self.source = ""
        self.machine = StateMachine()
        for name, value in fields.items():
            if name not in self.__dict__:
                raise TypeError(f"L0State has no field {name!r}")
            setattr(self, name, value)

    @property
    def content(self) -> str:
        """The text that the consumer has."""
        self.catch_up()
        if self._joined < len(self._pieces):
            self._text += "".join(self._pieces[self._joined :])
            self._joined = len(self._pieces)
        return self._text

    @property
    def token_count(self) -> int:
        """How many pieces make up `content`."""
        self.catch_up()
        return len(self._pieces)

    def hand_over(self, texts: list[str]) -> "CountingIterator":
        """Return an iterator over pieces of text: whoever takes one from it gives it to the consumer.

        How far it has come is only asked for when somebody wants to know: the iterator tells how many
        pieces are left, so that a piece costs nothing here.
        """
        self.catch_up()
        self._batch, self._caught_up = texts, 0
        self._batch_iterator = cast(CountingIterator, iter(texts))
        return self._batch_iterator

    def catch_up(self) -> None:
        """Take over the pieces that have gone to the consumer since the last time."""
        batch = self._batch
        given = len(batch) - self._batch_iterator.__length_hint__()
        if given > self._caught_up:
            self._pieces.extend(batch[self._caught_up : given])
            self._caught_up = given

    @property
    def phase(self) -> Phase:
        """Where the session is."""
        return self.machine.state

    def roll_back(self, keep: int) -> None:
        """Cut the text to its first `keep` characters."""
        self.catch_up()
        pieces = self._pieces
        kept, room = 0, keep
        while kept < len(pieces) and len(pieces[kept]) <= room:
            room -= len(pieces[kept])
            kept += 1
        rest = pieces[kept][:room] if kept < len(pieces) else ""
        pieces[kept:] = [rest] if rest else []
        self._text, self._joined = "", 0

    def __repr__(self) -> str:
        return f"L0State(phase={self.phase.value!r}, token_count={self.token_count}, source={self.source!r})"
