"""One actor of the tree: its mailbox, its incarnations one after the other, and how it ends for good."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from l0actors.actors import ask
from l0actors.actors.actor import Actor, ActorContext, ActorRef, Parent, StartTimeout, StopReason
from l0actors.actors.ask import Ask
from l0actors.actors.life import Exit, Life
from l0actors.actors.watch import DeathWatch
from l0actors.bus.bus import Bus
from l0actors.bus.mailbox import Mailbox
from l0actors.bus.messages import (
    ActorCrashed,
    ActorMessage,
    ActorRestarted,
    ActorStarted,
    Control,
    DeadLetterReason,
    Message,
    Resume,
    Stop,
    Suspend,
)
from l0actors.bus.overflow import CloseReason, Overflow
from l0actors.bus.sleeper import Sleeper
from l0actors.classify import to_l0_error
from l0actors.logs import log

__all__ = ["Cell", "Exit", "Housekeeping", "MailboxOverflow"]


class MailboxOverflow(Exception):
    """A subscriber was too slow for its mailbox and its overflow is `fail`."""


class Housekeeping(Control, frozen=True, kw_only=True):
    """The base of what the runtime tells itself. It is nobody's loss, so it is no dead letter."""


_abandoned: "set[asyncio.Task[None]]" = set()
"""The tasks of actors that were given up: the loop itself would let the collector take them."""


