"""What the tests of the actors have in common: a small tree in virtual time, and actors that do as told."""

import asyncio
import random
from collections.abc import Callable
from types import TracebackType
from typing import Any

from virtual_time import VirtualTimeLoop, in_virtual_time, run

from l0actors.actors.actor import Actor, ActorContext, ActorRef, StopReason, Worker
from l0actors.actors.cell import Cell, Exit
from l0actors.actors.supervisor import ChildSpec, Supervisor
from l0actors.bus.bus import Bus
from l0actors.bus.messages import Message
from l0actors.clock import Clock

__all__ = ["VirtualTimeLoop", "in_virtual_time", "run"]

SOON_S = 1.0
"""Longer than any back-off and any grace of these tests; costs nothing in virtual time."""


class Boom(Exception):
    """What the actors of the tests crash with."""


class Do(Message, frozen=True, kw_only=True):
    """An order to a `Player`.

    Attributes:
        what: see `Player`.
    """

    what: str


class Player(Actor):
    """Does as it is told, and writes down what happens to it.

    It knows the orders `crash`, `stop`, `cancelled`, `hang`, `deaf` (hangs for an hour and
    ignores cancellations), `slow` (a second), `exit` (SystemExit); any other is noted and returned.

    Args:
        name: begins each note.
        notes: where it writes: `a+` at its start, `a:x` for an order, `a-reason` at its stop.
        on_start: what it does there, as an order; called with the number of the start, from 1.
        on_stop: likewise.
    """

    def __init__(
        self,
        name: str,
        notes: list[str],
        *,
        on_start: Callable[[int], str] | None = None,
        on_stop: Callable[[int], str] | None = None,
    ) -> None:
        self.name = name
        self.notes = notes
        self._on_start = on_start
        self._on_stop = on_stop
        self.incarnation = 0
        self.context: ActorContext

    async def on_start(self, context: ActorContext) -> None:
        self.context = context
        self.incarnation = context.incarnation
        self.notes.append(f"{self.name}+")
        if self._on_start is not None:
            await self.do(self._on_start(context.incarnation))

    async def receive(self, message: Any) -> Any:
        if not isinstance(message, Do):
            self.notes.append(f"{self.name}:{type(message).__name__}")
            return NotImplemented
        self.notes.append(f"{self.name}:{message.what}")
        return await self.do(message.what)

    async def on_stop(self, reason: StopReason) -> None:
        self.notes.append(f"{self.name}-{reason.value}")
        if self._on_stop is not None:
            await self.do(self._on_stop(self.incarnation))

    async def do(self, what: str) -> Any:
        if what == "crash":
            raise Boom(self.name)
        if what == "exit":
            raise SystemExit(3)
        if what == "cancelled":
            raise asyncio.CancelledError
        if what == "stop":
            self.context.stop()
        elif what == "slow":
            await asyncio.sleep(1)
        elif what == "hang":
            await asyncio.get_running_loop().create_future()
        elif what == "deaf":
            await ignore_cancellations(3600)
        return what


async def ignore_cancellations(seconds: float) -> None:
    """Sleep, and not hear of any cancellation meanwhile."""
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    while (left := until - loop.time()) > 0:
        try:
            await asyncio.sleep(left)
        except asyncio.CancelledError:
            continue


class Job(Worker):
    """A worker that does one order.

    Args:
        name: as of a `Player`.
        notes: likewise.
        work: what `run` does; called with the number of the start.
    """

    def __init__(self, name: str, notes: list[str], work: Callable[[int], str] = lambda _: "hang") -> None:
        self._player = Player(name, notes)
        self._work = work

    async def on_start(self, context: ActorContext) -> None:
        await self._player.on_start(context)

    async def run(self) -> None:
        await self._player.do(self._work(self._player.incarnation))

    async def on_stop(self, reason: StopReason) -> None:
        await self._player.on_stop(reason)


class Stage:
    """One actor at the root of a tree, with a bus; `async with` starts and stops it.

    Attributes:
        root: the actor.
        bus: its bus.
        cell: its cell.
        exits: how its incarnations ended.
    """

    def __init__(self, root: Any, *, path: str = "/top", seed: int = 0) -> None:
        loop = asyncio.get_running_loop()
        self.root = root
        self.bus = Bus(clock=Clock(wall=loop.time, rng=random.Random(seed)))
        self.exits: list[Exit] = []
        self.cell = Cell(self.bus, path, lambda: root, on_exit=self._ended)

    def _ended(self, cell: Cell, ended: Exit) -> None:
        self.exits.append(ended)
        cell.terminate(ended.reason)

    async def __aenter__(self) -> "Stage":
        await self.cell.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def stop(self, *, drain: bool = True, timeout_ms: float = 60_000) -> None:
        await self.cell.stop(drain=drain, timeout_ms=timeout_ms)

    def child(self, name: str) -> Cell:
        """Return the cell of a child of the root."""
        assert isinstance(self.root, Supervisor)
        return self.root.children[name].cell

    def ref(self, name: str) -> ActorRef:
        return self.child(name).ref

    def tell(self, name: str, what: str) -> None:
        self.ref(name).tell(Do(what=what))

    @property
    def names(self) -> list[str]:
        """The names of the root's children."""
        assert isinstance(self.root, Supervisor)
        return list(self.root.children)

    def lost(self) -> dict[str, int]:
        """Return the dead letters by reason."""
        return {reason: count for reason, count in self.bus.dead_letters.items() if count}


def player(name: str, notes: list[str], **fields: Any) -> ChildSpec:
    """Return the spec of a `Player`, made anew for each incarnation."""
    behaviour = {key: fields.pop(key) for key in ("on_start", "on_stop") if key in fields}
    return ChildSpec(name=name, actor=lambda: Player(name, notes, **behaviour), **fields)


def once(what: str, at: int = 1) -> Callable[[int], str]:
    """Return a behaviour: `what` in one incarnation, and nothing in the others."""
    return lambda incarnation: what if incarnation == at else ""


async def settle() -> None:
    """Let everything happen that is due now."""
    for _ in range(60):
        await asyncio.sleep(0)
