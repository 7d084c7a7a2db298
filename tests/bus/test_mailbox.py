"""The rules of one mailbox: order, bounds, gaps, lanes, waiting."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from l0actors.bus import Mailbox, MailboxFull, Overflow
from l0actors.bus import lane as lane_module
from l0actors.bus.messages import (
    ActorDown,
    Heartbeat,
    Lagged,
    Message,
    Resume,
    SessionAborted,
    Stop,
    Suspend,
    Tokens,
)

Dead = list[tuple[Message, str]]


def beat(seq: int) -> Heartbeat:
    """Return an ordinary message."""
    return Heartbeat(seq=seq, ts=float(seq), attempt=1)


def make(overflow: Overflow = "block", capacity: int = 2, **hooks: Any) -> tuple[Mailbox, Dead]:
    """Return a mailbox and the list of its dead letters."""
    dead: Dead = []
    mailbox = Mailbox(
        owner="/a",
        capacity=capacity,
        overflow=overflow,
        on_dead=lambda message, reason, _: dead.append((message, reason)),
        **hooks,
    )
    return mailbox, dead


def drain(mailbox: Mailbox) -> list[Message]:
    """Take all there is."""
    taken = []
    while (message := mailbox.take()) is not None:
        taken.append(message)
    return taken


def seqs(messages: list[Message]) -> list[int]:
    """Return the numbers of the messages."""
    return [message.seq for message in messages]


async def turns(count: int = 5) -> None:
    """Let other tasks run."""
    for _ in range(count):
        await asyncio.sleep(0)


class MailboxModel(RuleBasedStateMachine):
    """A mailbox against a plain list of messages and gaps."""

    @initialize(
        overflow=st.sampled_from(["drop_oldest", "drop_newest", "fail", "block"]), capacity=st.integers(1, 4)
    )
    def start(self, overflow: Overflow, capacity: int) -> None:
        self.lags: list[Lagged] = []
        self.failures: list[None] = []
        self.mailbox, self.dead = make(
            overflow, capacity, on_lag=self.lags.append, on_failed=lambda: self.failures.append(None)
        )
        self.put: list[int] = []
        self.taken: list[int] = []
        self.control: list[int] = []
        self.lane: list[int | list[int]] = []  # a list of numbers is a gap
        self.protected: set[int] = set()
        self.episodes = 0
        self.must_fail = False

    def number(self) -> int:
        self.put.append(len(self.put) + 1)
        return self.put[-1]

    def plain(self) -> list[int]:
        return [entry for entry in self.lane if isinstance(entry, int) and entry not in self.protected]

    def drop(self, place: int, seq: int) -> None:
        self.episodes += not any(isinstance(entry, list) for entry in self.lane)
        before = self.lane[place - 1] if place else None
        if isinstance(before, list):
            before.append(seq)
            del self.lane[place : place + 1]
        else:
            self.lane[place : place + 1] = [[seq]]

    @rule()
    def put_ordinary(self) -> None:
        full = len(self.plain()) >= self.mailbox.capacity
        if full and self.mailbox.overflow == "block":
            with pytest.raises(MailboxFull):
                self.mailbox.put_nowait(beat(0))
            return
        seq = self.number()
        queued = self.mailbox.put_nowait(beat(seq))
        if not full:
            self.lane.append(seq)
        elif self.mailbox.overflow == "drop_oldest":
            self.drop(self.lane.index(self.plain()[0]), self.plain()[0])
            self.lane.append(seq)
        else:
            self.drop(len(self.lane), seq)
            self.must_fail |= self.mailbox.overflow == "fail"
        assert queued == (not full or self.mailbox.overflow == "drop_oldest")

    @rule()
    def put_protected(self) -> None:
        seq = self.number()
        assert self.mailbox.put_nowait(ActorDown(seq=seq, path="/b", reason="normal"))
        self.lane.append(seq)
        self.protected.add(seq)
        self.check_reserve()

    @rule(kinds=st.lists(st.booleans(), min_size=2, max_size=6))
    def put_several(self, kinds: list[bool]) -> None:
        for protected in kinds:
            self.put_protected() if protected else self.put_ordinary()

    @rule()
    def put_control(self) -> None:
        seq = self.number()
        assert self.mailbox.put_nowait(Suspend(seq=seq))
        self.control.append(seq)
        self.check_reserve()

    def check_reserve(self) -> None:
        reserved = len(self.control) + sum(
            entry in self.protected for entry in self.lane if isinstance(entry, int)
        )
        self.must_fail |= reserved > self.mailbox.capacity

    def expect(self, message: Message | None, entry: int | list[int]) -> None:
        if isinstance(entry, list):
            assert isinstance(message, Lagged)
            assert (message.missed, message.first_seq, message.last_seq) == (len(entry), entry[0], entry[-1])
        else:
            assert message is not None
            assert message.seq == entry
            self.taken.append(entry)

    @rule()
    def take(self) -> None:
        lane: list[Any] = self.control or self.lane
        message = self.mailbox.take()
        if lane:
            self.expect(message, lane.pop(0))
        else:
            assert message is None

    @rule()
    def take_control(self) -> None:
        message = self.mailbox.take_control()
        assert (message is None) == (not self.control)
        if self.control:
            self.expect(message, self.control.pop(0))

    @rule(limit=st.integers(0, 5))
    def take_batch(self, limit: int) -> None:
        batch = self.mailbox.take_batch(limit)
        assert len(batch) == min(limit, len(self.lane))
        for message in batch:
            self.expect(message, self.lane.pop(0))

    @rule()
    def clear(self) -> None:
        self.mailbox.clear("stopped")
        self.control.clear()
        self.lane.clear()

    @invariant()
    def nothing_is_lost(self) -> None:
        if not hasattr(self, "mailbox"):
            return
        queued = self.control + [entry for entry in self.lane if isinstance(entry, int)]
        dead = [message.seq for message, _ in self.dead]
        assert self.mailbox.depth == len(queued)
        assert sorted(self.taken + dead + queued) == self.put
        assert len(self.plain()) <= self.mailbox.capacity
        assert len(self.lags) == self.episodes
        assert len(self.failures) == self.must_fail
        assert self.mailbox.failed == self.must_fail
        assert self.mailbox.high_water >= len(queued) - len(self.control)


MailboxModel.TestCase.settings = settings(deadline=None, max_examples=150, stateful_step_count=40)
TestP6AgainstAModel = MailboxModel.TestCase


def test_p2_order_is_kept() -> None:
    """Messages are taken in the order in which they were put."""
    mailbox, _ = make(capacity=10)
    for seq in range(1, 6):
        mailbox.put_nowait(beat(seq))
    assert seqs(mailbox.take_batch(2)) == [1, 2]
    assert seqs(drain(mailbox)) == [3, 4, 5]


def test_p5_put_nowait_raises_when_a_blocking_mailbox_is_full() -> None:
    """Without waiting, a message for a full blocking mailbox is refused with its owner and capacity."""
    mailbox, dead = make(capacity=1)
    mailbox.put_nowait(beat(1))
    with pytest.raises(MailboxFull, match="/a is full") as refused:
        mailbox.put_nowait(beat(2))
    assert (refused.value.owner, refused.value.capacity) == ("/a", 1)
    assert mailbox.is_full
    assert seqs(drain(mailbox)) == [1]
    assert not dead


def test_p5_control_never_blocks() -> None:
    """Control messages enter a full blocking mailbox."""
    mailbox, _ = make(capacity=1)
    mailbox.put_nowait(beat(1))
    assert mailbox.put_nowait(Stop())
    assert type(mailbox.take()) is Stop


async def test_p5_the_owner_never_waits_for_itself() -> None:
    """A put by the task that reads the mailbox goes beyond its capacity; others still wait."""
    mailbox, _ = make(capacity=1)
    mailbox.owner_task = asyncio.current_task()
    for seq in (1, 2, 3):
        assert await mailbox.put(beat(seq))
    other = asyncio.ensure_future(mailbox.put(beat(4)))
    await turns()
    assert not mailbox.is_full
    assert not other.done()
    assert [message.seq for _ in range(3) if (message := mailbox.take())] == [1, 2, 3]
    assert await other


async def test_p5_the_owner_may_reserve_beyond_the_capacity() -> None:
    """A slot that the owner holds beyond the capacity is a slot like others, and given back."""
    mailbox, _ = make(capacity=1)
    mailbox.put_nowait(beat(1))
    mailbox.owner_task = asyncio.current_task()
    assert await mailbox.reserve()
    assert mailbox.put_reserved(beat(2))
    mailbox.owner_task = None
    assert mailbox.is_full
    mailbox.take()
    assert mailbox.is_full
    mailbox.take()
    assert not mailbox.is_full


async def test_p5_a_newcomer_does_not_overtake_who_waits() -> None:
    """Blocked senders get room in the order in which they came, and newcomers come last."""
    mailbox, _ = make(capacity=1)
    mailbox.put_nowait(beat(1))
    putters = [asyncio.ensure_future(mailbox.put(beat(seq))) for seq in (2, 3)]
    await turns()
    assert mailbox.take() == beat(1)
    with pytest.raises(MailboxFull):
        mailbox.put_nowait(beat(9))
    for seq in (2, 3):
        await turns()
        assert mailbox.take() == beat(seq)
    assert [await putter for putter in putters] == [True, True]


async def test_p5_a_newcomer_does_not_overtake_who_is_about_to_run() -> None:
    """A sender that was given room and has not run since is still ahead, even if there is room for more."""
    mailbox, _ = make(capacity=3)
    for seq in (1, 2, 3):
        mailbox.put_nowait(beat(seq))
    waiting = [asyncio.ensure_future(mailbox.put(beat(4)))]
    await turns()
    waiting.append(asyncio.ensure_future(mailbox.put(beat(5))))
    assert seqs(mailbox.take_batch(3)) == [1, 2, 3]
    with pytest.raises(MailboxFull):
        mailbox.put_nowait(beat(9))
    await turns()
    assert all(task.result() for task in waiting)
    mailbox.put_nowait(beat(6))
    assert seqs(drain(mailbox)) == [4, 5, 6]


async def test_p5_a_granted_slot_of_a_cancelled_sender_goes_to_the_next() -> None:
    """A sender that is cancelled in the moment when it gets room passes the room on."""
    mailbox, _ = make(capacity=1)
    mailbox.put_nowait(beat(1))
    first, second = (asyncio.ensure_future(mailbox.put(beat(seq))) for seq in (2, 3))
    await turns()
    mailbox.take()
    first.cancel()
    await turns()
    assert first.cancelled()
    assert second.result()
    assert seqs(drain(mailbox)) == [3]
    assert not mailbox.is_full
    assert mailbox.put_nowait(beat(4))


async def test_p5_senders_that_gave_up_leave_nothing_behind() -> None:
    """However many senders are cancelled while they wait, the mailbox does not remember them."""
    mailbox, _ = make(capacity=1)
    mailbox.put_nowait(beat(1))
    putters = [asyncio.ensure_future(mailbox.put(beat(2))) for _ in range(100)]
    await turns()
    for putter in putters:
        putter.cancel()
    await turns()
    assert not mailbox._room.line


@given(
    capacity=st.integers(1, 3),
    steps=st.lists(
        st.sampled_from(["put", "put", "take", "turn", "cancel", "reserve", "let_go"]), max_size=40
    ),
    closes=st.booleans(),
)
@settings(deadline=None, max_examples=400)
def test_p5_senders_come_and_go_and_nothing_is_lost(capacity: int, steps: list[str], closes: bool) -> None:
    """However senders wait, are cancelled and released: bounded, in order, each message in one place."""

    async def main() -> None:
        mailbox, dead = make("block", capacity)
        tasks: dict[int, asyncio.Task[bool]] = {}
        reservations: list[asyncio.Task[None]] = []
        taken: list[int] = []

        async def hold_and_release() -> None:
            if await mailbox.reserve():
                await asyncio.sleep(0)
                mailbox.release()

        for number, step in enumerate(steps, start=1):
            if step == "put":
                tasks[number] = asyncio.ensure_future(mailbox.put(beat(number)))
            elif step == "reserve":
                reservations.append(asyncio.ensure_future(hold_and_release()))
            elif step == "turn":
                await turns(1)
            elif step == "let_go":
                mailbox.let_putters_go()
            elif step == "take" and (message := mailbox.take()) is not None:
                taken.append(message.seq)
            elif step == "cancel" and tasks:
                tasks[sorted(tasks)[number % len(tasks)]].cancel()
            assert mailbox.depth <= capacity
        if closes:
            mailbox.close("stopped")
        while not all(task.done() for task in (*tasks.values(), *reservations)):
            await turns(1)
            taken += seqs(drain(mailbox))
        taken += seqs(drain(mailbox))
        sent = [number for number, task in tasks.items() if not task.cancelled()]
        refused = [message.seq for message, _ in dead]
        assert sorted(taken + refused) == sent
        assert "let_go" in steps or taken == sorted(taken)
        assert closes or not mailbox.is_full
        assert (mailbox._room.limit, mailbox._room.waking) == (capacity, 0)

    asyncio.run(main())


async def test_p4_closing_releases_who_waits_and_dead_letters_their_messages() -> None:
    """When a mailbox closes, blocked senders return False and their messages are dead letters."""
    mailbox, dead = make(capacity=1)
    mailbox.put_nowait(beat(1))
    putter = asyncio.ensure_future(mailbox.put(beat(2)))
    await turns()
    mailbox.close("draining")
    assert await putter is False
    assert mailbox.put_nowait(beat(3)) is False
    mailbox.close("stopped")
    mailbox.put_control(Stop(seq=4))
    assert mailbox.put_nowait(ActorDown(seq=5, path="", reason="")) is False
    assert [(message.seq, reason) for message, reason in dead] == [
        (2, "draining"),
        (3, "draining"),
        (4, "stopped"),
        (5, "stopped"),
    ]
    assert mailbox.closed
    assert seqs(drain(mailbox)) == [1]


async def test_p4_a_reserved_message_of_a_closed_mailbox_is_a_dead_letter() -> None:
    """A slot that was held when the mailbox closed does not let a message in."""
    mailbox, dead = make(capacity=1)
    assert await mailbox.reserve()
    mailbox.close("killed")
    assert mailbox.put_reserved(beat(1)) is False
    assert await mailbox.reserve() is False
    assert [reason for _, reason in dead] == ["killed"]


def test_p4_clear_dead_letters_all_that_is_queued() -> None:
    """Clearing accounts for each message of both lanes once; a gap was accounted for when it arose."""
    mailbox, dead = make("drop_oldest", capacity=1)
    for message in (beat(1), beat(2), Stop(seq=3), ActorDown(seq=4, path="", reason="")):
        mailbox.put_nowait(message)
    mailbox.clear("killed")
    assert sorted((message.seq, reason) for message, reason in dead) == [
        (1, "dropped_oldest"),
        (2, "killed"),
        (3, "killed"),
        (4, "killed"),
    ]
    assert mailbox.depth == 0
    assert mailbox.take() is None


def test_p7_a_gap_stands_where_the_messages_were() -> None:
    """Drops are told as one `Lagged`, after what was queued before them and before what comes next."""
    mailbox, _ = make("drop_oldest", capacity=2)
    protected = [SessionAborted(seq=seq) for seq in (1, 2, 5)]
    for message in (*protected[:2], beat(3), beat(4), protected[2], beat(6), beat(7), beat(8)):
        mailbox.put_nowait(message)
    assert drain(mailbox) == [
        *protected[:2],
        Lagged(missed=2, first_seq=3, last_seq=4, ts=4.0),
        protected[2],
        Lagged(missed=1, first_seq=6, last_seq=6, ts=6.0),
        beat(7),
        beat(8),
    ]


def test_p7_the_newest_dropped_leave_their_gap_at_the_end() -> None:
    """With `drop_newest` the gap comes after what is queued, and before what comes later."""
    mailbox, dead = make("drop_newest", capacity=1)
    assert [mailbox.put_nowait(beat(seq)) for seq in (1, 2, 3)] == [True, False, False]
    first, *_ = mailbox.take_batch(1)
    mailbox.put_nowait(beat(4))
    assert first.seq == 1
    assert drain(mailbox) == [Lagged(missed=2, first_seq=2, last_seq=3, ts=3.0), beat(4)]
    assert [reason for _, reason in dead] == ["dropped_newest", "dropped_newest"]
    assert mailbox.dropped == 2


def test_p7_one_warning_per_episode() -> None:
    """`on_lag` is called at the first drop, and again only after the `Lagged` was taken."""
    lags: list[Lagged] = []
    mailbox, _ = make("drop_oldest", capacity=1, on_lag=lags.append)
    for seq in (1, 2, 3):
        mailbox.put_nowait(beat(seq))
    assert [lagged.first_seq for lagged in lags] == [1]
    drain(mailbox)
    for seq in (4, 5):
        mailbox.put_nowait(beat(seq))
    assert [lagged.first_seq for lagged in lags] == [1, 4]


@pytest.mark.parametrize("overflow", ["block", "drop_oldest", "drop_newest", "conflate", "fail"])
def test_p8_what_is_never_dropped_has_room_of_its_own(overflow: Overflow) -> None:
    """A full mailbox takes as many protected messages as its capacity, whatever its policy."""
    failures: list[None] = []
    mailbox, dead = make(overflow, capacity=2, on_failed=lambda: failures.append(None))
    for seq in (1, 2):
        mailbox.put_nowait(beat(seq))
    protected: list[Message] = [SessionAborted(seq=3), ActorDown(seq=4, path="/b", reason="normal")]
    assert all(mailbox.put_nowait(message) for message in protected)
    assert not failures
    assert mailbox.put_nowait(SessionAborted(seq=5))
    assert mailbox.put_nowait(SessionAborted(seq=6))
    assert len(failures) == 1
    assert not dead
    assert seqs(drain(mailbox)) == [1, 2, 3, 4, 5, 6]


def test_p8_evictions_pass_over_a_protected_message_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dropping n messages behind n protected ones costs O(n), not O(n^2)."""
    looks: Counter[str] = Counter()
    is_plain = lane_module._is_plain

    def counted(entry: Any) -> bool:
        looks["looks"] += 1
        return is_plain(entry)

    monkeypatch.setattr(lane_module, "_is_plain", counted)
    mailbox, _ = make("drop_oldest", capacity=500)
    for seq in range(500):
        mailbox.put_nowait(SessionAborted(seq=seq))
    for seq in range(2000):
        mailbox.put_nowait(beat(seq))
    assert mailbox.dropped == 1500
    assert looks["looks"] <= 2 * 2500


