"""The supervisor: an actor that starts, watches, restarts and stops others, as the rules say."""

import asyncio
from collections.abc import Sequence
from typing import Any, get_args

from l0actors import validation
from l0actors.actors.actor import ActorContext, ActorError, ActorRef, Parent, StartTimeout, StopReason
from l0actors.actors.cell import Cell, Exit, Housekeeping
from l0actors.actors.child import Child, ChildSpec, Plan, check_children
from l0actors.actors.restarts import (
    Decider,
    Directive,
    Intensity,
    Restart,
    RestartBackoff,
    Strategy,
    affected,
    check_decider,
    directive_for,
    one_of,
)
from l0actors.logs import log

__all__ = [
    "ChildSpec",
    "Decider",
    "Directive",
    "Escalated",
    "Restart",
    "RestartBackoff",
    "RestartIntensityExceeded",
    "SinkSupervisor",
    "StartFailed",
    "StartTimeout",
    "Strategy",
    "Supervisor",
]


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


class _ChildExited(Housekeeping, frozen=True, kw_only=True):
    cell: Any
    ended: Any


class _RestartDue(Housekeeping, frozen=True, kw_only=True):
    plan: Any


class _ChildStarted(Housekeeping, frozen=True, kw_only=True):
    plan: Any


class Supervisor(Parent):
    """An actor that starts, watches, restarts and stops others.

    Children start in order and stop in reverse; if one does not start, those before it are stopped
    and the supervisor's own start fails. More than `max_restarts` restarts within `within_s` seconds
    stop the supervisor, which then fails upwards with the causes.

    `decider` maps exception types to `restart`, `stop` or `escalate`; the first match counts, and
    without one the child's `restart` kind decides.

    It waits for nobody while it restarts children: other ends, and its own stop, are handled meanwhile.
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
        one_of("strategy", strategy, get_args(Strategy))
        validation.whole("max_restarts", max_restarts)
        validation.number("within_s", within_s, positive=True)
        check_decider(decider or {})
        check_children(children)
        self.strategy: Strategy = strategy
        self.max_restarts = max_restarts
        self.within_s = within_s
        self.children: dict[str, Child] = {}
        self.context: ActorContext
        self._specs = tuple(children)
        self._backoff = backoff or RestartBackoff()
        self._decider = decider or {}
        self._intensity = self._no_failures()
        self._starting: str | None = None
        self._stopping = False

    async def on_start(self, context: ActorContext) -> None:
        """Start the children in order. The runtime stops them again if one does not start."""
        self.context = context
        self.children.clear()
        self._intensity = self._no_failures()
        self._stopping = False
        for spec in self._specs:
            await self._start_first(spec)

    async def _start_first(self, spec: ChildSpec) -> None:
        path = _path_of(self.context, spec)
        self._starting = spec.name
        try:
            cell = self.add(spec)
        except Exception as error:
            raise StartFailed(path) from error
        assert cell.life is not None
        started = cell.life.started
        await asyncio.wait({started})
        if not started.result():
            raise StartFailed(path) from cell.last_error
        self._starting = None

    async def receive(self, message: Any) -> Any:
        """Handle the end of a child, or what is due in a restart."""
        if type(message) is _ChildExited:
            await self._child_exited(message.cell, message.ended)
        elif type(message) is _RestartDue or type(message) is _ChildStarted:
            self._start_next(message.plan)
        else:
            return NotImplemented
        return None

    async def on_stop(self, reason: StopReason) -> None:
        """Stop the children in reverse order."""
        await self.stop_children(drain=reason is StopReason.SHUTDOWN and self.context.draining)

    # children

    def add(self, spec: ChildSpec) -> Cell:
        """Start one more child, without waiting for its `on_start`.

        Raises:
            RuntimeError: the supervisor does not run.
            ValueError: there is a child of this name.
        """
        if self._stopping or not self.context.current:
            raise RuntimeError(f"{self.context.path} does not run: it takes no more children")
        if spec.name in self.children:
            raise ValueError(f"{self.context.path} has a child named {spec.name!r} already")
        make, subscribes = spec.prepared()
        cell = Cell(
            self.context.bus,
            _path_of(self.context, spec),
            make,
            on_exit=self._on_exit,
            parent=self.context.ref._cell,
            capacity=spec.capacity,
            overflow=spec.overflow,
            subscribes=subscribes,
            session=spec.session,
            stop_s=spec.stop_ms / 1000,
        )
        self.children[spec.name] = child = Child(spec, cell, self._no_failures())
        cell.on_gone(lambda: self._child_gone(child))
        self._launch(child)
        return cell

    def refs(self) -> list[ActorRef]:
        """Return the addresses of the children, in start order."""
        return [child.cell.ref for child in self.children.values()]

    def _launch(self, child: Child) -> "asyncio.Future[bool]":
        child.plan = None
        child.started_at = asyncio.get_running_loop().time()
        return child.cell.start(child.spec.start_ms)

    def _child_gone(self, child: Child) -> None:
        if self.children.get(child.spec.name) is not child:
            return
        del self.children[child.spec.name]
        if self._stopping or self._starting == child.spec.name:
            return
        given_up = child.cell.state == "stuck" and child.cell.asked_to_stop is None
        if given_up and child.spec.restart != "temporary":
            self._lost(child.cell)
        elif child.spec.significant:
            self.context.stop()

    def _on_exit(self, cell: Cell, ended: Exit) -> None:
        if not self._stopping and not self.context.stopping and self.context.current:
            self.context.tell_self(_ChildExited(cell=cell, ended=ended))

    def _no_failures(self) -> Intensity:
        return Intensity(self.max_restarts, self.within_s)

    # the end of a child

    async def _child_exited(self, cell: Cell, ended: Exit) -> None:
        """Decide what follows; also told of one that was halted, stopped or given up."""
        child = self.children.get(cell.path.rpartition("/")[2])
        if child is not None and child.cell is cell and cell.life is None and child.plan is None:
            self._judge(child, ended)
        for plan in dict.fromkeys(each.plan for each in self.children.values()):
            if plan is not None:
                self._halt_next(plan)

    def _judge(self, child: Child, ended: Exit) -> None:
        directive = directive_for(child.spec.restart, ended, self._decider)
        if directive == "restart":
            self._plan_restart(child, ended.error)
            return
        child.cell.terminate(ended.reason)
        if directive == "escalate":
            self._fail_upwards(Escalated(child.cell.path), ended.error)

    def _plan_restart(self, child: Child, error: BaseException | None) -> None:
        intensity = self._intensity_of(child)
        if intensity.record(asyncio.get_running_loop().time(), error):
            self._give_up(child, self._too_often(intensity), error)
            return
        names = affected(self.strategy, list(self.children), child.spec.name)
        draw = self.context.clock.rng.random()
        plan = Plan(names, self._backoff.delay_ms(self._restarts_in_a_row(child), draw))
        for name in names:
            self.children[name].plan = plan

    def _restarts_in_a_row(self, child: Child) -> int:
        healthy = asyncio.get_running_loop().time() - child.started_at >= self._backoff.healthy_s
        child.restarts = 0 if healthy else child.restarts
        child.restarts += 1
        return child.restarts - 1

    def _intensity_of(self, child: Child) -> Intensity:
        """Return what counts the child's failures: one count for all of them."""
        return self._intensity

    def _too_often(self, intensity: Intensity) -> RestartIntensityExceeded:
        return RestartIntensityExceeded(
            self.context.path, intensity.limit, intensity.within_s, intensity.causes
        )

    def _give_up(self, child: Child, why: RestartIntensityExceeded, error: BaseException | None) -> None:
        """A child failed too often."""
        self._fail_upwards(why, error)

    def _lost(self, cell: Cell) -> None:
        """A child ignored every cancellation: a new incarnation would run beside the old one."""
        self._fail_upwards(Escalated(cell.path), cell.last_error)

    def _fail_upwards(self, error: ActorError, cause: BaseException | None) -> None:
        """Fail upwards, once the message at hand is handled."""
        error.__cause__ = cause
        self.context.ref._cell.fail(error)

    # restarts

    def _waiting_for(self, plan: Plan) -> list[Child]:
        """Return who is to be restarted by `plan`, in start order: a newer plan may have taken some over."""
        children = (self.children.get(name) for name in plan.names)
        return [child for child in children if child is not None and child.plan is plan]

    def _halt_next(self, plan: Plan) -> None:
        """Halt the last of those who still run; once none does, begin the pause."""
        if plan.halted:
            return
        for child in reversed(self._waiting_for(plan)):
            if child.cell.life is not None:
                child.cell.halt(child.spec.stop_ms)
                return  # its exit leads here again
            if child.spec.restart == "temporary":
                child.cell.terminate(StopReason.SHUTDOWN)
        plan.halted = True
        self.context.after(plan.delay_ms, _RestartDue(plan=plan))

    def _start_next(self, plan: Plan) -> None:
        """Start the next one. Those after it wait until it has started, or has failed for good."""
        for child in self._waiting_for(plan)[:1]:
            started = self._launch(child)
            started.add_done_callback(lambda _: self._go_on(plan))

    def _go_on(self, plan: Plan) -> None:
        if self.context.current and not self._stopping and not self.context.stopping:
            self.context.tell_self(_ChildStarted(plan=plan))

    # stop

    async def stop_children(self, *, drain: bool) -> None:
        """Stop those that are left, the last one first, and wait until they are gone."""
        self._stopping = True
        for child in reversed(tuple(self.children.values())):
            gone = child.cell.stop(drain=drain, timeout_ms=child.spec.stop_ms)
            while not gone.done():
                try:
                    await asyncio.wait({gone})
                except asyncio.CancelledError:
                    self.kill_children()

    def kill_children(self) -> bool:
        """Begin to stop those that are left by force; return whether there are any."""
        for child in tuple(self.children.values()):
            child.cell.kill()
        return bool(self.children)


def _path_of(context: ActorContext, spec: ChildSpec) -> str:
    return f"{context.path.rstrip('/')}/{spec.name}"


class SinkSupervisor(Supervisor):
    """Supervises actors that do not know each other: one that fails too often is given up alone."""

    def _intensity_of(self, child: Child) -> Intensity:
        return child.intensity

    def _give_up(self, child: Child, why: RestartIntensityExceeded, error: BaseException | None) -> None:
        log.error("actor_given_up", path=child.cell.path, reason=str(why))
        child.cell.terminate(StopReason.CRASHED)

    def _lost(self, cell: Cell) -> None:
        log.error("actor_given_up", path=cell.path, reason="it ignores every cancellation")
