"""The place in a mailbox where messages were dropped."""

from l0actors.bus.messages import Lagged, Message


class Gap:
    """Adjacent dropped messages, as one mark that becomes a `Lagged` when it is reached.

    Attributes:
        ts: when the first of them was published, Unix epoch milliseconds.
    """

    __slots__ = ("_first_seq", "_last", "_missed", "ts")

    def __init__(self, dropped: Message) -> None:
        self.ts = dropped.ts
        self._first_seq = dropped.seq
        self._last = dropped
        self._missed = 1

    def add(self, dropped: Message) -> None:
        """Count one more, the newest of them."""
        self._last = dropped
        self._missed += 1

    def lagged(self) -> Lagged:
        """Return the message that tells the subscriber."""
        last = self._last
        return Lagged(missed=self._missed, first_seq=self._first_seq, last_seq=last.seq, ts=last.ts)