def tokens(start: int, *texts: str, attempt: int = 1, seq: int = 0) -> Tokens:
    """Return a piece of content."""
    return Tokens(attempt=attempt, start=start, texts=texts, seq=seq, ts=float(seq))


def naively_conflated(messages: list[Message]) -> list[Message]:
    """Conflate by joining each message to the tail as it comes."""
    queue: list[Message] = []
    for message in messages:
        tail = queue[-1] if queue else None
        whole = tail.joined(message) if isinstance(tail, Tokens) and isinstance(message, Tokens) else None
        queue[-1:] = [whole] if whole else [*queue[-1:], message]
    return queue


@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("tokens"), st.lists(st.text("ab", max_size=3), max_size=3)),
            st.tuples(st.sampled_from(["attempt", "beat", "down", "skip", "take"]), st.just([])),
        ),
        max_size=60,
    )
)
@settings(deadline=None)
def test_p9_conflation_joins_as_one_by_one_would(steps: list[tuple[str, list[str]]]) -> None:
    """Whatever is queued is what joining each message to the tail would have made of it."""
    mailbox, dead = make("conflate", capacity=1000)
    attempt, start, queued, put, taken = 1, 0, list[Message](), list[Message](), list[Message]()
    for seq, (step, texts) in enumerate(steps, start=1):
        if step == "take":
            assert mailbox.depth == len(naively_conflated(queued))
            taken += (expected := naively_conflated(queued))
            assert drain(mailbox) == expected
            queued.clear()
        elif step in ("attempt", "skip"):
            attempt, start = attempt + (step == "attempt"), start + (step == "skip")
        else:
            message = {"beat": beat(seq), "down": ActorDown(seq=seq, path="", reason="")}.get(step) or tokens(
                start, *texts, attempt=attempt, seq=seq
            )
            start += len("".join(texts))
            mailbox.put_nowait(message)
            queued.append(message)
            put.append(message)
    taken += drain(mailbox)
    assert text_of(taken) == text_of(put)
    assert not dead
    assert mailbox.dropped == 0


