"""The end of an actor: by drain, by timeout, by force, and what if it does not listen."""

import asyncio
import gc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stage import Do, Job, Player, Stage, ignore_cancellations, in_virtual_time, once, player, run, settle

from l0actors.actors import life
from l0actors.actors.actor import Actor, StopReason, Worker
from l0actors.actors.supervisor import ChildSpec, Supervisor
from l0actors.bus.messages import DeadLetter, Heartbeat, Stop


def now() -> float:
    """Return the virtual time."""
    return asyncio.get_running_loop().time()


@in_virtual_time
async def test_p19_a_drain_handles_what_is_queued_and_refuses_the_rest() -> None:
    """What was there before the stop is handled; what comes after it is a dead letter, `draining`."""
    notes: list[str] = []
    spec = player("a", notes)
    async with Stage(Supervisor(children=[spec])) as stage:
        ref = stage.ref("a")
        for what in ("slow", "x", "y"):
            ref.tell(Do(what=what))
        await settle()
        gone = ref.stop()
        ref.tell(Do(what="late"))
        await asyncio.sleep(0.5)
        ref.tell(Do(what="late"))
        assert not gone.done()
        await gone
        assert not ref.alive
        assert notes == ["a+", "a:slow", "a:x", "a:y", "a-shutdown"]
        assert stage.lost() == {"draining": 2}
        assert now() == 1


@in_virtual_time
async def test_p19_what_is_published_to_a_draining_subscriber_is_accounted_for() -> None:
    """A subscriber that drains gets nothing new, and publishers hear nothing of it."""

    class Slow(Actor):
        subscribes = (Heartbeat,)

        async def receive(self, message: Heartbeat) -> None:
            await asyncio.sleep(1)

    async with Stage(Supervisor(children=[ChildSpec(name="a", actor=Slow, capacity=1)])) as stage:
        await stage.bus.publish(Heartbeat(attempt=1))
        await settle()
        await stage.bus.publish(Heartbeat(attempt=1))
        waiting = asyncio.ensure_future(stage.bus.publish(Heartbeat(attempt=1)))
        await settle()
        gone = stage.ref("a").stop()
        await waiting
        await stage.bus.publish(Heartbeat(attempt=1))
        await gone
        assert stage.bus.subscriptions == ()
        assert stage.lost()["draining"] + stage.lost().get("no_subscriber", 0) == 2


@in_virtual_time
async def test_p19_a_stop_without_drain_ends_after_the_message_at_hand() -> None:
    """The handler that runs is let finish; what is queued becomes dead letters, `stopped`."""
    notes: list[str] = []
    async with Stage(Supervisor(children=[player("a", notes)])) as stage:
        ref = stage.ref("a")
        for what in ("slow", "x", "y"):
            ref.tell(Do(what=what))
        await settle()
        await ref.stop(drain=False)
        assert notes == ["a+", "a:slow", "a-shutdown"]
        assert stage.lost() == {"stopped": 2}


@in_virtual_time
async def test_p19_at_the_deadline_the_handler_is_cancelled() -> None:
    """After `timeout_ms` the handler is cancelled, `on_stop` is told `killed`, the rest is dead-lettered."""
    notes: list[str] = []
    async with Stage(Supervisor(children=[player("a", notes)])) as stage:
        ref = stage.ref("a")
        for what in ("hang", "x"):
            ref.tell(Do(what=what))
        await settle()
        letters = stage.bus.subscribe(DeadLetter)
        await ref.stop(timeout_ms=250)
        assert now() == pytest.approx(0.25)
        assert notes == ["a+", "a:hang", "a-killed"]
        assert stage.lost() == {"killed": 2}
        letters.close()
        letters.mailbox.clear("stopped")


@in_virtual_time
async def test_p19_a_stop_with_no_time_at_all_is_a_kill() -> None:
    """`timeout_ms=0` cancels at once."""
    notes: list[str] = []
    async with Stage(Supervisor(children=[player("a", notes)])) as stage:
        stage.tell("a", "hang")
        await settle()
        await stage.ref("a").stop(timeout_ms=0)
        assert notes[-1] == "a-killed"
        assert now() == 0
        with pytest.raises(ValueError, match="timeout_ms must be >= 0, got -1"):
            stage.cell.ref.stop(timeout_ms=-1)


@in_virtual_time
async def test_p19_a_worker_is_cancelled_at_once() -> None:
    """A worker has no queue to drain: asked to stop, its `run` is cancelled."""
    notes: list[str] = []
    for drain in (True, False):
        notes.clear()
        async with Stage(Supervisor(children=[ChildSpec(name="a", actor=Job("a", notes))])) as stage:
            await stage.ref("a").stop(drain=drain)
        assert notes == ["a+", "a-shutdown"]
    assert now() == 0


