"""Supervision: who is restarted after which end, together with whom, how often, and how soon.

The rules are Erlang/OTP's. A decision that only needs data is a pure function at the top of the
module; the supervisor is an actor that carries it out.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any, Literal, get_args

import msgspec

from l0actors import validation
from l0actors.actors.actor import Actor, ActorContext, ActorError, ActorRef, StopReason, maker
from l0actors.actors.cell import Cell, Exit
from l0actors.bus.messages import Control
from l0actors.bus.overflow import Overflow
from l0actors.logs import log

Strategy = Literal["one_for_one", "rest_for_one", "one_for_all"]
Restart = Literal["permanent", "transient", "temporary"]
Directive = Literal["restart", "stop", "escalate"]
Decider = Mapping[type[BaseException], Directive]


class RestartIntensityExceeded(ActorError):
    """A supervisor's children failed too often: it gives up and fails upwards.

    Attributes:
        path: the supervisor's path.
        causes: what the failures raised, oldest first.
    """

    def __init__(
        self, path: str, limit: int, within_s: float, causes: Sequence[BaseException | None]
    ) -> None:
        names = ", ".join(type(cause).__name__ if cause else "normal end" for cause in causes)
        super().__init__(f"{path}: more than {limit} restarts within {within_s} s ({names})")
        self.path = path
        self.causes = tuple(causes)


class Escalated(ActorError):
    """A child's failure that the decider hands to the supervisor's own supervisor.

    Attributes:
        path: the child's path.
    """

    def __init__(self, path: str) -> None:
        super().__init__(f"{path} failed and its failure is escalated")
        self.path = path


class StartFailed(ActorError):
    """A child did not start, so its supervisor did not either.

    Attributes:
        path: the child's path.
    """

    def __init__(self, path: str) -> None:
        super().__init__(f"{path} did not start")
        self.path = path


class StartTimeout(ActorError):
    """A child's `on_start` took longer than its `start_ms`."""


class ChildSpec(msgspec.Struct, frozen=True, kw_only=True):
    """How a supervisor starts, restarts and stops one child.

    Attributes:
        name: the last part of its path; unique among its siblings, without `/`.
        actor: an actor object (started again as it is), an Actor class or zero-argument factory (a fresh
            instance each time), or a function of one message.
        restart: `permanent` (always), `transient` (after a crash), `temporary` (never).
        significant: when it ends and is not restarted, its supervisor ends too.
        start_ms: how long `on_start` may take.
        stop_ms: how long it may take to stop before it is cancelled.
        subscribes: the message types it wants; None for those its class names.
        session: only this session's messages; None for all.
        capacity: of its mailbox, in messages.
        overflow: what happens when its mailbox is full.
    """

    name: str
    actor: Any
    restart: Restart = "permanent"
    significant: bool = False
    start_ms: float = 5000
    stop_ms: float = 5000
    subscribes: Sequence[Any] | None = None
    session: str | None = None
    capacity: int = 1024
    overflow: Overflow = "block"

    def __post_init__(self) -> None:
        validation.instance("child.name", self.name, str)
        if not self.name or "/" in self.name:
            raise ValueError(f"child.name must be a name without '/', got {self.name!r}")
        _one_of("child.restart", self.restart, get_args(Restart))
        if self.significant and self.restart == "permanent":
            raise ValueError(
                f"child.significant needs restart='transient' or 'temporary': {self.name!r} never ends"
            )
        validation.number("child.start_ms", self.start_ms, positive=True)
        validation.number("child.stop_ms", self.stop_ms, positive=True)
        maker(self.actor)


class RestartBackoff(msgspec.Struct, frozen=True, kw_only=True):
    """How long a supervisor waits before a restart: capped exponential with jitter.

    Attributes:
        base_ms: the first pause.
        cap_ms: the longest pause.
        healthy_s: after running this long without a crash an actor starts at the first pause again.
    """

    base_ms: float = 10
    cap_ms: float = 5000
    healthy_s: float = 10

    def delay_ms(self, earlier: int, draw: float) -> float:
        """Return the pause after `earlier` restarts in a row; `draw` is from [0, 1)."""
        longest = min(self.base_ms * 2.0 ** min(earlier, 60), self.cap_ms)
        return longest / 2 + draw * longest / 2


def directive_for(restart: Restart, ended: Exit, decider: Decider) -> Directive:
    """Return what to do about a child that ended by itself."""
    crashed = ended.reason in (StopReason.CRASHED, StopReason.KILLED)
    if crashed and ended.error is not None:
        for kind, directive in decider.items():
            if isinstance(ended.error, kind):
                return "stop" if directive == "restart" and restart == "temporary" else directive
    if restart == "permanent" or (restart == "transient" and crashed):
        return "restart"
    return "stop"


def affected(strategy: Strategy, names: Sequence[str], failed: str) -> list[str]:
    """Return who is restarted when `failed` is, in the order in which they start."""
    if strategy == "one_for_all":
        return list(names)
    index = list(names).index(failed)
    return list(names[index:]) if strategy == "rest_for_one" else [failed]


class _ChildExited(Control, frozen=True, kw_only=True):
    cell: Any
    ended: Any


