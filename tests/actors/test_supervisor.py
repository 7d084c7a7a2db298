"""Restart kind x way of ending, intensity, back-off, deciders, significant children, faulty specs."""

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest
from stage import SOON_S, Boom, Do, Job, Player, Stage, in_virtual_time, once, player, settle

from l0actors.actors.actor import Actor, ActorContext, StartTimeout, StopReason
from l0actors.actors.cell import Exit
from l0actors.actors.restarts import Intensity, affected, directive_for
from l0actors.actors.supervisor import (
    ChildSpec,
    Escalated,
    RestartBackoff,
    RestartIntensityExceeded,
    SinkSupervisor,
    StartFailed,
    Supervisor,
)
from l0actors.bus.messages import ActorCrashed, ActorRestarted, ActorStarted, Stop

KINDS = ("permanent", "transient", "temporary")

# How a child ends -> which restart kinds start it again.
ENDS: dict[str, tuple[str, ...]] = {
    "normal": ("permanent",),
    "worker_returns": ("permanent",),
    "crash": ("permanent", "transient"),
    "worker_crashes": ("permanent", "transient"),
    "crash_in_on_start": ("permanent", "transient"),
    "crash_in_on_stop": ("permanent", "transient"),
    "crash_in_both": ("permanent", "transient"),
    "cancelled_from_outside": ("permanent", "transient"),
    "cancels_itself": ("permanent", "transient"),
    "stuck_in_on_stop": ("permanent", "transient"),
    "asked_to_stop": (),
    "told_to_stop": (),
    "killed_at_the_deadline": (),
}


def ending(way: str, notes: list[str]) -> Actor:
    """Return an actor that ends its first incarnation in this way (some only when told)."""
    if way == "worker_returns":
        return Job("a", notes, lambda n: "" if n == 1 else "hang")
    if way == "worker_crashes":
        return Job("a", notes, lambda n: "crash" if n == 1 else "hang")
    if way == "crash_in_on_start":
        return Player("a", notes, on_start=once("crash"))
    if way in ("crash_in_on_stop", "crash_in_both"):
        return Player("a", notes, on_stop=once("crash"))
    if way == "stuck_in_on_stop":
        return Player("a", notes, on_stop=once("hang"))
    return Player("a", notes)


async def end(way: str, stage: Stage) -> None:
    """Make the child end, if it does not by itself."""
    cell = stage.child("a")
    orders = {"normal": "stop", "crash": "crash", "crash_in_both": "crash", "cancels_itself": "cancelled"}
    orders |= {"crash_in_on_stop": "stop", "stuck_in_on_stop": "stop", "killed_at_the_deadline": "hang"}
    if way in orders:
        stage.tell("a", orders[way])
        await settle()
    if way == "cancelled_from_outside":
        assert cell.task is not None
        cell.task.cancel()
    if way in ("asked_to_stop", "killed_at_the_deadline"):
        await cell.ref.stop(timeout_ms=100)
    if way == "told_to_stop":
        cell.ref.tell(Stop())


@pytest.mark.parametrize("way", ENDS)
@pytest.mark.parametrize("restart", KINDS)
@in_virtual_time
async def test_p13_restart_kind_and_way_of_ending(restart: Any, way: str) -> None:
    """The restart kind and the way of ending, and nothing else, say whether a child starts again."""
    notes: list[str] = []
    supervisor = Supervisor(max_restarts=1)
    async with Stage(supervisor) as stage:
        spec = ChildSpec(name="a", actor=lambda: ending(way, notes), restart=restart, stop_ms=200)
        cell = supervisor.add(spec)
        await settle()
        if cell.state == "running":
            await end(way, stage)
        await asyncio.sleep(SOON_S)
        again = restart in ENDS[way]
        assert (cell.incarnation > 1) == again
        assert cell.ref.alive == again
        assert ("a" in supervisor.children) == again
        assert notes.count("a+") == cell.incarnation
        assert stage.exits == []