@in_virtual_time
async def test_p19_stopping_twice_is_stopping_once() -> None:
    """A second stop changes nothing but the deadline, and only to an earlier one; all waiters are told."""
    notes: list[str] = []
    async with Stage(Supervisor(children=[player("a", notes)])) as stage:
        ref = stage.ref("a")
        ref.tell(Do(what="hang"))
        await settle()
        stops = [ref.stop(timeout_ms=5000), ref.stop(timeout_ms=100), ref.stop(timeout_ms=9000)]
        await asyncio.wait(stops)
        assert now() == pytest.approx(0.1)
        await ref.stop()
        ref.tell(Stop())
        assert notes == ["a+", "a:hang", "a-killed"]


@in_virtual_time
async def test_p19_a_second_stop_without_drain_ends_the_drain() -> None:
    """Who drains and is asked to stop at once drops what is left of the queue."""
    notes: list[str] = []
    async with Stage(Supervisor(children=[player("a", notes)])) as stage:
        ref = stage.ref("a")
        for what in ("slow", "slow", "slow"):
            ref.tell(Do(what=what))
        ref.stop()
        await asyncio.sleep(0.5)
        await ref.stop(drain=False)
        assert notes == ["a+", "a:slow", "a-shutdown"]
        assert stage.lost() == {"stopped": 2}


@in_virtual_time
async def test_p19_giving_up_the_waiting_does_not_give_up_the_stop() -> None:
    """Cancelling who awaits the stop leaves the deadline in force."""
    notes: list[str] = []

    async def impatient(stage: Stage) -> None:
        await stage.ref("a").stop(timeout_ms=200)

    async with Stage(Supervisor(children=[player("a", notes)])) as stage:
        stage.tell("a", "hang")
        await settle()
        waiting = asyncio.ensure_future(impatient(stage))
        await settle()
        waiting.cancel()
        await asyncio.sleep(1)
        assert notes[-1] == "a-killed"
        assert stage.names == []


@in_virtual_time
async def test_p19_a_stop_comes_before_the_start_is_done() -> None:
    """An actor that is asked to stop while it starts finishes its start, drains, and stops."""
    notes: list[str] = []
    async with Stage(Supervisor()) as stage:
        stage.root.add(player("a", notes, on_start=once("slow")))
        stage.tell("a", "x")
        await settle()
        await stage.ref("a").stop()
        assert notes == ["a+", "a:x", "a-shutdown"]


@in_virtual_time
async def test_p19_a_suspended_actor_can_be_stopped() -> None:
    """A stop ends the suspension: what is queued is handled if it drains."""
    for drain in (True, False):
        notes: list[str] = []
        async with Stage(Supervisor(children=[player("a", notes)])) as stage:
            ref = stage.ref("a")
            ref.suspend()
            ref.tell(Do(what="x"))
            await settle()
            await ref.stop(drain=drain)
            assert ("a:x" in notes) == drain


@in_virtual_time
async def test_p19_a_crash_while_draining_ends_it() -> None:
    """Nobody restarts an actor that is stopping; what it did not handle is accounted for."""
    notes: list[str] = []
    async with Stage(Supervisor(children=[player("a", notes)])) as stage:
        for what in ("slow", "crash", "x"):
            stage.tell("a", what)
        await stage.ref("a").stop()
        assert notes == ["a+", "a:slow", "a:crash", "a-crashed"]
        assert stage.lost() == {"crashed_while_handling": 1, "stopped": 1}


@in_virtual_time
async def test_p12_a_cancellation_that_nobody_asked_for_is_a_crash_also_while_draining() -> None:
    """A drain is no excuse: a cancelled future in a handler is that handler's crash."""
    async with Stage(Supervisor(children=[player("a", [])])) as stage:
        cell = stage.child("a")
        for what in ("slow", "cancelled"):
            stage.tell("a", what)
        await cell.ref.stop()
        assert isinstance(cell.last_error, asyncio.CancelledError)


@in_virtual_time
async def test_p19_on_stop_has_its_deadline_too() -> None:
    """An `on_stop` that hangs is cancelled: after a stop at its deadline, after a crash at `stop_ms`."""
    notes: list[str] = []
    spec = player("a", notes, on_stop=lambda n: "hang", stop_ms=300, restart="temporary")
    async with Stage(Supervisor()) as stage:
        for how in ("stop", "crash"):
            cell = stage.root.add(spec)
            await settle()
            since = now()
            stage.tell("a", how)
            await cell.when_gone()
            assert now() - since == pytest.approx(0.3)
        cell = stage.root.add(spec)
        await settle()
        since = now()
        await cell.ref.stop(timeout_ms=100)
        assert now() - since == pytest.approx(0.1)


