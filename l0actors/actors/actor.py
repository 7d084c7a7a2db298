"""What an actor is: the class that users subclass, and what the runtime hands to it."""

import asyncio
from collections.abc import Callable, Generator
from enum import Enum
from types import coroutine
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakValueDictionary

from l0actors import validation
from l0actors.bus.messages import DeadLetterReason, Message
from l0actors.clock import Clock

if TYPE_CHECKING:
    from l0actors.actors.cell import Cell
    from l0actors.bus.bus import Bus


class StopReason(str, Enum):
    """Why an incarnation of an actor ended.

    `NORMAL`: by itself. `SHUTDOWN`: it was asked to stop. `CRASHED`: it raised, or was cancelled by
    someone who is not its supervisor. `KILLED`: it was still busy at the deadline of its stop.
    """

    NORMAL = "normal"
    SHUTDOWN = "shutdown"
    CRASHED = "crashed"
    KILLED = "killed"


class ActorError(Exception):
    """The base of what can go wrong between actors."""


class ActorDied(ActorError):
    """The actor that was asked is dead, or died before it answered.

    Attributes:
        path: its path.
    """

    def __init__(self, path: str) -> None:
        super().__init__(f"{path} died, or was dead already, before it answered")
        self.path = path


class AskTimeout(ActorError, TimeoutError):
    """The answer did not come in time.

    Attributes:
        path: the path of the actor that was asked.
        timeout_ms: how long it was waited for.
    """

    def __init__(self, path: str, timeout_ms: float) -> None:
        super().__init__(f"{path} did not answer within {timeout_ms} ms")
        self.path = path
        self.timeout_ms = timeout_ms


class AskCycle(ActorError):
    """The actor that was asked waits, directly or not, for the one that asks.

    Attributes:
        path: the path of the actor that was asked.
    """

    def __init__(self, path: str) -> None:
        super().__init__(
            f"asking {path} would wait for ever: it waits for the asker; use tell, or ask from a task"
        )
        self.path = path


class AskUnhandled(ActorError):
    """The actor that was asked does not handle this type of message.

    Attributes:
        path: its path.
    """

    def __init__(self, path: str, message_type: str) -> None:
        super().__init__(f"{path} does not handle {message_type}")
        self.path = path


class StartTimeout(ActorError):
    """An actor's `on_start` took longer than its `start_ms`."""


class Actor:
    """Something that handles one message at a time.

    Subclass it, name the messages it wants in `subscribes`, and override `receive`. An attribute that
    is set in `__init__` survives a restart only if the actor was attached as an object; a class or
    factory gives a fresh instance.

    An actor that defines `async def receive_batch(self, messages: list[Message])` is handed all that is
    queued at once (at most 256) instead; the batch counts as one message.
    """

    subscribes: ClassVar[tuple[Any, ...]] = ()

    async def on_start(self, context: "ActorContext") -> None:
        """Prepare. Runs once per incarnation, before its first message; raising makes the start fail."""

    async def receive(self, message: Any) -> Any:
        """Handle `message`. What is returned answers an `ask`; `NotImplemented` marks it unhandled.

        Raising is a crash: the supervisor decides what follows, and the message is not seen again.
        """
        return NotImplemented

    async def on_stop(self, reason: StopReason) -> None:
        """Clean up. Runs exactly once for each incarnation that started; what it raises is a crash."""


class Worker(Actor):
    """An actor that is one activity: `run` is its life, and it takes no messages.

    It ends when `run` returns. Asked to stop, `run` is cancelled at once.
    """

    async def run(self) -> None:
        """Do the work. Runs once per incarnation, after `on_start`; raising is a crash."""
        raise NotImplementedError


class Parent(Actor):
    """An actor that is responsible for others: the runtime lets none of them outlive an incarnation."""

    async def stop_children(self, *, drain: bool) -> None:
        """Stop those that are left, and wait until they are gone. Nothing cuts it short."""
        raise NotImplementedError

    def kill_children(self) -> bool:
        """Begin to stop those that are left by force; return whether there are any."""
        raise NotImplementedError


class ActorRef:
    """The address of an actor. It stays valid over restarts, and can be kept after the actor died.

    Attributes:
        path: its place in the tree, for example `/sinks/audit`.
    """

    __slots__ = ("_cell", "path")

    def __init__(self, cell: "Cell") -> None:
        self._cell = cell
        self.path = cell.path

    @property
    def alive(self) -> bool:
        """Whether the actor can still get messages."""
        return not self._cell.gone

    def tell(self, message: Message) -> None:
        """Put `message` into the actor's mailbox. To a dead actor it becomes a dead letter.

        Raises:
            MailboxFull: the mailbox is full and its overflow is `block`.
        """
        validation.instance("message", message, Message)
        self._cell.tell(message)

    async def ask(self, message: Message, *, timeout_ms: float) -> Any:
        """Put `message` into the mailbox and wait for what `receive` returns.

        Raises:
            ActorDied: the actor is dead, dies, or crashes over this message.
            AskTimeout: the answer did not come within `timeout_ms`.
            AskCycle: the actor waits, directly or not, for the asker.
            AskUnhandled: the actor does not handle this type of message.
            MailboxFull: the mailbox is full, or dropped the message to stay within its capacity.
        """
        validation.instance("message", message, Message)
        validation.number("timeout_ms", timeout_ms, positive=True)
        return await self._cell.ask(message, timeout_ms)

    def stop(self, *, drain: bool = True, timeout_ms: float = 5000) -> "asyncio.Future[None]":
        """Stop the actor for good; the future is done when it is gone.

        With `drain` it first handles what is queued. After `timeout_ms` its handler is cancelled.
        Calling it again can only make it sooner; giving up waiting does not change it.
        """
        validation.number("timeout_ms", timeout_ms)
        return self._cell.stop(drain=drain, timeout_ms=timeout_ms)

    def suspend(self) -> None:
        """Let the actor handle nothing until `resume`; its mailbox goes on filling."""
        self._cell.suspend()

    def resume(self) -> None:
        """End a `suspend`."""
        self._cell.resume()

    def trace(self, observer: Callable[[str, Message], Any] | None) -> None:
        """Call `observer(path, message)` before each message is handled; None ends it.

        If it raises that is logged, and it is called no more.
        """
        self._cell.tracer = observer

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ActorRef) and other._cell is self._cell

    def __hash__(self) -> int:
        return hash(id(self._cell))

    def __repr__(self) -> str:
        return f"ActorRef({self.path!r})"


