"""Actors that are asked, told, stopped and crashed at the same time."""

import asyncio
from collections import Counter
from typing import Any

from session_witness import Witness

from l0actors.actors import (
    Actor,
    ActorContext,
    ActorDied,
    ActorRef,
    AskTimeout,
    ChildSpec,
    RestartBackoff,
    StopReason,
    Supervisor,
)
from l0actors.bus.messages import ActorDown, Message
from l0actors.bus.overflow import MailboxFull
from l0actors.testing import Probe, Simulation, simulate, simulate_every_step


class Number(Message, frozen=True, kw_only=True):
    """A message of these tests."""

    n: int


class Crashed(Exception):
    """What the actors of these tests raise."""


class Flaky(Actor):
    """Answers, slowly or not, and sometimes crashes; it counts its own lives."""

    def __init__(self, sim: Simulation, crashes: float = 0.2) -> None:
        self._sim = sim
        self._crashes = crashes
        self.busy = False
        self.begun = self.ended = 0
        self.handled: list[int] = []

    async def on_start(self, context: ActorContext) -> None:
        await asyncio.sleep(self._sim.rng.choice([0, 0.001]))
        self.begun += 1

    async def receive(self, message: Number) -> int:
        assert not self.busy, "two messages at a time"
        self.busy = True
        try:
            self.handled.append(message.n)
            await asyncio.sleep(self._sim.rng.choice([0, 0, 0.001, 0.01]))
            if self._sim.chance(self._crashes):
                raise Crashed
            return message.n
        finally:
            self.busy = False

    async def on_stop(self, reason: StopReason) -> None:
        self.ended += 1


async def ask_often(sim: Simulation, ref: ActorRef, first: int, counts: Counter[str]) -> None:
    """Ask a few times; whatever happens, each question has one of the known ends."""
    for n in range(first, first + 5):
        try:
            answer = await ref.ask(Number(n=n), timeout_ms=sim.rng.choice([1, 5, 1000]))
        except (ActorDied, AskTimeout, MailboxFull) as error:
            counts[type(error).__name__] += 1
        else:
            assert answer == n, f"asked {n}, answered {answer}"
            counts["answered"] += 1
        await asyncio.sleep(sim.rng.choice([0, 0.001]))


def test_every_question_has_one_end_over_crashes_restarts_and_stops() -> None:
    """An ask gets its own answer, or `ActorDied`, `AskTimeout` or `MailboxFull`; none hangs."""
    ends: Counter[str] = Counter()

    async def scenario(sim: Simulation) -> None:
        actor = Flaky(sim)
        async with sim.system() as system:
            witness = Witness(system)
            ref = system.attach(
                actor, subscribes=Number, capacity=sim.rng.choice([1, 3, 100]), overflow="block"
            )
            askers = [asyncio.create_task(ask_often(sim, ref, 100 * each, ends)) for each in range(3)]
            if sim.chance(0.5):
                drain = sim.chance(0.5)
                stop = sim.loop.call_later(sim.rng.choice([0, 0.001, 0.01]), lambda: ref.stop(drain=drain))
                await asyncio.gather(*askers)
                stop.cancel()
            elif sim.chance(0.3):
                await asyncio.sleep(0.005)
                askers[0].cancel()
            await asyncio.wait(askers)
            for asker in askers:
                assert asker.cancelled() or asker.exception() is None, asker
        assert actor.begun == actor.ended, f"{actor.begun} starts and {actor.ended} on_stops"
        witness.check()

    simulate(scenario, range(200))
    assert set(ends) >= {"answered", "ActorDied", "AskTimeout"}, ends