@in_virtual_time
async def test_p19_a_killed_actor_has_a_grace_to_clean_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the handler was cancelled, `on_stop` may take as long as the grace; then it is cancelled too."""
    monkeypatch.setattr(life, "KILL_GRACE_S", 0.5)
    for how, took_s in (("hang", 0.1 + 0.5), ("slow", 0.1 + 0.5)):
        notes: list[str] = []
        async with Stage(Supervisor(children=[player("a", notes, on_stop=once(how))])) as stage:
            stage.tell("a", "hang")
            await settle()
            since = now()
            await stage.ref("a").stop(timeout_ms=100)
            assert now() - since == pytest.approx(took_s)


# those who do not listen


@pytest.mark.parametrize("where", ["receive", "on_start", "on_stop", "run"])
@in_virtual_time
async def test_p19_who_ignores_every_cancellation_is_given_up_and_reported(where: str) -> None:
    """After three cancellations, a grace apart, nobody waits any more: the actor is stuck, and named."""
    notes: list[str] = []
    hook = {where: once("deaf")} if where.startswith("on_") else {}
    async with Stage(Supervisor()) as stage:
        if where == "run":
            cell = stage.root.add(ChildSpec(name="a", actor=Job("a", notes, once("deaf"))))
        else:
            cell = stage.root.add(player("a", notes, start_ms=10**7, **hook))
        await settle()
        if where == "receive":
            cell.ref.tell(Do(what="deaf"))
            await settle()
        since = now()
        await cell.ref.stop(timeout_ms=100)
        assert now() - since == pytest.approx(0.1 + life.KILL_TRIES * life.KILL_GRACE_S)
        assert cell.state == "stuck"
        assert stage.cell.stuck == ["/top/a"]
        assert stage.names == []
        assert not stage.exits
        gc.collect()
    await asyncio.sleep(4000)  # it wakes up at last, ends, and changes nothing
    assert cell.state == "stuck"
    gc.collect()


@in_virtual_time
async def test_p16_a_stuck_actor_that_wakes_up_publishes_into_the_void() -> None:
    """An actor that was given up is superseded: what it still says reaches nobody."""

    class Deaf(Player):
        async def receive(self, message: Do) -> Any:
            await ignore_cancellations(100)
            await self.context.publish(Heartbeat(attempt=1))
            self.context.after(1, message)

    async with Stage(Supervisor(children=[ChildSpec(name="a", actor=lambda: Deaf("a", []))])) as stage:
        heard = stage.bus.subscribe(Heartbeat)
        stage.tell("a", "")
        await settle()
        await stage.ref("a").stop(timeout_ms=1)
        await asyncio.sleep(200)
        assert heard.mailbox.depth == 0
        assert stage.lost() == {"superseded": 1}
        heard.close()


@in_virtual_time
async def test_p19_a_stuck_child_holds_up_nobody_else() -> None:
    """The supervisor of a stuck child stops the others, and is not stuck itself, through all levels."""
    notes: list[str] = []
    low = Supervisor(children=[player("x", notes), player("y", notes, stop_ms=100), player("z", notes)])
    mid = Supervisor(children=[ChildSpec(name="low", actor=low, stop_ms=1000)])
    async with Stage(Supervisor(children=[ChildSpec(name="mid", actor=mid, stop_ms=500)])) as stage:
        low.children["y"].cell.ref.tell(Do(what="deaf"))
        await settle()
        await stage.stop(timeout_ms=10)
        assert stage.cell.stuck == ["/top/mid/low/y"]
        assert now() < 10
        assert notes[-2:] == ["z-shutdown", "x-killed"]
        assert len(stage.exits) == 1
    await asyncio.sleep(3600)


@in_virtual_time
async def test_p19_killing_again_does_not_shorten_the_grace() -> None:
    """However often and by however many an actor is killed, it has its time to clean up."""
    notes: list[str] = []
    async with Stage(Supervisor(children=[player("a", notes, on_stop=once("slow"))])) as stage:
        cell = stage.child("a")
        stage.tell("a", "hang")
        await settle()
        for _ in range(10):
            cell.kill()
            await asyncio.sleep(0)
        await cell.when_gone()
        assert cell.state == "gone"
        assert now() == pytest.approx(1)


@in_virtual_time
async def test_p19_force_reaches_the_whole_subtree_at_once() -> None:
    """A supervisor at its deadline kills all below it together, not one after the other."""
    notes: list[str] = []
    children = [player(name, notes) for name in "abc"]
    async with Stage(Supervisor(children=children)) as stage:
        for name in "abc":
            stage.tell(name, "hang")
        await settle()
        await stage.stop(timeout_ms=100)
        assert now() == pytest.approx(0.1)
        assert sorted(notes[-3:]) == ["a-killed", "b-killed", "c-killed"]
        assert stage.cell.stuck == []


@in_virtual_time
async def test_p21_a_supervisor_that_hangs_in_a_handler_is_killed_with_its_children() -> None:
    """Also a supervisor with a hook that does not listen cannot leave children behind."""
    notes: list[str] = []

    class Deaf(Supervisor):
        async def receive(self, message: Any) -> Any:
            if isinstance(message, Do):
                await ignore_cancellations(100)
            return await super().receive(message)

    async with Stage(Deaf(children=[player("a", notes)])) as stage:
        stage.cell.ref.tell(Do(what=""))
        await settle()
        await stage.stop(timeout_ms=100)
        assert stage.cell.stuck == ["/top"]
        assert notes == ["a+", "a-killed"]
    await asyncio.sleep(200)


@in_virtual_time
async def test_p21_a_supervisor_that_is_cancelled_from_outside_takes_its_children_down() -> None:
    """Cancelling a supervisor's task, once or again and again, is a crash of it that leaves nothing."""
    for times in (1, 2, 3, 9):
        notes: list[str] = []
        stage = Stage(Supervisor(children=[player("a", notes, on_stop=once("slow")), player("b", notes)]))
        async with stage:
            task = stage.cell.task
            assert task is not None
            for _ in range(times):
                task.cancel()
                await asyncio.sleep(0.01)
            await asyncio.wait({task})
            await settle()
            assert stage.cell.gone
            assert stage.exits[0].reason is StopReason.CRASHED
            assert sum("-" in note for note in notes) == 2


