"""The rules of the bus: one order, whole publishes, typed subscriptions, nothing lost in silence."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, Union

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from l0actors import bus as package
from l0actors.bus import Bus, Mailbox, MailboxFull, Message, Overflow, SubscriberFailed, Subscription
from l0actors.bus.messages import (
    ActorDown,
    AnyMessage,
    ContentMessage,
    Control,
    DeadLetter,
    Heartbeat,
    Lagged,
    SessionAborted,
    SessionEnded,
    SessionMessage,
    Stop,
    Tokens,
    UsageReported,
)
from l0actors.bus.selection import check_tags
from l0actors.clock import Clock


class Log:
    """Keeps what was logged."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, dict[str, Any]]] = []

    def __getattr__(self, level: str) -> Callable[..., None]:
        return lambda event, **fields: self.lines.append((level, event, fields))


class BusPing(Message, frozen=True, kw_only=True):
    number: int = 0


def make(**options: Any) -> Bus:
    """Return a bus that logs to a `Log`."""
    return Bus(**{"log": Log(), **options})


def beat(session: str = "") -> Heartbeat:
    """Return an ordinary message."""
    return Heartbeat(session=session, attempt=1)


def drain(source: Subscription | Mailbox) -> list[Message]:
    """Take all there is."""
    mailbox = source.mailbox if isinstance(source, Subscription) else source
    taken = []
    while (message := mailbox.take()) is not None:
        taken.append(message)
    return taken


async def turns(count: int = 5) -> None:
    """Let other tasks run."""
    for _ in range(count):
        await asyncio.sleep(0)


def test_the_package_exports_its_names_sorted() -> None:
    """`__all__` is what the package promises."""
    assert package.__all__ == sorted(package.__all__, key=lambda name: (not name.isupper(), name))
    assert all(hasattr(package, name) for name in package.__all__)


# Stamping and order


def test_p3_messages_are_stamped_from_one() -> None:
    """A publish stamps the bus-wide number and the time, and returns the stamped message."""
    bus = make(clock=Clock(wall=lambda: 5.0))
    subscription = bus.subscribe(BusPing)
    stamped = [bus.publish_nowait(BusPing()) for _ in range(3)]
    assert [(message.seq, message.ts) for message in stamped] == [(1, 5000.0), (2, 5000.0), (3, 5000.0)]
    assert drain(subscription) == stamped


def test_p3_time_never_goes_back() -> None:
    """When the wall clock is set back, the timestamps stand still."""
    wall = iter([3.0, 2.0, 4.0])
    bus = make(clock=Clock(wall=lambda: next(wall)))
    bus.subscribe(BusPing)
    assert [bus.publish_nowait(BusPing()).ts for _ in range(3)] == [3000.0, 3000.0, 4000.0]


def test_p3_a_message_that_was_published_is_not_changed_by_publishing_it_again() -> None:
    """What carries a number already is copied before it is stamped."""
    bus = make()
    subscription = bus.subscribe(BusPing)
    first = bus.publish_nowait(BusPing(number=7))
    second = bus.publish_nowait(first)
    assert (first.seq, second.seq) == (1, 2)
    assert drain(subscription) == [first, second]


KINDS: list[type[Message]] = [BusPing, Heartbeat, UsageReported, SessionAborted]


def one_of(kind: type[Message], session: str) -> Message:
    """Return a message of that type."""
    extra: dict[str, Any] = {"attempt": 1} if issubclass(kind, ContentMessage) else {}
    if kind is UsageReported:
        extra["usage"] = {}
    return kind(session=session, **extra)


sessions = st.sampled_from(["", "a", "b"])
kinds = st.sampled_from(KINDS)
subscriptions = st.lists(
    st.tuples(
        st.sets(kinds, min_size=1),
        st.none() | sessions,
        st.integers(1, 4),
        st.sampled_from(["block", "drop_oldest", "drop_newest", "conflate", "fail"]),
    ),
    max_size=6,
)


@given(wanted=subscriptions, published=st.lists(st.tuples(kinds, sessions), max_size=40), watch=st.booleans())
@settings(deadline=None)
def test_p3_any_two_subscribers_see_any_two_messages_in_one_order(
    wanted: list[tuple[set[type[Message]], str | None, int, Overflow]],
    published: list[tuple[type[Message], str]],
    watch: bool,
) -> None:
    """Each subscriber sees its part of one numbered sequence, in order, with its gaps at their places."""
    bus = make()
    letters = bus.subscribe(DeadLetter, overflow="drop_newest", capacity=3) if watch else None
    subscribed = [
        bus.subscribe(tuple(types), session=session, capacity=capacity, overflow=overflow)
        for types, session, capacity, overflow in wanted
    ]
    sent: list[Message] = []
    for kind, session in published:
        with contextlib.suppress(MailboxFull):
            sent.append(bus.publish_nowait(one_of(kind, session)))
    for subscription in subscribed:
        check_what_it_got(subscription, sent)
    assert letters is None or bool(drain(letters)) == bool(bus.dead_letters)


