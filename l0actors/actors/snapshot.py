"""A look at a running system: the tree of actors with their mailboxes, as structs and as JSON."""

from typing import Any

import msgspec

from l0actors.actors.cell import Cell
from l0actors.actors.supervisor import Supervisor
from l0actors.bus.bus import Bus


class MailboxSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """A mailbox, now.

    Attributes:
        depth: messages that wait.
        high_water: the most that ever waited.
        dropped: messages that its overflow policy dropped.
        capacity: ordinary messages that it holds.
        overflow: its overflow policy.
        oldest_age_ms: how long ago the oldest waiting message was published; None if nothing waits.
    """

    depth: int
    high_water: int
    dropped: int
    capacity: int
    overflow: str
    oldest_age_ms: float | None


class ActorSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """An actor, now.

    Attributes:
        path: its place in the tree.
        state: `starting`, `running`, `suspended`, `stopping`, `down` (between two incarnations), `gone`, or
            `stuck` (it ignored every cancellation, and was given up).
        restarts: how often it was started again.
        last_error: the type of what its last crash raised.
        mailbox: its mailbox.
        subscriptions: the names of the message types that it gets.
        children: those it supervises, in start order.
    """

    path: str
    state: str
    restarts: int
    last_error: str | None
    mailbox: MailboxSnapshot
    subscriptions: tuple[str, ...]
    children: tuple["ActorSnapshot", ...] = ()


class SystemSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """A system, now.

    Attributes:
        name: its name.
        ts: when it was taken, Unix epoch milliseconds.
        sessions: sessions in flight.
        dead_letters: messages that were not delivered so far, by reason.
        root: the tree; None before the start.
    """

    name: str
    ts: float
    sessions: int
    dead_letters: dict[str, int]
    root: ActorSnapshot | None

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON data."""
        data: dict[str, Any] = msgspec.to_builtins(self)
        return data


def snapshot_of(name: str, bus: Bus, root: Cell | None, sessions: int) -> SystemSnapshot:
    """Return a system's snapshot."""
    now = bus.clock.now_ms()
    return SystemSnapshot(
        name=name,
        ts=now,
        sessions=sessions,
        dead_letters=dict(bus.dead_letters),
        root=None if root is None else _actor(root, now),
    )


def _actor(cell: Cell, now: float) -> ActorSnapshot:
    actor = cell.actor
    children = actor.children.values() if isinstance(actor, Supervisor) else ()
    types = cell.subscription.types if cell.subscription is not None else ()
    return ActorSnapshot(
        path=cell.path,
        state=cell.state,
        restarts=max(0, cell.incarnation - 1),
        last_error=None if cell.last_error is None else type(cell.last_error).__name__,
        mailbox=_mailbox(cell, now),
        subscriptions=tuple(sorted(kind.__name__ for kind in types)),
        children=tuple(_actor(child.cell, now) for child in tuple(children)),
    )


def _mailbox(cell: Cell, now: float) -> MailboxSnapshot:
    mailbox = cell.mailbox
    oldest = mailbox.oldest_ts
    return MailboxSnapshot(
        depth=mailbox.depth,
        high_water=mailbox.high_water,
        dropped=mailbox.dropped,
        capacity=mailbox.capacity,
        overflow=mailbox.overflow,
        oldest_age_ms=None if oldest is None else max(0.0, now - oldest),
    )