class _RestartDue(Control, frozen=True, kw_only=True):
    names: tuple[str, ...]
    plan: int


class Intensity:
    """How often something failed lately: more than `limit` times within `within_s` is too often."""

    __slots__ = ("_failures", "limit", "within_s")

    def __init__(self, limit: int, within_s: float) -> None:
        self.limit = limit
        self.within_s = within_s
        self._failures: deque[tuple[float, BaseException | None]] = deque()

    def record(self, now: float, cause: BaseException | None) -> bool:
        """Add a failure; return whether it was one too many."""
        self._failures.append((now, cause))
        while self._failures[0][0] < now - self.within_s:
            self._failures.popleft()
        return len(self._failures) > self.limit

    @property
    def causes(self) -> list[BaseException | None]:
        """What the failures raised, oldest first."""
        return [cause for _, cause in self._failures]


class Child:
    """A child as its supervisor knows it."""

    __slots__ = ("cell", "pending", "restarts", "spec", "started_at")

    def __init__(self, spec: ChildSpec, cell: Cell) -> None:
        self.spec = spec
        self.cell = cell
        self.pending = False
        self.restarts = 0
        self.started_at = 0.0


class Supervisor(Actor):
    """An actor that starts, watches, restarts and stops others.

    Children start in order and stop in reverse; if one does not start, those before it are stopped
    and the supervisor's own start fails. More than `max_restarts` restarts within `within_s` seconds
    stop the supervisor, which then fails upwards with the causes.

    `decider` maps exception types to `restart`, `stop` or `escalate`; the first match counts, and
    without one the child's `restart` kind decides.
    """

    def __init__(
        self,
        *,
        strategy: Strategy = "one_for_one",
        max_restarts: int = 3,
        within_s: float = 5.0,
        children: Sequence[ChildSpec] = (),
        backoff: RestartBackoff | None = None,
        decider: Decider | None = None,
    ) -> None:
        _one_of("strategy", strategy, get_args(Strategy))
        validation.whole("max_restarts", max_restarts)
        validation.number("within_s", within_s, positive=True)
        for directive in (decider or {}).values():
            _one_of("decider's directive", directive, get_args(Directive))
        names = [spec.name for spec in children]
        if len(set(names)) < len(names):
            raise ValueError(f"children must have different names, got {names!r}")
        self.strategy: Strategy = strategy
        self.max_restarts = max_restarts
        self.within_s = within_s
        self.children: dict[str, Child] = {}
        self.context: ActorContext
        self._specs = tuple(children)
        self._backoff = backoff or RestartBackoff()
        self._decider = decider or {}
        self._intensity = Intensity(max_restarts, within_s)
        self._plan = 0
        self._stopping = False

    async def on_start(self, context: ActorContext) -> None:
        """Start the children in order; stop them again if one does not start."""
        self.context = context
        self.children.clear()
        self._intensity = Intensity(self.max_restarts, self.within_s)
        self._stopping = False
        for spec in self._specs:
            if not await self._started(self.add(spec)):
                error = self.children[spec.name].cell.last_error
                await self._stop_children(drain=False)
                raise StartFailed(f"{context.path}/{spec.name}") from error

    async def receive(self, message: Any) -> Any:
        """Handle the end of a child, or a restart that is due."""
        if type(message) is _ChildExited:
            await self._child_exited(message.cell, message.ended)
        elif type(message) is _RestartDue:
            await self._restart(message)
        else:
            return NotImplemented
        return None

    async def on_stop(self, reason: StopReason) -> None:
        """Stop the children in reverse order."""
        await self._stop_children(drain=reason is StopReason.SHUTDOWN and self.context.draining)

    # children

    def add(self, spec: ChildSpec) -> Cell:
        """Start one more child, without waiting for its `on_start`.

        Raises:
            ValueError: there is a child of this name.
        """
        if spec.name in self.children:
            raise ValueError(f"{self.context.path} has a child named {spec.name!r} already")
        make, subscribes = prepared(spec)
        cell = Cell(
            self.context.bus,
            f"{self.context.path.rstrip('/')}/{spec.name}",
            make,
            on_exit=self._on_exit,
            capacity=spec.capacity,
            overflow=spec.overflow,
            subscribes=subscribes,
            session=spec.session,
        )
        self.children[spec.name] = child = Child(spec, cell)
        self._launch(child)
        return cell

    def refs(self) -> list[ActorRef]:
        """Return the addresses of the children, in start order."""
        return [child.cell.ref for child in self.children.values()]

    def _launch(self, child: Child) -> "asyncio.Future[bool]":
        child.pending = False
        child.started_at = asyncio.get_running_loop().time()
        return child.cell.start()

    async def _started(self, cell: Cell) -> bool:
        assert cell.started is not None
        limit = self.children[cell.path.rpartition("/")[2]].spec.start_ms
        late = StartTimeout(f"{cell.path} was not started within {limit} ms")
        timer = asyncio.get_running_loop().call_later(limit / 1000, cell.interrupt, late)
        try:
            return await cell.started
        finally:
            timer.cancel()

    def _on_exit(self, cell: Cell, ended: Exit) -> None:
        if cell.gone:
            self._forget(cell)
        if not self._stopping and not self.context.stopping:
            self.context.tell_self(_ChildExited(cell=cell, ended=ended))

    def _forget(self, cell: Cell) -> None:
        name = cell.path.rpartition("/")[2]
        if name in self.children and self.children[name].cell is cell:
            del self.children[name]

    # the end of a child

    async def _child_exited(self, cell: Cell, ended: Exit) -> None:
        child = self.children.get(cell.path.rpartition("/")[2])
        if child is None or child.cell is not cell or child.pending or cell.task is not None:
            return
        if ended.error is not None:
            log.warning("actor_crashed", path=cell.path, error=type(ended.error).__name__)
        directive = directive_for(child.spec.restart, ended, self._decider)
        if directive == "restart":
            await self._plan_restart(child, ended.error)
            return
        cell.terminate(ended.reason)
        self._forget(cell)
        if directive == "escalate":
            raise Escalated(cell.path) from ended.error
        if child.spec.significant:
            self.context.stop()

    async def _plan_restart(self, child: Child, error: BaseException | None) -> None:
        if self._intensity.record(asyncio.get_running_loop().time(), error):
            raise self._too_often(self._intensity) from error
        names = affected(self.strategy, list(self.children), child.spec.name)
        child.pending = True
        await self._halt([self.children[name] for name in names if name != child.spec.name])
        self._plan += 1
        delay_ms = self._backoff.delay_ms(self._restarts_in_a_row(child), self.context.clock.rng.random())
        self.context.after(delay_ms, _RestartDue(names=tuple(names), plan=self._plan))

    def _too_often(self, intensity: Intensity) -> RestartIntensityExceeded:
        return RestartIntensityExceeded(
            self.context.path, intensity.limit, intensity.within_s, intensity.causes
        )

    def _restarts_in_a_row(self, child: Child) -> int:
        healthy = asyncio.get_running_loop().time() - child.started_at >= self._backoff.healthy_s
        child.restarts = 0 if healthy else child.restarts
        child.restarts += 1
        return child.restarts - 1

    async def _halt(self, siblings: Sequence[Child]) -> None:
        """End the incarnations of those who are restarted together with a failed child."""
        for sibling in reversed(siblings):
            if sibling.pending:
                continue
            sibling.pending = True
            task = sibling.cell.halt(sibling.spec.stop_ms)
            if task is not None:
                await asyncio.wait({task})
            if sibling.spec.restart == "temporary":
                sibling.cell.terminate(StopReason.SHUTDOWN)
                self._forget(sibling.cell)

    async def _restart(self, due: _RestartDue) -> None:
        if self.strategy != "one_for_one" and due.plan != self._plan:
            return  # a sibling that starts earlier has failed since: the later plan includes these
        for name in due.names:
            child = self.children.get(name)
            if child is None or not child.pending or child.cell.gone:
                continue
            self._launch(child)
            if not await self._started(child.cell):
                return  # its exit is on the way, and is handled as every other

    # stop

    async def _stop_children(self, *, drain: bool) -> None:
        self._stopping = True
        for child in reversed(tuple(self.children.values())):
            await self._stop_child(child, drain=drain)
        self.children.clear()

    async def _stop_child(self, child: Child, *, drain: bool) -> None:
        gone = child.cell.stop(drain=drain, timeout_ms=child.spec.stop_ms)
        while not gone.done():
            try:
                await asyncio.wait({gone})
            except asyncio.CancelledError:
                for other in tuple(self.children.values()):
                    other.cell.kill()