class Cell:
    """One actor of the tree. Users hold its `ActorRef`.

    Attributes:
        life: the present incarnation; None between two, and after the end.
        incarnation: how often it was started.
        last_error: what its last crash raised.
        ended_as: why it is dead for good; None while it is not.
        asked_to_stop: None, or whether what is queued is to be handled first.
        suspended: it handles nothing until it is resumed.
        watches: whose deaths it is told, and who is told of its own.
        ahead: messages that were taken from the mailbox and are to be handled first.
        waiting_for: the actor that it asks at the moment.
        stuck: the paths of those in the tree who were given up.
        stop_s: how long `on_stop` may take after a crash or a normal end; None for as long as it likes.
        make: makes the actor for an incarnation.
        on_exit: called with the cell and its `Exit` after each incarnation.
    """

    def __init__(
        self,
        bus: Bus,
        path: str,
        make: Callable[[], Actor],
        *,
        on_exit: Callable[["Cell", Exit], None],
        parent: "Cell | None" = None,
        capacity: int = 1024,
        overflow: Overflow = "block",
        subscribes: Sequence[Any] = (),
        session: str | None = None,
        stop_s: float | None = None,
    ) -> None:
        self.bus = bus
        self.path = path
        self.ref = ActorRef(self)
        self.make = make
        self.on_exit = on_exit
        self.stop_s = stop_s
        self.stuck: list[str] = [] if parent is None else parent.stuck
        self.mailbox = Mailbox(
            owner=path, capacity=capacity, overflow=overflow, on_dead=self._dead, on_failed=self._overflowed
        )
        self.subscription = (
            bus.subscribe(tuple(subscribes), session=session, mailbox=self.mailbox, name=path)
            if subscribes
            else None
        )
        self.life: Life | None = None
        self.incarnation = 0
        self.last_error: BaseException | None = None
        self.asked_to_stop: bool | None = None
        self.suspended = False
        self.tracer: Callable[[str, Message], Any] | None = None
        self.waiting_for: Cell | None = None
        self.ahead: deque[Message] = deque()
        self._pause = Sleeper()
        self.ended_as: StopReason | None = None
        self._given_up = False
        self.watches = DeathWatch(self)
        self._on_gone: list[Callable[[], object]] = []

    @property
    def gone(self) -> bool:
        """Whether the actor is dead for good."""
        return self.ended_as is not None

    @property
    def state(self) -> str:
        """As in a snapshot: `starting`, `running`, `suspended`, `stopping`, `down`, `gone` or `stuck`."""
        if self.gone:
            return "stuck" if self._given_up else "gone"
        if self.life is None:
            return "down"
        return "suspended" if self.suspended and self.life.phase == "running" else self.life.phase

    @property
    def actor(self) -> Actor | None:
        """The present incarnation's actor."""
        return None if self.life is None else self.life.actor

    @property
    def context(self) -> ActorContext | None:
        """The present incarnation's context."""
        return None if self.life is None else self.life.context

    @property
    def task(self) -> "asyncio.Task[None] | None":
        """The present incarnation's task."""
        return None if self.life is None else self.life.task

    # incarnations

    def start(self, limit_ms: float | None = None) -> "asyncio.Future[bool]":
        """Begin an incarnation; the future tells whether `on_start` returned, within `limit_ms`."""
        self.incarnation += 1
        self.mailbox.failed = False
        self.life = life = Life(self, self.incarnation)
        self.mailbox.owner_task = life.task
        life.task.add_done_callback(self._ended)
        if limit_ms is not None:
            late = StartTimeout(f"{self.path} was not started within {limit_ms} ms")
            life.limit_start(limit_ms / 1000, late)
        return life.started

    def _ended(self, task: "asyncio.Task[None]") -> None:
        """The incarnation's task is done: say so to whoever decides what follows."""
        life = self.life
        if life is None or task is not life.task:  # it was given up before
            _abandoned.discard(task)
            _ = task.cancelled() or task.exception()
            return
        if isinstance(life.actor, Parent):
            life.actor.kill_children()  # none is left, unless the whole program was interrupted
        self._conclude(life, life.outcome())

    def give_up(self, life: Life) -> None:
        """Wait no longer for an incarnation that ignores every cancellation."""
        if life is self.life and not life.task.done():
            log.error("actor_stuck", path=self.path)
            _abandoned.add(life.task)
            self._given_up = True
            self.stuck.append(self.path)
            self.terminate(StopReason.KILLED)
            self._conclude(life, Exit(StopReason.KILLED, life.failure, started=life.started.done()))

    def _conclude(self, life: Life, ended: Exit) -> None:
        life.close()
        self.life = None
        self.mailbox.owner_task = None
        if ended.error is not None:
            self.report(ended.error)
        if self.asked_to_stop is not None:
            self.terminate(ended.reason)
        self.on_exit(self, ended)

    def announce_start(self) -> None:
        """Say that an incarnation was started."""
        kind = ActorStarted if self.incarnation == 1 else ActorRestarted
        self._announce(kind, incarnation=self.incarnation)

    def report(self, error: BaseException) -> None:
        """Say that the actor raised: in the log, on the bus, and in a snapshot."""
        self.last_error = error
        log.warning("actor_crashed", path=self.path, error=type(error).__name__)
        if self.bus.wants(ActorCrashed):
            info = to_l0_error(error, timestamp=self.bus.clock.now_ms()).info()
            self._announce(ActorCrashed, incarnation=self.incarnation, error=info)

    def _announce(self, kind: type[ActorMessage], **fields: Any) -> None:
        if self.bus.wants(kind):
            self.bus.publish_or_drop(kind(path=self.path, **fields))

    # messages

    def take_more(self, limit: int) -> list[Message]:
        """Take up to `limit` messages, as far as nobody waits for an answer to them."""
        batch: list[Message] = []
        if not self.ahead:
            batch = self.mailbox.take_batch(limit)
        else:
            while self.ahead and len(batch) < limit:
                batch.append(self.ahead.popleft())
        asks = (index for index, message in enumerate(batch) if type(message) is Ask)
        end = next(asks, len(batch))
        self.ahead.extendleft(reversed(batch[end:]))
        batch = batch[:end]
        if self.tracer is not None:
            for message in batch:
                self.trace(message)
        return batch

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
        return await ask.ask(self, message, timeout_ms)

    def trace(self, message: Message) -> None:
        """Show `message` to the tracer."""
        if self.tracer is None:
            return
        try:
            self.tracer(self.path, message.message if isinstance(message, Ask) else message)
        except Exception as error:
            self.tracer = None
            log.warning("tracer_raised", path=self.path, error=type(error).__name__)

    def dead_letter(self, message: Message, reason: DeadLetterReason) -> None:
        """Account for a message that was not handled."""
        self._dead(message, reason, self.path)

    def _dead(self, message: Message, reason: DeadLetterReason, path: str) -> None:
        if isinstance(message, Housekeeping):
            return
        if type(message) is Ask:
            message.lost(reason)
            message = message.message
        self.bus.dead_letter(message, reason, path)

    def _overflowed(self) -> None:
        if self.life is not None:
            why = f"{self.path} is too slow: its mailbox of {self.mailbox.capacity} is full"
            self.life.crash(MailboxOverflow(why), now=True)

    # suspend and stop

    def suspend(self) -> None:
        """Handle nothing until `resume`."""
        self.suspended = self.asked_to_stop is None

    def resume(self) -> None:
        """Go on after `suspend`."""
        self.suspended = False
        self._pause.rouse()

    async def until_resumed(self) -> None:
        """Return when resumed, or nudged."""
        await self._pause.sleep()

    def nudge(self) -> None:
        """Make the present incarnation look again at what it is to do."""
        self._pause.rouse()
        self.mailbox.wake()

    def leave(self) -> None:
        """End the present incarnation after the message at hand."""
        if self.life is not None:
            self.life.leave()

    def fail(self, error: BaseException) -> None:
        """Let the present incarnation crash with `error` after the message at hand."""
        if self.life is not None:
            self.life.crash(error, now=False)

    def halt(self, timeout_ms: float) -> None:
        """End the incarnation but not the actor: another one will follow."""
        life = self.life
        if life is not None and not life.halting:
            life.halting = True
            life.force_after(timeout_ms / 1000)
            life.leave()

    def request_stop(self, *, drain: bool) -> None:
        """Take no more messages and end: after the queued ones, or after the one at hand."""
        if self.gone:
            return
        if self.asked_to_stop is None:
            self.asked_to_stop = drain
            self.mailbox.close("draining")
        self.asked_to_stop = self.asked_to_stop and drain
        self.resume()
        if self.life is None:
            self.terminate(StopReason.SHUTDOWN)
        elif self.asked_to_stop:
            self.life.drain()
        else:
            self.life.leave()

    def stop(self, *, drain: bool, timeout_ms: float) -> "asyncio.Future[None]":
        """Stop, by force after `timeout_ms`; the future is done when the actor is gone."""
        self.request_stop(drain=drain)
        if self.life is not None and not self.gone:
            deadline = asyncio.get_running_loop().call_later(timeout_ms / 1000, self.kill)
            self.on_gone(deadline.cancel)
        return self.when_gone()

    def kill(self) -> None:
        """Cancel what the actor is doing, again and again, and give it up at last."""
        if self.gone:
            return
        self.asked_to_stop = False
        self.mailbox.close("killed")
        self.resume()
        if self.life is None:
            self.terminate(StopReason.KILLED)
        else:
            self.life.force()

    def when_gone(self) -> "asyncio.Future[None]":
        """Return a future that is done when the actor is gone."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.on_gone(lambda: None if waiter.done() else waiter.set_result(None))
        return waiter

    def on_gone(self, callback: Callable[[], object]) -> None:
        """Call `callback` when the actor is gone; at once if it is."""
        if self.gone:
            callback()
        else:
            self._on_gone.append(callback)

    def terminate(self, reason: StopReason) -> None:
        """End the actor for good: no incarnation follows."""
        if self.gone:
            return
        self.ended_as = reason
        if self.subscription is not None:
            self.subscription.close()
        self._clear("killed" if reason is StopReason.KILLED else "stopped")
        self.watches.died(reason)
        for callback in self._on_gone:
            callback()
        self._on_gone.clear()

    def _clear(self, why: CloseReason) -> None:
        if self.life is not None and self.life.asked is not None:
            self.life.asked.lost(why)
        self.mailbox.close(why)
        while self.ahead:
            self._dead(self.ahead.popleft(), why, self.path)
        self.mailbox.clear(why)
