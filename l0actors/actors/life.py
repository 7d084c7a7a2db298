"""One incarnation of an actor: its task, its hooks, the messages that it handles, and how it ends."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from l0actors.actors import ask
from l0actors.actors.actor import Actor, ActorContext, Parent, StopReason, Worker
from l0actors.actors.ask import Ask
from l0actors.bus.messages import Message

if TYPE_CHECKING:
    from l0actors.actors.cell import Cell

SLICE_S = 0.005
"""How long an actor may handle queued messages before the loop runs others (promise P24)."""

SLICE_MESSAGES = 256
"""The same as a count, and the size of a batch."""

KILL_GRACE_S = 1.0
"""How long a cancelled actor may clean up before it is cancelled again."""

KILL_TRIES = 3
"""After so many cancellations an actor is given up: it is reported, and nobody waits for it."""

Phase = Literal["starting", "running", "stopping"]


class Exit(NamedTuple):
    """How an incarnation ended.

    Attributes:
        reason: why.
        error: what it raised, for a crash.
        started: whether `on_start` had returned.
    """

    reason: StopReason
    error: BaseException | None
    started: bool


class Life:
    """An incarnation, from its factory to the end of `on_stop`.

    Attributes:
        context: what the actor may do; None once it may do nothing more.
        actor: the actor, once it is made.
        task: what runs it.
        phase: `starting`, `running` or `stopping`.
        started: a future that tells whether `on_start` returned.
        exit: how it ended, as far as that is known.
        leaving: it is to end after the message at hand.
        draining: it is to end when nothing is queued any more.
        halting: it is to end because another incarnation will take its place.
        failure: why it is to crash, whatever it does.
        asked: the ask that it handles.
    """

    __slots__ = (
        "_cancelled",
        "_cell",
        "_forced",
        "_number",
        "_take_batch",
        "_timers",
        "_tries",
        "actor",
        "asked",
        "context",
        "draining",
        "exit",
        "failure",
        "halting",
        "leaving",
        "phase",
        "started",
        "task",
    )

    def __init__(self, cell: "Cell", number: int) -> None:
        loop = asyncio.get_running_loop()
        self._cell = cell
        self._number = number
        self._take_batch: Callable[[list[Message]], Awaitable[Any]] | None = None
        self._cancelled = self._forced = False
        self._tries = 0
        self._timers: list[asyncio.TimerHandle] = []
        self.context: ActorContext | None = None
        self.actor: Actor | None = None
        self.phase: Phase = "starting"
        self.started: asyncio.Future[bool] = loop.create_future()
        self.exit = Exit(StopReason.CRASHED, None, False)
        self.leaving = self.draining = self.halting = False
        self.failure: BaseException | None = None
        self.asked: Ask | None = None
        self.task = loop.create_task(self._live(), name=cell.path)

    # the course of it

    async def _live(self) -> None:
        ask.current.set(self._cell)
        self.context = context = ActorContext(self._cell, self._number)
        try:
            error = await _caught(self._prepare)
            if self.actor is None or self.phase == "starting":
                self.exit = Exit(*self._verdict(error), False)
            else:
                await self._run(self.actor)
            if isinstance(self.actor, Parent):
                await self.actor.stop_children(drain=False)
        finally:
            context.close()
            self.context = None

    async def _prepare(self) -> None:
        assert self.context is not None
        self.actor = self._cell.make()
        self._take_batch = getattr(self.actor, "receive_batch", None)
        await self.actor.on_start(self.context)
        self.phase = "running"

    async def _run(self, actor: Actor) -> None:
        if self.failure is None and self._cell.life is self:
            self._tell_started()
        work = actor.run if isinstance(actor, Worker) else self._serve
        is_over = self.leaving or (self.draining and isinstance(actor, Worker))
        error = None if is_over else await _caught(work)
        reason, error = self._verdict(error)
        self.phase = "stopping"
        await self._settle()
        self._limit_stop()
        failure = await _caught(lambda: actor.on_stop(reason))
        if isinstance(failure, asyncio.CancelledError) and self._forced:
            reason, failure = (reason if error else StopReason.KILLED), None
        if failure is not None and error is not None:
            self._cell.report(failure)  # the first error is the one that is acted upon
        if failure is not None:
            reason, error = StopReason.CRASHED, error or failure
        self.exit = Exit(reason, error, True)

    def _tell_started(self) -> None:
        self._cell.announce_start()
        if not self.started.done():
            self.started.set_result(True)

    def _verdict(self, error: BaseException | None) -> tuple[StopReason, BaseException | None]:
        """Return why the work ended, and the error if that was a crash."""
        quiet = error is None or isinstance(error, asyncio.CancelledError)
        if self.failure is not None:
            if not quiet:
                self.failure.__context__ = error
            return StopReason.CRASHED, self.failure
        if not quiet:
            return StopReason.CRASHED, error
        if self._forced:
            return StopReason.KILLED, None
        if error is not None and not self._cancelled:
            return StopReason.CRASHED, error
        asked = self.halting or self._cell.asked_to_stop is not None
        return (StopReason.SHUTDOWN if asked else StopReason.NORMAL), None

    async def _settle(self) -> None:
        """Take a cancellation that was meant for the work and came too late: `on_stop` is to run whole."""
        if self._cancelled or self._forced:
            await _caught(lambda: asyncio.sleep(0))
        uncancel = getattr(self.task, "uncancel", None)  # Python 3.11 and later
        while uncancel is not None and self.task.cancelling():  # type: ignore[attr-defined, unused-ignore]
            uncancel()

    # messages

    async def _serve(self) -> None:
        loop, cell = asyncio.get_running_loop(), self._cell
        ahead, mailbox = cell.ahead, cell.mailbox
        handled, slice_end = 0, loop.time() + SLICE_S
        while not self.leaving:
            if cell.suspended:
                await cell.until_resumed()
            elif (message := ahead.popleft() if ahead else mailbox.take()) is not None:
                handled += await self._handle(message)
                if handled >= SLICE_MESSAGES or loop.time() >= slice_end:
                    await asyncio.sleep(0)
                    handled, slice_end = 0, loop.time() + SLICE_S
            elif self.draining or cell.gone:
                return
            else:
                await mailbox.wait()
                handled, slice_end = 0, loop.time() + SLICE_S

    async def _handle(self, message: Message) -> int:
        """Handle a message, or the batch that begins with it; return how many that were."""
        assert self.actor is not None
        cell = self._cell
        if cell.tracer is not None:
            cell.trace(message)
        if type(message) is Ask:
            await self._answer(message)
        elif self._take_batch is not None:
            return await self._handle_batch([message, *cell.take_more(SLICE_MESSAGES - 1)], self._take_batch)
        else:
            try:
                result = await self.actor.receive(message)
            except BaseException:
                self._lose((message,))
                raise
            if result is NotImplemented:
                cell.dead_letter(message, "unhandled")
        return 1

    async def _handle_batch(
        self, batch: list[Message], receive: Callable[[list[Message]], Awaitable[Any]]
    ) -> int:
        count = len(batch)
        try:
            result = await receive(batch)
        except BaseException:
            self._lose(batch)
            raise
        if result is NotImplemented:
            for message in batch:
                self._cell.dead_letter(message, "unhandled")
        return count

    async def _answer(self, asked: Ask) -> None:
        assert self.actor is not None
        if asked.expired():
            self._cell.dead_letter(asked, "unhandled")
            return
        self.asked = asked
        try:
            result = await self.actor.receive(asked.message)
        except BaseException:
            self._lose((asked,))
            raise
        finally:
            self.asked = None
        if asked.expired():
            self._cell.dead_letter(asked, "late_reply")
        elif result is NotImplemented:
            self._cell.dead_letter(asked, "unhandled")
        else:
            asked.reply(result)

    def _lose(self, messages: Sequence[Message]) -> None:
        for message in messages:
            self._cell.dead_letter(message, "killed" if self._forced else "crashed_while_handling")

    # the end of it

    def leave(self) -> None:
        """End after the message at hand; a `Worker` is cancelled."""
        self.leaving = True
        if isinstance(self.actor, Worker):
            self._cancel_work()
        self._cell.nudge()

    def drain(self) -> None:
        """End after what is queued; a `Worker` is cancelled."""
        self.draining = True
        if isinstance(self.actor, Worker):
            self._cancel_work()
        self._cell.nudge()

    def _cancel_work(self) -> None:
        if not self._cancelled and self.phase != "stopping":
            self._cancelled = True
            self.task.cancel()

    def crash(self, error: BaseException, *, now: bool) -> None:
        """End with `error`: after the message at hand, or `now`, by force."""
        if self.phase == "stopping" or self.failure is not None:
            return
        self.failure = error
        self.leaving = True
        self._cell.nudge()
        if now:
            self.force()

    def force_after(self, delay_s: float) -> asyncio.TimerHandle:
        """End it by force after a while, unless it has ended by then."""
        timer = asyncio.get_running_loop().call_later(delay_s, self.force)
        self._timers.append(timer)
        return timer

    def force(self) -> None:
        """Cancel whatever it is doing, again and again, and give it up at last. Idempotent."""
        self.leaving = True
        if not self._forced:
            self._forced = True
            self._press()

    def limit_start(self, limit_s: float, late: BaseException) -> None:
        """End it by force with the error `late` if it has not started after `limit_s`."""
        timer = asyncio.get_running_loop().call_later(limit_s, self._too_late, late)
        self.started.add_done_callback(lambda _: timer.cancel())
        self._timers.append(timer)

    def _too_late(self, late: BaseException) -> None:
        if self.phase == "starting":
            self.crash(late, now=True)

    def _limit_stop(self) -> None:
        """Give `on_stop` its time, if nobody has set a deadline yet."""
        limit_s = self._cell.stop_s
        has_deadline = self.halting or self._cell.asked_to_stop is not None or self._cell.gone
        if limit_s is not None and not has_deadline:
            self.force_after(limit_s)

    def _press(self) -> None:
        """Cancel it once more. One that waits for its children is not given up before them."""
        if not (isinstance(self.actor, Parent) and self.actor.kill_children()):
            if self._tries == KILL_TRIES:
                self._cell.give_up(self)
                return
            self._tries += 1
        self.task.cancel()
        self._timers.append(asyncio.get_running_loop().call_later(KILL_GRACE_S, self._press))

    def close(self) -> Exit:
        """Clear up after it, and return how it ended."""
        for timer in self._timers:
            timer.cancel()
        if not self.started.done():
            self.started.set_result(False)
        if self.context is not None:
            self.context.close()
            self.context = None
        return self.exit

    def outcome(self) -> Exit:
        """Return how it ended; to be asked when its task is done."""
        if self.task.cancelled():  # before its first step
            return Exit(*self._verdict(asyncio.CancelledError()), False)
        interrupt = self.task.exception()  # KeyboardInterrupt or SystemExit: it has passed through the loop
        if interrupt is None:
            return self.exit
        return Exit(StopReason.CRASHED, interrupt, started=self.phase != "starting")


async def _caught(work: Callable[[], Awaitable[Any]]) -> BaseException | None:
    """Do the work, and return what it raised. An interrupt of the whole program passes."""
    try:
        await work()
    except (Exception, asyncio.CancelledError) as error:
        return error
    return None