def check_what_it_got(subscription: Subscription, sent: list[Message]) -> None:
    """Check that it got what was sent to it, and that each gap counts exactly what is not there."""
    expected = [
        message.seq
        for message in sent
        if type(message) in subscription.types and subscription.session in (None, message.session)
    ]
    seen: list[int] = []
    for message in drain(subscription):
        if isinstance(message, Lagged):
            missed = expected[len(seen) : len(seen) + message.missed]
            assert (missed[0], missed[-1]) == (message.first_seq, message.last_seq)
            seen += missed
        else:
            seen.append(message.seq)
    whole = len(seen) if subscription.mailbox.failed else len(expected)
    assert seen == expected[:whole]


async def test_p3_what_a_hook_publishes_comes_after_the_message_at_hand() -> None:
    """A message published within a commit reaches every subscriber after the outer one."""
    bus = make()
    hooked = Mailbox(owner="/hooked", capacity=1, overflow="drop_oldest")
    hooked.on_dead = bus.dead_letter

    def publish_lag(lagged: Lagged) -> None:
        bus.publish_nowait(BusPing(number=lagged.first_seq))

    hooked.on_lag = publish_lag
    bus.subscribe(Heartbeat, mailbox=hooked)
    others = [bus.subscribe((Heartbeat, DeadLetter, BusPing)) for _ in range(2)]
    for _ in range(2):
        bus.publish_nowait(beat())
    first, second = (drain(other) for other in others)
    assert first == second
    assert [type(message) for message in first] == [Heartbeat, Heartbeat, DeadLetter, BusPing]
    assert [message.seq for message in first] == [1, 2, 3, 4]


def test_p3_a_hook_that_raises_costs_nobody_the_message() -> None:
    """The publish goes on to the other subscribers, and the error is logged."""

    def explode(message: Message, reason: str, owner: str) -> None:
        raise ValueError("boom")

    log = Log()
    bus = make(log=log)
    bad = Mailbox(owner="/bad", capacity=1, overflow="drop_newest", on_dead=explode)
    bus.subscribe(BusPing, mailbox=bad)
    good = bus.subscribe(BusPing)
    for _ in range(3):
        bus.publish_nowait(BusPing())
    assert len(drain(good)) == 3
    assert [line[:2] for line in log.lines] == [("exception", "mailbox_hook_raised")] * 2


# Subscribing


@pytest.mark.parametrize(
    ("asked", "gets"),
    [
        (BusPing, [BusPing]),
        (Union[BusPing, Heartbeat], [BusPing, Heartbeat]),  # noqa: UP007  another type at run time
        (BusPing | Heartbeat, [BusPing, Heartbeat]),
        ((BusPing, Heartbeat), [BusPing, Heartbeat]),
        ((BusPing, (Heartbeat | UsageReported)), [BusPing, Heartbeat, UsageReported]),
        (ContentMessage, [Heartbeat, UsageReported]),
        (SessionMessage, [SessionAborted]),
        (SessionEnded, [SessionAborted]),
        (Message, KINDS),
        ((Message, BusPing), KINDS),
        (AnyMessage, KINDS),
    ],
)
def test_p22_types_unions_and_bases_are_resolved(asked: Any, gets: list[type[Message]]) -> None:
    """A subscriber gets messages of each type that it named, once, and of their subclasses."""
    bus = make()
    subscription = bus.subscribe(asked)
    for kind in KINDS:
        bus.publish_nowait(one_of(kind, ""))
        assert bus.wants(kind) == (kind in gets)
    assert [type(message) for message in drain(subscription)] == [kind for kind in KINDS if kind in gets]


def test_p22_everything_is_everything_but_lagged_and_control() -> None:
    """`Message` and `AnyMessage` leave out what is never published."""
    for everything in (Message, AnyMessage):
        resolved = make().subscribe(everything).types
        assert {Tokens, SessionAborted, DeadLetter, Message} <= resolved
        assert not any(issubclass(kind, (Control, Lagged)) for kind in resolved)


