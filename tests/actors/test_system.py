"""The system that a service embeds: sinks under supervision, an orderly stop, and nothing left behind."""

import asyncio
import random
from typing import Any

import pytest
from stage import SOON_S, Boom, Do, Job, Player, ignore_cancellations, in_virtual_time, once, run, settle

from l0actors.actors.actor import Actor, StopReason
from l0actors.bus.messages import ActorCrashed, Heartbeat, Message
from l0actors.clock import Clock
from l0actors.options import L0Options, TimeoutConfig
from l0actors.system import FORCE_MS, ActorSystem, ShutdownReport


def system_in_time(**fields: Any) -> ActorSystem:
    """Return a system whose clock is the virtual one."""
    clock = Clock(wall=asyncio.get_running_loop().time, rng=random.Random(0))
    return ActorSystem(clock=clock, **fields)


def now() -> float:
    """Return the virtual time."""
    return asyncio.get_running_loop().time()


class Noting(Player):
    """A sink that notes what it hears."""

    subscribes = (Heartbeat,)

    async def receive(self, message: Any) -> Any:
        if isinstance(message, Heartbeat):
            self.notes.append(f"{self.name}:{message.attempt}")
            return await self.do("slow")
        return await super().receive(message)


async def hanging() -> Any:
    """Open a stream that never says anything."""
    await asyncio.sleep(10**6)


def patient() -> L0Options:
    """Return the options of a session that hangs."""
    return L0Options(stream=hanging, timeout=TimeoutConfig(initial_token_ms=None, content_ms=None))


@in_virtual_time
async def test_p21_leaving_the_block_stops_everything_and_drains_the_sinks() -> None:
    """At the end of the block each sink has handled what was published before, and is gone."""
    notes: list[str] = []
    async with system_in_time(sinks=[lambda: Noting("a", notes)]) as system:
        await settle()
        for number in (1, 2, 3):
            await system.bus.publish(Heartbeat(attempt=number))
    assert notes == ["a+", "a:1", "a:2", "a:3", "a-shutdown"]


@in_virtual_time
async def test_p19_stop_reports_and_is_idempotent() -> None:
    """Each call of `stop` gives the same report: how long it took, what was lost, who was stuck."""
    async with system_in_time() as system:
        system.attach(Actor, subscribes=(Heartbeat,))
        await system.bus.publish(Heartbeat(attempt=1))
        first, second = await asyncio.gather(system.stop(), system.stop(drain=False))
        assert first is second
        assert isinstance(first, ShutdownReport)
        assert (first.completed, first.aborted, first.stuck) == (0, 0, ())
        assert first.dead_letters == {"unhandled": 1}
        assert await system.stop() is first


@in_virtual_time
async def test_p19_a_stuck_sink_is_named_in_the_report() -> None:
    """A sink that ignores every cancellation is given up; the report says which, and the stop ends."""

    class Deaf(Actor):
        subscribes = (Heartbeat,)

        async def receive(self, message: Any) -> None:
            await ignore_cancellations(1000)

    async with system_in_time() as system:
        system.attach(Deaf, name="deaf")
        await system.bus.publish(Heartbeat(attempt=1))
        await settle()
        report = await system.stop(drain=False)
        assert report.stuck == ("/sinks/deaf",)
        assert report.duration_ms == pytest.approx(FORCE_MS + 3000)
        assert report.dead_letters == {}  # its handler is still at it
    await asyncio.sleep(2000)


@in_virtual_time
async def test_p19_sessions_that_do_not_end_in_time_are_aborted() -> None:
    """`stop` waits for sessions until its timeout, and not at all without `drain`."""
    for drain, took_s in ((True, 2.0), (False, 0.0)):
        async with system_in_time() as system:
            since = now()
            result = system.open(patient())
            await settle()
            report = await system.stop(drain=drain, timeout_ms=2000)
            assert (report.completed, report.aborted) == (0, 1)
            assert now() - since == pytest.approx(took_s, abs=0.2)
            assert result.state.aborted


@in_virtual_time
async def test_p21_an_exception_in_the_block_stops_everything_at_once() -> None:
    """Leaving by an exception waits for no session; the exception is the block's own."""
    notes: list[str] = []

    async def scenario() -> None:
        async with system_in_time(sinks=[lambda: Noting("a", notes)]) as system:
            session = system.open(patient())
            await settle()
            assert not session.state.aborted
            raise Boom

    with pytest.raises(Boom):
        await scenario()
    assert notes == ["a+", "a-shutdown"]
    assert now() < 1