def test_a_cancelled_publish_reached_nobody() -> None:
    """A publish that is cancelled while it waits for room is seen by no subscriber, every other by all."""

    async def scenario(sim: Simulation) -> None:
        async with sim.system() as system:
            sinks = [Probe(Number), Probe(Number)]
            slow = Flaky(sim, crashes=0)
            system.attach(slow, subscribes=Number, overflow="block", capacity=1)
            system.attach(sinks[0], overflow="block", capacity=1)
            system.attach(sinks[1], capacity=1000)
            publishers = [asyncio.create_task(system.bus.publish(Number(n=n))) for n in range(12)]
            for publisher in publishers:
                sim.loop.call_later(sim.rng.choice([0, 0.001, 0.004, 1]), publisher.cancel)
            await asyncio.wait(publishers)
            await asyncio.sleep(1)
        sent = [n for n, task in enumerate(publishers) if not task.cancelled()]
        seen = [[message.n for message in sink.seen if isinstance(message, Number)] for sink in sinks]
        assert sorted(slow.handled) == sent, (slow.handled, sent)
        assert slow.handled == seen[0] == seen[1]

    simulate(scenario, range(200))


def test_a_watcher_is_told_once_of_a_death_and_never_of_a_restart() -> None:
    """Whoever watches gets exactly one `ActorDown`, whenever the watched actor is stopped or gives up."""

    class Watcher(Actor):
        def __init__(self, watched: ActorRef) -> None:
            self._watched = watched
            self.told: list[Message] = []

        async def on_start(self, context: ActorContext) -> None:
            context.watch(self._watched)

        async def receive(self, message: Message) -> None:
            self.told.append(message)

    async def scenario(sim: Simulation) -> None:
        async with sim.system() as system:
            ref = system.attach(Flaky(sim, crashes=0.5), subscribes=Number, capacity=100)
            watcher = Watcher(ref)
            system.attach(watcher, subscribes=Number)
            for n in range(6):
                if ref.alive:
                    system.bus.publish_nowait(Number(n=n))
                await asyncio.sleep(sim.rng.choice([0, 0.001, 0.1]))
            await ref.stop(drain=sim.chance(0.5))
        downs = [message for message in watcher.told if isinstance(message, ActorDown)]
        assert len(downs) == 1, downs

    simulate(scenario, range(200))


def drawn_tree(sim: Simulation) -> tuple[Supervisor, list[Flaky]]:
    """Draw a supervisor and its flaky children."""
    children = [Flaky(sim, crashes=0.3) for _ in range(3)]
    specs = [
        ChildSpec(
            name=f"child-{index}",
            actor=child,
            subscribes=(Number,),
            restart=sim.rng.choice(["permanent", "transient", "temporary"]),
            stop_ms=100,
        )
        for index, child in enumerate(children)
    ]
    supervisor = Supervisor(
        strategy=sim.rng.choice(["one_for_one", "rest_for_one", "one_for_all"]),
        max_restarts=sim.rng.choice([1, 3, 100]),
        backoff=RestartBackoff(base_ms=sim.rng.choice([1, 10, 100]), cap_ms=200),
        children=specs,
    )
    return supervisor, children


async def supervised(sim: Simulation) -> None:
    """Let a tree crash, restart and give up while it is told things, and stop it at some time."""
    supervisor, children = drawn_tree(sim)
    async with sim.system() as system:
        witness = Witness(system)
        ref = system.attach(supervisor, name="tree", subscribes=ActorDown)
        await asyncio.sleep(0.01)
        stopping: list[Any] = []
        sim.arm(lambda: stopping.append(ref.stop(drain=False)))
        for n in range(10):
            with_room = all(child.cell.mailbox.depth < 100 for child in supervisor.children.values())
            if with_room:
                system.bus.publish_nowait(Number(n=n))
            await asyncio.sleep(sim.rng.choice([0, 0.001, 0.02]))
    for child in children:
        assert child.begun == child.ended, f"{child.begun} starts and {child.ended} on_stops"
    witness.check()


def test_a_tree_that_crashes_and_restarts_ends_in_order() -> None:
    """Whatever crashes and restarts in it, a tree stops, and each incarnation had its one `on_stop`."""
    simulate(supervised, range(200))


def test_a_tree_can_be_stopped_at_every_step() -> None:
    """A stop that comes in the middle of a restart, a back-off or a halt takes all of the tree down."""
    simulate_every_step(supervised, range(6))