def text_of(messages: list[Message]) -> str:
    """Return the content of the messages."""
    return "".join("".join(message.texts) for message in messages if isinstance(message, Tokens))


class Counted(Message, frozen=True, kw_only=True):
    size: int = 1

    def joined(self, later: "Counted") -> "Counted | None":
        work["copied"] += self.size + later.size
        return Counted(size=self.size + later.size)


work: Counter[str] = Counter()


def test_p9_a_long_run_does_not_cost_its_square() -> None:
    """Conflating n messages copies each of them O(log n) times."""
    work.clear()
    mailbox, _ = make("conflate")
    for _ in range(2**14):
        mailbox.put_nowait(Counted())
    assert drain(mailbox) == [Counted(size=2**14)]
    assert work["copied"] < 2**14 * 20


def test_p9_a_full_mailbox_keeps_what_it_cannot_join() -> None:
    """Conflating never loses a message: beyond the capacity the owner is failed instead, once."""
    failures: list[None] = []
    mailbox, dead = make("conflate", capacity=2, on_failed=lambda: failures.append(None))
    for seq in range(1, 6):
        assert mailbox.put_nowait(beat(seq))
    assert len(failures) == 1
    assert mailbox.failed
    assert not dead
    assert seqs(drain(mailbox)) == [1, 2, 3, 4, 5]


