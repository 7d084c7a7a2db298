"""A look at a running system: the whole tree, and everything that one wants to know about an actor."""

import asyncio
import json
import random

from stage import SOON_S, Do, Stage, in_virtual_time, player, settle

from l0actors.actors.actor import Actor
from l0actors.actors.snapshot import ActorSnapshot, SystemSnapshot, snapshot_of
from l0actors.actors.supervisor import ChildSpec, Supervisor
from l0actors.bus.messages import Heartbeat, RolledBack
from l0actors.clock import Clock
from l0actors.system import ActorSystem


def look(stage: Stage) -> ActorSnapshot:
    """Return the root of the stage's tree as a snapshot shows it."""
    root = snapshot_of("test", stage.bus, stage.cell, 0).root
    assert root is not None
    return root


@in_virtual_time
async def test_p25_the_tree_is_shown_in_start_order_with_its_paths() -> None:
    """Supervisors show their children, each with its path, below each other."""
    low = ChildSpec(name="low", actor=lambda: Supervisor(children=[player("x", [])]))
    async with Stage(Supervisor(children=[player("b", []), low, player("a", [])])) as stage:
        root = look(stage)
        assert [child.path for child in root.children] == ["/top/b", "/top/low", "/top/a"]
        assert [child.path for child in root.children[1].children] == ["/top/low/x"]


@in_virtual_time
async def test_p25_states_restarts_and_the_last_error() -> None:
    """An actor's state is shown as it is now, with how often it was restarted, and what it raised last."""
    children = [player(name, []) for name in "abcd"]
    async with Stage(Supervisor(children=children)) as stage:
        stage.tell("a", "crash")
        await asyncio.sleep(SOON_S)
        stage.tell("b", "crash")
        stage.ref("c").suspend()
        stage.tell("d", "slow")
        await settle()
        stage.ref("d").stop()
        stage.root.add(player("e", [], on_start=lambda n: "slow"))
        await settle()
        shown = {child.path[-1]: child for child in look(stage).children}
        assert [shown[name].state for name in "abcde"] == [
            "running",
            "down",
            "suspended",
            "running",
            "starting",
        ]
        assert [shown[name].restarts for name in "abcde"] == [1, 0, 0, 0, 0]
        assert [shown[name].last_error for name in "abc"] == ["Boom", "Boom", None]
        stage.ref("c").resume()


@in_virtual_time
async def test_p25_a_stopping_and_a_gone_actor() -> None:
    """The end of an actor is a state too."""
    async with Stage(Supervisor(children=[player("a", [], on_stop=lambda n: "slow")])) as stage:
        cell = stage.child("a")
        gone = cell.ref.stop()
        await settle()
        assert look(stage).children[0].state == "stopping"
        await gone
        assert cell.state == "gone"
        assert look(stage).children == ()


@in_virtual_time
async def test_p25_the_mailbox_and_the_subscriptions() -> None:
    """Depth, high water, drops, age of the oldest message, and what the actor subscribed to."""

    class Listener(Actor):
        subscribes = (RolledBack, Heartbeat)

        async def receive(self, message: object) -> None:
            pass

    spec = ChildSpec(name="a", actor=Listener, capacity=3, overflow="drop_oldest")
    async with Stage(Supervisor(children=[spec])) as stage:
        ref = stage.ref("a")
        ref.suspend()
        for _ in range(5):
            stage.bus.publish_nowait(Heartbeat(attempt=1))
            await asyncio.sleep(1)
        shown = look(stage).children[0]
        assert shown.subscriptions == ("Heartbeat", "RolledBack")
        mailbox = shown.mailbox
        assert (mailbox.depth, mailbox.high_water, mailbox.dropped) == (3, 3, 2)
        assert (mailbox.capacity, mailbox.overflow) == (3, "drop_oldest")
        assert mailbox.oldest_age_ms is not None
        assert 3000 <= mailbox.oldest_age_ms <= 5000
        ref.resume()
        await settle()
        mailbox = look(stage).children[0].mailbox
        assert (mailbox.depth, mailbox.high_water, mailbox.oldest_age_ms) == (0, 3, None)


@in_virtual_time
async def test_p25_a_system_shows_itself_as_json() -> None:
    """`to_json` gives plain data that the json module writes, at every time of a system's life."""
    clock = Clock(wall=asyncio.get_running_loop().time, rng=random.Random(0))
    system = ActorSystem(name="chat", clock=clock)
    assert system.snapshot() == SystemSnapshot(name="chat", ts=0, sessions=0, dead_letters={}, root=None)
    async with system:
        ref = system.attach(Actor, name="a", subscribes=(Heartbeat,))
        await settle()
        ref.tell(Do(what="x"))
        await settle()
        shown = json.loads(json.dumps(system.snapshot().to_json()))
        assert shown["dead_letters"] == {"unhandled": 1}
        [sinks] = shown["root"]["children"]
        assert (sinks["path"], sinks["children"][0]["path"]) == ("/sinks", "/sinks/a")
        assert sinks["children"][0]["state"] == "running"
    root = system.snapshot().root
    assert root is not None
    assert root.state == "gone"