@in_virtual_time
async def test_p13_a_restart_is_a_fresh_instance_and_an_object_is_started_again() -> None:
    """A factory or class gives a new actor for each incarnation; an actor object is used again."""
    made: list[Player] = []
    notes: list[str] = []

    def make() -> Player:
        made.append(Player("a", notes))
        return made[-1]

    same = Player("b", notes)
    children = [ChildSpec(name="a", actor=make), ChildSpec(name="b", actor=same)]
    async with Stage(Supervisor(children=children)) as stage:
        assert len(made) == 1
        stage.tell("a", "crash")
        stage.tell("b", "crash")
        await asyncio.sleep(SOON_S)
        assert len(made) == 2
        assert stage.child("a").actor is made[1]
        assert stage.child("b").actor is same
        assert same.incarnation == 2


@in_virtual_time
async def test_p13_children_start_in_order_and_stop_in_reverse() -> None:
    """The next child starts when the one before it has; stopping goes the other way round."""
    notes: list[str] = []
    children = [player(name, notes, on_start=once("slow"), on_stop=once("slow")) for name in "abc"]
    async with Stage(Supervisor(children=children)):
        assert notes == ["a+", "b+", "c+"]
    assert notes[3:] == ["c-shutdown", "b-shutdown", "a-shutdown"]
    assert asyncio.get_running_loop().time() == pytest.approx(6)


@pytest.mark.parametrize("fault", ["crash", "hang", "cancelled", "deaf"])
@in_virtual_time
async def test_p13_a_failed_start_rolls_back_in_reverse(fault: str) -> None:
    """If a child does not start, those before it are stopped, the last first, and the supervisor fails."""
    notes: list[str] = []
    children = [
        player("a", notes),
        player("b", notes),
        player("c", notes, on_start=once(fault), start_ms=100),
    ]
    async with Stage(Supervisor(children=[*children, player("d", notes)])) as stage:
        assert notes == ["a+", "b+", "c+", "b-shutdown", "a-shutdown"]
        [ended] = stage.exits
        assert isinstance(ended.error, StartFailed)
        assert ended.error.path == "/top/c"
        assert not ended.started
        expected = {"crash": Boom, "cancelled": asyncio.CancelledError}.get(fault, StartTimeout)
        assert isinstance(ended.error.__cause__, expected)
        assert stage.names == []
    await asyncio.sleep(3600)  # until the deaf one has woken up


@in_virtual_time
async def test_p13_a_factory_that_raises_fails_the_start_and_rolls_back() -> None:
    """A factory is part of the start: what it raises is the cause of the failed start."""
    notes: list[str] = []
    broken = ChildSpec(name="b", actor=lambda: 1 / 0)
    async with Stage(Supervisor(children=[player("a", notes), broken])) as stage:
        await settle()
        assert notes == ["a+", "a-shutdown"]
        [ended] = stage.exits
        assert isinstance(ended.error, StartFailed)
        assert isinstance(ended.error.__cause__, ZeroDivisionError)


@in_virtual_time
async def test_p13_a_factory_that_raises_later_is_a_failed_restart() -> None:
    """A factory that gives no actor for a later incarnation is a crash like others, and is counted."""
    notes: list[str] = []
    made = iter([Player("a", notes), "no actor", Player("a", notes)])
    spec = ChildSpec(name="a", actor=lambda: next(made))
    async with Stage(Supervisor(children=[spec])) as stage:
        stage.tell("a", "crash")
        await asyncio.sleep(SOON_S)
        assert stage.child("a").incarnation == 3
        assert "got 'no actor'" in str(stage.child("a").last_error)


@in_virtual_time
async def test_p13_a_start_that_hangs_is_cut_off_also_for_a_child_added_later() -> None:
    """`start_ms` holds for each start: a child that never starts is a failed one, and tried again."""
    notes: list[str] = []
    async with Stage(Supervisor()) as stage:
        cell = stage.root.add(player("a", notes, on_start=once("hang"), start_ms=500))
        await asyncio.sleep(0.49)
        assert cell.state == "starting"
        await asyncio.sleep(0.1)
        assert cell.state == "running"
        assert notes == ["a+", "a+"]
        assert isinstance(cell.last_error, StartTimeout)
        assert "/top/a was not started within 500" in str(cell.last_error)


