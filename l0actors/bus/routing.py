"""Who gets a message: by its session, then by its type."""

from typing import NamedTuple

from l0actors.bus.mailbox import Mailbox
from l0actors.bus.messages import Message
from l0actors.bus.subscription import Subscription


class Route(NamedTuple):
    """The mailboxes that get one type of message of one session, each once.

    Attributes:
        mailboxes: all of them, by the order of their subscriptions.
        blocking: those that may make a publisher wait, by `Mailbox.order`.
    """

    mailboxes: tuple[Mailbox, ...]
    blocking: tuple[Mailbox, ...]


class _Table:
    """The subscriptions of one session, or those to all sessions, and the routes made from them."""

    __slots__ = ("by_type", "epoch", "routes")

    def __init__(self) -> None:
        self.by_type: dict[type[Message], dict[Subscription, None]] = {}
        self.routes: dict[type[Message], Route] = {}
        self.epoch = 0

    def add(self, subscription: Subscription) -> None:
        for kind in subscription.types:
            self.by_type.setdefault(kind, {})[subscription] = None
            self.routes.pop(kind, None)

    def discard(self, subscription: Subscription) -> None:
        for kind in subscription.types:
            subscribed = self.by_type[kind]
            del subscribed[subscription]
            if not subscribed:
                del self.by_type[kind]
            self.routes.pop(kind, None)


class Router:
    """Finds the route of a message in constant time, however many sessions there are.

    Routes are made when first asked for. What a session itself has not subscribed to goes by the
    routes of those who subscribed to all sessions.
    """

    def __init__(self) -> None:
        self._everywhere = _Table()
        self._sessions: dict[str, _Table] = {}
        self._all: dict[Subscription, None] = {}

    @property
    def subscriptions(self) -> tuple[Subscription, ...]:
        """All that are open, in the order they were made."""
        return tuple(self._all)

    def add(self, subscription: Subscription) -> None:
        """Route to `subscription` from now on."""
        self._all[subscription] = None
        if subscription.session is None:
            self._everywhere.add(subscription)
            self._everywhere.epoch += 1
        else:
            self._sessions.setdefault(subscription.session, _Table()).add(subscription)

    def discard(self, subscription: Subscription) -> None:
        """Route to `subscription` no more."""
        del self._all[subscription]
        if subscription.session is None:
            self._everywhere.discard(subscription)
            self._everywhere.epoch += 1
            return
        table = self._sessions[subscription.session]
        table.discard(subscription)
        if not table.by_type:
            del self._sessions[subscription.session]

    def of_session(self, session: str) -> tuple[Subscription, ...]:
        """Return the subscriptions to this very session, in the order they were made."""
        table = self._sessions.get(session)
        found = {each for subscribed in table.by_type.values() for each in subscribed} if table else set()
        return tuple(sorted(found, key=lambda subscription: subscription.order))

    def route(self, kind: type[Message], session: str) -> Route:
        """Return who gets a message of this type and session."""
        table = self._sessions.get(session)
        if table is None or kind not in table.by_type:
            table = self._everywhere
        elif table.epoch != self._everywhere.epoch:
            table.routes.clear()
            table.epoch = self._everywhere.epoch
        route = table.routes.get(kind)
        if route is None:
            route = table.routes[kind] = self._make(kind, table)
        return route

    def _make(self, kind: type[Message], table: _Table) -> Route:
        subscribed = self._everywhere.by_type.get(kind, {}) | table.by_type.get(kind, {})
        ordered = sorted(subscribed, key=lambda subscription: subscription.order)
        mailboxes = tuple(dict.fromkeys(subscription.mailbox for subscription in ordered))
        blocking = (mailbox for mailbox in mailboxes if mailbox.overflow == "block")
        return Route(mailboxes, tuple(sorted(blocking, key=lambda mailbox: mailbox.order)))
