"""What an actor is: the class that users subclass, and what the runtime hands to it."""

import asyncio
import inspect
from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

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
        """Clean up. Runs exactly once for each incarnation that started; what it raises is reported."""


class Worker(Actor):
    """An actor that is one activity: `run` is its life, and it takes no messages.

    It ends when `run` returns. Asked to stop, `run` is cancelled at once.
    """

    async def run(self) -> None:
        """Do the work. Runs once per incarnation, after `on_start`; raising is a crash."""
        raise NotImplementedError


class FunctionActor(Actor):
    """Makes an actor of a plain or async function that takes a message."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self._function = function

    async def receive(self, message: Any) -> Any:
        """Call the function, and await what it returns if that can be awaited."""
        result = self._function(message)
        return await result if inspect.isawaitable(result) else result


def maker(target: object) -> Callable[[], Actor]:
    """Return a function that makes the actor for each incarnation.

    An actor object is started again as it is; a class or another zero-argument factory makes a fresh
    one; a function of one argument becomes a `FunctionActor`.

    Raises:
        ValueError: `target` is none of these.
    """
    if isinstance(target, Actor):
        return lambda: target
    if isinstance(target, type):
        if not issubclass(target, Actor):
            _refuse(target)
        return _made_by(target)
    if not callable(target):
        _refuse(target)
    return _made_by(target) if _is_factory(target) else lambda: FunctionActor(target)


def _is_factory(target: Callable[..., Any]) -> bool:
    try:
        parameters = inspect.signature(target).parameters.values()
    except (TypeError, ValueError):
        return False
    return not any(p.kind is not p.KEYWORD_ONLY and p.kind is not p.VAR_KEYWORD for p in parameters)


def _made_by(factory: Callable[[], Any]) -> Callable[[], Actor]:
    def make() -> Actor:
        actor = factory()
        if not isinstance(actor, Actor):
            _refuse(actor)
        return actor

    return make


def _refuse(target: object) -> NoReturn:
    raise ValueError(
        f"an actor must be an Actor, an Actor class, a zero-argument factory of one, "
        f"or a function of one message, got {target!r}"
    )


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
            MailboxFull: the mailbox is full and its overflow is `block`.
        """
        validation.instance("message", message, Message)
        validation.number("timeout_ms", timeout_ms, positive=True)
        return await self._cell.ask(message, timeout_ms)

    def stop(self, *, drain: bool = True, timeout_ms: float = 5000) -> "asyncio.Future[None]":
        """Stop the actor for good; the future is done when it is gone.

        With `drain` it first handles what is queued. After `timeout_ms` its handler is cancelled.
        """
        return self._cell.stop(drain=drain, timeout_ms=timeout_ms)

    def suspend(self) -> None:
        """Let the actor handle nothing until `resume`; its mailbox goes on filling."""
        self._cell.suspend()

    def resume(self) -> None:
        """End a `suspend`."""
        self._cell.resume()

    def trace(self, observer: Callable[[str, Message], Any] | None) -> None:
        """Call `observer(path, message)` before each message is handled; None ends it."""
        self._cell.tracer = observer

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ActorRef) and other._cell is self._cell

    def __hash__(self) -> int:
        return hash(id(self._cell))

    def __repr__(self) -> str:
        return f"ActorRef({self.path!r})"


class ActorContext:
    """What an actor may do, for one incarnation. After its end whatever is published is `superseded`."""

    __slots__ = ("_cell", "_timers", "incarnation")

    def __init__(self, cell: "Cell", incarnation: int) -> None:
        self._cell = cell
        self._timers: set[asyncio.TimerHandle] = set()
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
        if self._refused(message):
            return
        await self._cell.bus.publish(message)

    def publish_nowait(self, message: Message) -> None:
        """Publish `message` at once.

        Raises:
            MailboxFull: a `block` subscriber has no room; nobody got the message.
        """
        if self._refused(message):
            return
        self._cell.bus.publish_nowait(message)

    def wants(self, kind: type[Message], session: str = "") -> bool:
        """Whether anybody would get a message of this type."""
        return self._cell.bus.wants(kind, session)

    def watch(self, ref: ActorRef) -> None:
        """Get one `ActorDown` when `ref` is gone for good; at once if it is already."""
        ref._cell.add_watcher(self._cell)

    def unwatch(self, ref: ActorRef) -> None:
        """End a `watch`."""
        ref._cell.remove_watcher(self._cell)

    def after(self, delay_ms: float, message: Message) -> asyncio.TimerHandle:
        """Tell oneself `message` after `delay_ms`, unless this incarnation has ended by then."""
        loop = asyncio.get_running_loop()
        handle = loop.call_later(delay_ms / 1000, self._due, message)
        self._timers.add(handle)
        return handle

    def stop(self) -> None:
        """End oneself after the message at hand. What is queued becomes dead letters."""
        self._cell.stop_self()

    def dead_letter(self, message: Message, reason: DeadLetterReason) -> None:
        """Account for a message that this actor does not handle."""
        self._cell.bus.dead_letter(message, reason, self._cell.path)

    def _due(self, message: Message) -> None:
        now = asyncio.get_running_loop().time()
        self._timers = {timer for timer in self._timers if timer.when() > now}
        self._cell.tell_self(message)

    def _refused(self, message: Message) -> bool:
        if not self.current:
            self.dead_letter(message, "superseded")
        return not self.current

    def tell_self(self, message: Message) -> None:
        """Put `message` ahead of what is queued, whatever room there is."""
        self._cell.tell_self(message)

    def close(self) -> None:
        """Cancel what is still to come. The runtime calls it when the incarnation ends."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