@pytest.mark.parametrize(
    ("asked", "error", "what"),
    [
        (int, TypeError, "<class 'int'>: it is not a message type"),
        ("Tokens", TypeError, "'Tokens': it is not a message type"),
        (None, TypeError, "None"),
        ([Tokens], TypeError, "pass a message type"),
        ((Tokens, int), TypeError, "int"),
        (Tokens | None, TypeError, "NoneType"),
        (BusPing(), TypeError, "BusPing"),
        (list[Tokens], TypeError, "list"),
        ((), ValueError, "no types at all"),
        (((),), ValueError, "no types at all"),
        (Lagged, ValueError, "Lagged cannot be subscribed to"),
        (Stop, ValueError, "Stop cannot be subscribed to"),
        ((Tokens, Control), ValueError, "Control cannot be subscribed to"),
    ],
)
def test_p22_what_cannot_be_subscribed_to_is_refused(asked: Any, error: type[Exception], what: str) -> None:
    """The error names the value and what to do instead."""
    with pytest.raises(error, match=what):
        make().subscribe(asked)


@pytest.mark.parametrize("option", [{"capacity": -1}, {"capacity": 0}, {"overflow": "explode"}])
def test_p22_a_mailbox_that_cannot_be_is_refused(option: dict[str, Any]) -> None:
    """Wrong options fail where the subscription is made, with their value."""
    with pytest.raises(ValueError, match=str(next(iter(option.values())))):
        make().subscribe(BusPing, **option)


def test_p22_a_session_is_a_stream_id() -> None:
    """Something else than a str or None is refused."""
    session: Any = 5
    with pytest.raises(TypeError, match="got 5"):
        make().subscribe(BusPing, session=session)


class BusTagged(Message, frozen=True, kw_only=True, tag="bus-tagged"):
    pass


def test_p22_two_types_with_one_tag_are_refused() -> None:
    """Types that a reader of the record could not tell apart fail at subscribing, wherever they come from."""

    class BusUnrelated(Message, frozen=True, kw_only=True, tag="bus-unrelated"):
        pass

    class BusTwin(Message, frozen=True, kw_only=True, tag="bus-unrelated"):
        pass

    with pytest.raises(ValueError, match="share the tag 'bus-unrelated'"):
        make().subscribe((BusUnrelated, BusTwin))
    bus = make()
    bus.subscribe(BusUnrelated)
    with pytest.raises(ValueError, match="share the tag 'bus-unrelated'"):
        bus.subscribe(BusTwin)
    make().subscribe(BusTwin)


def test_p22_refused_types_leave_no_tags_behind() -> None:
    """When one of several types is refused, none of them is known afterwards."""
    known: dict[str, type[Message]] = {"bus-tagged": BusTagged}

    class BusOther(Message, frozen=True, kw_only=True, tag="bus-tagged"):
        pass

    with pytest.raises(ValueError, match="share the tag 'bus-tagged'"):
        check_tags([BusPing, BusOther], known)
    assert known == {"bus-tagged": BusTagged}


def test_p22_an_inherited_tag_is_refused() -> None:
    """An explicit tag is inherited verbatim by subclasses, which makes them a duplicate."""

    class BusParent(Message, frozen=True, kw_only=True, tag="bus-parent"):
        pass

    class BusChild(BusParent, frozen=True, kw_only=True):
        pass

    with pytest.raises(ValueError, match="inherited verbatim"):
        make().subscribe(BusParent)


def test_p22_a_tag_of_the_library_is_refused() -> None:
    """A message of yours cannot pass for one of the library's."""
    mine = msgspec.defstruct("Tokens", [], bases=(Message,), frozen=True, kw_only=True, tag="Tokens")
    with pytest.raises(ValueError, match=r"messages\.Tokens .* share the tag 'Tokens'"):
        make().subscribe(mine)


@pytest.mark.parametrize("options", [{"tag": False}, {"tag": 5}, {"tag_field": "kind"}])
def test_p22_a_type_without_a_usable_tag_is_refused(options: dict[str, Any]) -> None:
    """Every message must be told by a str in `type`."""
    odd = msgspec.defstruct("BusOdd", [], bases=(Message,), frozen=True, kw_only=True, **options)
    with pytest.raises(ValueError, match="BusOdd has the tag"):
        make().subscribe(odd)


def redefined() -> type[Message]:
    """Define a type anew, as running a notebook cell twice does."""

    class BusAgain(Message, frozen=True, kw_only=True):
        pass

    return BusAgain


