"""One actor: one message at a time, its hooks, its crashes, its timers, and what it may be made of."""

import asyncio
import gc
from functools import partial
from typing import Any

import pytest
from stage import (
    SOON_S,
    Boom,
    Do,
    Job,
    Player,
    Stage,
    VirtualTimeLoop,
    ignore_cancellations,
    in_virtual_time,
    once,
    player,
    run,
    settle,
)

from l0actors.actors import life
from l0actors.actors.actor import Actor, ActorContext, ActorDied, StartTimeout, StopReason, Worker
from l0actors.actors.cell import MailboxOverflow
from l0actors.actors.supervisor import ChildSpec, Escalated, Supervisor
from l0actors.bus.messages import DeadLetter, Heartbeat, Message, Resume, RolledBack, Suspend
from l0actors.bus.overflow import MailboxFull


def solo(actor: Any, **fields: Any) -> Supervisor:
    """Return a supervisor of one child, `a`."""
    return Supervisor(children=[ChildSpec(name="a", actor=actor, **fields)])


@in_virtual_time
async def test_p1_an_await_in_a_handler_admits_no_other_message() -> None:
    """A message is handled to its end, whatever it awaits, before the next one is looked at."""
    notes: list[str] = []

    async def handle(message: Do) -> None:
        notes.append(f"begin {message.what}")
        await asyncio.sleep(1)
        notes.append(f"end {message.what}")

    async with Stage(solo(handle)) as stage:
        for what in "xy":
            stage.tell("a", what)
        await asyncio.sleep(5)
    assert notes == ["begin x", "end x", "begin y", "end y"]