def test_p6_fail_fails_the_owner_and_not_the_sender() -> None:
    """With `fail` the incoming message is dead-lettered, and the owner told once, until it is reset."""
    failures: list[None] = []
    mailbox, dead = make("fail", capacity=1, on_failed=lambda: failures.append(None))
    assert [mailbox.put_nowait(beat(seq)) for seq in (1, 2, 3)] == [True, False, False]
    assert len(failures) == 1
    assert [reason for _, reason in dead] == ["dropped_newest", "dropped_newest"]
    mailbox.failed = False
    mailbox.put_nowait(beat(4))
    assert len(failures) == 2


def test_p6_an_offer_is_dropped_where_a_put_would_wait() -> None:
    """What must not wait and is not worth an error leaves a gap in a full blocking mailbox."""
    mailbox, dead = make(capacity=1)
    assert mailbox.offer(beat(1))
    assert not mailbox.offer(beat(2))
    assert [reason for _, reason in dead] == ["dropped_newest"]
    assert drain(mailbox) == [beat(1), Lagged(missed=1, first_seq=2, last_seq=2, ts=2.0)]


@pytest.mark.parametrize("capacity", [-1, 0, True, 1.5, "8"])
def test_p6_a_capacity_is_a_positive_whole_number(capacity: Any) -> None:
    """Another capacity is refused with its value."""
    with pytest.raises(ValueError, match=f"capacity .* got {capacity!r}"):
        Mailbox(capacity=capacity)


