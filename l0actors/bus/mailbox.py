"""A mailbox: two lanes, one reader, a bound, and a choice of what happens when it is full.

A mailbox belongs to one event loop and is not thread-safe. Nothing suspends but `put`, `reserve`,
`wait` and `wait_control`.
"""

import asyncio
import itertools
from collections import deque
from collections.abc import Callable
from typing import Any

from l0actors.bus.lane import Lane
from l0actors.bus.messages import Control, DeadLetterReason, Lagged, Message
from l0actors.bus.overflow import OVERFLOWS, CloseReason, MailboxFull, Overflow
from l0actors.bus.room import Room
from l0actors.bus.sleeper import Sleeper
from l0actors.validation import whole

OnDead = Callable[[Message, DeadLetterReason, str], None]
"""Told of a message that is not delivered: the message, why not, and the mailbox's owner."""

_order = itertools.count(1)


def _ignore(message: Message, reason: DeadLetterReason, owner: str, /) -> None:
    pass


class Mailbox:
    """What waits for one actor or subscriber.

    Control messages have a lane of their own that overtakes. The other `never_dropped` messages
    ride in the ordinary lane. Both have reserved room, as much again as the capacity; beyond that
    they are still queued, and the owner is failed.

    The hooks are called when the mailbox is in its new state already; they must not raise, and may
    be replaced.

    Attributes:
        owner: the path of whoever reads it.
        capacity: how many ordinary messages it holds.
        overflow: what happens when it is full.
        order: its place among all mailboxes of the process, in the order they were made.
        owner_task: the task that reads it. A put from this very task never blocks: it goes beyond
            the capacity instead, since the only reader would be waiting for itself.
        dropped: how many messages its overflow policy dropped.
        failed: whether the owner was failed for being too slow. Set it back to False when the owner
            was restarted and may fail again.
        on_dead: told of each message that is not delivered.
        on_failed: called when the owner is too slow to go on; once, until `failed` is set back.
        on_lag: called at the first drop of an episode, which ends when the last `Lagged` is taken.
    """

    __slots__ = (
        "_conflates",
        "_control",
        "_lane",
        "_reader",
        "_reason",
        "_room",
        "capacity",
        "dropped",
        "failed",
        "on_dead",
        "on_failed",
        "on_lag",
        "order",
        "overflow",
        "owner",
        "owner_task",
    )

    def __init__(
        self,
        *,
        owner: str = "",
        capacity: int = 1024,
        overflow: Overflow = "block",
        on_dead: OnDead = _ignore,
        on_failed: Callable[[], None] | None = None,
        on_lag: Callable[[Lagged], None] | None = None,
    ) -> None:
        """Make an empty mailbox.

        Args:
            owner: the path of whoever reads it.
            capacity: how many ordinary messages it holds, at least 1.
            overflow: what happens when it is full.
            on_dead: the hook of that name. Defaults to doing nothing.
            on_failed: likewise.
            on_lag: likewise.

        Raises:
            ValueError: there is no such capacity or overflow.
        """
        whole("capacity", capacity, least=1)
        if overflow not in OVERFLOWS:
            raise ValueError(f"overflow must be one of {', '.join(OVERFLOWS)}, got {overflow!r}")
        self.owner = owner
        self.capacity = capacity
        self.overflow: Overflow = overflow
        self.order = next(_order)
        self.owner_task: asyncio.Task[Any] | None = None
        self.dropped = 0
        self.failed = False
        self.on_dead = on_dead
        self.on_failed = on_failed
        self.on_lag = on_lag
        self._conflates = overflow == "conflate"
        self._control: deque[Message] = deque()
        self._lane = Lane()
        self._room = Room(capacity)
        self._reader = Sleeper()
        self._reason: CloseReason | None = None

    def __repr__(self) -> str:
        return f"<Mailbox {self.owner!r} {self.overflow} {self.depth}/{self.capacity}>"

    @property
    def depth(self) -> int:
        """How many messages wait, in both lanes; a conflated run is one."""
        return len(self._lane) + len(self._control)

    @property
    def high_water(self) -> int:
        """The greatest number of messages that ever waited in the ordinary lane."""
        return max(self._lane.high, len(self._lane))

    @property
    def oldest_ts(self) -> float | None:
        """When the head of the ordinary lane was published, Unix epoch milliseconds; None if empty."""
        return self._lane.oldest_ts

    @property
    def closed(self) -> bool:
        """Whether it takes nothing more."""
        return self._reason is not None

    @property
    def is_full(self) -> bool:
        """Whether the current task would have to wait to put an ordinary message."""
        return (
            self.overflow == "block"
            and (self._lane.plain >= self._room.limit or self._room.waking > 0)
            and self._reason is None
            and not self._asked_by_owner()
        )

    def put_nowait(self, message: Message) -> bool:
        """Queue `message`, or do what the overflow policy says. Return whether it was queued.

        Raises:
            MailboxFull: the policy is `block`, and there is no room.
        """
        if self.is_full and not message.never_dropped:
            raise MailboxFull(self.owner, self.capacity)
        return self.deliver(message)

    async def put(self, message: Message) -> bool:
        """Queue `message`, if the policy is `block` after waiting for room. Return whether it was queued."""
        while self.is_full and not message.never_dropped:
            if await self.reserve():
                return self.put_reserved(message)
        return self.deliver(message)

    def put_control(self, message: Message) -> None:
        """Queue `message` in the control lane, whatever its type."""
        if self._reason is not None:
            self.on_dead(message, self._reason, self.owner)
            return
        self._control.append(message)
        self._reader.rouse()
        self._check_reserve()

    def deliver(self, message: Message) -> bool:
        """Do as `put_nowait`, but let a full `block` mailbox take it beyond its capacity.

        For the bus, which asks for room before, and must not fail half way.
        """
        if self._reason is not None:
            self.on_dead(message, self._reason, self.owner)
            return False
        if message.never_dropped:
            return self._put_protected(message)
        if self._conflates and self._lane.conflate(message):
            return True
        if self._lane.plain >= self._room.limit and self.overflow != "block":
            return self._overflow(message)
        self._lane.append(message)
        if self._reader.asleep:
            self._reader.rouse()
        return True

    def offer(self, message: Message) -> bool:
        """Do as `put_nowait`, but let a full `block` mailbox drop it as `drop_newest` does."""
        if self.is_full and not message.never_dropped:
            return self._drop_newest(message)
        return self.deliver(message)

    async def reserve(self) -> bool:
        """Wait for room and hold one slot. First come, first served.

        Return whether a slot is held, to be ended with `put_reserved` or `release`. It is not if the
        policy is not `block`, the mailbox is closed, or the waiters were let go.
        """
        if self.overflow != "block" or self._reason is not None:
            return False
        if self.is_full:
            return await self._wait_for_room()
        self._room.limit -= 1
        return True

    def release(self) -> None:
        """Give a reserved slot back."""
        self._room.limit += 1
        self._room.grant(self._lane.plain)

    def put_reserved(self, message: Message) -> bool:
        """Queue `message` in a reserved slot. Return whether it was: not if the mailbox was closed."""
        self._room.limit += 1
        return self.deliver(message)

    def let_putters_go(self) -> None:
        """Wake all who wait for room, without giving them any: what they wait for has changed."""
        self._room.let_all_go()

    def take(self) -> Message | None:
        """Take the next message, the control lane first. Return None if there is none."""
        if self._control:
            return self._control.popleft()
        message = self._lane.take()
        if self._room.line:
            self._room.grant(self._lane.plain)
        return message

    def take_control(self) -> Message | None:
        """Take the next message of the control lane. Return None if there is none."""
        return self._control.popleft() if self._control else None

    def take_batch(self, limit: int) -> list[Message]:
        """Take up to `limit` messages of the ordinary lane."""
        batch = self._lane.take_batch(limit)
        if self._room.line:
            self._room.grant(self._lane.plain)
        return batch

    async def wait(self) -> None:
        """Return when `take` would give something, when closed, or after `wake`.

        Only one task may wait. A cancelled wait loses nothing.
        """
        while not (self._lane or self._control or self._reason or self._reader.woken()):
            await self._reader.sleep()

    async def wait_control(self) -> None:
        """Return when `take_control` would give something, when closed, or after `wake`."""
        while not (self._control or self._reason or self._reader.woken()):
            await self._reader.sleep()

    def wake(self) -> None:
        """Make the wait that is under way return, or else the next one that would sleep."""
        self._reader.wake()

    def close(self, reason: CloseReason) -> None:
        """Take nothing more: every later put is dead-lettered with `reason`. What is queued stays.

        Who waits for room is released, and its message dead-lettered likewise. May be called again
        with a later reason.
        """
        self._reason = reason
        self.let_putters_go()
        self._reader.rouse()

    def clear(self, reason: DeadLetterReason) -> None:
        """Dead-letter everything queued."""
        left: list[Message] = []
        while (message := self.take()) is not None:
            left.append(message)
        for message in left:
            if not isinstance(message, Lagged):  # what it stands for was dead-lettered when dropped
                self.on_dead(message, reason, self.owner)

    async def _wait_for_room(self) -> bool:
        try:
            return await self._room.wait()
        finally:
            self._room.grant(self._lane.plain)

    def _asked_by_owner(self) -> bool:
        if self.owner_task is None:
            return False
        try:
            return asyncio.current_task() is self.owner_task
        except RuntimeError:  # no loop is running
            return False

    def _put_protected(self, message: Message) -> bool:
        if isinstance(message, Control):
            self.put_control(message)
            return True
        self._lane.append_protected(message)
        self._reader.rouse()
        self._check_reserve()
        return True

    def _check_reserve(self) -> None:
        if self._lane.protected + len(self._control) > self.capacity:
            self._fail()

    def _overflow(self, message: Message) -> bool:
        if self.overflow == "drop_oldest":
            return self._drop_oldest(message)
        if self.overflow == "conflate":
            self._lane.append(message)
            self._reader.rouse()
            self._fail()
            return True
        self._drop_newest(message)
        if self.overflow == "fail":
            self._fail()
        return False

    def _drop_oldest(self, message: Message) -> bool:
        lagging = self._lane.gaps > 0
        evicted = self._lane.evict()
        self._lane.append(message)
        self._reader.rouse()
        self._dropped(evicted, "dropped_oldest", lagging)
        return True

    def _drop_newest(self, message: Message) -> bool:
        lagging = self._lane.gaps > 0
        self._lane.mark(message)
        self._reader.rouse()
        self._dropped(message, "dropped_newest", lagging)
        return False

    def _dropped(self, message: Message, reason: DeadLetterReason, lagging: bool) -> None:
        self.dropped += 1
        self.on_dead(message, reason, self.owner)
        if self.on_lag is not None and not lagging:
            self.on_lag(Lagged(missed=1, first_seq=message.seq, last_seq=message.seq, ts=message.ts))

    def _fail(self) -> None:
        if self.failed:
            return
        self.failed = True
        if self.on_failed is not None:
            self.on_failed()