class Batcher(Actor):
    """Takes what is queued at once."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.asked: list[str] = []

    async def receive_batch(self, messages: list[Do]) -> Any:
        self.batches.append([message.what for message in messages])
        await asyncio.sleep(0.1)
        if "crash" in self.batches[-1]:
            raise Boom
        return NotImplemented if self.batches[-1] == ["?"] else None

    async def receive(self, message: Do) -> str:
        self.asked.append(message.what)
        return message.what


@in_virtual_time
async def test_p1_a_batch_is_all_that_is_queued_and_counts_as_one_message() -> None:
    """`receive_batch` is given everything that waits, in order, and nothing more until it returns."""
    actor = Batcher()
    async with Stage(solo(actor)) as stage:
        stage.tell("a", "x")
        await settle()
        for what in "yz":
            stage.tell("a", what)
        await asyncio.sleep(SOON_S)
        assert actor.batches == [["x"], ["y", "z"]]


@in_virtual_time
async def test_p18_an_ask_in_a_batch_is_answered_in_its_place() -> None:
    """Who is asked answers, batches or not: an ask ends the batch before it, and what follows is kept."""
    actor = Batcher()
    async with Stage(solo(actor)) as stage:
        for what in "xy":
            stage.tell("a", what)
        asked = asyncio.ensure_future(stage.ref("a").ask(Do(what="q"), timeout_ms=1000))
        await asyncio.sleep(0)
        stage.tell("a", "z")
        assert await asked == "q"
        await asyncio.sleep(SOON_S)
        assert actor.batches == [["x", "y"], ["z"]]


@in_virtual_time
async def test_p18_asks_cut_what_is_queued_into_batches() -> None:
    """With everything queued at once, order and answers are the same, and each message is traced once."""
    actor, traced = Batcher(), list[str]()
    async with Stage(solo(actor)) as stage:
        ref = stage.ref("a")
        ref.trace(lambda path, message: traced.append(message.what))  # type: ignore[attr-defined]
        ref.suspend()
        asks = []
        for what in "xyqzwrv":
            if what in "qr":
                asks.append(asyncio.ensure_future(ref.ask(Do(what=what), timeout_ms=5000)))
                await asyncio.sleep(0)
            else:
                ref.tell(Do(what=what))
        ref.resume()
        assert await asyncio.gather(*asks) == ["q", "r"]
        await asyncio.sleep(SOON_S)
        assert actor.batches == [["x", "y"], ["z", "w"], ["v"]]
        assert traced == list("xyqzwrv")


@in_virtual_time
async def test_p4_what_a_batch_left_behind_is_accounted_for_at_the_end() -> None:
    """What was taken from the mailbox and not handled yet is dead-lettered like what is still in it."""
    actor = Batcher()
    async with Stage(solo(actor)) as stage:
        ref = stage.ref("a")
        ref.suspend()
        ref.tell(Do(what="x"))
        asked = asyncio.ensure_future(ref.ask(Do(what="q"), timeout_ms=5000))
        await asyncio.sleep(0)
        ref.tell(Do(what="y"))
        ref.resume()
        await settle()
        await ref.stop(drain=False)
        with pytest.raises(ActorDied):
            await asked
        assert actor.batches == [["x"]]
        assert stage.lost() == {"stopped": 2}


@in_virtual_time
async def test_p12_a_batch_that_crashes_is_lost_as_one_and_no_more() -> None:
    """Each message of the batch is dead-lettered; what lay behind an ask is handled after the restart."""
    actor = Batcher()
    async with Stage(solo(actor)) as stage:
        for what in ("crash", "y"):
            stage.tell("a", what)
        asked = asyncio.ensure_future(stage.ref("a").ask(Do(what="q"), timeout_ms=1000))
        await asyncio.sleep(0)
        stage.tell("a", "z")
        assert await asked == "q"
        await asyncio.sleep(SOON_S)
        assert actor.batches == [["crash", "y"], ["z"]]
        assert stage.lost() == {"crashed_while_handling": 2}
        stage.tell("a", "?")
        await asyncio.sleep(SOON_S)
        assert stage.lost()["unhandled"] == 1


@in_virtual_time
async def test_p2_the_senders_order_holds_across_a_restart() -> None:
    """What one sender sends arrives in its order, also when the receiver is restarted in between."""
    notes: list[str] = []
    async with Stage(Supervisor(children=[player("a", notes)], max_restarts=100)) as stage:
        for number in range(20):
            stage.tell("a", "crash" if number % 7 == 3 else str(number))
        await asyncio.sleep(60)
    handled = [note[2:] for note in notes if note.startswith("a:")]
    assert handled == ["crash" if number % 7 == 3 else str(number) for number in range(20)]


@in_virtual_time
async def test_p12_a_crash_keeps_the_mailbox_and_loses_the_state_and_the_message() -> None:
    """A crash costs the message at hand, which is dead-lettered, and the instance; the queue is kept."""

    class Counter(Actor):
        def __init__(self) -> None:
            self.count = 0

        async def receive(self, message: Do) -> int:
            self.count += 1
            if message.what == "crash":
                raise Boom
            return self.count

    async with Stage(solo(Counter)) as stage:
        letters = stage.bus.subscribe(DeadLetter)
        ref = stage.ref("a")
        assert await ref.ask(Do(what=""), timeout_ms=100) == 1
        ref.tell(Do(what="crash"))
        assert await ref.ask(Do(what=""), timeout_ms=100) == 1
        letters.close()
        [letter] = [message async for message in letters]
        assert isinstance(letter, DeadLetter)
        assert (letter.reason, letter.message_type) == ("crashed_while_handling", "Do")
        assert letter.path == "/top/a"


@in_virtual_time
async def test_p12_a_handler_that_is_not_async_is_a_crash_and_its_message_is_accounted_for() -> None:
    """What a mistaken `receive` raises, with or without a coroutine, goes the way of every crash."""

    class Plain(Actor):
        def receive(self, message: Do) -> Any:
            if message.what == "crash":
                raise Boom
            return 1

    async with Stage(solo(Plain)) as stage:
        stage.tell("a", "crash")
        stage.tell("a", "")
        await asyncio.sleep(SOON_S)
        assert stage.lost() == {"crashed_while_handling": 2}
        assert isinstance(stage.child("a").last_error, TypeError)


@pytest.mark.parametrize("where", ["receive", "on_start", "on_stop", "run"])
def test_p12_an_interrupt_passes_through(where: str) -> None:
    """A SystemExit in an actor ends the program at once; the tree comes down with the loop."""
    notes: list[str] = []

    async def scenario() -> None:
        supervisor = Supervisor(children=[player("b", notes)])
        stage = Stage(supervisor)
        await stage.cell.start()
        if where == "run":
            stage.root.add(ChildSpec(name="a", actor=Job("a", notes, once("exit"))))
        else:
            hook = {"on_start": once("exit")} if where == "on_start" else {}
            hook = {"on_stop": once("exit")} if where == "on_stop" else hook
            stage.root.add(player("a", notes, **hook))
            await settle()
            stage.tell("a", "exit" if where == "receive" else "stop")
        await asyncio.sleep(10)

    with pytest.raises(SystemExit):
        run(scenario())
    assert notes.count("a+") == 1
    assert notes[-1].startswith("b-")


def test_p12_after_an_interrupt_that_is_survived_the_tree_comes_down() -> None:
    """Should the loop run on after an interrupt, nobody is restarted: the whole tree is stopped."""
    notes: list[str] = []
    loop = VirtualTimeLoop()

    async def before() -> Stage:
        stage = Stage(Supervisor(children=[player("a", notes), player("b", notes)]))
        await stage.cell.start()
        return stage

    stage = loop.run_until_complete(before())
    stage.tell("a", "exit")
    with pytest.raises(SystemExit):
        loop.run_forever()
    loop.run_until_complete(settle())
    assert stage.cell.gone
    assert notes == ["a+", "b+", "a:exit", "b-shutdown"]
    [ended] = stage.exits
    assert isinstance(ended.error, Escalated)
    assert isinstance(ended.error.__cause__, SystemExit)
    assert asyncio.all_tasks(loop) == set()
    loop.close()
    assert loop.reports == []


@in_virtual_time
async def test_p11_every_exception_ends_at_its_supervisor_and_nowhere_else() -> None:
    """Crashes at every place reach no exception handler of the loop, and none is left for the collector."""
    notes: list[str] = []
    behaviours: list[dict[str, Any]] = [{}, {"on_stop": once("crash")}, {"on_start": once("crash", at=2)}]
    children = [player(f"p{n}", notes, **each) for n, each in enumerate(behaviours)]
    supervisor = Supervisor(children=children, max_restarts=100)
    async with Stage(supervisor) as stage:
        stage.root.add(ChildSpec(name="job", actor=lambda: Job("job", notes, once("crash"))))
        for name in stage.names[:3]:
            stage.tell(name, "crash")
        await asyncio.sleep(SOON_S)
        stage.root.add(player("late", notes, on_stop=once("crash")))
        gc.collect()
    gc.collect()  # and `run` fails if anything was reported


@in_virtual_time
async def test_p11_an_exception_that_cannot_even_be_printed_is_reported_too() -> None:
    """An exception whose own methods raise is a crash like others."""

    class Nasty(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no")

        __repr__ = __str__

    async def fail(message: Do) -> None:
        if message.what == "crash":
            raise Nasty

    async with Stage(solo(fail)) as stage:
        crashes = stage.bus.subscribe(Message)
        stage.tell("a", "crash")
        await asyncio.sleep(SOON_S)
        assert stage.child("a").incarnation == 2
        crashes.close()
        crashes.mailbox.clear("stopped")


@in_virtual_time
async def test_p16_what_an_old_incarnation_publishes_reaches_nobody() -> None:
    """A task that outlives its incarnation publishes into the void: dead letters, `superseded`."""
    contexts: list[ActorContext] = []

    class Leaky(Actor):
        async def on_start(self, context: ActorContext) -> None:
            contexts.append(context)

        async def receive(self, message: Do) -> None:
            raise Boom

    async with Stage(solo(Leaky)) as stage:
        heard = stage.bus.subscribe((Heartbeat, RolledBack))
        stage.tell("a", "crash")
        await asyncio.sleep(SOON_S)
        old, new = contexts
        assert (old.current, new.current) == (False, True)
        assert (old.incarnation, new.incarnation) == (1, 2)
        await old.publish(Heartbeat(attempt=1))
        old.publish_nowait(Heartbeat(attempt=1))
        old.tell_self(Heartbeat(attempt=1))
        assert old.after(1, Heartbeat(attempt=1)).cancelled()
        old.stop()
        await new.publish(RolledBack(attempt=2, keep=0, reason=""))
        await settle()
        assert stage.child("a").state == "running"
        assert stage.lost() == {"crashed_while_handling": 1, "superseded": 3}
        heard.close()
        assert [type(message) async for message in heard] == [RolledBack]


@in_virtual_time
async def test_p16_a_publish_that_waits_for_room_is_given_up_with_its_incarnation() -> None:
    """An old incarnation's publish that gets its room too late reaches nobody, and holds no room."""
    contexts: list[ActorContext] = []

    class Leaky(Player):
        async def on_start(self, context: ActorContext) -> None:
            await super().on_start(context)
            contexts.append(context)

    async with Stage(solo(lambda: Leaky("a", []))) as stage:
        full = stage.bus.subscribe(Heartbeat, capacity=1, overflow="block")
        await contexts[0].publish(Heartbeat(attempt=1))
        late = asyncio.ensure_future(contexts[0].publish(Heartbeat(attempt=2)))
        cut = asyncio.ensure_future(contexts[0].publish(Heartbeat(attempt=3)))
        await settle()
        assert not late.done()
        cut.cancel()
        stage.tell("a", "crash")
        await asyncio.sleep(SOON_S)
        waiting = asyncio.ensure_future(contexts[1].publish(Heartbeat(attempt=4)))
        first = await full.__anext__()
        await late
        await waiting
        second = await full.__anext__()
        assert (first.attempt, second.attempt) == (1, 4)  # type: ignore[attr-defined]
        assert cut.cancelled()
        assert stage.lost() == {"crashed_while_handling": 1, "superseded": 1}
        await contexts[1].publish(Heartbeat(attempt=5))
        full.close()
        full.mailbox.clear("stopped")