class ActorContext:
    """What an actor may do, for one incarnation. After its end whatever is published is `superseded`.

    Attributes:
        incarnation: which of the actor's lives it is, from 1.
    """

    __slots__ = ("_cell", "_timers", "incarnation")

    def __init__(self, cell: "Cell", incarnation: int) -> None:
        self._cell = cell
        self._timers: WeakValueDictionary[int, asyncio.TimerHandle] = WeakValueDictionary()
        self.incarnation = incarnation

    @property
    def current(self) -> bool:
        """Whether this incarnation is the living one."""
        return self._cell.context is self

    @property
    def ref(self) -> ActorRef:
        """The actor's own address."""
        return self._cell.ref

    @property
    def path(self) -> str:
        """The actor's path."""
        return self._cell.path

    @property
    def draining(self) -> bool:
        """Whether the actor was asked to stop after handling what is queued."""
        return self._cell.asked_to_stop is True

    @property
    def stopping(self) -> bool:
        """Whether the actor was asked to stop, in whatever way."""
        return self._cell.asked_to_stop is not None

    @property
    def bus(self) -> "Bus":
        """The bus that the actor hangs on."""
        return self._cell.bus

    @property
    def clock(self) -> Clock:
        """Wall time and chance."""
        return self._cell.bus.clock

    def loop_time(self) -> float:
        """Return the event loop's time in seconds."""
        return asyncio.get_running_loop().time()

    async def publish(self, message: Message) -> None:
        """Publish `message`; waits for room in the mailboxes of `block` subscribers."""
        if self.current and not self.bus.blocked(type(message), message.session):
            self.bus.publish_nowait(message)
        elif self._may_publish(message):
            await self._publish_while_current(message)

    def publish_nowait(self, message: Message) -> None:
        """Publish `message` at once.

        Raises:
            MailboxFull: a `block` subscriber has no room; nobody got the message.
        """
        if self._may_publish(message):
            self.bus.publish_nowait(message)

    def wants(self, kind: type[Message], session: str = "") -> bool:
        """Whether anybody would get a message of this type."""
        return self.bus.wants(kind, session)

    def watch(self, ref: ActorRef) -> None:
        """Get one `ActorDown` when `ref` is gone for good; at once if it is already.

        Watching it again before that changes nothing. A restart of the watcher does not end it.
        """
        self._cell.watches.begin(ref._cell)

    def unwatch(self, ref: ActorRef) -> None:
        """End a `watch`."""
        self._cell.watches.end(ref._cell)

    def after(self, delay_ms: float, message: Message) -> asyncio.TimerHandle:
        """Tell oneself `message` after `delay_ms`, unless this incarnation has ended by then."""
        handle = asyncio.get_running_loop().call_later(delay_ms / 1000, self.tell_self, message)
        if self.current:
            self._timers[id(handle)] = handle
        else:
            handle.cancel()
        return handle

    def tell_self(self, message: Message) -> None:
        """Put `message` ahead of what is queued, whatever room there is."""
        if self._may_publish(message):
            self._cell.tell_self(message)

    def stop(self) -> None:
        """End oneself after the message at hand. What is queued stays for the next incarnation, if any."""
        if self.current:
            self._cell.leave()

    def dead_letter(self, message: Message, reason: DeadLetterReason) -> None:
        """Account for a message that this actor does not handle."""
        self._cell.bus.dead_letter(message, reason, self._cell.path)

    def close(self) -> None:
        """Cancel what is still to come. The runtime calls it when the incarnation ends."""
        for timer in tuple(self._timers.values()):
            timer.cancel()
        self._timers.clear()

    def _may_publish(self, message: Message) -> bool:
        if not self.current:
            self._cell.dead_letter(message, "superseded")
        return self.current

    @coroutine
    def _publish_while_current(self, message: Message) -> Generator[Any, Any, None]:
        """Publish as `Bus.publish` does; give up if the incarnation ends while it waits for room."""
        publishing = self.bus.publish(message).__await__()
        try:
            waits_for = next(publishing)
            while True:
                try:
                    yield waits_for
                except BaseException as error:
                    waits_for = publishing.throw(error)
                    continue
                if not self._may_publish(message):
                    publishing.close()
                    return
                waits_for = next(publishing)
        except StopIteration:
            return