def test_p21_a_loop_that_is_torn_down_takes_the_tree_down() -> None:
    """When all tasks are cancelled, as `asyncio.run` does at its end, each hook still runs once."""
    notes: list[str] = []

    async def scenario() -> None:
        low = ChildSpec(
            name="low", actor=lambda: Supervisor(children=[player("x", notes), player("y", notes)])
        )
        stage = Stage(Supervisor(children=[player("a", notes), low]))
        await stage.cell.start()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await asyncio.sleep(10)
        assert stage.cell.gone

    run(scenario())
    assert sorted(note[:2] for note in notes) == ["a+", "a-", "x+", "x-", "y+", "y-"]


WORK = st.sampled_from(["x", "slow", "crash", "stop", "hang", "cancelled"])


@settings(max_examples=80, deadline=None)
@given(
    work=st.lists(WORK, max_size=6),
    stops=st.lists(
        st.tuples(st.floats(0, 2), st.booleans(), st.sampled_from([0, 100, 1500])), min_size=1, max_size=4
    ),
    kind=st.sampled_from(["permanent", "transient", "temporary"]),
    ends=st.sampled_from(["", "crash", "slow", "hang"]),
)
def test_p19_whenever_it_is_stopped_it_ends_and_every_message_is_accounted_for(
    work: list[str], stops: list[tuple[float, bool, int]], kind: Any, ends: str
) -> None:
    """For any work and any stops: the actor is gone, each start has one stop, no message is lost silently."""

    async def scenario() -> None:
        notes: list[str] = []
        spec = player("a", notes, restart=kind, on_stop=lambda n: ends, stop_ms=400)
        async with Stage(Supervisor(children=[spec], max_restarts=100)) as stage:
            ref = stage.ref("a")
            for what in work:
                ref.tell(Do(what=what))
            for pause, drain, timeout_ms in stops:
                await asyncio.sleep(pause)
                ref.stop(drain=drain, timeout_ms=timeout_ms)
            await ref.stop(timeout_ms=1500)
            assert not ref.alive
        assert notes.count("a+") == sum(note.startswith("a-") for note in notes)
        handled = [note[2:] for note in notes if note.startswith("a:")]
        assert handled == work[: len(handled)]
        failed = [what for what in handled if what in ("crash", "hang", "cancelled")]
        lost = sum(stage.lost().values())
        assert (
            len(work) - len(handled) <= lost <= len(work) - len(handled) + len(failed) + handled.count("slow")
        )

    run(scenario())


class Idle(Worker):
    """Does nothing, until it is cancelled."""

    async def run(self) -> None:
        await asyncio.sleep(3600)


@in_virtual_time
async def test_p19_no_timer_outlives_a_stop() -> None:
    """The deadlines of a stop go with the actor (`run` fails if one is left)."""
    async with Stage(Supervisor(children=[ChildSpec(name="a", actor=Idle)])) as stage:
        await stage.ref("a").stop(timeout_ms=10**6)
        stage.cell.ref.stop(timeout_ms=10**6)