@in_virtual_time
async def test_p5_a_publish_waits_for_room_and_passes_on_a_cancellation() -> None:
    """A publish that waits is done when there is room; cancelled before that, it reached nobody."""
    contexts: list[ActorContext] = []

    class Publisher(Actor):
        async def on_start(self, context: ActorContext) -> None:
            contexts.append(context)

    async with Stage(solo(Publisher)) as stage:
        full = stage.bus.subscribe(Heartbeat, capacity=1, overflow="block")
        [context] = contexts
        await context.publish(Heartbeat(attempt=1))
        with pytest.raises(MailboxFull):
            context.publish_nowait(Heartbeat(attempt=2))
        cut = asyncio.ensure_future(context.publish(Heartbeat(attempt=3)))
        waits = asyncio.ensure_future(context.publish(Heartbeat(attempt=4)))
        await settle()
        cut.cancel()
        await settle()
        assert [(await full.__anext__()).attempt, (await full.__anext__()).attempt] == [1, 4]  # type: ignore[attr-defined]
        await waits
        full.close()


# hooks


@in_virtual_time
async def test_p20_hooks_run_exactly_once_per_incarnation() -> None:
    """`on_start` comes before the first message and `on_stop` once at the end, with its reason."""
    notes: list[str] = []
    async with Stage(Supervisor(children=[player("a", notes)], max_restarts=9)) as stage:
        for what in ("x", "crash", "y", "stop", "z", "cancelled"):
            stage.tell("a", what)
        await asyncio.sleep(60)
    assert notes == [
        *("a+", "a:x", "a:crash", "a-crashed"),
        *("a+", "a:y", "a:stop", "a-normal"),
        *("a+", "a:z", "a:cancelled", "a-crashed"),
        *("a+", "a-shutdown"),
    ]