def test_p22_types_are_told_apart_by_identity_and_not_by_name() -> None:
    """Of two classes with one name each subscriber gets its own; both at once are refused as duplicates."""
    bus, old, new = make(), redefined(), redefined()
    to_old, to_new = bus.subscribe(old), bus.subscribe(new)
    bus.publish_nowait(old())
    assert [len(drain(to_old)), len(drain(to_new))] == [1, 0]
    with pytest.raises(ValueError, match="share the tag 'BusAgain'"):
        bus.subscribe((old, new))


def test_p22_a_type_defined_later_is_not_subscribed_to() -> None:
    """A base class stands for the subclasses that it had when it was subscribed to."""
    bus = make()
    bus.subscribe(BusPing)

    class BusLater(BusPing, frozen=True, kw_only=True):
        pass

    assert not bus.wants(BusLater)
    bus.subscribe(BusPing)
    assert bus.wants(BusLater)


@pytest.mark.parametrize(
    "message", [Stop(), Lagged(missed=1, first_seq=1, last_seq=1), "text", None, Message]
)
async def test_p22_what_cannot_be_published_is_refused(message: Any) -> None:
    """Control messages, `Lagged` and what is no message raise, and say what to do."""
    bus = make()
    with pytest.raises(TypeError, match=r"tell|your own|subclass"):
        bus.publish_nowait(message)
    with pytest.raises(TypeError):
        await bus.publish(message)
    assert bus.publish_nowait(BusPing()).seq == 1


# Routing


def test_a_session_subscriber_gets_its_session_only() -> None:
    """`session=` limits to that session; None means all sessions and the system's own."""
    bus = make()
    everything, mine, system = (bus.subscribe(Heartbeat, session=each) for each in (None, "a", ""))
    for session in ("a", "b", ""):
        bus.publish_nowait(beat(session))
    assert [message.session for message in drain(everything)] == ["a", "b", ""]
    assert [message.session for message in drain(mine)] == ["a"]
    assert [message.session for message in drain(system)] == [""]


def test_a_new_subscriber_to_all_sessions_gets_those_that_run() -> None:
    """Routes that a session has already used take notice of later subscriptions and closings."""
    bus = make()
    mine = bus.subscribe(Heartbeat, session="a")
    bus.publish_nowait(beat("a"))
    everything = bus.subscribe(Heartbeat)
    bus.publish_nowait(beat("a"))
    everything.close()
    bus.publish_nowait(beat("a"))
    assert [message.seq for message in drain(mine)] == [1, 2, 3]
    assert [message.seq for message in drain(everything)] == [2]


def test_a_mailbox_gets_a_message_once() -> None:
    """However many subscriptions of one mailbox match, it gets one copy."""
    bus, mailbox = make(), Mailbox()
    for types, session in ((Heartbeat, None), (ContentMessage, None), (Heartbeat, "a")):
        bus.subscribe(types, session=session, mailbox=mailbox)
    bus.publish_nowait(beat("a"))
    assert len(drain(mailbox)) == 1


few_kinds = st.sampled_from(KINDS[:2])
few_sessions = st.sampled_from(["", "a"])


@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("subscribe"), few_kinds, st.none() | few_sessions),
            st.tuples(st.just("close"), st.integers(0, 20), st.just(None)),
            st.tuples(st.just("publish"), few_kinds, few_sessions),
            st.tuples(st.just("drop"), st.just(0), few_sessions),
        ),
        max_size=40,
    )
)
@settings(deadline=None)
def test_routes_follow_every_change(steps: list[tuple[str, Any, Any]]) -> None:
    """A message goes to exactly those whose subscription is open and matches, at any time."""
    bus = make()
    model: list[tuple[Subscription, type[Message], str | None]] = []
    for step, what, session in steps:
        if step == "subscribe":
            model.append((bus.subscribe(what, session=session), what, session))
        elif step == "close" and model:
            model.pop(what % len(model))[0].close()
        elif step == "drop":
            bus.drop_session(session)
            model = [entry for entry in model if entry[2] != session]
        elif step == "publish":
            wanted = {id(each) for each, kind, limit in model if kind is what and limit in (None, session)}
            assert bus.wants(what, session) == bool(wanted)
            bus.publish_nowait(one_of(what, session))
            assert {id(each) for each, _, _ in model if drain(each)} == wanted
        assert list(bus.subscriptions) == [each for each, _, _ in model]


def test_a_dropped_session_leaves_nothing_behind() -> None:
    """Thousands of sessions come and go without a trace in the routes, their own or the system's."""
    bus = make()
    bus.subscribe(Heartbeat)
    for number in range(2000):
        session = f"s{number}"
        subscription = bus.subscribe(Heartbeat, session=session)
        bus.publish_nowait(beat(session))
        bus.drop_session(session)
        assert subscription.closed
        bus.publish_nowait(beat(session))
    assert len(bus.subscriptions) == 1
    assert not bus._router._sessions


