"""The life of one actor: its mailbox, its task, its incarnations, and how it ends."""

import asyncio
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any, NamedTuple

from l0actors.actors.actor import (
    Actor,
    ActorContext,
    ActorDied,
    ActorRef,
    AskCycle,
    AskTimeout,
    StopReason,
    Worker,
)
from l0actors.bus.bus import Bus
from l0actors.bus.mailbox import Mailbox
from l0actors.bus.messages import (
    ActorCrashed,
    ActorDown,
    ActorRestarted,
    ActorStarted,
    DeadLetterReason,
    Message,
    Resume,
    Stop,
    Suspend,
)
from l0actors.bus.overflow import CloseReason, Overflow
from l0actors.classify import to_l0_error

SLICE_S = 0.005
"""How long an actor may handle queued messages before the loop runs others (promise P24)."""

SLICE_MESSAGES = 256
"""The same as a count, and the size of a batch."""

KILL_GRACE_S = 1.0
"""How long a cancelled actor may clean up before it is cancelled again."""

KILL_TRIES = 3
"""After so many cancellations an actor is given up: it is reported, and nobody waits for it."""

_current: ContextVar["Cell | None"] = ContextVar("l0actors_cell", default=None)


class MailboxOverflow(Exception):
    """A subscriber was too slow for its mailbox and its overflow is `fail`."""


class Exit(NamedTuple):
    """How an incarnation ended.

    Attributes:
        reason: the reason that `on_stop` was told.
        error: what it raised, for a crash.
        started: whether `on_start` had returned.
    """

    reason: StopReason
    error: BaseException | None
    started: bool


class _Failure(NamedTuple):
    """An ask that failed: a value, so that an asker who left leaves no unseen exception."""

    error: Exception


class _Ask(Message, frozen=True, kw_only=True):
    """A message that waits for an answer."""

    message: Message
    answer: Any
    path: str

    def died(self) -> None:
        _settle(self.answer, _Failure(ActorDied(self.path)))