@in_virtual_time
async def test_p20_no_on_stop_without_a_start() -> None:
    """An incarnation whose `on_start` raised has nothing to stop."""
    notes: list[str] = []
    async with Stage(Supervisor()) as stage:
        stage.root.add(player("a", notes, restart="temporary", on_start=once("crash")))
        await settle()
    assert notes == ["a+"]


@in_virtual_time
async def test_p20_an_actor_that_is_cancelled_before_its_first_step_has_no_hooks() -> None:
    """Cancelled between its start and the first turn of the loop, an actor never was."""
    notes: list[str] = []
    async with Stage(Supervisor()) as stage:
        cell = stage.root.add(player("a", notes, restart="temporary"))
        assert cell.task is not None
        cell.task.cancel()
        await settle()
        assert cell.gone
    assert notes == []


@in_virtual_time
async def test_p20_on_stop_is_not_cut_short_by_the_stop_that_caused_it() -> None:
    """A worker is cancelled once: its `on_stop` may await, however often it is asked to stop."""
    notes: list[str] = []

    class Careful(Worker):
        async def run(self) -> None:
            await asyncio.sleep(3600)

        async def on_stop(self, reason: StopReason) -> None:
            async def raises() -> None:
                raise OSError

            await asyncio.sleep(1)
            try:  # what is sensitive to a cancellation that was never taken back, from Python 3.11 on
                await asyncio.gather(raises())
            except OSError:
                await asyncio.sleep(1)
            notes.append(reason.value)

    async with Stage(solo(Careful)) as stage:
        await settle()
        ref = stage.ref("a")
        task = stage.child("a").task
        first = ref.stop()
        await asyncio.sleep(0.5)
        second = ref.stop(drain=False)
        assert task is not None
        assert getattr(task, "cancelling", lambda: 0)() == 0
        await asyncio.wait([first, second])
    assert notes == ["shutdown"]