# Atomic publish


async def test_p5_publish_nowait_reaches_nobody_if_one_is_full() -> None:
    """When one blocking subscriber has no room, none gets the message and no number is spent."""
    bus = make()
    free = bus.subscribe(BusPing)
    full = bus.subscribe(BusPing, overflow="block", capacity=1, name="slow")
    bus.publish_nowait(BusPing())
    with pytest.raises(MailboxFull) as refused:
        bus.publish_nowait(BusPing())
    assert (refused.value.owner, refused.value.capacity) == ("slow", 1)
    assert bus.blocked(BusPing)
    drain(full)
    assert not bus.blocked(BusPing)
    assert bus.publish_nowait(BusPing()).seq == 2
    assert [message.seq for message in drain(free)] == [1, 2]


async def test_p5_publish_waits_for_all_and_then_reaches_all() -> None:
    """Nobody gets a message before every blocking subscriber has room for it."""
    bus = make()
    free = bus.subscribe(BusPing)
    slow = [bus.subscribe(BusPing, overflow="block", capacity=1) for _ in range(3)]
    await bus.publish(BusPing())
    drain(free)
    publishing = asyncio.ensure_future(bus.publish(BusPing()))
    for subscription in slow:
        await turns()
        assert not publishing.done()
        assert not drain(free)
        assert len(drain(subscription)) == 1
    assert (await publishing).seq == 2
    assert [[message.seq for message in drain(each)] for each in (free, *slow)] == [[2]] * 4


async def test_p5_a_cancelled_publish_reached_nobody() -> None:
    """Cancelled while it waits, a publish has delivered nothing and gives its reservations back."""
    bus = make()
    free = bus.subscribe(BusPing)
    first, second = (bus.subscribe(BusPing, overflow="block", capacity=1) for _ in range(2))
    await bus.publish(BusPing())
    drain(free)
    publishing = asyncio.ensure_future(bus.publish(BusPing()))
    drain(first)
    await turns()
    slot_is_held = first.mailbox.is_full
    assert slot_is_held
    publishing.cancel()
    await turns()
    assert publishing.cancelled()
    assert not first.mailbox.is_full
    drain(second)
    assert not drain(free)
    assert bus.publish_nowait(BusPing()).seq == 2


class Publishers:
    """Publishers and blocking mailboxes that do what they are told, and a record of all of it."""

    def __init__(self, shape: list[tuple[set[type[Message]], int]]) -> None:
        self.bus = make()
        self.shape = shape
        self.boxes = [Mailbox(capacity=capacity, on_dead=self.on_dead) for _, capacity in shape]
        # Subscribed in another order than they were made: the order of reservations must not care.
        self.subscribed = [
            self.bus.subscribe(tuple(types), mailbox=box)
            for (types, _), box in reversed(list(zip(shape, self.boxes, strict=True)))
        ][::-1]
        self.got: list[list[int]] = [[] for _ in shape]
        self.tasks: list[asyncio.Task[Message]] = []
        self.sent: list[Message] = []
        self.dead: list[Message] = []

    def on_dead(self, message: Message, reason: str, owner: str) -> None:
        self.dead.append(message)

    def publish(self, kind: type[Message]) -> None:
        self.tasks.append(asyncio.ensure_future(self.bus.publish(one_of(kind, ""))))

    def nowait(self, kind: type[Message]) -> None:
        blocked = self.bus.blocked(kind)
        try:
            self.sent.append(self.bus.publish_nowait(one_of(kind, "")))
        except MailboxFull:
            assert blocked
        else:
            assert not blocked

    def take(self, number: int) -> None:
        index = number % len(self.boxes)
        if (message := self.boxes[index].take()) is not None:
            self.got[index].append(message.seq)

    def cancel(self, number: int) -> None:
        if self.tasks:
            self.tasks[number % len(self.tasks)].cancel()

    def close(self, number: int) -> None:
        if number < len(self.subscribed):
            self.subscribed[number].close()

    def check_bounds(self) -> None:
        for box in self.boxes:
            assert box.depth - box._lane.protected <= box.capacity

    async def finish(self) -> None:
        for _ in range(200):
            await turns(1)
            for number in range(len(self.boxes)):
                self.take(number)
        assert all(task.done() for task in self.tasks), "deadlock"
        self.sent += [task.result() for task in self.tasks if not task.cancelled()]

    def check(self) -> None:
        assert not self.dead
        for (types, _), box, subscription, got in zip(
            self.shape, self.boxes, self.subscribed, self.got, strict=True
        ):
            expected = sorted(message.seq for message in self.sent if type(message) in types)
            assert got == (expected[: len(got)] if subscription.closed else expected)
            assert box._room.limit == box.capacity
            assert not box._room.line
            assert not box._room.waking