def test_p6_an_unknown_overflow_is_refused() -> None:
    """The error names the policies that there are."""
    policy: Any = "explode"
    with pytest.raises(ValueError, match="block, drop_oldest, drop_newest, conflate, fail, got 'explode'"):
        Mailbox(overflow=policy)


def test_p10_control_overtakes_and_actor_down_does_not() -> None:
    """Control comes first in its own order; `ActorDown` comes after what was queued before it."""
    mailbox, _ = make(capacity=10)
    for message in (
        beat(1),
        ActorDown(seq=2, path="/b", reason="normal"),
        Suspend(seq=3),
        beat(4),
        Resume(seq=5),
    ):
        mailbox.put_nowait(message)
    mailbox.put_control(beat(6))
    assert seqs(drain(mailbox)) == [3, 5, 6, 1, 2, 4]


def test_p24_a_batch_is_of_the_ordinary_lane_and_bounded() -> None:
    """`take_batch` gives at most so many messages, and leaves the control lane alone."""
    mailbox, _ = make(capacity=10)
    for message in (beat(1), beat(2), ActorDown(seq=3, path="", reason=""), Stop(seq=4), beat(5)):
        mailbox.put_nowait(message)
    assert seqs(mailbox.take_batch(3)) == [1, 2, 3]
    assert seqs(mailbox.take_batch(3)) == [5]
    assert seqs(drain(mailbox)) == [4]