class Cell:
    """One actor of the tree. Users hold its `ActorRef`.

    Attributes:
        state: `starting`, `running`, `suspended`, `stopping`, `down` (between two incarnations), `gone`
            or `stuck` (it ignored every cancellation and was given up).
        incarnation: how often it was started.
        last_error: what its last crash raised.
        asked_to_stop: None, or whether what is queued is to be handled first.
        on_exit: called with the cell and its `Exit` after each incarnation's task is done.
    """

    def __init__(
        self,
        bus: Bus,
        path: str,
        make: Callable[[], Actor],
        *,
        on_exit: Callable[["Cell", Exit], None],
        capacity: int = 1024,
        overflow: Overflow = "block",
        subscribes: Sequence[Any] = (),
        session: str | None = None,
    ) -> None:
        self.bus = bus
        self.path = path
        self.ref = ActorRef(self)
        self.on_exit = on_exit
        self.mailbox = Mailbox(
            owner=path, capacity=capacity, overflow=overflow, on_dead=self._dead, on_failed=self._overflowed
        )
        self.subscription = (
            bus.subscribe(tuple(subscribes), session=session, mailbox=self.mailbox, name=path)
            if subscribes
            else None
        )
        self.state = "down"
        self.incarnation = 0
        self.last_error: BaseException | None = None
        self.context: ActorContext | None = None
        self.actor: Actor | None = None
        self.task: asyncio.Task[None] | None = None
        self.started: asyncio.Future[bool] | None = None
        self.tracer: Callable[[str, Message], Any] | None = None
        self.waiting_for: Cell | None = None
        self._make = make
        self._exit = Exit(StopReason.CRASHED, None, False)
        self.asked_to_stop: bool | None = None
        self._leaving = False
        self._killed = 0
        self._interrupted: BaseException | None = None
        self._halting = False
        self._resumed: asyncio.Future[None] | None = None
        self._watchers: list[Cell] = []
        self._on_gone: list[Callable[[], None]] = []

    @property
    def gone(self) -> bool:
        """Whether the actor is dead for good."""
        return self.state in ("gone", "stuck")

    # life

    def start(self) -> "asyncio.Future[bool]":
        """Begin an incarnation; the future tells whether `on_start` returned."""
        loop = asyncio.get_running_loop()
        self.incarnation += 1
        self.state = "starting"
        self.started = loop.create_future()
        self._exit = Exit(StopReason.CRASHED, None, False)
        self._leaving = self._halting = False
        self._interrupted = None
        self.mailbox.failed = False
        self.task = loop.create_task(self._live(), name=self.path)
        self.mailbox.owner_task = self.task
        self.task.add_done_callback(self._ended)
        return self.started

    async def _live(self) -> None:
        _current.set(self)
        self.context = context = ActorContext(self, self.incarnation)
        try:
            self.actor = actor = self._make()
            await actor.on_start(context)
        except (Exception, asyncio.CancelledError) as error:
            self._close(context)
            self._exit = Exit(self._reason_of(error), self._interrupted or error, False)
            return
        self._announce_start()
        reason, failure = await self._work(actor)
        failure = await self._finish(actor, reason, failure)
        self._close(context)
        self._exit = Exit(reason if failure is None else StopReason.CRASHED, failure, True)

    async def _work(self, actor: Actor) -> tuple[StopReason, BaseException | None]:
        try:
            if isinstance(actor, Worker):
                if self.asked_to_stop is None:
                    await actor.run()
            else:
                await self._serve(actor)
        except (Exception, asyncio.CancelledError) as error:
            reason = self._reason_of(error)
            return reason, (self._interrupted or error) if reason is StopReason.CRASHED else None
        asked = self._halting or self.asked_to_stop is not None
        return (StopReason.SHUTDOWN if asked else StopReason.NORMAL), None

    async def _finish(
        self, actor: Actor, reason: StopReason, error: BaseException | None
    ) -> BaseException | None:
        self.state = "stopping"
        try:
            await actor.on_stop(reason)
        except asyncio.CancelledError as cancelled:
            return error if self._killed else error or cancelled
        except Exception as failure:
            if error is not None:
                failure.__context__ = error
            return failure
        return error

    def _reason_of(self, error: BaseException) -> StopReason:
        if not isinstance(error, asyncio.CancelledError):
            return StopReason.CRASHED
        if self._killed:
            return StopReason.KILLED
        asked = self._halting or self.asked_to_stop is not None
        return StopReason.SHUTDOWN if asked and self._interrupted is None else StopReason.CRASHED

    def _announce_start(self) -> None:
        self.state = "suspended" if self._resumed is not None else "running"
        kind = ActorStarted if self.incarnation == 1 else ActorRestarted
        if self.bus.wants(kind):
            self.bus.publish_nowait(kind(path=self.path, incarnation=self.incarnation))
        if self.started is not None and not self.started.done():
            self.started.set_result(True)

    def _close(self, context: ActorContext) -> None:
        context.close()
        self.context = None
        self.actor = None

    def _ended(self, task: "asyncio.Task[None]") -> None:
        """The incarnation's task is done: say so to whoever decides what follows."""
        if task is not self.task or self.gone:
            return
        if task.cancelled():  # cancelled before its first step
            self._exit = Exit(self._reason_of(asyncio.CancelledError()), asyncio.CancelledError(), False)
        elif task.exception() is not None:  # KeyboardInterrupt and SystemExit have passed through the loop
            self._exit = Exit(StopReason.CRASHED, task.exception(), True)
        ended = self._exit
        self.state = "down"
        self.task = None
        self.mailbox.owner_task = None
        if ended.error is not None and ended.reason is StopReason.CRASHED:
            self._announce_crash(ended.error)
        if self.started is not None and not self.started.done():
            self.started.set_result(False)
        if self.asked_to_stop is not None:
            self.terminate(ended.reason)
        self.on_exit(self, ended)

    def _announce_crash(self, error: BaseException) -> None:
        self.last_error = error
        if self.bus.wants(ActorCrashed):
            info = to_l0_error(error, timestamp=self.bus.clock.now_ms()).info()
            self.bus.publish_nowait(ActorCrashed(path=self.path, incarnation=self.incarnation, error=info))

    # messages

    async def _serve(self, actor: Actor) -> None:
        loop, mailbox = asyncio.get_running_loop(), self.mailbox
        take_batch = getattr(actor, "receive_batch", None)
        handled, slice_end = 0, loop.time() + SLICE_S
        while not self._leaving and self.asked_to_stop is not False:
            if self._resumed is not None:
                await self._resumed
            elif (message := mailbox.take()) is not None:
                await self._handle(actor, message, take_batch)
                handled += 1
                if handled >= SLICE_MESSAGES or loop.time() >= slice_end:
                    await asyncio.sleep(0)
                    handled, slice_end = 0, loop.time() + SLICE_S
            elif self.asked_to_stop is None:
                await mailbox.wait()
                handled, slice_end = 0, loop.time() + SLICE_S
            else:
                return

    async def _handle(self, actor: Actor, message: Message, take_batch: Any) -> None:
        if self.tracer is not None:
            self.tracer(self.path, message)
        if type(message) is _Ask:
            await self._answer(actor, message)
        elif take_batch is None:
            await self._guarded((message,), actor.receive(message))
        else:
            batch = [message, *self.mailbox.take_batch(SLICE_MESSAGES - 1)]
            await self._guarded(batch, take_batch(batch))

    async def _guarded(self, messages: Sequence[Message], handling: Any) -> None:
        try:
            result = await handling
        except BaseException:
            for message in messages:
                self.bus.dead_letter(message, "crashed_while_handling", self.path)
            raise
        if result is NotImplemented:
            for message in messages:
                self.bus.dead_letter(message, "unhandled", self.path)

    async def _answer(self, actor: Actor, asked: _Ask) -> None:
        if asked.answer.done():
            self.bus.dead_letter(asked.message, "unhandled", self.path)
            return
        try:
            result = await actor.receive(asked.message)
        except BaseException:
            self.bus.dead_letter(asked.message, "crashed_while_handling", self.path)
            asked.died()
            raise
        if asked.answer.done():
            self.bus.dead_letter(asked.message, "late_reply", self.path)
        elif result is NotImplemented:
            self.bus.dead_letter(asked.message, "unhandled", self.path)
            asked.died()
        else:
            asked.answer.set_result(result)

    def tell(self, message: Message) -> None:
        """Put a message into the mailbox; control messages act at once."""
        if isinstance(message, Stop):
            self.request_stop(drain=message.drain)
        elif isinstance(message, Suspend):
            self.suspend()
        elif isinstance(message, Resume):
            self.resume()
        else:
            self.mailbox.put_nowait(message)

    def tell_self(self, message: Message) -> None:
        """Put a message ahead of the others: what an actor owes to itself never waits for room."""
        self.mailbox.put_control(message)

    async def ask(self, message: Message, timeout_ms: float) -> Any:
        """Put a message into the mailbox and wait for the answer; see `ActorRef.ask`."""
        asker = _asker()
        self._refuse_a_cycle(asker)
        if self.gone:
            self.bus.dead_letter(message, "stopped", self.path)
            raise ActorDied(self.path)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()
        expired = _Failure(AskTimeout(self.path, timeout_ms))
        timer = loop.call_later(timeout_ms / 1000, _settle, answer, expired)
        if asker is not None:
            asker.waiting_for = self
        try:
            self.mailbox.put_nowait(_Ask(message=message, answer=answer, path=self.path))
            result = await answer
        finally:
            timer.cancel()
            answer.cancel()
            if asker is not None:
                asker.waiting_for = None
        if type(result) is _Failure:
            raise result.error
        return result

    def _refuse_a_cycle(self, asker: "Cell | None") -> None:
        link: Cell | None = self if asker is not None else None
        while link is not None:
            if link is asker:
                raise AskCycle(self.path)
            link = link.waiting_for

    def _dead(self, message: Message, reason: DeadLetterReason, path: str) -> None:
        if type(message) is _Ask:
            message.died()
            message = message.message
        self.bus.dead_letter(message, reason, path)

    def _overflowed(self) -> None:
        self.interrupt(
            MailboxOverflow(f"{self.path} is too slow: its mailbox of {self.mailbox.capacity} is full")
        )

    def interrupt(self, error: BaseException) -> None:
        """Make the incarnation crash with `error`, whatever it is doing."""
        if self.task is not None and self.state in ("starting", "running", "suspended"):
            self._interrupted = error
            self.task.cancel()

    # suspend and stop

    def suspend(self) -> None:
        """Handle nothing until `resume`."""
        if self._resumed is None and self.asked_to_stop is None:
            self._resumed = asyncio.get_running_loop().create_future()
            self.state = "suspended" if self.state == "running" else self.state

    def resume(self) -> None:
        """Go on after `suspend`."""
        if self._resumed is not None:
            self._resumed.set_result(None)
            self._resumed = None
            self.state = "running" if self.state == "suspended" else self.state

    def halt(self, timeout_ms: float) -> "asyncio.Task[None] | None":
        """End the incarnation but not the actor: another one will follow. Return the task to wait for."""
        if self.task is None:
            return None
        self._leaving = self._halting = True
        task = self.task
        if isinstance(self.actor, Worker):
            task.cancel()
        else:
            self.resume()
            self.mailbox.wake()
        timer = asyncio.get_running_loop().call_later(timeout_ms / 1000, self.kill)
        task.add_done_callback(lambda _: timer.cancel())
        return task

    def stop_self(self) -> None:
        """End after the message at hand."""
        self._leaving = True
        self.mailbox.wake()

    def request_stop(self, *, drain: bool) -> None:
        """Take no more messages and end: after the queued ones, or after the one at hand."""
        if self.gone:
            return
        self.asked_to_stop = drain if self.asked_to_stop is None else self.asked_to_stop and drain
        self.mailbox.close("draining")
        self.resume()
        if self.task is None:
            self.terminate(StopReason.SHUTDOWN)
        elif isinstance(self.actor, Worker) and not self._killed:
            self.task.cancel()
        else:
            self.mailbox.wake()

    def stop(self, *, drain: bool, timeout_ms: float) -> "asyncio.Future[None]":
        """Stop, by force after `timeout_ms`; the future is done when the actor is gone."""
        self.request_stop(drain=drain)
        if not self.gone:
            timer = asyncio.get_running_loop().call_later(timeout_ms / 1000, self.kill)
            gone = self.when_gone()
            gone.add_done_callback(lambda _: timer.cancel())
            return gone
        return self.when_gone()

    def kill(self) -> None:
        """Cancel what the actor is doing, again and again, and give it up at last."""
        if self.gone:
            return
        self.asked_to_stop = False
        self.mailbox.close("killed")
        if self.task is None or self._killed >= KILL_TRIES:
            self.terminate(StopReason.KILLED)
            self.on_exit(self, Exit(StopReason.KILLED, self.last_error, True))
            return
        self._killed += 1
        self.task.cancel()
        asyncio.get_running_loop().call_later(KILL_GRACE_S, self.kill)

    def when_gone(self) -> "asyncio.Future[None]":
        """Return a future that is done when the actor is gone."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self.gone:
            waiter.set_result(None)
        else:
            self._on_gone.append(lambda: None if waiter.done() else waiter.set_result(None))
        return waiter

    def on_gone(self, callback: Callable[[], None]) -> None:
        """Call `callback` when the actor is gone."""
        self._on_gone.append(callback)

    def terminate(self, reason: StopReason) -> None:
        """End the actor for good: no incarnation follows."""
        if self.gone:
            return
        self.state = "gone" if self.task is None else "stuck"
        self.context = None
        if self.subscription is not None:
            self.subscription.close()
        left: CloseReason = "killed" if reason is StopReason.KILLED else "stopped"
        self.mailbox.close(left)
        self.mailbox.clear(left)
        for watcher in self._watchers:
            watcher.mailbox.put_nowait(ActorDown(path=self.path, reason=reason.value))
        self._watchers.clear()
        for callback in self._on_gone:
            callback()
        self._on_gone.clear()

    def add_watcher(self, watcher: "Cell") -> None:
        """Tell `watcher` once when this actor is gone."""
        if self.gone:
            watcher.mailbox.put_nowait(ActorDown(path=self.path, reason=self._exit.reason.value))
        elif watcher not in self._watchers:
            self._watchers.append(watcher)

    def remove_watcher(self, watcher: "Cell") -> None:
        """Undo `add_watcher`."""
        if watcher in self._watchers:
            self._watchers.remove(watcher)


def _asker() -> Cell | None:
    cell = _current.get()
    return cell if cell is not None and cell.task is asyncio.current_task() else None


def _settle(answer: "asyncio.Future[Any]", result: object) -> None:
    if not answer.done():
        answer.set_result(result)