@in_virtual_time
async def test_p20_a_worker_that_stops_itself_by_its_ref_has_its_on_stop_whole() -> None:
    """A cancellation that comes too late for `run` does not hit `on_stop`."""
    notes: list[str] = []

    class Quitter(Worker):
        async def on_start(self, context: ActorContext) -> None:
            self.context = context

        async def run(self) -> None:
            self.context.ref.stop()

        async def on_stop(self, reason: StopReason) -> None:
            await asyncio.sleep(1)
            notes.append(reason.value)

    async with Stage(solo(Quitter)) as stage:
        await asyncio.sleep(5)
        assert stage.names == []
    assert notes == ["shutdown"]


@in_virtual_time
async def test_p20_a_stop_before_the_work_skips_it() -> None:
    """An actor that ends itself in `on_start` has its `on_stop` and handles nothing."""
    notes: list[str] = []
    async with Stage(Supervisor()) as stage:
        stage.root.add(player("a", notes, restart="temporary", on_start=once("stop")))
        stage.tell("a", "x")
        await settle()
        job = Job("b", notes)
        job._player._on_start = once("stop")
        stage.root.add(ChildSpec(name="b", actor=job, restart="temporary"))
        await settle()
        assert stage.names == []
    assert notes == ["a+", "a-normal", "b+", "b-normal"]


# being told


@in_virtual_time
async def test_p4_a_message_that_is_not_handled_is_a_dead_letter() -> None:
    """Returning `NotImplemented` says that the message means nothing to the actor."""
    async with Stage(solo(Actor)) as stage:
        stage.tell("a", "x")
        await settle()
        assert stage.lost() == {"unhandled": 1}


@in_virtual_time
async def test_p4_a_message_to_a_dead_actor_is_a_dead_letter() -> None:
    """An address stays good for ever; what is sent to a dead actor is accounted for."""
    async with Stage(solo(Actor)) as stage:
        ref = stage.ref("a")
        await ref.stop()
        assert not ref.alive
        ref.tell(Do(what="x"))
        ref.suspend()
        assert stage.lost() == {"stopped": 1}


