"""Joining adjacent messages without losing any of their content, in linearithmic time.

A message type can be conflated if it has `joined(later) -> message | None`, and if joining is
associative: it must not matter which neighbours are joined first. `Tokens` is such a type.
"""

from typing import Any

from l0actors.bus.messages import Message


def joined(earlier: Message, later: Message) -> Message | None:
    """Return both as one message, or None if they cannot be joined."""
    join: Any = getattr(earlier, "joined", None)
    if join is None or type(earlier) is not type(later):
        return None
    result: Message | None = join(later)
    return result


class Run:
    """Messages that will be taken as one.

    Joining each newcomer to all that came before would copy the whole each time. The parts are
    kept in sizes that halve from left to right, as a binary counter keeps its digits, so that each
    piece is copied O(log n) times, and taking joins O(log n) parts.

    Attributes:
        ts: when the first part was published, Unix epoch milliseconds.
    """

    __slots__ = ("_last", "_parts", "_sizes", "ts")

    def __init__(self, first: Message) -> None:
        self.ts = first.ts
        self._last = first
        self._parts = [first]
        self._sizes = [1]

    def extend(self, message: Message) -> bool:
        """Append `message` if it goes on where the run ends; else return False."""
        pair = joined(self._last, message)
        if pair is None:
            return False
        self._last = message
        if self._sizes[-1] == 1:
            self._parts[-1], self._sizes[-1] = pair, 2
            self._carry()
        else:
            self._parts.append(message)
            self._sizes.append(1)
        return True

    def whole(self) -> Message:
        """Return all parts as one message."""
        whole = self._parts[-1]
        for part in reversed(self._parts[:-1]):
            whole = _must_join(part, whole)
        return whole

    def _carry(self) -> None:
        parts, sizes = self._parts, self._sizes
        while len(sizes) > 1 and sizes[-1] == sizes[-2]:
            parts[-2:] = [_must_join(*parts[-2:])]
            sizes[-2:] = [2 * sizes[-1]]


def _must_join(earlier: Message, later: Message) -> Message:
    whole = joined(earlier, later)
    if whole is None:
        raise TypeError(f"{type(earlier).__name__}.joined() is not associative: neighbours did not join")
    return whole