def test_p25_a_mailbox_tells_how_it_fares() -> None:
    """Depth, high water, drops and the age of the oldest are there to read."""
    mailbox, _ = make("drop_oldest", capacity=3)
    assert (mailbox.depth, mailbox.oldest_ts) == (0, None)
    for seq in range(1, 6):
        mailbox.put_nowait(beat(seq))
    assert (mailbox.depth, mailbox.high_water, mailbox.dropped) == (3, 3, 2)
    assert mailbox.oldest_ts == 1.0
    drain(mailbox)
    assert (mailbox.depth, mailbox.high_water) == (0, 3)
    assert repr(mailbox) == "<Mailbox '/a' drop_oldest 0/3>"


Rouse = Callable[[Mailbox], object]


@pytest.mark.parametrize(
    "rouse",
    [
        lambda mailbox: mailbox.put_nowait(beat(1)),
        lambda mailbox: mailbox.put_nowait(ActorDown(path="", reason="")),
        lambda mailbox: mailbox.put_control(beat(1)),
        lambda mailbox: mailbox.wake(),
        lambda mailbox: mailbox.close("stopped"),
    ],
)
async def test_wait_returns_when_there_is_something(rouse: Rouse) -> None:
    """A message in either lane, a wake and a close end a wait, whether before it or during it."""
    before, _ = make()
    rouse(before)
    await before.wait()
    during, _ = make()
    waiting = asyncio.ensure_future(during.wait())
    await turns()
    assert not waiting.done()
    rouse(during)
    await waiting