@in_virtual_time
async def test_tell_refuses_what_is_no_message_and_what_has_no_room() -> None:
    """Only messages can be told, and a full mailbox that blocks says so at once."""
    async with Stage(solo(Actor, capacity=1)) as stage:
        ref = stage.ref("a")
        with pytest.raises(ValueError, match="message must be a Message, got 'x'"):
            ref.tell("x")  # type: ignore[arg-type]
        ref.suspend()
        ref.tell(Do(what="x"))
        with pytest.raises(MailboxFull):
            ref.tell(Do(what="y"))
        assert repr(ref) == "ActorRef('/top/a')"
        assert ref == stage.child("a").ref
        assert len({ref, stage.child("a").ref}) == 1


@in_virtual_time
async def test_p6_a_subscriber_that_is_too_slow_crashes_if_it_asked_for_that() -> None:
    """With `overflow="fail"` a full mailbox crashes its owner, whatever it does, and not the sender."""
    notes: list[str] = []
    spec = player("a", notes, capacity=2, overflow="fail")
    async with Stage(Supervisor(children=[spec])) as stage:
        stage.tell("a", "hang")
        await settle()
        for what in "xyz":
            stage.tell("a", what)
        await asyncio.sleep(SOON_S)
        assert isinstance(stage.child("a").last_error, MailboxOverflow)
        assert notes[1:5] == ["a:hang", "a-crashed", "a+", "a:x"]
        assert stage.child("a").mailbox.failed is False


@in_virtual_time
async def test_p11_an_overflow_is_not_lost_when_the_handler_swallows_the_cancellation() -> None:
    """A handler that does not listen is let finish; then the actor crashes all the same."""
    notes: list[str] = []

    async def stubborn(message: Do) -> None:
        notes.append(message.what)
        try:
            await asyncio.sleep(0.5)
        except asyncio.CancelledError:
            notes.append("ignored")

    async with Stage(solo(stubborn, capacity=1, overflow="fail")) as stage:
        stage.tell("a", "x")
        await settle()
        for what in "yz":
            stage.tell("a", what)
        await settle()
        assert isinstance(stage.child("a").last_error, MailboxOverflow)
        await asyncio.sleep(5)
        assert notes == ["x", "ignored", "y"]


@in_virtual_time
async def test_p11_both_errors_are_kept_when_a_cancelled_handler_raises_its_own() -> None:
    """What a handler raises when an overflow cuts it off is the context of the overflow."""

    async def clumsy(message: Do) -> None:
        try:
            await asyncio.sleep(1)
        except asyncio.CancelledError:
            raise Boom from None

    async with Stage(solo(clumsy, capacity=1, overflow="fail")) as stage:
        stage.tell("a", "x")
        await settle()
        for what in "yz":
            stage.tell("a", what)
        await settle()
        error = stage.child("a").last_error
        assert isinstance(error, MailboxOverflow)
        assert isinstance(error.__context__, Boom)
        await asyncio.sleep(5)


@in_virtual_time
async def test_p20_a_start_that_comes_back_after_its_time_has_its_on_stop() -> None:
    """An `on_start` that ignores its deadline and returns has failed; what it began is still stopped."""
    notes: list[str] = []

    class Late(Player):
        async def on_start(self, context: ActorContext) -> None:
            await super().on_start(context)
            await ignore_cancellations(0.5 if context.incarnation == 1 else 0)

    async with Stage(Supervisor()) as stage:
        cell = stage.root.add(ChildSpec(name="a", actor=lambda: Late("a", notes), start_ms=100))
        stage.tell("a", "x")
        await asyncio.sleep(5)
        assert notes == ["a+", "a-crashed", "a+", "a:x"]
        assert isinstance(cell.last_error, StartTimeout)
        assert stage.root.refs() == [cell.ref]