@in_virtual_time
async def test_p13_stopping_a_supervisor_that_starts_stops_who_has_started() -> None:
    """A supervisor that is killed in the middle of its start leaves no child behind."""
    notes: list[str] = []
    slow = player("b", notes, on_start=once("hang"), start_ms=60_000)
    stage = Stage(Supervisor(children=[player("a", notes), slow]))
    stage.cell.start()
    await settle()
    assert notes == ["a+", "b+"]
    await stage.stop(timeout_ms=10)
    assert notes == ["a+", "b+", "a-killed"]
    assert stage.exits[0].reason is StopReason.KILLED


@in_virtual_time
async def test_p13_a_significant_child_ends_its_supervisor() -> None:
    """When a significant child is not restarted, the rest of the unit is stopped, and ends well."""
    notes: list[str] = []
    for how in ("stop", "asked"):
        notes.clear()
        children = [player("a", notes), player("b", notes, restart="transient", significant=True)]
        async with Stage(Supervisor(children=children)) as stage:
            if how == "stop":
                stage.tell("b", "stop")
            else:
                await stage.ref("b").stop()
            await settle()
            assert stage.cell.gone
            assert stage.exits == [Exit(StopReason.NORMAL, None, True)]
        assert notes[-1] == "a-shutdown"


@in_virtual_time
async def test_p13_a_significant_child_that_is_restarted_ends_nobody() -> None:
    """A crash of a significant transient child is a restart like others."""
    notes: list[str] = []
    spec = player("a", notes, restart="transient", significant=True)
    async with Stage(Supervisor(children=[spec])) as stage:
        stage.tell("a", "crash")
        await asyncio.sleep(SOON_S)
        assert stage.child("a").incarnation == 2


@pytest.mark.parametrize(
    ("raised", "restart", "incarnations", "alive"),
    [
        (KeyError, "permanent", 1, False),  # stop, as a LookupError
        (KeyError, "transient", 1, False),
        (ValueError, "transient", 2, True),  # restart
        (ValueError, "temporary", 1, False),  # a temporary one is never restarted
        (TypeError, "permanent", 2, True),  # no entry: its kind decides
        (TypeError, "temporary", 1, False),
    ],
)
@in_virtual_time
async def test_p13_a_decider_chooses_by_exception_type(
    raised: type[Exception], restart: Any, incarnations: int, alive: bool
) -> None:
    """The first entry that the exception is an instance of decides; without one the restart kind does."""

    async def fail(message: Do) -> None:
        raise raised

    spec = ChildSpec(name="a", actor=fail, restart=restart)
    supervisor = Supervisor(children=[spec], decider={LookupError: "stop", ValueError: "restart"})
    async with Stage(supervisor) as stage:
        cell = stage.child("a")
        stage.tell("a", "")
        await asyncio.sleep(SOON_S)
        assert (cell.incarnation, cell.ref.alive) == (incarnations, alive)
        assert not stage.cell.gone


@pytest.mark.parametrize("restart", KINDS)
@in_virtual_time
async def test_p13_a_decider_escalates(restart: Any) -> None:
    """An escalated failure fails the supervisor, with the child's exception as the cause."""
    notes: list[str] = []
    children = [player("a", notes, restart=restart), player("b", notes)]
    async with Stage(Supervisor(children=children, decider={Boom: "escalate"})) as stage:
        stage.tell("a", "crash")
        await settle()
        [ended] = stage.exits
        assert isinstance(ended.error, Escalated)
        assert isinstance(ended.error.__cause__, Boom)
        assert notes[-1] == "b-shutdown"
        assert stage.lost() == {"crashed_while_handling": 1}  # the order to crash, and nothing of its own