@pytest.mark.parametrize("where", ["body", "drain", "sinks"])
@pytest.mark.parametrize("times", [1, 2, 3, 5])
@in_virtual_time
async def test_p21_cancelling_the_owner_takes_the_tree_down_first(where: str, times: int) -> None:
    """However often and wherever the owner is cancelled, it ends after its tree, and by that cancellation."""
    notes: list[str] = []
    before = asyncio.all_tasks()

    async def owner() -> None:
        async with system_in_time() as system:
            system.attach(Job("job", notes), subscribes=())
            system.attach(lambda: Noting("a", notes), name="a")
            session = system.open(patient()) if where == "drain" else None
            await settle()
            if where == "sinks":
                for number in range(5):
                    await system.bus.publish(Heartbeat(attempt=number))
            if where == "body":
                await asyncio.sleep(1000)
        del session

    task = asyncio.ensure_future(owner())
    await asyncio.sleep(0.5)
    for _ in range(times):
        task.cancel()
        await asyncio.sleep(0.001)
    await asyncio.wait({task})
    assert task.cancelled()
    assert asyncio.all_tasks() == before
    assert sum(note.startswith("a-") for note in notes) == 1
    assert sum(note.startswith("job-") for note in notes) == 1
    assert now() < 3


@in_virtual_time
async def test_p21_the_owner_is_cancelled_while_another_task_stops_the_system() -> None:
    """Who waits for somebody else's stop does not give way before that is done either."""
    notes: list[str] = []
    system = system_in_time(sinks=[lambda: Noting("a", notes)])

    async def owner() -> None:
        async with system:
            await asyncio.sleep(1000)

    task = asyncio.ensure_future(owner())
    await settle()
    for number in range(5):
        await system.bus.publish(Heartbeat(attempt=number))
    stopping = asyncio.ensure_future(system.stop())
    await settle()
    task.cancel()
    await asyncio.sleep(0.1)
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()
    assert system.snapshot().root.state == "gone"  # type: ignore[union-attr]
    assert isinstance(await stopping, ShutdownReport)
    assert now() < 2


@in_virtual_time
async def test_p21_a_start_that_is_cancelled_leaves_nothing() -> None:
    """Cancelled in the middle of its start, a system is stopped again."""
    before = asyncio.all_tasks()
    for turns in range(6):
        system = system_in_time()
        task = asyncio.ensure_future(system.start())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task})
        if not task.cancelled():
            await system.stop()
        assert asyncio.all_tasks() == before


@in_virtual_time
async def test_p21_a_bad_sink_leaves_nothing() -> None:
    """A system whose sinks cannot be attached does not start, and leaves no actor behind."""
    notes: list[str] = []
    before = asyncio.all_tasks()
    with pytest.raises(ValueError, match="an actor must be"):
        await system_in_time(sinks=[lambda: Noting("a", notes), 7]).start()
    assert asyncio.all_tasks() == before


def test_p12_an_interrupt_in_a_sink_ends_the_program() -> None:
    """SystemExit passes through the loop, and the tree is taken down with it."""
    notes: list[str] = []

    async def scenario() -> None:
        async with system_in_time() as system:
            system.attach(Player("b", notes), name="b", subscribes=())
            system.attach(Player("a", notes), name="a", subscribes=()).tell(Do(what="exit"))
            await asyncio.sleep(10)

    with pytest.raises(SystemExit):
        run(scenario())
    assert sum(note.startswith("b-") for note in notes) == 1


@in_virtual_time
async def test_p11_a_sink_that_crashes_costs_itself_only() -> None:
    """A sink that crashes on every message is given up in the end; the others hear everything."""
    heard: list[Message] = []

    class Broken(Actor):
        subscribes = (Heartbeat,)

        async def receive(self, message: Message) -> None:
            raise Boom

    async with system_in_time(sinks=[Broken]) as system:
        system.attach(heard.append, subscribes=(Heartbeat,), name="good")
        crashes = system.bus.subscribe(ActorCrashed)
        await settle()
        for number in range(20):
            await system.bus.publish(Heartbeat(attempt=number))
            await asyncio.sleep(0.1)
        assert len(heard) == 20
        assert crashes.mailbox.depth == 4
        sinks = system.snapshot().root.children[0]  # type: ignore[union-attr]
        assert [child.path for child in sinks.children] == ["/sinks/good"]
        crashes.close()


