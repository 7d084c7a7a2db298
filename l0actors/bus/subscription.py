"""A subscription: which messages somebody gets, and the mailbox that they go to."""

import itertools
from collections.abc import Callable

from l0actors.bus.mailbox import Mailbox
from l0actors.bus.messages import Message

_order = itertools.count(1)


class SubscriberFailed(Exception):
    """A subscriber was too slow for its mailbox, and was cut off. It got all that was queued before.

    Attributes:
        owner: the name of the subscription.
        capacity: how many ordinary messages its mailbox holds.
    """

    def __init__(self, owner: str, capacity: int) -> None:
        super().__init__(
            f"{owner} was too slow: its mailbox of {capacity} messages was full; read faster, "
            "raise capacity=, or use overflow='drop_oldest' to live with gaps"
        )
        self.owner = owner
        self.capacity = capacity


class Subscription:
    """What `Bus.subscribe` returns. Close it when it is no longer needed, or use it with `with`.

    Unless it was given a mailbox, it has one of its own, and iterating takes from it:
    `async for message in subscription`. The iteration ends after `close`, when all that was queued
    has been taken. One task may iterate at a time.

    Attributes:
        types: the message types that it gets.
        session: the session that it is limited to; None for all sessions and the system's own.
        name: what it is called in logs and dead letters.
        mailbox: where its messages go.
        order: its place among all subscriptions of the process, in the order they were made.
        closed: whether it gets nothing more.
    """

    __slots__ = ("_discard", "_owns_mailbox", "closed", "mailbox", "name", "order", "session", "types")

    def __init__(
        self,
        types: frozenset[type[Message]],
        *,
        session: str | None,
        name: str,
        mailbox: Mailbox,
        owns_mailbox: bool,
        discard: Callable[["Subscription"], None],
    ) -> None:
        self.types = types
        self.session = session
        self.name = name
        self.mailbox = mailbox
        self.order = next(_order)
        self.closed = False
        self._owns_mailbox = owns_mailbox
        self._discard = discard

    def __repr__(self) -> str:
        return f"<Subscription {self.name!r} to {sorted(kind.__name__ for kind in self.types)}>"

    def close(self) -> None:
        """Get nothing more. What is queued can still be taken. Idempotent."""
        if self.closed:
            return
        self.closed = True
        self._discard(self)
        if self._owns_mailbox:
            self.mailbox.close("stopped")
        else:
            self.mailbox.let_putters_go()

    def __enter__(self) -> "Subscription":
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Close, and dead-letter what nobody will take now."""
        self.close()
        if self._owns_mailbox:
            self.mailbox.clear("stopped")

    def __aiter__(self) -> "Subscription":
        if not self._owns_mailbox:
            raise TypeError(f"{self.name} has the mailbox that it was given: take from that")
        return self

    async def __anext__(self) -> Message:
        """Return the next message, or a `Lagged` where some were dropped.

        Raises:
            SubscriberFailed: it was too slow and was cut off; after all that was queued.
        """
        mailbox = self.mailbox
        while (message := mailbox.take()) is None:
            if mailbox.failed:
                raise SubscriberFailed(self.name, mailbox.capacity)
            if self.closed:
                raise StopAsyncIteration
            await mailbox.wait()
        return message