@in_virtual_time
async def test_p13_a_decider_goes_by_the_crash_and_not_by_what_on_stop_raises_after_it() -> None:
    """When `on_stop` raises after a crash, the crash is acted upon, and both are reported."""

    class Broken(Actor):
        async def receive(self, message: Any) -> Any:
            raise KeyError

        async def on_stop(self, reason: StopReason) -> None:
            raise OSError("the second")

    supervisor = Supervisor(children=[ChildSpec(name="a", actor=Broken)], decider={KeyError: "stop"})
    async with Stage(supervisor) as stage:
        crashes = stage.bus.subscribe(ActorCrashed)
        cell = stage.child("a")
        stage.tell("a", "")
        await asyncio.sleep(SOON_S)
        assert not cell.ref.alive
        assert crashes.mailbox.depth == 2
        crashes.close()
        crashes.mailbox.clear("stopped")


# intensity


@in_virtual_time
async def test_p14_more_than_three_restarts_in_five_seconds_fail_upwards_with_the_causes() -> None:
    """The fourth failure within the window stops the unit, and names what was raised."""
    notes: list[str] = []
    async with Stage(Supervisor(children=[player("a", notes), player("b", notes)])) as stage:
        for number in range(4):
            assert not stage.exits, number
            stage.tell("a", "crash")
            await asyncio.sleep(1)
        [ended] = stage.exits
        assert ended.reason is StopReason.CRASHED
        assert isinstance(ended.error, RestartIntensityExceeded)
        assert ended.error.path == "/top"
        assert [type(cause) for cause in ended.error.causes] == [Boom] * 4
        assert isinstance(ended.error.__cause__, Boom)
        assert "more than 3 restarts within 5" in str(ended.error)
        assert notes[-1] == "b-shutdown"


@in_virtual_time
async def test_p14_the_window_slides() -> None:
    """Failures that are older than the window are forgotten: a failure every two seconds is no end."""
    notes: list[str] = []
    quick = RestartBackoff(cap_ms=10)
    async with Stage(Supervisor(children=[player("a", notes)], backoff=quick)) as stage:
        for _ in range(20):
            stage.tell("a", "crash")
            await asyncio.sleep(2)
        assert stage.child("a").incarnation == 21


@in_virtual_time
async def test_p14_the_failures_of_all_children_are_counted_together() -> None:
    """Four children that fail once each are four failures of their supervisor."""
    notes: list[str] = []
    async with Stage(Supervisor(children=[player(name, notes) for name in "abcd"])) as stage:
        for name in "abcd":
            stage.tell(name, "crash")
        await settle()
        assert stage.cell.gone


@in_virtual_time
async def test_p14_a_failed_restart_counts() -> None:
    """A child that crashes once and then cannot start any more uses up the intensity by itself."""
    notes: list[str] = []
    spec = player("a", notes, on_start=lambda n: "crash" if n > 1 else "")
    async with Stage(Supervisor(children=[spec])) as stage:
        stage.tell("a", "crash")
        await asyncio.sleep(SOON_S)
        assert isinstance(stage.exits[0].error, RestartIntensityExceeded)
        assert notes.count("a+") == 4


@in_virtual_time
async def test_p14_a_normal_end_of_a_permanent_child_counts_too() -> None:
    """A permanent child that keeps on ending well is a failure as well, without a cause."""
    notes: list[str] = []
    async with Stage(Supervisor(max_restarts=1, children=[player("a", notes)])) as stage:
        for _ in range(2):
            stage.tell("a", "stop")
            await asyncio.sleep(SOON_S)
        error = stage.exits[0].error
        assert isinstance(error, RestartIntensityExceeded)
        assert error.causes == (None, None)


@in_virtual_time
async def test_p14_no_restarts_at_all_can_be_asked_for() -> None:
    """With `max_restarts=0` the first failure fails upwards."""
    notes: list[str] = []
    async with Stage(Supervisor(max_restarts=0, children=[player("a", notes)])) as stage:
        stage.tell("a", "crash")
        await settle()
        assert isinstance(stage.exits[0].error, RestartIntensityExceeded)