@in_virtual_time
async def test_p13_a_sink_that_hangs_in_its_start_is_tried_again_and_given_up_alone() -> None:
    """An `on_start` that never returns is cut off, and delays no other sink."""
    notes: list[str] = []

    class Hanging(Player):
        subscribes = (Heartbeat,)

    async with system_in_time() as system:
        hanging_sink = system.attach(lambda: Hanging("h", notes, on_start=lambda n: "hang"), name="h")
        good = system.attach(Player("g", notes), name="g", subscribes=())
        await settle()
        good.tell(Do(what="crash"))
        await asyncio.sleep(SOON_S)
        assert notes.count("g+") == 2
        await asyncio.sleep(30)
        assert notes.count("h+") > 2
        assert hanging_sink.alive or notes.count("h+") == 4


@in_virtual_time
async def test_attach_names_sinks_and_refuses_after_the_end() -> None:
    """Names are found if none is given; a system that does not run takes no sinks and no sessions."""
    system = system_in_time()
    with pytest.raises(RuntimeError, match="was not started"):
        system.attach(Actor, subscribes=())
    with pytest.raises(RuntimeError, match="was not started"):
        await system.stop()
    async with system:
        refs = [system.attach(Actor, subscribes=()) for _ in range(3)]
        assert [ref.path for ref in refs] == ["/sinks/Actor", "/sinks/Actor-2", "/sinks/Actor-3"]
        await refs[1].stop()
        assert system.attach(Actor, subscribes=()).path == "/sinks/Actor-2"
        with pytest.raises(ValueError, match="has a child named 'Actor' already"):
            system.attach(Actor, name="Actor", subscribes=())
        with pytest.raises(RuntimeError, match="was started before"):
            await system.start()
    with pytest.raises(RuntimeError, match="is stopped"):
        system.attach(Actor, subscribes=())
    with pytest.raises(RuntimeError, match="is stopped"):
        system.open(patient())


@in_virtual_time
async def test_p20_a_sink_object_survives_its_crash_and_a_class_is_made_anew() -> None:
    """What is attached as an object keeps its attributes over a restart; a class gives a fresh one."""

    class Counting(Actor):
        def __init__(self) -> None:
            self.count = 0
            self.reasons: list[str] = []

        async def receive(self, message: Do) -> int:
            self.count += 1
            if message.what == "crash":
                raise Boom
            return self.count

        async def on_stop(self, reason: StopReason) -> None:
            self.reasons.append(reason.value)

    same = Counting()
    async with system_in_time() as system:
        for sink, expected in ((same, 2), (Counting, 1)):
            ref = system.attach(sink, subscribes=(), name=f"n{expected}")
            ref.tell(Do(what="crash"))
            await asyncio.sleep(SOON_S)
            assert await ref.ask(Do(what="count"), timeout_ms=100) == expected
    assert same.reasons == ["crashed", "shutdown"]


@in_virtual_time
async def test_p21_an_actor_that_stops_its_own_system_does_not_hang_it() -> None:
    """Waiting for the end of one's own tree is cut off at the deadline, and the stop ends."""
    reports: list[Any] = []

    class Quitter(Actor):
        async def receive(self, message: Any) -> None:
            await system.stop(drain=False)

    async with system_in_time() as system:
        system.attach(Quitter, subscribes=()).tell(Do(what="stop"))
        await asyncio.sleep(60)
        assert not system.running
        reports.append(await system.stop())
    assert now() < 120
    assert isinstance(reports[0], ShutdownReport)


def test_p21_a_program_may_leave_a_session_behind() -> None:
    """When the main coroutine ends without stopping, the loop's end takes the tree down cleanly."""
    notes: list[str] = []

    async def scenario() -> None:
        system = await system_in_time(sinks=[lambda: Noting("a", notes, on_stop=once("slow"))]).start()
        session = system.open(patient())
        await settle()
        assert not session.state.aborted

    run(scenario(), clean=False)
    assert notes == ["a+", "a-crashed"]