def prepared(spec: ChildSpec) -> tuple[Callable[[], Actor], Sequence[Any]]:
    """Return how to make the child's actor, and what it subscribes to.

    What a factory's actors subscribe to is only known from one of them: the first is made here.
    """
    make = maker(spec.actor)
    if spec.subscribes is not None:
        return make, spec.subscribes
    if isinstance(spec.actor, type) and issubclass(spec.actor, Actor):
        return make, spec.actor.subscribes
    first = make()
    return chain((first,), iter(make, None)).__next__, first.subscribes


def _one_of(name: str, value: object, known: Sequence[str]) -> None:
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}")


class SinkSupervisor(Supervisor):
    """Supervises actors that do not know each other: one that fails too often is given up alone."""

    def __init__(self, *, max_restarts: int = 3, within_s: float = 5.0) -> None:
        super().__init__(max_restarts=max_restarts, within_s=within_s)
        self._by_child: dict[str, Intensity] = {}

    async def _plan_restart(self, child: Child, error: BaseException | None) -> None:
        name = child.spec.name
        intensity = self._by_child.setdefault(name, Intensity(self.max_restarts, self.within_s))
        if intensity.record(asyncio.get_running_loop().time(), error):
            log.error("actor_given_up", path=child.cell.path, reason=str(self._too_often(intensity)))
            child.cell.terminate(StopReason.CRASHED)
            self._forget(child.cell)
            return
        self._intensity = Intensity(self.max_restarts, self.within_s)
        await super()._plan_restart(child, error)