@given(
    shape=st.lists(st.tuples(st.sets(kinds, min_size=1), st.integers(1, 2)), min_size=1, max_size=4),
    steps=st.lists(
        st.one_of(
            st.tuples(st.sampled_from(["publish", "nowait"]), kinds),
            st.tuples(st.sampled_from(["take", "cancel", "close"]), st.integers(0, 9)),
            st.tuples(st.just("turn"), st.just(0)),
        ),
        max_size=50,
    ),
)
@settings(deadline=None, max_examples=200)
def test_p5_publishes_are_whole_bounded_and_never_deadlock(
    shape: list[tuple[set[type[Message]], int]], steps: list[tuple[str, Any]]
) -> None:
    """Under any interleaving all or none get a message, no mailbox overflows, and all publishes end."""

    async def main() -> None:
        publishers = Publishers(shape)
        for step, what in steps:
            if step == "turn":
                await turns(1)
            else:
                getattr(publishers, step)(what)
            publishers.check_bounds()
        await publishers.finish()
        publishers.check()

    asyncio.run(main())


async def test_p5_publishers_are_served_in_their_order() -> None:
    """Who waited first publishes first, and a publish that does not wait cannot slip in between."""
    bus = make()
    slow = bus.subscribe(BusPing, overflow="block", capacity=1)
    bus.publish_nowait(BusPing(number=0))
    waiting = [asyncio.ensure_future(bus.publish(BusPing(number=number))) for number in (1, 2, 3)]
    await turns()
    got: list[Message] = []
    while len(got) < 4:
        got += drain(slow)[:1]
        with pytest.raises(MailboxFull):
            bus.publish_nowait(BusPing(number=9))
        await turns()
        if len(got) == 3:
            got += drain(slow)
    assert [message.number for message in got if isinstance(message, BusPing)] == [0, 1, 2, 3]
    assert all(task.done() for task in waiting)


async def test_p5_an_actor_may_publish_to_itself() -> None:
    """A publish by the task that owns a full mailbox does not wait for that task."""
    bus, mailbox = make(), Mailbox(capacity=1)
    bus.subscribe(BusPing, mailbox=mailbox)
    other = bus.subscribe(BusPing, overflow="block", capacity=2)
    mailbox.owner_task = asyncio.current_task()
    for _ in range(2):
        await bus.publish(BusPing())
    assert bus.blocked(BusPing)
    assert len(drain(other)) == 2
    bus.publish_nowait(BusPing())
    assert len(drain(mailbox)) == 3


@pytest.mark.parametrize("how", ["close", "mailbox"])
async def test_p5_a_publisher_does_not_wait_for_who_has_left(how: str) -> None:
    """When the subscriber that it waits for unsubscribes or stops, a publish goes on to the others."""
    bus, mailbox = make(), Mailbox(owner="/gone", capacity=1)
    mailbox.on_dead = bus.dead_letter
    gone, other = bus.subscribe(BusPing, mailbox=mailbox), bus.subscribe(BusPing)
    await bus.publish(BusPing())
    publishing = asyncio.ensure_future(bus.publish(BusPing()))
    await turns()
    gone.close() if how == "close" else mailbox.close("stopped")
    assert (await publishing).seq == 2
    assert [message.seq for message in drain(other)] == [1, 2]
    assert [message.seq for message in drain(mailbox)] == [1]
    assert bus.dead_letters == ({} if how == "close" else {"stopped": 1})


async def test_p5_a_slot_held_for_who_has_left_is_given_back() -> None:
    """A reservation at a subscriber that unsubscribes before the commit is not kept."""
    bus = make()
    leaving, slow = (Mailbox(capacity=1) for _ in range(2))
    subscription = bus.subscribe(BusPing, mailbox=leaving)
    bus.subscribe(BusPing, mailbox=slow)
    slow.put_nowait(BusPing())
    publishing = asyncio.ensure_future(bus.publish(BusPing()))
    await turns()
    slot_is_held = leaving.is_full
    assert slot_is_held
    subscription.close()
    slow.take()
    await publishing
    assert not leaving.is_full
    assert not drain(leaving)