@in_virtual_time
async def test_p14_failure_escalates_through_two_levels() -> None:
    """A supervisor that fails too often is itself a failed child, up to the root."""
    notes: list[str] = []
    broken = player("leaf", notes, on_start=lambda n: "crash" if n > 1 else "")
    low = [ChildSpec(name="low", actor=lambda: Supervisor(max_restarts=1, children=[broken]))]
    mid = [ChildSpec(name="mid", actor=lambda: Supervisor(max_restarts=1, children=low))]
    async with Stage(Supervisor(max_restarts=0, children=mid)) as stage:
        middle = stage.child("mid").actor
        assert isinstance(middle, Supervisor)
        for _ in range(2):
            lowest = middle.children["low"].cell.actor
            assert isinstance(lowest, Supervisor)
            lowest.children["leaf"].cell.ref.tell(Do(what="crash"))
            await asyncio.sleep(SOON_S)
        top = stage.exits[0].error
        assert isinstance(top, RestartIntensityExceeded)
        [second] = top.causes
        assert isinstance(second, RestartIntensityExceeded)
        assert second.path == "/top/mid"
        assert [type(cause) for cause in second.causes] == [RestartIntensityExceeded] * 2
        lowest_error = second.causes[0]
        assert isinstance(lowest_error, RestartIntensityExceeded)
        assert lowest_error.path == "/top/mid/low"
        assert [type(cause) for cause in lowest_error.causes] == [Boom, Boom]


@in_virtual_time
async def test_p14_a_restarted_supervisor_counts_from_zero() -> None:
    """A new incarnation of a supervisor, even of the same object, knows nothing of earlier failures."""
    notes: list[str] = []
    low = Supervisor(max_restarts=1, children=[player("a", notes)])
    async with Stage(Supervisor(children=[ChildSpec(name="low", actor=low)])) as stage:
        for incarnation in (1, 2):
            for _ in range(2):
                assert stage.child("low").incarnation == incarnation
                low.children["a"].cell.ref.tell(Do(what="crash"))
                await asyncio.sleep(SOON_S)
        assert stage.child("low").incarnation == 3


@in_virtual_time
async def test_p14_a_sink_that_fails_too_often_is_given_up_alone() -> None:
    """Sinks do not know each other: each has a count of its own, and goes alone."""
    notes: list[str] = []
    async with Stage(SinkSupervisor()) as stage:
        for name in "ab":
            stage.root.add(player(name, notes))
        await settle()
        stage.tell("b", "crash")
        for _ in range(4):
            stage.tell("a", "crash")
            await asyncio.sleep(SOON_S)
        assert stage.names == ["b"]
        assert stage.child("b").incarnation == 2
        stage.root.add(player("a", notes))  # its name is free, and its count is new
        await settle()
        stage.tell("a", "crash")
        await asyncio.sleep(SOON_S)
        assert stage.names == ["b", "a"]


def test_p14_intensity_is_a_sliding_window() -> None:
    """The count is of the last `within_s` seconds, both ends included."""
    intensity = Intensity(2, 5.0)
    assert [intensity.record(now, None) for now in (0, 1, 5)] == [False, False, True]
    assert [intensity.record(now, None) for now in (6.5, 20)] == [False, False]
    assert len(intensity.causes) == 1


# back-off


def test_p15_the_pause_grows_to_its_cap_and_is_jittered() -> None:
    """Each pause is between half of the doubled base and all of it, and never beyond the cap."""
    backoff = RestartBackoff(base_ms=10, cap_ms=100)
    assert [backoff.delay_ms(n, 0.0) for n in range(5)] == [5, 10, 20, 40, 50]
    assert backoff.delay_ms(0, 0.999) == pytest.approx(10, abs=0.01)
    assert backoff.delay_ms(10_000, 1.0) == 100


async def pauses(seed: int, orders: int = 6, between_s: float = 0.0) -> list[float]:
    """Return how long a child that crashes again and again is down each time."""
    loop = asyncio.get_running_loop()
    down: list[float] = []
    notes: list[str] = []
    children = [player("a", notes)]
    async with Stage(Supervisor(max_restarts=100, children=children), seed=seed) as stage:
        restarts = stage.bus.subscribe(ActorRestarted)
        for _ in range(orders):
            await asyncio.sleep(between_s)
            stage.tell("a", "crash")
            since = loop.time()
            await restarts.__anext__()
            down.append(loop.time() - since)
        restarts.close()
    return down