@in_virtual_time
async def test_p19_a_worker_that_is_stopped_in_its_start_never_runs() -> None:
    """A worker in its `on_start` is cancelled like one at work, and has nothing to stop."""
    notes: list[str] = []
    job = Job("a", notes)
    job._player._on_start = once("hang")
    async with Stage(Supervisor()) as stage:
        cell = stage.root.add(ChildSpec(name="a", actor=job))
        await settle()
        await cell.ref.stop()
        assert cell.last_error is None
    assert notes == ["a+"]


# time


@in_virtual_time
async def test_after_tells_oneself_later_and_can_be_taken_back() -> None:
    """A timer is a message to oneself; its handle cancels it; equal timers are two."""
    notes: list[str] = []
    async with Stage(solo(lambda: Player("a", notes))) as stage:
        context = stage.child("a").context
        assert context is not None
        context.after(100, Do(what="x"))
        context.after(100, Do(what="x"))
        context.after(50, Do(what="y")).cancel()
        assert context.loop_time() == asyncio.get_running_loop().time()
        await asyncio.sleep(1)
        assert notes == ["a+", "a:x", "a:x"]


@in_virtual_time
async def test_timers_end_with_their_incarnation() -> None:
    """No timer of a dead incarnation reaches the next one, however many are alike."""
    notes: list[str] = []
    async with Stage(solo(lambda: Player("a", notes))) as stage:
        context = stage.child("a").context
        assert context is not None
        message = Do(what="late")
        for _ in range(3):
            context.after(500, message)
        stage.tell("a", "crash")
        await asyncio.sleep(5)
        assert "a:late" not in notes


@in_virtual_time
async def test_p24_an_actor_with_a_long_queue_lets_others_run() -> None:
    """However much is queued for one actor, another gets its turn after a slice."""
    turns: list[str] = []

    def busy(message: Do) -> None:
        turns.append("busy")

    def other(message: Do) -> None:
        turns.append("other")

    children = [
        ChildSpec(name="busy", actor=busy, capacity=5000),
        ChildSpec(name="other", actor=other),
    ]
    async with Stage(Supervisor(children=children)) as stage:
        for _ in range(5000):
            stage.tell("busy", "")
        stage.tell("other", "")
        await settle()
        assert turns.index("other") <= life.SLICE_MESSAGES
        assert len(turns) == 5001


@in_virtual_time
async def test_p24_batches_count_as_their_messages() -> None:
    """An actor that takes batches yields after as many messages as one that does not."""
    turns: list[int] = []

    class Greedy(Actor):
        async def receive_batch(self, messages: list[Do]) -> None:
            turns.append(len(messages))

    async with Stage(solo(Greedy, capacity=5000)) as stage:
        for _ in range(3 * life.SLICE_MESSAGES):
            stage.tell("a", "")
        await asyncio.sleep(0)  # it is woken, and handles the first batch
        for count in (1, 2, 3):
            assert turns == [life.SLICE_MESSAGES] * count
            await asyncio.sleep(0)
        await settle()
        assert sum(turns) == 3 * life.SLICE_MESSAGES


# seen from outside


@in_virtual_time
async def test_p25_suspend_and_resume() -> None:
    """A suspended actor handles nothing, and after `resume` everything in order; by call and by message."""
    notes: list[str] = []
    async with Stage(solo(lambda: Player("a", notes))) as stage:
        ref, cell = stage.ref("a"), stage.child("a")
        ref.suspend()
        ref.suspend()
        assert cell.state == "suspended"
        for what in "xy":
            ref.tell(Do(what=what))
        await asyncio.sleep(SOON_S)
        assert notes == ["a+"]
        ref.resume()
        await settle()
        assert notes == ["a+", "a:x", "a:y"]
        ref.tell(Suspend())
        ref.tell(Do(what="z"))
        await settle()
        assert notes[-1] == "a:y"
        ref.tell(Resume())
        await settle()
        assert notes[-1] == "a:z"


