"""What the actors of one session share: its content, its consumer's end, and its way to the bus."""

import asyncio
from typing import Any

import msgspec

from l0actors.actors.outlet import Outlet
from l0actors.bus.bus import Bus
from l0actors.bus.conflation import joined
from l0actors.bus.messages import (
    ContentMessage,
    DataReceived,
    Heartbeat,
    Message,
    ProgressReported,
    RolledBack,
    SessionAborted,
    SessionEnded,
    Tokens,
    ToolCallDelta,
)
from l0actors.errors import ErrorCode, ErrorContext, L0Error
from l0actors.events import EventType, L0Event
from l0actors.options import Delivery, L0Options
from l0actors.providers import detect_adapter
from l0actors.recovery import Transcript
from l0actors.state import AttemptRecord, L0State, ToolCall, Transition


class TakeBackRefused(L0Error):
    """A recovery would have to take text back, and the delivery mode does not allow it."""


class Unit:
    """One session, as its actors see it.

    The reader feeds it, the retry supervisor decides about it, the outlet is its end. Whoever speaks for
    an attempt says its number: what a superseded attempt still brings is thrown away.

    Attributes:
        stream_id: the session's id.
        options: what the caller asked for.
        state: what the consumer can read.
        transcript: the content as received.
        outlet: the consumer's end.
        records: one for each attempt.
        errors: one for each failed attempt, oldest first.
        failures: the error of an attempt, by its number, until the supervisor has dealt with it.
        attempt: the number of the current attempt; 0 before the first.
        calls: the whole tool calls of the current attempt.
        owed: content that waits for room in the mailbox of a `block` subscriber.
        started_at: when it was opened, in seconds of the loop's clock.
        ended: a terminal message was published.
        abort_reason: why the consumer stopped the session; None if it did not.
        raw_chunks: the provider's own chunks, if they were asked for.
    """

    def __init__(self, bus: Bus, stream_id: str, options: L0Options) -> None:
        if options.adapter is not None:
            detect_adapter(None, options.adapter)  # an unknown name is refused before anything is opened
        self.bus = bus
        self.stream_id = stream_id
        self.options = options
        self.sources = options.sources()
        self.state = L0State()
        self.transcript = Transcript()
        self.outlet = Outlet(options.buffer_tokens)
        self.records: list[AttemptRecord] = []
        self.errors: list[Exception] = []
        self.failures: dict[int, L0Error] = {}
        self.attempt = 0
        self.calls: list[L0Event] = []
        self.owed: list[Message] = []
        self.started_at = asyncio.get_running_loop().time()
        self.ended = False
        self.abort_reason: str | None = None
        self.raw_chunks: list[Any] = []
        self._parts: list[L0Event] = []

    @property
    def record(self) -> AttemptRecord:
        """The current attempt's record."""
        return self.records[-1]

    def now_ms(self) -> float:
        """Return the wall time, Unix epoch milliseconds."""
        return self.bus.clock.now_ms()

    # the way to the bus

    async def announce(self, kind: type[Message], /, **fields: Any) -> None:
        """Publish what happened, if anybody wants to know; waits for `block` subscribers."""
        if self.bus.wants(kind, self.stream_id):
            await self.bus.publish(kind(session=self.stream_id, **fields))

    def announce_now(self, kind: type[Message], /, **fields: Any) -> None:
        """The same without waiting: it is a dead letter if a `block` subscriber has no room."""
        if self.bus.wants(kind, self.stream_id):
            self.bus.publish_or_drop(kind(session=self.stream_id, **fields))

    async def pay(self) -> None:
        """Publish the content that waited for room."""
        while self.owed:
            message = self.owed[0]
            await self.bus.publish(message)
            if self.owed and self.owed[0] is message:
                self.owed.pop(0)

    def _publish(self, kind: type[ContentMessage | RolledBack], /, **fields: Any) -> None:
        """Publish content, at once or after the content that waits for room: none is lost or overtakes."""
        if not self.bus.wants(kind, self.stream_id):
            return
        message = kind(session=self.stream_id, attempt=self.attempt, **fields)
        if not self.owed and not self.bus.blocked(kind, self.stream_id):
            self.bus.publish_nowait(message)
        elif len(self.owed) > 1 and (whole := joined(self.owed[-1], message)) is not None:
            self.owed[-1] = whole  # never the first one: it may be on its way
        else:
            self.owed.append(message)

    # content

    def begin(self, record: AttemptRecord) -> None:
        """Start an attempt: its text is aligned with what is there."""
        self.attempt = record.number
        self.records.append(record)
        self.calls = []
        self.transcript.begin()

    def worked(self) -> None:
        """Note the current attempt's first sign of work."""
        self.state.machine.transition(Transition.FIRST_TOKEN)

    def accept(self, texts: list[str]) -> L0Error | None:
        """Take text that the current attempt received; return why it cannot be taken, if so."""
        accepted = self.transcript.accept(texts)
        limit = self.options.max_content_chars
        if limit is not None and self.transcript.attempt_length > limit:
            return L0Error(
                f"the answer is longer than max_content_chars={limit}", code=ErrorCode.CONTENT_LIMIT
            )
        if accepted.keep is not None and (refused := self.roll_back(accepted.keep)) is not None:
            return refused
        self._note_arrival(texts)
        if accepted.texts:
            self._publish(Tokens, start=accepted.start, texts=tuple(accepted.texts))
            if self.options.delivery is not Delivery.FINAL:
                self.outlet.give(self.record.last_at, accepted.texts)
        return None

    def _note_arrival(self, texts: list[str]) -> None:
        state, record, now = self.state, self.record, self.now_ms()
        record.tokens += len(texts)
        record.last_at = state.last_token_at = now
        if record.first_token_at is None:
            record.first_token_at = now
        if state.first_token_at is None:
            state.first_token_at = now

    def roll_back(self, keep: int) -> L0Error | None:
        """Cut back what the consumer has; return why that is impossible, if so."""
        if self.options.delivery is Delivery.APPEND:
            return self._cannot_take_back(keep)
        reason = f"attempt {self.attempt} differs"
        self._publish(RolledBack, keep=keep, reason=reason)
        if self.options.delivery is not Delivery.FINAL:
            data = {"keep": keep, "reason": reason, "attempt": self.attempt}
            self.outlet.say(L0Event(EventType.ROLLBACK, data=data, timestamp=self.now_ms()))
        return None

    def _cannot_take_back(self, keep: int) -> L0Error:
        earlier = self.errors[-1]
        assert isinstance(earlier, L0Error)
        error = TakeBackRefused(
            f"attempt {self.attempt} differs after {keep} characters, and delivery='append' takes nothing "
            f"back; it was made because of: {earlier}",
            code=earlier.code,
            category=earlier.category,
            recoverable=False,
        )
        error.__cause__ = earlier
        return error

    def take_part(self, event: L0Event) -> None:
        """Take a part that is no text: it is given once, also when a new attempt brings it again."""
        part = event.data if event.data is not None else {"value": event.value}
        if not self.transcript.accept_part(part):
            return
        self._publish(DataReceived, data=part)
        if self.options.delivery is Delivery.FINAL:
            self._parts.append(event)
        else:
            self.outlet.say(msgspec.structs.replace(event, timestamp=self.now_ms()))

    def take_progress(self, event: L0Event) -> None:
        """Take a sign of work; fragments of tool calls go to the bus only."""
        data = dict(event.data or {})
        kind, attempt = str(data.pop("kind", "")), self.attempt
        if kind == "tool_call_delta":
            names = {"id": "call_id", "name": "name", "arguments": "arguments", "index": "index"}
            fields = {names[key]: value for key, value in data.items() if key in names and value is not None}
            self.announce_now(ToolCallDelta, attempt=attempt, **{"index": 0, **fields})
            return
        if kind in ("ping", "reasoning"):
            self.announce_now(Heartbeat, attempt=attempt, kind=kind)
        else:
            self.announce_now(ProgressReported, attempt=attempt, kind=kind, data=data)
        self.outlet.say(msgspec.structs.replace(event, timestamp=self.now_ms()))

    # the end

    def leave(self) -> None:
        """The consumer has gone, or the session was aborted: nothing more is handed over."""
        self.state.catch_up()
        self.outlet.leave()

    def release(self) -> None:
        """Give the consumer what was kept for the end: in `final` everything, and the tool calls."""
        now = self.now_ms()
        if self.options.delivery is Delivery.FINAL:
            self.outlet.give(now, list(self.transcript.pieces))
            for part in self._parts:
                self.outlet.say(part)
        for call in self.calls:
            self.state.tool_calls.append(msgspec.convert(call.data, ToolCall))
            self.outlet.say(msgspec.structs.replace(call, timestamp=now))

    def finish(self, kind: type[SessionEnded], /, **fields: Any) -> None:
        """Publish the session's one terminal message."""
        state, duration = self.state, asyncio.get_running_loop().time() - self.started_at
        self.ended = True
        for message in self.owed:
            self.bus.dead_letter(message, "superseded")
        self.owed.clear()
        state.duration, state.usage = duration, self.usage()
        if kind is SessionAborted:
            state.aborted = True
            if Transition.ABORT in state.machine.possible():
                state.machine.transition(Transition.ABORT)
        self.announce_now(
            kind,
            token_count=self.transcript.token_count,
            content_length=self.transcript.length,
            attempts=len(self.records),
            duration_ms=duration * 1000,
            **fields,
        )

    def usage(self) -> dict[str, int]:
        """Return what the providers counted, summed over the attempts."""
        total: dict[str, int] = {}
        for record in self.records:
            for name, count in record.usage.items():
                total[name] = total.get(name, 0) + count
        return total

    def context(self) -> ErrorContext:
        """Return where the session is, for an error."""
        state, record = self.state, self.records[-1] if self.records else None
        return ErrorContext(
            checkpoint=state.checkpoint,
            token_count=self.transcript.token_count,
            content_length=self.transcript.length,
            model_retry_count=state.model_retry_count,
            network_retry_count=state.network_retry_count,
            fallback_index=state.fallback_index,
            attempt=self.attempt,
            source=record.source if record else "",
        )