async def test_a_wake_is_remembered_once() -> None:
    """One wake ends one wait."""
    mailbox, _ = make()
    mailbox.wake()
    mailbox.wake()
    await mailbox.wait()
    waiting = asyncio.ensure_future(mailbox.wait())
    await turns()
    assert not waiting.done()
    mailbox.wake()
    await waiting


async def test_wait_control_lets_ordinary_messages_lie() -> None:
    """Waiting for control messages goes on while only ordinary ones come."""
    mailbox, _ = make()
    waiting = asyncio.ensure_future(mailbox.wait_control())
    await turns()
    mailbox.put_nowait(beat(1))
    await turns()
    assert not waiting.done()
    mailbox.put_nowait(Resume())
    await waiting
    assert type(mailbox.take_control()) is Resume


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_cancelled_wait_loses_nothing(when: Literal["before", "after"]) -> None:
    """What came around the moment of the cancel is there for the next wait."""
    mailbox, _ = make()
    waiting = asyncio.ensure_future(mailbox.wait())
    await turns()
    if when == "before":
        mailbox.put_nowait(beat(1))
    waiting.cancel()
    await turns()
    if when == "after":
        mailbox.put_nowait(beat(1))
    assert waiting.cancelled()
    await mailbox.wait()
    assert mailbox.take() == beat(1)


async def test_a_mailbox_has_one_reader() -> None:
    """A second task that waits is told so."""
    mailbox, _ = make()
    first: Awaitable[None] = asyncio.ensure_future(mailbox.wait())
    await turns()
    with pytest.raises(RuntimeError, match="one reader"):
        await mailbox.wait()
    mailbox.wake()
    await first


def test_a_type_whose_joining_is_not_associative_is_told_so() -> None:
    """Neighbours that joined one by one must join in any grouping."""

    class Whimsical(Message, frozen=True, kw_only=True, tag="test-whimsical"):
        size: int = 1

        def joined(self, later: "Whimsical") -> "Whimsical | None":
            return Whimsical(size=self.size + later.size) if self.size == 1 else None

    mailbox, _ = make("conflate")
    for _ in range(3):
        mailbox.put_nowait(Whimsical())
    with pytest.raises(TypeError, match=r"Whimsical\.joined"):
        mailbox.put_nowait(Whimsical())
