"""How a supervisor is told about a child, and what it keeps about it."""

from collections.abc import Callable, Sequence
from typing import Any, get_args

import msgspec

from l0actors import validation
from l0actors.actors.actor import Actor
from l0actors.actors.cell import Cell
from l0actors.actors.making import maker
from l0actors.actors.restarts import Intensity, Restart, one_of
from l0actors.bus.overflow import OVERFLOWS, Overflow
from l0actors.bus.selection import resolve


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
        one_of("child.restart", self.restart, get_args(Restart))
        if self.significant and self.restart == "permanent":
            raise ValueError(
                f"child.significant needs restart='transient' or 'temporary': {self.name!r} never ends"
            )
        validation.number("child.start_ms", self.start_ms, positive=True)
        validation.number("child.stop_ms", self.stop_ms, positive=True)
        validation.whole("child.capacity", self.capacity, least=1)
        one_of("child.overflow", self.overflow, OVERFLOWS)
        if self.subscribes:
            resolve(tuple(self.subscribes))
        maker(self.actor)

    def prepared(self) -> tuple[Callable[[], Actor], Sequence[Any]]:
        """Return what makes the child's actor for each incarnation, and what it subscribes to.

        What the actors of a factory subscribe to is only known from one of them: the first is made here.
        """
        make = maker(self.actor)
        if self.subscribes is not None:
            return make, self.subscribes
        if isinstance(self.actor, type):
            return make, getattr(self.actor, "subscribes", ())
        spare = [make()]
        return lambda: spare.pop() if spare else make(), spare[0].subscribes


class Child:
    """A child as its supervisor knows it.

    Attributes:
        spec: what it was told.
        cell: the actor.
        plan: the restart that it waits for; None if it waits for none.
        intensity: how often this child alone failed lately.
        restarts: how many restarts in a row there were.
        started_at: when the present incarnation began, in seconds of the loop's clock.
    """

    __slots__ = ("cell", "intensity", "plan", "restarts", "spec", "started_at")

    def __init__(self, spec: ChildSpec, cell: Cell, intensity: Intensity) -> None:
        self.spec = spec
        self.cell = cell
        self.plan: Plan | None = None
        self.intensity = intensity
        self.restarts = 0
        self.started_at = 0.0


class Plan:
    """A restart under way: who still runs is halted in reverse order, then a pause, then all start in order.

    A child belongs to the newest plan that names it.

    Attributes:
        names: whom it restarts, in start order.
        delay_ms: the pause.
        halted: the pause has begun.
    """

    __slots__ = ("delay_ms", "halted", "names")

    def __init__(self, names: Sequence[str], delay_ms: float) -> None:
        self.names = tuple(names)
        self.delay_ms = delay_ms
        self.halted = False


def check_children(specs: Sequence[Any]) -> None:
    """Refuse what is no `ChildSpec`, and names that are given twice."""
    for spec in specs:
        validation.instance("children", spec, ChildSpec)
    names = [spec.name for spec in specs]
    if len(set(names)) < len(names):
        raise ValueError(f"children must have different names, got {names!r}")