@in_virtual_time
async def test_p25_a_suspended_actor_that_is_cancelled_is_restarted_and_still_suspended() -> None:
    """A crash while suspended is a crash like others: the next incarnation waits for `resume` as well."""
    notes: list[str] = []
    async with Stage(solo(lambda: Player("a", notes))) as stage:
        cell = stage.child("a")
        cell.suspend()
        await settle()
        assert cell.task is not None
        cell.task.cancel()
        stage.tell("a", "x")
        await asyncio.sleep(SOON_S)
        assert (cell.state, cell.incarnation) == ("suspended", 2)
        cell.resume()
        await settle()
        assert notes == ["a+", "a-crashed", "a+", "a:x"]


@in_virtual_time
async def test_p25_trace_shows_each_message_before_it_is_handled() -> None:
    """A tracer sees what an actor handles, asks and batches included, and is ended by None."""
    seen: list[str] = []

    def observe(path: str, message: Message) -> None:
        assert isinstance(message, Do)
        seen.append(f"{path} {message.what}")

    for actor in (Batcher(), Player("a", [])):
        seen.clear()
        async with Stage(solo(actor)) as stage:
            ref = stage.ref("a")
            ref.trace(observe)
            for what in "xy":
                ref.tell(Do(what=what))
            await ref.ask(Do(what="q"), timeout_ms=5000)
            assert seen == ["/top/a x", "/top/a y", "/top/a q"]
            ref.trace(None)
            ref.tell(Do(what="z"))
            await settle()
            assert len(seen) == 3


@in_virtual_time
async def test_p25_a_tracer_that_raises_is_dropped() -> None:
    """What an observer raises hurts nobody: it is logged, and it is called no more."""
    calls: list[str] = []

    def broken(path: str, message: Message) -> None:
        calls.append(path)
        raise Boom

    async with Stage(solo(lambda: Player("a", []))) as stage:
        stage.ref("a").trace(broken)
        for what in "xy":
            stage.tell("a", what)
        await settle()
        assert calls == ["/top/a"]
        assert stage.child("a").incarnation == 1
        assert stage.lost() == {}


# what actors are made of


@in_virtual_time
async def test_a_function_is_an_actor() -> None:
    """A plain or async function of one message is an actor; what it returns answers an ask."""

    def plain(message: Do) -> str:
        return message.what * 2

    async def asynchronous(message: Do) -> str:
        await asyncio.sleep(1)
        return message.what * 3

    children = [ChildSpec(name="p", actor=plain), ChildSpec(name="q", actor=asynchronous)]
    async with Stage(Supervisor(children=children)) as stage:
        assert await stage.ref("p").ask(Do(what="x"), timeout_ms=10) == "xx"
        assert await stage.ref("q").ask(Do(what="x"), timeout_ms=2000) == "xxx"
        print_child = ChildSpec(name="r", actor=print)  # a builtin whose signature takes anything
        assert print_child.name == "r"


@in_virtual_time
async def test_subscriptions_come_from_the_class_the_factory_or_the_spec() -> None:
    """The spec's types count; without them what the actor's class names, also of a factory's actors."""

    class Listener(Actor):
        subscribes = (Heartbeat,)

    specs = [
        ChildSpec(name="class", actor=Listener),
        ChildSpec(name="factory", actor=partial(Listener)),
        ChildSpec(name="object", actor=Listener()),
        ChildSpec(name="spec", actor=Listener, subscribes=(RolledBack,)),
        ChildSpec(name="none", actor=Listener, subscribes=()),
    ]
    async with Stage(Supervisor(children=specs)) as stage:
        found = [stage.child(name).subscription for name in stage.names]
        types = [sorted(kind.__name__ for kind in each.types) if each else [] for each in found]
        assert types == [["Heartbeat"], ["Heartbeat"], ["Heartbeat"], ["RolledBack"], []]


@in_virtual_time
async def test_a_worker_without_a_run_crashes_clearly() -> None:
    """`run` is what a worker is."""
    async with Stage(solo(Worker, restart="temporary")) as stage:
        cell = stage.child("a") if "a" in stage.names else None
        await settle()
        assert cell is None or isinstance(cell.last_error, NotImplementedError)
