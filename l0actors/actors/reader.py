"""The stream reader: opens one source for one attempt, and ends with exactly one of two messages."""

import asyncio
import inspect
from typing import Any

from l0actors.actors.actor import ActorContext, Worker
from l0actors.actors.unit import Unit
from l0actors.actors.watchdog import Watchdog
from l0actors.bus.messages import (
    AttemptMessage,
    StreamEnded,
    StreamFailed,
    StreamOpened,
    TimeoutFired,
    Tokens,
    UsageReported,
)
from l0actors.classify import to_l0_error
from l0actors.errors import ErrorCode, L0Error
from l0actors.events import EventType, L0Event
from l0actors.logs import log
from l0actors.options import Attempt, Source, takes_attempt
from l0actors.providers import close_stream, decoder_for, detect_adapter, enter, items_for
from l0actors.recovery.clocks import Deadline
from l0actors.recovery.output import is_zero_output

SLICE = 1024
"""How many items of a source that never suspends are read before the loop runs others."""

CLOSE_S = 1.0
"""How long closing a provider stream, or leaving one that does not listen, may take."""

_REFUSALS = ("refusal", "content_filter")


class StreamReader(Worker):
    """Reads one source for one attempt.

    Text is appended to a pending list; once per turn of the event loop the list is handed on: to the
    transcript, the consumer and the bus. So a token costs an append, and a batch is as large as the
    provider is fast.

    A watchdog ends the attempt by cancelling the reader's own wait.
    """

    def __init__(self, unit: Unit, source: Source, attempt: Attempt) -> None:
        self._unit = unit
        self._source = source
        self._attempt = attempt
        self._pending: list[str] = []
        self._allow = self._allowance()
        self._trigger = 1
        self._others = 0
        self._scheduled = False
        self._worked = self._said = False
        self._stream: Any = None
        self._items: Any = None
        self._adapter: Any = None
        self._decoder: Any = None
        self._cut: Exception | None = None
        self._failure: BaseException | None = None
        self._last_resort: asyncio.TimerHandle | None = None
        self._reported = False

    async def on_start(self, context: ActorContext) -> None:
        """Learn who one is."""
        self._context = context

    async def run(self) -> None:
        """Read the stream, close it, and report how it ended."""
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self._watchdog = Watchdog(self._unit.options.timeout, self._time_out, self._lingered)
        try:
            await self._report(await self._read())
        finally:
            if self._last_resort is not None:
                self._last_resort.cancel()

    @property
    def _current(self) -> bool:
        """Whether the attempt is the current one of a session that runs: what others bring is thrown away."""
        return self._unit.attempt == self._attempt.number and not self._unit.ended

    # opening and reading

    async def _read(self) -> L0Error | None:
        try:
            await self._open()
            await self._pump()
        except asyncio.CancelledError:
            if self._cut is None or self._context.stopping:
                raise
            self._forgive_cancellation()
            self._failure = self._cut
        except Exception as error:
            self._failure = error
        finally:
            self._failure = self._hand_on() or self._failure
            self._watchdog.stop()
            await self._close()
        return None if self._reported else self._judge(self._failure)

    async def _open(self) -> None:
        opened = self._source.open(self._attempt) if takes_attempt(self._source.open) else self._source.open()
        if inspect.isawaitable(opened):
            opened = await opened
        self._stream = opened
        self._stream = await enter(opened)
        self._adapter = detect_adapter(self._stream, self._unit.options.adapter)
        self._decoder = decoder_for(self._adapter)
        self._items = items_for(self._adapter, self._stream, raw=self._unit.options.raw_chunks)
        await self._watchdog.standing_still(self._announce(StreamOpened, adapter=self._adapter.name))

    async def _pump(self) -> None:
        """The hot path: what is done here is done for each token."""
        pending, append = self._pending, self._pending.append
        recorded = self._unit.options.raw_chunks
        feed = self._recorded if recorded else self._decoder.feed
        text: type[Any] = (
            str if getattr(self._decoder, "takes_text_as_it_is", False) and not recorded else _NoText
        )
        async for item in self._items:
            if type(item) is text:
                append(item)
                if len(pending) >= self._trigger:
                    await self._triggered()
                continue
            fed = feed(item)
            if type(fed) is str:
                append(fed)
                if len(pending) >= self._trigger:
                    await self._triggered()
                continue
            self._take_other(fed)
            if self._decoder.done:
                text = _NoText  # what a stream brings after its end is its decoder's to ignore
            if self._others >= self._allow:
                await self._breathe()

    def _recorded(self, item: Any) -> Any:
        self._unit.raw_chunks.append(item)
        return self._decoder.feed(item)

    async def _triggered(self) -> None:
        """As much text waits as was to be noticed: the first piece of a turn, or a whole slice."""
        if self._cut is not None:
            raise self._cut  # the source took the cancellation for itself and went on
        self._begin_turn()
        if len(self._pending) >= self._allow:
            await self._breathe()

    def _begin_turn(self) -> None:
        """The first item of this turn of the loop: hand on, at its end, whatever came in it."""
        if not self._scheduled:
            self._scheduled = True
            self._trigger = self._allow
            self._loop.call_soon(self._flush)
            self._unit.outlet.wake()

    async def _breathe(self) -> None:
        """Let the loop run others, and wait while the consumer is behind."""
        self._begin_turn()
        await asyncio.sleep(0)
        if self._unit.owed or self._unit.outlet.full:
            await self._watchdog.standing_still(self._wait_for_room())
            self._allow = self._allowance()

    async def _wait_for_room(self) -> None:
        await self._unit.pay()
        await self._unit.outlet.room()

    def _allowance(self) -> int:
        outlet = self._unit.outlet
        room = SLICE if outlet.left else min(SLICE, outlet.limit - outlet.buffered)
        return 1 if self._unit.owed else max(room, 1)

    # handing on

    def _flush(self) -> None:
        """The end of this turn of the loop."""
        self._scheduled = False
        self._trigger = 1
        refused = self._hand_on()
        if refused is not None:
            self._interrupt(refused)

    def _hand_on(self) -> L0Error | None:
        """Hand on what came since the last time; return why it cannot be taken, if so."""
        self._others = 0
        if self._reported:
            self._pending.clear()
            return None
        refused = None
        if self._pending:
            refused = self._give()
            self._note_work(visible=True)
        elif self._worked:
            self._note_work(visible=False)
        else:
            self._watchdog.heard()
        self._worked = False
        self._allow = self._allowance()
        if self._decoder is not None and self._decoder.finished:
            self._watchdog.linger(done=self._decoder.done)
        return refused

    def _give(self) -> L0Error | None:
        pending, refused = self._pending, None
        if not self._current:
            self._supersede(pending)
        else:
            self._said = self._said or not is_zero_output("".join(pending))
            refused = self._unit.accept(pending)
            self._cut = self._cut or refused
        pending.clear()
        return refused

    def _give_or_fail(self) -> None:
        """Hand on the text before something that comes after it."""
        if self._pending and (refused := self._give()) is not None:
            raise refused

    def _supersede(self, texts: list[str]) -> None:
        late = Tokens(session=self._unit.stream_id, attempt=self._attempt.number, start=0, texts=tuple(texts))
        self._context.dead_letter(late, "superseded")

    def _note_work(self, *, visible: bool) -> None:
        if not self._watchdog.working and self._current:
            self._unit.worked()
        self._watchdog.worked(visible=visible)

    def _take_other(self, fed: Any) -> None:
        """Take what is not a bare piece of text: an event, several of them, or nothing to show."""
        self._others += 1
        self._begin_turn()
        if fed is None:
            return
        for event in fed if isinstance(fed, list) else (fed,):
            if isinstance(event, str):
                self._pending.append(event)
            else:
                self._take_event(event)

    def _take_event(self, event: L0Event) -> None:
        if event.type is EventType.TOKEN:
            self._pending.append(event.value or "")
            return
        self._give_or_fail()
        if not self._current:
            return
        if event.type is EventType.PROGRESS:
            self._take_progress(event)
        elif event.type is EventType.TOOL_CALL:
            self._unit.calls.append(event)
            self._note_work(visible=True)
        elif event.type is EventType.ERROR:
            raise event.error or L0Error("the stream reported an error", code=ErrorCode.PROVIDER_ERROR)
        else:
            self._said = True
            self._note_work(visible=True)
            self._unit.take_part(event)

    def _take_progress(self, event: L0Event) -> None:
        kind = (event.data or {}).get("kind")
        if kind == "tool_call_delta":
            self._note_work(visible=True)
        self._worked = self._worked or kind != "ping"
        self._unit.take_progress(event)

    # the end

    def _judge(self, failure: BaseException | None) -> L0Error | None:
        """Return why the attempt failed, or None: it ended well."""
        cut_by_us = failure is self._cut and failure is not None and not isinstance(failure, _Lingered)
        try:
            if failure is not None and (cut_by_us or self._decoder is None or not self._decoder.finished):
                raise failure
            for event in self._decoder.end():
                self._take_event(event)
            self._refuse_nothing()
        except Exception as error:
            now = self._unit.now_ms()
            return to_l0_error(error, timestamp=now, opening=self._decoder is None)
        return None

    def _refuse_nothing(self) -> None:
        self._give_or_fail()
        if self._said or self._unit.calls:
            return
        if self._decoder.finish_reason in _REFUSALS:
            raise L0Error("the provider's content filter gave no answer", code=ErrorCode.CONTENT_REFUSED)
        raise L0Error(
            f"the answer is empty (finish reason: {self._decoder.finish_reason})", code=ErrorCode.ZERO_OUTPUT
        )

    async def _close(self) -> None:
        """Close the provider stream, in bounded time, without hiding how the reading ended."""
        if self._stream is None:
            return
        expiry = self._loop.call_later(CLOSE_S, self._stop_waiting)
        try:
            await close_stream(self._adapter, self._stream, self._items)
        except asyncio.CancelledError:
            log.warning("close_cut_short", path=self._context.path)
        finally:
            expiry.cancel()

    async def _report(self, failure: L0Error | None) -> None:
        """Say how the attempt ended: exactly once."""
        if self._reported or not self._current:
            return
        self._reported = True
        self._record(failure)
        await self._unit.pay()
        if failure is None:
            if self._decoder.usage:
                await self._announce(UsageReported, usage=self._decoder.usage)
            await self._announce(
                StreamEnded,
                finish_reason=self._decoder.finish_reason,
                model=self._decoder.model,
                token_count=self._unit.record.tokens,
            )
        else:
            await self._announce(StreamFailed, error=failure.info(), token_count=self._unit.record.tokens)

    def _record(self, failure: L0Error | None) -> None:
        unit, decoder = self._unit, self._decoder
        record = unit.records[self._attempt.number - 1]
        record.ended_at = unit.now_ms()
        record.outcome = "completed" if failure is None else "failed"
        record.error = failure
        if failure is not None:
            unit.failures[record.number] = failure
        if decoder is None:
            return
        record.streamed = self._watchdog.working
        record.finish_reason, record.model = decoder.finish_reason, decoder.model
        if decoder.usage:
            record.usage, record.usage_status = dict(decoder.usage), "reported"

    async def _announce(self, kind: type[AttemptMessage], /, **fields: Any) -> None:
        await self._unit.announce(kind, attempt=self._attempt.number, **fields)

    # leaving before the end

    def _time_out(self, deadline: Deadline, waited_ms: float) -> None:
        if self._cut is not None or not self._current:
            return
        self._unit.announce_now(
            TimeoutFired,
            attempt=self._attempt.number,
            clock=deadline.clock,
            limit_ms=deadline.limit_ms,
            waited_ms=waited_ms,
        )
        self._interrupt(
            L0Error(
                f"{self._source.name}: nothing for {waited_ms:.0f} ms (timeout.{deadline.clock}_ms is "
                f"{deadline.limit_ms:g})",
                code=deadline.code,
                timestamp=self._unit.now_ms(),
            )
        )

    def _lingered(self) -> None:
        if self._cut is None:
            self._interrupt(_Lingered())

    def _interrupt(self, reason: Exception) -> None:
        """End the reading for `reason`, even if the source does not listen."""
        self._cut = self._cut or reason
        self._stop_waiting()

    def _stop_waiting(self) -> None:
        self._cancel()
        if self._last_resort is None:
            self._last_resort = self._loop.call_later(CLOSE_S * 2, self._abandon)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _forgive_cancellation(self) -> None:
        """The cancellation was our own: asyncio.timeout and task groups below must not see it again."""
        if self._task is not None and hasattr(self._task, "uncancel"):
            self._task.uncancel()

    def _abandon(self) -> None:
        """The source swallows cancellation: report without it, and leave it to itself."""
        if self._reported or not self._current or self._context.stopping:
            return
        self._reported = True
        failure = self._judge(self._failure or self._cut)
        self._record(failure)
        log.error("source_ignores_cancellation", path=self._context.path, source=self._source.name)
        late = StreamFailed if failure is not None else StreamEnded
        fields = {"error": failure.info()} if failure is not None else {}
        self._unit.announce_now(late, attempt=self._attempt.number, **fields)


class _NoText:
    """No item is of this type."""


class _Lingered(Exception):
    """The body was held open after the answer was whole."""
