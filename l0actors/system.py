"""The actor system that a service embeds: sinks, sessions, a look at them, and an orderly end."""

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Any
from weakref import WeakKeyDictionary

import msgspec

from l0actors import ids, validation
from l0actors.actors.actor import Actor, ActorRef
from l0actors.actors.cell import Cell, Exit
from l0actors.actors.making import takes_a_message
from l0actors.actors.retry import RetrySupervisor, conclude
from l0actors.actors.sink import ObservabilitySink
from l0actors.actors.snapshot import SystemSnapshot, snapshot_of
from l0actors.actors.supervisor import ChildSpec, Restart, SinkSupervisor, Supervisor
from l0actors.actors.unit import Unit
from l0actors.bus.bus import Bus
from l0actors.bus.overflow import Overflow
from l0actors.clock import SYSTEM_CLOCK, Clock
from l0actors.logs import log
from l0actors.options import L0Options
from l0actors.session import L0Result, Session

_SINKS = "sinks"

OBSERVER_MS = 5000
"""How long an `on_event` may take, after the end of its session, for what is still queued for it."""


FORCE_MS = 1000
"""How long an actor may still take once nobody waits for it any more."""


class ShutdownReport(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a system when it was stopped.

    Attributes:
        completed: sessions in flight that came to their own end.
        aborted: sessions in flight that were stopped.
        stuck: paths of actors that ignored every cancellation and were given up.
        dead_letters: how many messages were not delivered over the system's life, by reason.
        duration_ms: how long the stop took.
    """

    completed: int = 0
    aborted: int = 0
    stuck: tuple[str, ...] = ()
    dead_letters: dict[str, int] = {}
    duration_ms: float = 0.0


class ActorSystem:
    """Sinks, sessions and their supervisors on one bus, in one event loop.

    Use it with `async with`, or call `start` and `stop`. Leaving the block lets sessions in flight come
    to their end for at most `DRAIN_MS`; leaving it by an exception stops them at once.

    Args:
        name: what it is called in snapshots.
        sinks: actors to attach, each with the defaults of `attach`.
        clock: wall time and chance; a test's own makes a run repeatable.
    """

    DRAIN_MS = 10_000
    """How long leaving the block waits for sessions in flight, in milliseconds."""

    def __init__(
        self, *, name: str = "l0actors", sinks: Sequence[Any] = (), clock: Clock = SYSTEM_CLOCK
    ) -> None:
        validation.instance("name", name, str)
        self.name = name
        self.bus = Bus(clock=clock, log=log)
        self._initial_sinks = tuple(sinks)
        self._root = Supervisor()
        self._sinks = SinkSupervisor()
        self._cell: Cell | None = None
        self._sessions: dict[Session, None] = {}  # in the order in which they were opened
        self._stopping: asyncio.Future[ShutdownReport] | None = None
        self._aborted = 0
        self._failure: BaseException | None = None

    # life

    async def start(self) -> "ActorSystem":
        """Start the system in the running loop. It can be started once.

        Raises:
            RuntimeError: it was started before.
        """
        if self._cell is not None:
            raise RuntimeError(f"the system {self.name!r} was started before; make a new one")
        started = self._start(ChildSpec(name=_SINKS, actor=self._sinks, restart="temporary"))
        try:
            await started
            for sink in self._initial_sinks:
                self.attach(sink)
        except BaseException:
            await self.stop(drain=False)
            raise
        return self

    def _start(self, *children: ChildSpec) -> "asyncio.Future[bool]":
        self._root = Supervisor(children=children)
        self._cell = Cell(self.bus, "/", lambda: self._root, on_exit=self._root_ended)
        return self._cell.start()

    def _root_ended(self, cell: Cell, ended: Exit) -> None:
        if ended.error is not None:
            self._failure = ended.error
            log.error("system_failed", system=self.name, error=type(ended.error).__name__)
        cell.terminate(ended.reason)

    async def __aenter__(self) -> "ActorSystem":
        return await self.start()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop(drain=kind is None)

    async def stop(self, *, drain: bool = True, timeout_ms: float = DRAIN_MS) -> ShutdownReport:
        """Stop the system: no more sessions, then the sessions, then the sinks with what is queued for them.

        With `drain` sessions in flight may come to their end until `timeout_ms` is over. Calling it again
        gives the first call's report. Cancelled, it stops everything at once before it gives way.

        Raises:
            RuntimeError: it was never started.
        """
        validation.number("timeout_ms", timeout_ms)
        if self._cell is None:
            raise RuntimeError(f"the system {self.name!r} was not started")
        if self._stopping is not None:
            return await self._join(self._stopping)
        loop = asyncio.get_running_loop()
        self._stopping = loop.create_future()
        started, in_flight = loop.time(), len(self._sessions)
        cancelled = await self._wind_down(drain, started + timeout_ms / 1000)
        report = ShutdownReport(
            completed=in_flight - self._aborted,
            aborted=self._aborted,
            stuck=tuple(self._cell.stuck),
            dead_letters=dict(self.bus.dead_letters),
            duration_ms=(loop.time() - started) * 1000,
        )
        self._stopping.set_result(report)
        if cancelled is not None:
            raise cancelled
        return report

    async def _wind_down(self, drain: bool, deadline: float) -> asyncio.CancelledError | None:
        """Stop sessions, then everything; a cancellation is kept until that is done."""
        assert self._cell is not None
        cancelled = None
        if drain and self._sessions:
            cancelled = await self._wait([each.head.when_gone() for each in self._sessions], deadline)
        self._aborted = len(self._sessions)
        ends = [each.head.stop(drain=False, timeout_ms=FORCE_MS) for each in tuple(self._sessions)]
        cancelled = await self._wait(ends) or cancelled
        drain = drain and cancelled is None
        limit = max(_left_ms(deadline), FORCE_MS) if drain else FORCE_MS
        gone = self._cell.stop(drain=drain, timeout_ms=limit)
        while not gone.done():
            hurry = await self._wait([gone])
            if hurry is not None:
                self._cell.kill()
                cancelled = hurry
        return cancelled

    async def _join(self, stopping: "asyncio.Future[ShutdownReport]") -> ShutdownReport:
        """Wait for a stop that somebody else began; cancelled, make it quick and still wait for it."""
        assert self._cell is not None
        cancelled = None
        while not stopping.done():
            hurry = await self._wait([stopping])
            if hurry is not None:
                self._cell.kill()
                cancelled = hurry
        if cancelled is not None:
            raise cancelled
        return stopping.result()

    async def _wait(
        self, ends: Sequence["asyncio.Future[Any]"], deadline: float | None = None
    ) -> asyncio.CancelledError | None:
        if not ends:
            return None
        timeout = None if deadline is None else _left_ms(deadline) / 1000
        try:
            await asyncio.wait(ends, timeout=timeout)
        except asyncio.CancelledError as cancelled:
            return cancelled
        return None

    # sinks

    def attach(
        self,
        sink: Any,
        *,
        name: str | None = None,
        subscribes: Any = None,
        capacity: int = 1024,
        overflow: Overflow = "drop_oldest",
        restart: Restart = "permanent",
    ) -> ActorRef:
        """Attach an actor to the bus, under its own supervision, and return its address.

        Args:
            sink: an actor (started again as it is), an Actor class or zero-argument factory (a fresh
                instance after a crash), or a plain or async function of one message.
            name: the last part of its path. Default: after its class or function.
            subscribes: message types, base classes or a union. Default: what its class says.
            capacity: of its mailbox, in messages.
            overflow: what happens when it is full; `block` makes publishers wait for it.
            restart: `permanent`, `transient` or `temporary`.

        Raises:
            RuntimeError: the system does not run.
            ValueError: a bad argument, or a function without `subscribes`.
            TypeError: something in `subscribes` is not a message type.
        """
        self._check_running()
        wanted = subscribes if subscribes is None or isinstance(subscribes, tuple) else (subscribes,)
        if not wanted and takes_a_message(sink):
            raise ValueError(f"attach needs subscribes=, the message types that {sink!r} is called with")
        spec = ChildSpec(
            name=name or self._free_name(sink),
            actor=sink,
            restart=restart,
            subscribes=wanted,
            capacity=capacity,
            overflow=overflow,
        )
        return self._sinks.add(spec).ref

    def _free_name(self, sink: Any) -> str:
        kind = type(sink) if isinstance(sink, Actor) else sink
        base = getattr(kind, "__name__", type(sink).__name__).strip("<>")
        taken = self._sinks.children
        names = (base if number == 1 else f"{base}-{number}" for number in range(1, len(taken) + 2))
        return next(name for name in names if name not in taken)

    # sessions

    async def l0(self, options: L0Options | None = None, /, **fields: Any) -> L0Result:
        """Open a session: `l0actors.l0` in this system."""
        return self.open(options_from(options, fields))

    def open(self, options: L0Options) -> L0Result:
        """Open a session; its first attempt is under way when the loop next runs.

        Raises:
            RuntimeError: the system does not run.
            L0Error: `ADAPTER_NOT_FOUND`, there is no adapter of the name that was given.
        """
        self._check_running()
        stream_id = ids.stream_id(self.bus.clock.now_ms())
        unit = Unit(self.bus, stream_id, options)
        observer = self._observe(unit)
        head = self._root.add(
            ChildSpec(
                name=f"session-{stream_id}",
                actor=RetrySupervisor(unit),
                restart="temporary",
                session=stream_id,
            )
        )
        session = Session(unit, head, lambda: self._settled(observer))
        self._sessions[session] = None
        head.on_gone(lambda: self._session_gone(session, observer))
        return L0Result(session)

    def _observe(self, unit: Unit) -> Cell | None:
        """Start the sink that drives the session's `on_event`."""
        options = unit.options
        if options.on_event is None:
            return None
        sink = ObservabilitySink(options.on_event, meta=options.meta)
        return self._root.add(
            ChildSpec(
                name=f"on_event-{unit.stream_id}",
                actor=sink,
                restart="temporary",
                session=unit.stream_id,
                overflow="drop_oldest",
            )
        )

    def _session_gone(self, session: Session, observer: Cell | None) -> None:
        self._sessions.pop(session, None)
        conclude(session.unit)
        if observer is not None:
            observer.stop(drain=True, timeout_ms=OBSERVER_MS)

    def _settled(self, observer: Cell | None) -> bool:
        return observer is None or observer.gone

    @property
    def running(self) -> bool:
        """Whether sessions can be opened and sinks attached."""
        return self._cell is not None and not self._cell.gone and self._stopping is None

    def _check_running(self) -> None:
        if self._cell is None:
            raise RuntimeError(f"the system {self.name!r} was not started: use `async with` or await start()")
        if not self.running:
            raise RuntimeError(
                f"the system {self.name!r} is stopped: no more sessions or sinks"
            ) from self._failure

    def snapshot(self) -> SystemSnapshot:
        """Return the tree as it is now: states, restarts, mailboxes. It has a `to_json()`."""
        return snapshot_of(self.name, self.bus, self._cell, len(self._sessions))


class _DefaultSystem(ActorSystem):
    """The system of a loop for calls without one of their own: it ends with its last session."""

    def __init__(self) -> None:
        super().__init__(name="default")
        self._callers = 0
        self._loop = asyncio.get_running_loop()
        self._started = self._start()

    async def open_when_started(self, options: L0Options) -> L0Result:
        """Open a session as soon as the root runs; a caller who is cancelled meanwhile leaves nothing."""
        self._callers += 1
        try:
            await asyncio.shield(self._started)
            return self.open(options)
        finally:
            self._callers -= 1
            self._end_if_idle()

    def _session_gone(self, session: Session, observer: Cell | None) -> None:
        super()._session_gone(session, observer)
        self._end_if_idle()

    def _end_if_idle(self) -> None:
        if self._sessions or self._callers or self._cell is None:
            return
        if _defaults.get(self._loop) is self:
            del _defaults[self._loop]
        if not self._cell.gone:
            self._cell.stop(drain=True, timeout_ms=2 * OBSERVER_MS)

    def _settled(self, observer: Cell | None) -> bool:
        ended = bool(self._sessions) or self._cell is None or self._cell.gone
        return ended and super()._settled(observer)


def options_from(options: L0Options | None, fields: dict[str, Any]) -> L0Options:
    """Return the options of a call: a struct, or its fields, or a struct with some fields changed.

    Raises:
        ValueError: neither options nor a stream, or a bad value.
        TypeError: a field that does not exist.
    """
    if options is None:
        if "stream" not in fields:
            raise ValueError("l0() needs stream=, a callable that opens the stream")
        return L0Options(**fields)
    validation.instance("options", options, L0Options)
    return msgspec.structs.replace(options, **fields) if fields else options


def _left_ms(deadline: float) -> float:
    return max(0.0, deadline - asyncio.get_running_loop().time()) * 1000


_defaults: "WeakKeyDictionary[asyncio.AbstractEventLoop, _DefaultSystem]" = WeakKeyDictionary()


async def open_in_default_system(options: L0Options) -> L0Result:
    """Open a session in the running loop's default system, which ends with its last session."""
    loop = asyncio.get_running_loop()
    system = _defaults.get(loop)
    if system is None or not system.running:
        system = _defaults[loop] = _DefaultSystem()
    return await system.open_when_started(options)