async def test_p5_who_subscribes_meanwhile_is_waited_for_too() -> None:
    """A publish that waits takes notice of new blocking subscribers, in the one order of all."""
    bus = make()
    early = Mailbox(capacity=1)
    slow = bus.subscribe(BusPing, overflow="block", capacity=1)
    last = bus.subscribe(BusPing, overflow="block", capacity=1)
    bus.publish_nowait(BusPing())
    publishing = asyncio.ensure_future(bus.publish(BusPing()))
    drain(slow)
    await turns()
    early.put_nowait(BusPing(number=9))
    bus.subscribe(BusPing, mailbox=early)
    drain(last)
    await turns()
    assert not publishing.done()
    assert not slow.mailbox.is_full  # what it held was given back, to keep the order
    early.take()
    await publishing
    assert [len(drain(each)) for each in (early, slow, last)] == [1, 1, 1]


async def test_p8_a_terminal_message_waits_for_nobody() -> None:
    """What is never dropped enters full blocking mailboxes without waiting."""
    bus = make()
    slow = bus.subscribe(Message, overflow="block", capacity=1)
    bus.publish_nowait(BusPing())
    assert not bus.blocked(SessionAborted)
    await bus.publish(SessionAborted())
    bus.publish_nowait(ActorDown(path="/a", reason="normal"))
    assert [message.seq for message in drain(slow)] == [1, 2, 3]


# Dead letters


def test_p4_a_message_for_nobody_is_a_dead_letter() -> None:
    """Without a subscriber it is counted, logged and told to who watches dead letters."""
    bus = make()
    letters = bus.subscribe(DeadLetter)
    message = bus.publish_nowait(beat("s"))
    assert bus.dead_letters == {"no_subscriber": 1}
    (letter,) = drain(letters)
    assert isinstance(letter, DeadLetter)
    assert (letter.session, letter.path, letter.reason) == ("s", "", "no_subscriber")
    assert (letter.message_type, letter.message_seq) == ("Heartbeat", message.seq)
    assert letter.seq == message.seq + 1


def test_p4_dropped_messages_name_their_subscriber() -> None:
    """A drop is a dead letter with the reason and the name of who did not get it."""
    bus = make()
    letters = bus.subscribe(DeadLetter)
    bus.subscribe(BusPing, capacity=1, name="sink")
    for _ in range(3):
        bus.publish_nowait(BusPing())
    assert bus.dead_letters == {"dropped_oldest": 2}
    assert [
        (letter.path, letter.message_seq) for letter in drain(letters) if isinstance(letter, DeadLetter)
    ] == [("sink", 1), ("sink", 2)]


def test_p4_dead_letters_do_not_breed() -> None:
    """A dead letter that cannot be delivered is counted, and no dead letter of its own."""
    bus = make()
    letters = bus.subscribe(DeadLetter, capacity=1)
    blocking = bus.subscribe(DeadLetter, capacity=1, overflow="block")
    for _ in range(3):
        bus.publish_nowait(BusPing())
    assert bus.dead_letters == {"no_subscriber": 3, "dropped_oldest": 2, "dropped_newest": 2}
    assert [type(message) for message in drain(letters)] == [Lagged, DeadLetter]
    assert [type(message) for message in drain(blocking)] == [DeadLetter, Lagged]
    bus.dead_letter(Lagged(missed=1, first_seq=1, last_seq=1), "unhandled", "/a")
    assert not drain(letters)
    assert bus.dead_letters["unhandled"] == 1


def test_p4_dead_letters_without_a_watcher_are_counted() -> None:
    """Nobody need subscribe to them; publishing one by hand to nobody is counted too."""
    bus = make()
    bus.dead_letter(BusPing(), "late_reply", "/a")
    bus.publish_nowait(DeadLetter(path="", reason="stopped", message_type="X", message_seq=1))
    assert bus.dead_letters == {"late_reply": 1, "no_subscriber": 1}


