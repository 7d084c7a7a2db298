"""The message bus: every message in one order, to every mailbox that subscribed to it.

A bus belongs to one event loop and is not thread-safe.
"""

from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from l0actors.bus.deadletters import DeadLetterOffice
from l0actors.bus.mailbox import Mailbox
from l0actors.bus.messages import DeadLetter, DeadLetterReason, Lagged, Message
from l0actors.bus.overflow import MailboxFull, Overflow
from l0actors.bus.routing import Route, Router
from l0actors.bus.selection import LIBRARY_TAGS, check_tags, publishable, resolve
from l0actors.bus.subscription import Subscription
from l0actors.clock import SYSTEM_CLOCK, Clock
from l0actors.logs import log as library_log

_Put = Callable[[Mailbox, Message], bool]


class Bus:
    """Publishes messages to the mailboxes of their subscribers.

    A publish commits in one step, without suspending: the message is stamped with its `seq` (from
    1) and its `ts`, and put into every mailbox. So any two subscribers see any two messages in the
    same order. What is published from within a commit, by a hook or as a dead letter, is stamped at
    once and delivered when that commit is done.

    Messages are stamped in place. One that was stamped before is copied first, so that nobody's
    message changes once it was delivered.

    Attributes:
        clock: where timestamps come from.
    """

    def __init__(self, *, clock: Clock = SYSTEM_CLOCK, log: Any = None) -> None:
        """Make a bus without subscribers.

        Args:
            clock: where timestamps come from.
            log: a structlog logger. Defaults to the library's own.
        """
        self.clock = clock
        self._now_ms = clock.now_ms
        self._log = library_log if log is None else log
        self._router = Router()
        self._office = DeadLetterOffice(self._log)
        self._tags = dict(LIBRARY_TAGS)
        self._publishable: set[type[Message]] = set()
        self._seq = 0
        self._ts = 0.0
        self._committing = False
        self._waiting: deque[tuple[Message, Sequence[Mailbox], _Put]] = deque()

    @property
    def dead_letters(self) -> Counter[str]:
        """How many messages were not delivered, by reason."""
        return self._office.counts

    @property
    def subscriptions(self) -> tuple[Subscription, ...]:
        """All that are open, in the order they were made."""
        return self._router.subscriptions

    def subscribe(
        self,
        types: Any,
        *,
        session: str | None = None,
        mailbox: Mailbox | None = None,
        name: str = "",
        capacity: int = 1024,
        overflow: Overflow = "drop_oldest",
    ) -> Subscription:
        """Subscribe to messages by their types.

        Args:
            types: a message type, a union or a tuple of them, or base classes, which stand for all
                their subclasses as of now.
            session: only that session's messages. Defaults to all sessions and the system's own.
            mailbox: where they go. Defaults to one of its own, which the subscription iterates over.
                A mailbox gets a message once, however many of its subscriptions match.
            name: for logs and dead letters.
            capacity: of its own mailbox, in messages.
            overflow: of its own mailbox.

        Raises:
            TypeError: `types` holds something else than message types, or `session` is not a str.
            ValueError: `types` is empty, holds a type that is never published, or two types with
                one tag; or there is no such capacity or overflow.
        """
        if not isinstance(session, (str, type(None))):
            raise TypeError(f"session must be a stream id or None for all, got {session!r}")
        kinds = resolve(types)
        check_tags(kinds, self._tags)
        owns_mailbox = mailbox is None
        if mailbox is None:
            mailbox = self._mailbox(name or "subscription", capacity, overflow)
        subscription = Subscription(
            kinds,
            session=session,
            name=name or mailbox.owner,
            mailbox=mailbox,
            owns_mailbox=owns_mailbox,
            discard=self._router.discard,
        )
        if owns_mailbox:
            mailbox.on_failed = subscription.close
        self._router.add(subscription)
        return subscription

    def publish_nowait(self, message: Message) -> Message:
        """Publish without waiting. Return the message as it was stamped.

        Raises:
            MailboxFull: a blocking subscriber has no room; nobody got the message.
            TypeError: it is a control message, a `Lagged` or no message at all.
        """
        route = self._route(message)
        if route.blocking and (full := _first_full(route, type(message))) is not None:
            raise MailboxFull(full.owner, full.capacity)
        return self._send(message, route)

    def publish_or_drop(self, message: Message) -> None:
        """Publish without waiting; if a blocking subscriber has no room, it is a dead letter for all."""
        try:
            self.publish_nowait(message)
        except MailboxFull as full:
            self.dead_letter(message, "dropped_newest", full.owner)

    async def publish(self, message: Message) -> Message:
        """Publish, after waiting until every blocking subscriber has room. Return it as it was stamped.

        Nobody gets it before all can. Cancelled while it waits, it reached nobody. It does not
        suspend if there is room.

        Raises:
            TypeError: it is a control message, a `Lagged` or no message at all.
        """
        route = self._route(message)
        if not route.blocking or _first_full(route, type(message)) is None:
            return self._send(message, route)
        held = await self._reserve(message)
        return self._send_reserved(message, held)

    def wants(self, kind: type[Message], session: str = "") -> bool:
        """Return whether anybody would get a message of this type and session."""
        return bool(self._router.route(kind, session).mailboxes)

    def blocked(self, kind: type[Message], session: str = "") -> bool:
        """Return whether `publish` of such a message would have to wait."""
        route = self._router.route(kind, session)
        return bool(route.blocking) and _first_full(route, kind) is not None

    def dead_letter(self, message: Message, reason: DeadLetterReason, path: str = "") -> None:
        """Count, log and publish that `message` was not delivered.

        A `DeadLetter` or `Lagged` that was not delivered is only counted.

        Args:
            message: what was not delivered.
            reason: why not.
            path: the actor that did not get it, "" for nobody.
        """
        if isinstance(message, (DeadLetter, Lagged)):
            self._office.counts[reason] += 1
            return
        self._office.record(message, reason, path)
        route = self._router.route(DeadLetter, message.session)
        if route.mailboxes:
            letter = DeadLetter(
                session=message.session,
                path=path,
                reason=reason,
                message_type=type(message).__name__,
                message_seq=message.seq,
            )
            self._commit(self._stamp(letter), route.mailboxes, Mailbox.offer)

    def drop_session(self, session: str) -> None:
        """Close the subscriptions to this session and forget its routes."""
        for subscription in self._router.of_session(session):
            subscription.close()

    def _mailbox(self, name: str, capacity: int, overflow: Overflow) -> Mailbox:
        def log_lag(lagged: Lagged) -> None:
            self._log.warning("subscriber_lags", subscription=name, seq=lagged.first_seq)

        return Mailbox(
            owner=name, capacity=capacity, overflow=overflow, on_dead=self.dead_letter, on_lag=log_lag
        )

    def _route(self, message: Message) -> Route:
        kind = type(message)
        if kind not in self._publishable:
            publishable(kind)
            self._publishable.add(kind)
        return self._router.route(kind, message.session)

    async def _reserve(self, message: Message) -> list[Mailbox]:
        """Hold a slot in every blocking mailbox, taken in their order, so that no two publishers lock."""
        held: list[Mailbox] = []
        try:
            while (mailbox := self._next_to_reserve(message, held)) is not None:
                if held and mailbox.order < held[-1].order:  # it subscribed while we waited
                    _release(held)
                elif await mailbox.reserve():
                    held.append(mailbox)
        except BaseException:
            _release(held)
            raise
        return held

    def _next_to_reserve(self, message: Message, held: list[Mailbox]) -> Mailbox | None:
        for mailbox in self._route(message).blocking:
            if mailbox not in held and not mailbox.closed:
                return mailbox
        return None

    def _send_reserved(self, message: Message, held: list[Mailbox]) -> Message:
        def put(mailbox: Mailbox, message: Message) -> bool:
            if mailbox not in held:
                return mailbox.deliver(message)
            held.remove(mailbox)
            return mailbox.put_reserved(message)

        stamped = self._send(message, self._route(message), put)
        _release(held)  # of those that nobody subscribes to any more
        return stamped

    def _send(self, message: Message, route: Route, put: _Put = Mailbox.deliver) -> Message:
        stamped = self._stamp(message)
        if route.mailboxes:
            self._commit(stamped, route.mailboxes, put)
        else:
            self.dead_letter(stamped, "no_subscriber")
        return stamped

    def _stamp(self, message: Message) -> Message:
        if message.seq:
            message = msgspec.structs.replace(message)
        self._seq += 1
        now = self._now_ms()
        self._ts = max(self._ts, now)
        msgspec.structs.force_setattr(message, "seq", self._seq)
        msgspec.structs.force_setattr(message, "ts", self._ts)
        return message

    def _commit(self, message: Message, mailboxes: Sequence[Mailbox], put: _Put) -> None:
        if self._committing:
            self._waiting.append((message, mailboxes, put))
            return
        self._committing = True
        try:
            self._put_all(message, mailboxes, put)
            while self._waiting:
                self._put_all(*self._waiting.popleft())
        finally:
            self._committing = False

    def _put_all(self, message: Message, mailboxes: Sequence[Mailbox], put: _Put) -> None:
        for mailbox in mailboxes:
            try:
                put(mailbox, message)
            except Exception:
                self._log.exception("mailbox_hook_raised", owner=mailbox.owner, seq=message.seq)


def _first_full(route: Route, kind: type[Message]) -> Mailbox | None:
    if kind.never_dropped:
        return None
    for mailbox in route.blocking:
        if mailbox.is_full:
            return mailbox
    return None


def _release(held: list[Mailbox]) -> None:
    while held:
        held.pop().release()
