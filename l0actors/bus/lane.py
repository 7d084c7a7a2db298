"""The ordinary lane of a mailbox: messages in their order, with marks where some were dropped.

It knows nothing of bounds: the mailbox decides when to append, conflate, evict or mark.
"""

from collections import deque
from typing import TypeGuard

from l0actors.bus.conflation import Run
from l0actors.bus.gap import Gap
from l0actors.bus.messages import Message

_Entry = Message | Gap | Run


class Lane:
    """A queue of messages, gaps and runs.

    Attributes:
        plain: how many messages wait that count against the capacity; a run counts as one.
        protected: how many `never_dropped` messages wait.
        gaps: how many places are marked where messages were dropped.
        high: the greatest length there ever was.
    """

    __slots__ = ("_passed", "_queue", "_special", "gaps", "high", "plain", "protected")

    def __init__(self) -> None:
        self._queue: deque[_Entry] = deque()
        # What evictions have passed over: protected messages and gaps, all older than the queue.
        # So each is passed over once, however many messages are evicted behind it.
        self._passed: deque[_Entry] = deque()
        self._special = 0  # entries that take() must look at: gaps, protected messages, runs
        self.plain = 0
        self.protected = 0
        self.gaps = 0
        self.high = 0

    def __len__(self) -> int:
        return self.plain + self.protected

    def __bool__(self) -> bool:
        return bool(self._queue or self._passed)

    @property
    def oldest_ts(self) -> float | None:
        """When the head was published, Unix epoch milliseconds; None if the lane is empty."""
        entries = self._passed or self._queue
        return entries[0].ts if entries else None

    def append(self, message: Message) -> None:
        """Queue a message that counts against the capacity."""
        self._queue.append(message)
        self.plain += 1

    def append_protected(self, message: Message) -> None:
        """Queue a message that is never evicted."""
        self._queue.append(message)
        self.protected += 1
        self._special += 1

    def conflate(self, message: Message) -> bool:
        """Join `message` with the tail. Return False, and do nothing, if they cannot be joined."""
        tail = self._queue[-1] if self._queue else None
        if type(tail) is Run:
            return tail.extend(message)
        if not isinstance(tail, Message):
            return False
        run = Run(tail)
        if not run.extend(message):
            return False
        self._queue[-1] = run
        self._special += 1
        return True

    def evict(self) -> Message:
        """Take out the oldest message that counts against the capacity, and mark its place."""
        self.plain -= 1
        while not _is_plain(entry := self._queue.popleft()):
            self._passed.append(entry)
        self._mark(self._passed, entry)
        return entry

    def mark(self, dropped: Message) -> None:
        """Mark the tail as the place where `dropped` would have been."""
        self._mark(self._queue, dropped)

    def take(self) -> Message | None:
        """Take the head: a message, a run as one, or a gap as `Lagged`. Return None if empty."""
        entries = self._passed or self._queue
        if not entries:
            return None
        self.note()
        entry = entries.popleft()
        if self._special and not _is_plain(entry):
            return self._unwrap(entry)
        self.plain -= 1
        return entry  # type: ignore[return-value]  # nothing special is queued, or it was looked at

    def take_batch(self, limit: int) -> list[Message]:
        """Take up to `limit` messages."""
        self.note()
        if not self._special:
            return self._take_plain(min(limit, self.plain))
        batch: list[Message] = []
        while len(batch) < limit and (message := self.take()) is not None:
            batch.append(message)
        return batch

    def note(self) -> None:
        """Remember the high-water mark; to be called before the lane gets shorter."""
        length = self.plain + self.protected
        if length > self.high:  # noqa: PLR1730  # a call of max() for each message costs more
            self.high = length

    def _take_plain(self, count: int) -> list[Message]:
        popleft = self._queue.popleft
        self.plain -= count
        return [popleft() for _ in range(count)]  # type: ignore[misc]  # plain ones only

    def _unwrap(self, entry: _Entry) -> Message:
        self._special -= 1
        if isinstance(entry, Gap):
            self.gaps -= 1
            return entry.lagged()
        if isinstance(entry, Run):
            self.plain -= 1
            return entry.whole()
        self.protected -= 1
        return entry

    def _mark(self, entries: deque[_Entry], dropped: Message) -> None:
        tail = entries[-1] if entries else None
        if isinstance(tail, Gap):
            tail.add(dropped)
            return
        entries.append(Gap(dropped))
        self.gaps += 1
        self._special += 1


def _is_plain(entry: _Entry) -> TypeGuard[Message]:
    return isinstance(entry, Message) and not entry.never_dropped
