"""The retry supervisor: the head of a session. It asks the pure policy, and does what that says."""

import asyncio
import inspect
from typing import Any

import msgspec

from l0actors.actors.actor import ActorContext, StopReason
from l0actors.actors.cell import Cell, Exit
from l0actors.actors.reader import StreamReader
from l0actors.actors.supervisor import ChildSpec, Supervisor
from l0actors.actors.unit import TakeBackRefused, Unit
from l0actors.bus.messages import (
    AttemptStarted,
    AttemptSuperseded,
    Control,
    FallbackSelected,
    RetryScheduled,
    SessionAborted,
    SessionCompleted,
    SessionEnded,
    SessionFailed,
    SessionStarted,
    StreamEnded,
    StreamFailed,
    TimeoutFired,
    ToolCallReady,
)
from l0actors.classify import to_l0_error
from l0actors.errors import ErrorCategory, ErrorCode, L0Error
from l0actors.events import EventType, L0Event
from l0actors.logs import log
from l0actors.options import Attempt, AttemptReason, Delivery
from l0actors.recovery import Decision, Fallback, GiveUp, History, Retry, decide
from l0actors.state import AttemptRecord, Phase, Transition

ABORT_S = 1.0
"""How long a supervisor that hangs in a hook of its user may hold up an abort."""

_STOPPED = "the system stopped"
_NETWORK_LIKE = (ErrorCategory.NETWORK, ErrorCategory.TIMEOUT, ErrorCategory.TRANSIENT)


class _AttemptDue(Control, frozen=True, kw_only=True):
    """The pause before an attempt is over."""

    source_index: int
    reason: AttemptReason


class _TotalDue(Control, frozen=True, kw_only=True):
    """The session's time is used up."""


class _AbortRequested(Control, frozen=True, kw_only=True):
    """The consumer stopped the session, or left it."""