@in_virtual_time
async def test_p15_the_pause_before_a_restart_grows() -> None:
    """An actor that crashes again at once waits about twice as long each time."""
    down = await pauses(0)
    for number, pause in enumerate(down):
        assert 0.005 * 2**number <= pause <= 0.010 * 2**number + 1e-6


@in_virtual_time
async def test_p15_the_pause_begins_anew_after_a_healthy_spell() -> None:
    """An actor that has run for `healthy_s` starts again after the first pause."""
    assert max(await pauses(0, between_s=10.1)) <= 0.0101


@in_virtual_time
async def test_p26_jitter_comes_from_the_injected_generator() -> None:
    """The same seed gives the same pauses, another seed others, and the global generator is not asked."""
    random.seed(1)
    before = random.getstate()
    first, second, other = await pauses(1), await pauses(1), await pauses(2)
    assert first == pytest.approx(second, abs=1e-9)
    assert all(abs(a - b) > 1e-9 for a, b in zip(first, other, strict=True))
    assert random.getstate() == before


@in_virtual_time
async def test_p15_the_supervisor_is_responsive_while_a_child_waits_for_its_restart() -> None:
    """During one child's pause, and its slow start, others are restarted, added and stopped."""
    notes: list[str] = []
    backoff = RestartBackoff(base_ms=60_000, cap_ms=60_000)
    slow = player("a", notes)
    async with Stage(Supervisor(children=[slow, player("b", notes)], backoff=backoff)) as stage:
        stage.tell("a", "crash")
        await settle()
        assert stage.child("a").state == "down"
        stage.root.add(player("c", notes))
        await stage.ref("b").stop()
        await settle()
        assert stage.names == ["a", "c"]
        assert asyncio.get_running_loop().time() < 1
    assert notes[-1] == "c-shutdown"
    assert asyncio.get_running_loop().time() < 1  # the stop did not wait for the pause either


@in_virtual_time
async def test_p15_a_child_whose_restart_hangs_holds_up_no_other_child() -> None:
    """With `one_for_one`, one child's slow `on_start` does not delay another's restart."""
    notes: list[str] = []
    children = [player("a", notes, on_start=once("hang", at=2)), player("b", notes)]
    async with Stage(Supervisor(children=children)) as stage:
        stage.tell("a", "crash")
        await asyncio.sleep(0.1)
        stage.tell("b", "crash")
        await asyncio.sleep(0.1)
        assert (stage.child("a").state, stage.child("b").state) == ("starting", "running")
        assert stage.child("b").incarnation == 2


@in_virtual_time
async def test_p12_messages_that_come_during_the_pause_are_kept() -> None:
    """The mailbox is the actor's, not the incarnation's: it fills during the pause, in order."""
    notes: list[str] = []
    async with Stage(Supervisor(children=[player("a", notes)])) as stage:
        for what in ("crash", "x"):
            stage.tell("a", what)
        await settle()
        stage.tell("a", "y")
        await asyncio.sleep(SOON_S)
        assert notes == ["a+", "a:crash", "a-crashed", "a+", "a:x", "a:y"]


@in_virtual_time
async def test_stopping_a_child_that_waits_for_its_restart_takes_it_off() -> None:
    """A child that is stopped while it is down is gone at once; its name is free, no restart follows."""
    notes: list[str] = []
    async with Stage(Supervisor(children=[player("a", notes)])) as stage:
        stage.tell("a", "crash")
        await settle()
        await stage.ref("a").stop()
        assert stage.names == []
        stage.root.add(player("a", notes))
        await asyncio.sleep(SOON_S)
        assert stage.child("a").incarnation == 1


