"""Death watch: who is told when an actor is gone for good."""

from typing import TYPE_CHECKING

from l0actors.actors.actor import StopReason
from l0actors.bus.messages import ActorDown

if TYPE_CHECKING:
    from l0actors.actors.cell import Cell


class DeathWatch:
    """The watches of one actor: those that it keeps, and those that are kept on it.

    A watch ends with the death of either side.
    """

    __slots__ = ("_cell", "_watched", "_watchers")

    def __init__(self, cell: "Cell") -> None:
        self._cell = cell
        self._watched: dict[Cell, None] = {}
        self._watchers: dict[Cell, None] = {}

    def begin(self, other: "Cell") -> None:
        """Be told once when `other` is gone; at once if it is. A watch that is kept already is the same."""
        if other.ended_as is not None:
            self._tell(other, other.ended_as)
        elif not self._cell.gone:
            self._watched[other] = None
            other.watches._watchers[self._cell] = None

    def end(self, other: "Cell") -> None:
        """Be told no more."""
        self._watched.pop(other, None)
        other.watches._watchers.pop(self._cell, None)

    def died(self, reason: StopReason) -> None:
        """The actor itself is gone: tell its watchers, and end its own watches."""
        for watched in tuple(self._watched):
            self.end(watched)
        for watcher in tuple(self._watchers):
            watcher.watches.end(self._cell)
            watcher.watches._tell(self._cell, reason)

    def _tell(self, dead: "Cell", reason: StopReason) -> None:
        self._cell.mailbox.put_nowait(ActorDown(path=dead.path, reason=reason.value))