@pytest.mark.parametrize(
    ("reason", "level"),
    [
        ("no_subscriber", "debug"),
        ("superseded", "debug"),
        ("stopped", "debug"),
        ("draining", "debug"),
        ("dropped_oldest", "warning"),
        ("killed", "warning"),
        ("crashed_while_handling", "warning"),
    ],
)
async def test_p4_logging_is_limited_per_reason(reason: Any, level: str) -> None:
    """The first of a reason is logged at once, then one line in ten seconds with the number left out."""
    now = [100.0]
    loop: Any = asyncio.get_running_loop()
    loop.time = lambda: now[0]
    log = Log()
    bus = make(log=log)
    for now[0] in (100.0, 100.0, 105.0, 109.9, 110.0, 110.1, 125.0):
        bus.dead_letter(BusPing(session="s", seq=4), reason, "/a")
    assert [(line[0], line[1], line[2]["suppressed"]) for line in log.lines] == [
        (level, "dead_letter", 0),
        (level, "dead_letter", 3),
        (level, "dead_letter", 1),
    ]
    assert log.lines[0][2] == {
        "reason": reason,
        "message_type": "BusPing",
        "seq": 4,
        "session": "s",
        "path": "/a",
        "suppressed": 0,
    }
    bus.dead_letter(BusPing(), "unhandled", "/a")
    assert len(log.lines) == 4
    del loop.time


def test_p7_one_warning_for_a_subscriber_that_lags() -> None:
    """A subscription's own mailbox warns once per episode, with its name."""
    log = Log()
    bus = make(log=log)
    bus.subscribe(BusPing, capacity=1, name="sink")
    for _ in range(4):
        bus.publish_nowait(BusPing())
    assert [line for line in log.lines if line[1] == "subscriber_lags"] == [
        ("warning", "subscriber_lags", {"subscription": "sink", "seq": 1})
    ]


# Iterating


async def test_a_subscription_is_iterated_until_it_is_closed_and_drained() -> None:
    """Iterating gives what is published, then what was queued at the close, then ends."""
    bus = make()
    subscription = bus.subscribe(BusPing)

    async def read() -> list[int]:
        return [message.seq async for message in subscription]

    reading = asyncio.ensure_future(read())
    await turns()
    bus.publish_nowait(BusPing())
    await turns()
    bus.publish_nowait(BusPing())
    subscription.close()
    subscription.close()
    bus.publish_nowait(BusPing())
    assert await reading == [1, 2]
    assert not bus.subscriptions


async def test_p7_iterating_shows_gaps() -> None:
    """A slow reader sees a `Lagged` where messages were dropped."""
    bus = make()
    subscription = bus.subscribe(BusPing, capacity=2)
    for _ in range(5):
        bus.publish_nowait(BusPing())
    subscription.close()
    assert [type(message) async for message in subscription] == [Lagged, BusPing, BusPing]


@pytest.mark.parametrize("overflow", ["fail", "conflate"])
async def test_p6_a_failed_subscriber_gets_what_was_queued_and_then_the_error(overflow: Overflow) -> None:
    """A subscriber that is too slow to go on is cut off; the publisher never notices."""
    bus = make()
    subscription = bus.subscribe(BusPing, capacity=1, overflow=overflow, name="slow")
    for _ in range(4):
        bus.publish_nowait(BusPing())
    got: list[type] = []

    async def read() -> None:
        async for message in subscription:
            got.append(type(message))  # noqa: PERF401  what came before the error counts

    with pytest.raises(SubscriberFailed, match="slow was too slow") as failed:
        await read()
    assert got == [BusPing, Lagged if overflow == "fail" else BusPing]
    assert (failed.value.owner, failed.value.capacity) == ("slow", 1)
    assert not bus.subscriptions
    assert bus.dead_letters["no_subscriber"] == 2


async def test_p4_leaving_a_with_block_dead_letters_what_was_not_taken() -> None:
    """A reader that stops early leaves dead letters, not silence."""
    bus = make()
    with bus.subscribe(BusPing) as subscription:
        for _ in range(3):
            bus.publish_nowait(BusPing())
        assert (await subscription.__anext__()).seq == 1
    assert bus.dead_letters == {"stopped": 2}


async def test_a_subscription_with_a_given_mailbox_is_not_iterated() -> None:
    """The mailbox has one reader, and that is not the subscription; closing leaves the mailbox open."""
    bus, mailbox = make(), Mailbox(owner="/a")
    subscription = bus.subscribe(BusPing, mailbox=mailbox)
    with pytest.raises(TypeError, match="/a has the mailbox that it was given"):
        aiter(subscription)
    with subscription:
        bus.publish_nowait(BusPing())
    assert not mailbox.closed
    assert len(drain(mailbox)) == 1
    assert repr(subscription) == "<Subscription '/a' to ['BusPing']>"


async def test_a_cancelled_read_loses_nothing() -> None:
    """A message that comes as its reader is cancelled is there for the next one."""
    bus = make()
    subscription = bus.subscribe(BusPing)
    reading = asyncio.ensure_future(anext(subscription))
    await turns()
    bus.publish_nowait(BusPing())
    reading.cancel()
    await turns()
    assert (await anext(subscription)).seq == 1