@in_virtual_time
async def test_starts_crashes_and_restarts_are_announced() -> None:
    """Each start, crash and restart is a message on the bus, with path and incarnation."""
    notes: list[str] = []
    async with Stage(Supervisor()) as stage:
        heard = stage.bus.subscribe((ActorStarted, ActorCrashed, ActorRestarted))
        stage.root.add(player("a", notes))
        await settle()
        stage.tell("a", "crash")
        await asyncio.sleep(SOON_S)
        heard.close()
        messages = [message async for message in heard]
        assert [type(message) for message in messages] == [ActorStarted, ActorCrashed, ActorRestarted]
        assert [(m.path, m.incarnation) for m in messages] == [("/top/a", 1), ("/top/a", 1), ("/top/a", 2)]  # type: ignore[attr-defined]


@in_virtual_time
async def test_a_full_subscriber_to_announcements_hurts_no_actor() -> None:
    """What a blocking subscriber has no room for is a dead letter; the actor starts all the same."""
    notes: list[str] = []
    async with Stage(Supervisor(max_restarts=100)) as stage:
        heard = stage.bus.subscribe((ActorStarted, ActorCrashed), capacity=1, overflow="block")
        for name in "abc":
            stage.root.add(player(name, notes))
        await settle()
        stage.tell("a", "crash")
        await asyncio.sleep(SOON_S)
        assert [stage.child(name).state for name in "abc"] == ["running"] * 3
        assert stage.lost()["dropped_newest"] == 3
        heard.close()
        heard.mailbox.clear("stopped")


# the rules, pure


@pytest.mark.parametrize(
    ("strategy", "failed", "expected"),
    [
        ("one_for_one", "b", ["b"]),
        ("rest_for_one", "a", ["a", "b", "c"]),
        ("rest_for_one", "b", ["b", "c"]),
        ("one_for_all", "c", ["a", "b", "c"]),
    ],
)
def test_p13_who_is_affected(strategy: Any, failed: str, expected: list[str]) -> None:
    """The strategy says who is restarted with a failed child, in start order."""
    assert affected(strategy, ["a", "b", "c"], failed) == expected


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt(), SystemExit(1)])
@pytest.mark.parametrize("restart", KINDS)
def test_p12_nobody_is_restarted_after_an_interrupt(restart: Any, interrupt: BaseException) -> None:
    """A KeyboardInterrupt or SystemExit ends the program: the tree comes down, whatever a decider says."""
    ended = Exit(StopReason.CRASHED, interrupt, True)
    assert directive_for(restart, ended, {BaseException: "restart"}) == "escalate"


# faulty specs


class NoActor:
    pass


def two_arguments(one: int, two: int) -> None:
    """Is no function of one message, which shows when it gets one."""


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": ""}, "child.name must be a name without '/', got ''"),
        ({"name": "a/b"}, "child.name must be a name without '/', got 'a/b'"),
        ({"name": 7}, "child.name must be a str, got 7"),
        ({"restart": "always"}, "child.restart must be one of permanent, transient, temporary, got 'always'"),
        ({"restart": "permanent", "significant": True}, "child.significant needs restart="),
        ({"actor": 7}, "an actor must be .* got 7"),
        ({"actor": NoActor}, "an actor must be .* got <class '.*NoActor'>"),
        ({"actor": None}, "an actor must be .* got None"),
        ({"start_ms": -1}, "child.start_ms must be > 0, got -1"),
        ({"start_ms": 0}, "child.start_ms must be > 0, got 0"),
        ({"stop_ms": -5}, "child.stop_ms must be > 0, got -5"),
        ({"stop_ms": float("nan")}, "child.stop_ms must be a number, got nan"),
        ({"stop_ms": "1"}, "child.stop_ms must be a number, got '1'"),
        ({"capacity": 0}, "child.capacity must be >= 1, got 0"),
        ({"overflow": "spill"}, "child.overflow must be one of block, .* got 'spill'"),
        ({"subscribes": (Stop,)}, "Stop cannot be subscribed to"),
    ],
)
def test_p13_a_faulty_child_spec_is_refused(fields: dict[str, Any], message: str) -> None:
    """A spec that makes no sense is an error when it is written down, with the value."""
    with pytest.raises(ValueError, match=message):
        ChildSpec(**{"name": "a", "actor": Actor, **fields})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"strategy": "all"}, "strategy must be one of one_for_one, .* got 'all'"),
        ({"max_restarts": -1}, "max_restarts must be >= 0, got -1"),
        ({"max_restarts": 1.5}, "max_restarts must be a whole number, got 1.5"),
        ({"within_s": 0}, "within_s must be > 0, got 0"),
        ({"decider": {Boom: "ignore"}}, "decider's directive must be one of restart, .* got 'ignore'"),
        ({"decider": {"Boom": "stop"}}, "decider's keys must be exception types, got 'Boom'"),
        ({"children": [Actor]}, "children must be a ChildSpec, got"),
    ],
)
def test_p13_a_faulty_supervisor_is_refused(fields: dict[str, Any], message: str) -> None:
    """So is a supervisor that makes no sense."""
    with pytest.raises(ValueError, match=message):
        Supervisor(**fields)