class RetrySupervisor(Supervisor):
    """Supervises the reader of one session, and decides what follows each of its ends.

    It owns the session's state and its machine. The session ends with exactly one of
    `SessionCompleted`, `SessionFailed` and `SessionAborted`, whatever becomes of the supervisor.
    """

    subscribes = (StreamEnded, StreamFailed)

    def __init__(self, unit: Unit) -> None:
        super().__init__()
        self.unit = unit
        self._history = History(sources=len(unit.sources))
        self._reader: Cell | None = None
        self._tried: set[int] = set()

    # life

    async def on_start(self, context: ActorContext) -> None:
        """Begin the session with its first attempt."""
        await super().on_start(context)
        unit = self.unit
        names = tuple(str(source.name) for source in unit.sources)
        await unit.announce(SessionStarted, sources=names, delivery=Delivery(unit.options.delivery).value)
        if unit.abort_reason is not None:
            return
        unit.state.machine.transition(Transition.START)
        if unit.options.timeout.total_ms is not None:
            context.after(unit.options.timeout.total_ms, _TotalDue())
        await self._attempt(0, "first")

    async def receive(self, message: Any) -> Any:
        """Handle the end of an attempt, a pause that is over, an abort, or the end of the session's time."""
        if self.unit.ended:
            return None
        kind = type(message)
        if kind is StreamFailed or kind is StreamEnded:
            await self._attempt_over(message)
        elif kind is _AttemptDue:
            await self._attempt(message.source_index, message.reason)
        elif kind is _AbortRequested:
            await self._abort()
        elif kind is _TotalDue:
            await self._out_of_time()
        else:
            return await super().receive(message)
        return None

    async def on_stop(self, reason: StopReason) -> None:
        """Stop the reader, and end a session that nobody has ended."""
        if not self.unit.ended:
            self._end_unasked(reason)
        await super().on_stop(reason)

    def stop_reading(self) -> None:
        """Stop the running attempt's reader, whatever the supervisor itself is busy with."""
        if self._reader is not None:
            self._reader.request_stop(drain=False)

    # attempts

    async def _attempt(self, source_index: int, reason: AttemptReason) -> None:
        unit, source = self.unit, self.unit.sources[source_index]
        state = unit.state
        number = unit.attempt + 1
        record = AttemptRecord(
            number=number, source=str(source.name), source_index=source_index, started_at=unit.now_ms()
        )
        unit.begin(record)
        self._tried.add(source_index)
        state.source, state.fallback_index = record.source, source_index
        if state.phase is Phase.RETRYING:
            state.machine.transition(Transition.FALLBACK if reason == "fallback" else Transition.RETRY)
        state.machine.transition(Transition.STREAM_CREATED)
        await unit.announce(
            AttemptStarted, attempt=number, source=record.source, source_index=source_index, reason=reason
        )
        attempt = Attempt(number=number, source=record.source, source_index=source_index, reason=reason)
        reader = StreamReader(unit, source, attempt)
        self._reader = self.add(ChildSpec(name=f"reader-{number}", actor=reader, restart="temporary"))

    async def _child_exited(self, cell: Cell, ended: Exit) -> None:
        """A reader that crashed reports nothing: its failure is taken from its exit."""
        await super()._child_exited(cell, ended)
        record = self.unit.record
        if cell is not self._reader or self.unit.ended or record.outcome != "running":
            return
        failure = self._of_crash(ended.error)
        record.outcome, record.error, record.ended_at = "failed", failure, self.unit.now_ms()
        self.unit.failures[record.number] = failure
        await self.unit.pay()
        await self.unit.announce(StreamFailed, attempt=record.number, error=failure.info())

    def _of_crash(self, crash: BaseException | None) -> L0Error:
        """Nobody here asked for a reader's cancellation: it is a failure like any other, and is retried."""
        if crash is not None and not isinstance(crash, asyncio.CancelledError):
            return to_l0_error(crash, timestamp=self.unit.now_ms())
        failure = L0Error(
            f"{self.unit.record.source}: the stream was cancelled, and not by l0actors",
            code=ErrorCode.PROVIDER_ERROR,
            timestamp=self.unit.now_ms(),
        )
        failure.__cause__ = crash
        return failure

    async def _attempt_over(self, message: StreamEnded | StreamFailed) -> None:
        if message.attempt != self.unit.attempt or self.unit.state.phase is Phase.RETRYING:
            self.context.dead_letter(message, "superseded")
        elif isinstance(message, StreamEnded):
            await self._complete()
        else:
            await self._recover(self.unit.failures.pop(message.attempt))

    # failure

    async def _recover(self, error: L0Error) -> None:
        self._note(error)
        decision = await self._decide(error)
        log.debug(
            "attempt failed", session=self.unit.stream_id, code=error.code.value, then=type(decision).__name__
        )
        before, self._history = self._history, self._history.after(error, decision)
        state = self.unit.state
        if isinstance(decision, Retry):
            state.model_retry_count += decision.counted
            state.network_retry_count += not decision.counted
            await self._retry(before, decision, error)
        elif isinstance(decision, Fallback):
            await self._fall_back(decision, error)
        else:
            self._fail(self._verdict(error))

    def _note(self, error: L0Error) -> None:
        """Error order: detected, then the state changes, then decisions are made."""
        state = self.unit.state
        if state.phase is not Phase.RETRYING:
            timed_out = error.category is ErrorCategory.TIMEOUT
            state.machine.transition(Transition.TIMEOUT if timed_out else Transition.ERROR)
        error.context = msgspec.structs.replace(self.unit.context(), provider=error.context.provider)
        self.unit.errors.append(error)
        if error.category in _NETWORK_LIKE:
            state.network_errors.append(error)

    async def _decide(self, error: L0Error) -> Decision:
        if isinstance(error, TakeBackRefused):
            return GiveUp(error.message)
        history = msgspec.structs.replace(self._history, streamed=self.unit.record.streamed)
        config, rng, left = self.unit.options.retry, self.context.clock.rng, self._total_left_ms()
        decision = decide(error, history, config, rng, total_left_ms=left)
        if isinstance(decision, Retry) and config.should_retry is not None and await self._vetoed(error):
            return decide(error, history, config, rng, total_left_ms=left, vetoed=True)
        return decision

    async def _vetoed(self, error: L0Error) -> bool:
        should_retry = self.unit.options.retry.should_retry
        assert should_retry is not None
        try:
            answer = should_retry(error, self.unit.state, self.unit.attempt, error.category)
            return not (await answer if inspect.isawaitable(answer) else answer)
        except Exception as failure:
            log.warning("should_retry_raised", error=type(failure).__name__)
            return True

    async def _retry(self, before: History, decision: Retry, error: L0Error) -> None:
        unit = self.unit
        await unit.announce(
            RetryScheduled,
            attempt=unit.attempt,
            delay_ms=decision.delay_ms,
            reason=error.code.value,
            counted=decision.counted,
        )
        self.context.after(decision.delay_ms, _AttemptDue(source_index=before.source_index, reason="retry"))

    async def _fall_back(self, decision: Fallback, error: L0Error) -> None:
        source = self.unit.sources[decision.source_index]
        await self.unit.announce(
            FallbackSelected,
            attempt=self.unit.attempt,
            source=str(source.name),
            source_index=decision.source_index,
            reason=error.code.value,
        )
        await self._attempt(decision.source_index, "fallback")

    def _verdict(self, error: L0Error) -> L0Error:
        """Return what the consumer is told: the last error, or that every source was tried."""
        if len(self._tried) < 2 or isinstance(error, TakeBackRefused):
            return error
        exhausted = L0Error(
            f"{len(self._tried)} sources were tried in {self.unit.attempt} attempts; the last error: {error}",
            code=ErrorCode.ALL_STREAMS_EXHAUSTED,
            context=error.context,
            timestamp=self.unit.now_ms(),
        )
        exhausted.__cause__ = error
        return exhausted

    # the end of the session

    async def _complete(self) -> None:
        unit, state, record = self.unit, self.unit.state, self.unit.record
        keep = unit.transcript.end()
        if keep is not None and (refused := unit.roll_back(keep)) is not None:
            record.outcome, record.error = "failed", refused
            await self._recover(refused)
            return
        await unit.pay()
        state.machine.transition(Transition.STREAM_END)
        state.finish_reason, state.model = record.finish_reason, record.model
        for call in unit.calls:
            data = call.data or {}
            await unit.announce(
                ToolCallReady,
                attempt=record.number,
                index=data["index"],
                call_id=data["id"],
                name=data["name"],
                arguments=data["arguments"],
            )
        state.machine.transition(Transition.COMPLETE)
        state.completed = True
        unit.release()
        self._end(
            SessionCompleted,
            source=record.source,
            source_index=record.source_index,
            finish_reason=record.finish_reason,
            model=record.model,
            usage=unit.usage(),
        )
        data = {"finish_reason": record.finish_reason, "model": record.model, "source": record.source}
        usage = state.usage or None
        unit.outlet.say(L0Event(EventType.COMPLETE, data=data, usage=usage, timestamp=unit.now_ms()))
        unit.outlet.end()

    def _fail(self, error: L0Error) -> None:
        if self.unit.state.phase is not Phase.FAILED:
            self.unit.state.machine.transition(Transition.ERROR)
        self._end(SessionFailed, error=error.info())
        self.unit.outlet.end(error)

    async def _abort(self) -> None:
        await self._give_up_attempt("aborted", "aborted")
        self._end_aborted()
        self.unit.outlet.end()

    async def _out_of_time(self) -> None:
        limit = self.unit.options.timeout.total_ms
        waited = (self.context.loop_time() - self.unit.started_at) * 1000
        error = L0Error(
            f"the session took {waited:.0f} ms (timeout.total_ms is {limit:g})",
            code=ErrorCode.TOTAL_TIMEOUT,
            timestamp=self.unit.now_ms(),
        )
        await self.unit.announce(
            TimeoutFired, attempt=self.unit.attempt, clock="total", limit_ms=limit, waited_ms=waited
        )
        self.unit.record.error = self.unit.record.error or error
        await self._give_up_attempt("failed", "the session's time is used up")
        self._note(error)
        self._fail(error)

    async def _give_up_attempt(self, outcome: str, reason: str) -> None:
        """Stop the running attempt, if there is one; what it still brings is thrown away."""
        unit = self.unit
        number = unit.attempt
        self.stop_reading()  # also one that has ended its attempt, and waits for room to say so
        if unit.records and unit.record.outcome == "running":
            unit.record.outcome, unit.record.ended_at = outcome, unit.now_ms()
            unit.attempt = 0  # fences the reader off
            unit.failures.clear()
            await unit.announce(AttemptSuperseded, attempt=number, reason=reason)

    def _end_unasked(self, reason: StopReason) -> None:
        """The supervisor is stopped, or has crashed, before the session ended."""
        unit = self.unit
        if unit.records and unit.record.outcome == "running":
            unit.record.outcome, unit.record.ended_at = "aborted", unit.now_ms()
        if reason is StopReason.CRASHED:
            error = L0Error("the session's supervisor crashed: a bug in l0actors", code=ErrorCode.INTERNAL)
            unit.errors.append(error)
            self._end(SessionFailed, error=error.info())
            unit.outlet.end(error)
            return
        conclude(unit)

    def _end_aborted(self) -> None:
        self._end(SessionAborted, reason=self.unit.abort_reason or _STOPPED)

    def _end(self, kind: type[SessionEnded], **fields: Any) -> None:
        """Publish the session's one terminal message, and stop."""
        self.unit.finish(kind, **fields)
        self.context.stop()

    def _total_left_ms(self) -> float | None:
        total = self.unit.options.timeout.total_ms
        return None if total is None else total - (self.context.loop_time() - self.unit.started_at) * 1000


def conclude(unit: Unit) -> None:
    """End a session whose supervisor is gone and did not: its consumer and the bus must hear of it."""
    if unit.ended:
        return
    stopped = L0Error("the session was stopped with its system", code=ErrorCode.STREAM_ABORTED)
    try:
        unit.finish(SessionAborted, reason=unit.abort_reason or _STOPPED)
    finally:
        unit.outlet.end(stopped if unit.abort_reason is None else None)


def abort(head: Cell, unit: Unit, reason: str) -> None:
    """Stop a session for its consumer: at once, also while the provider is silent."""
    if unit.abort_reason is not None:
        return
    unit.abort_reason = reason
    unit.state.aborted = True
    unit.leave()
    if unit.ended:
        return
    if isinstance(head.actor, RetrySupervisor):
        head.actor.stop_reading()
    head.tell_self(_AbortRequested())
    timer = asyncio.get_running_loop().call_later(ABORT_S, head.kill)
    head.on_gone(timer.cancel)