@pytest.mark.parametrize("field", ["base_ms", "cap_ms", "healthy_s"])
def test_p15_a_negative_back_off_is_refused(field: str) -> None:
    """Pauses are not negative."""
    with pytest.raises(ValueError, match=f"backoff.{field} must be >= 0, got -1"):
        RestartBackoff(**{field: -1})


@in_virtual_time
async def test_p13_two_children_of_one_name_are_refused() -> None:
    """A name is unique among siblings, at once and later."""
    notes: list[str] = []
    with pytest.raises(ValueError, match=r"children must have different names, got \['a', 'a'\]"):
        Supervisor(children=[player("a", notes), player("a", notes)])
    async with Stage(Supervisor(children=[player("a", notes)])) as stage:
        with pytest.raises(ValueError, match="/top has a child named 'a' already"):
            stage.root.add(player("a", notes))
        assert notes == ["a+"]


@pytest.mark.parametrize(
    ("actor", "error"),
    [(lambda: 7, ValueError), (lambda: 1 / 0, ZeroDivisionError), (two_arguments, None)],
)
@in_virtual_time
async def test_p13_a_child_that_cannot_be_made_is_refused_when_added(
    actor: Callable[..., Any], error: type[Exception] | None
) -> None:
    """`add` raises what its factory raises, and leaves nothing; a function is not called before a message."""
    async with Stage(Supervisor()) as stage:
        if error is None:
            stage.root.add(ChildSpec(name="a", actor=actor))
            return
        with pytest.raises(error):
            stage.root.add(ChildSpec(name="a", actor=actor))
        assert stage.names == []
        assert stage.bus.subscriptions == ()


@in_virtual_time
async def test_p21_a_supervisor_that_does_not_run_takes_no_children() -> None:
    """Adding a child after the end is an error: it would outlive its supervisor."""
    notes: list[str] = []
    late: list[str] = []

    class Late(Supervisor):
        async def on_stop(self, reason: StopReason) -> None:
            await super().on_stop(reason)
            with pytest.raises(RuntimeError, match="/top does not run: it takes no more children"):
                self.add(player("b", notes))
            late.append("refused")

    stage = Stage(Late(children=[player("a", notes)]))
    async with stage:
        pass
    assert late == ["refused"]
    with pytest.raises(RuntimeError, match="does not run"):
        stage.root.add(player("c", notes))
    assert notes == ["a+", "a-shutdown"]


@in_virtual_time
async def test_p21_a_supervisors_own_hooks_cannot_leave_children_behind() -> None:
    """Whatever a subclass does in its hooks, the runtime stops the children that are left."""
    notes: list[str] = []

    class Careless(Supervisor):
        async def on_start(self, context: ActorContext) -> None:
            await super().on_start(context)
            if context.path == "/top/low":
                raise Boom

        async def on_stop(self, reason: StopReason) -> None:
            raise Boom  # and does not call super().on_stop()

    low = ChildSpec(name="low", actor=lambda: Careless(children=[player("b", notes)]), restart="temporary")
    async with Stage(Careless(children=[player("a", notes)])) as stage:
        stage.root.add(low)
        await settle()
        assert notes == ["a+", "b+", "b-shutdown"]
    assert notes[-1] == "a-shutdown"
    assert isinstance(stage.exits[0].error, Boom)
