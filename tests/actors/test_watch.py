"""Death watch: one `ActorDown` per watch, after the clean-up, and none for a restart."""

import asyncio
import gc
import weakref
from typing import Any

import pytest
from stage import SOON_S, Do, Player, Stage, in_virtual_time, once, player, settle

from l0actors.actors.actor import Actor, ActorContext
from l0actors.actors.supervisor import ChildSpec, Supervisor
from l0actors.bus.messages import ActorDown, Heartbeat, Message


class Watcher(Actor):
    """Notes the deaths that it is told of."""

    def __init__(self) -> None:
        self.deaths: list[tuple[str, str]] = []
        self.heard: list[str] = []
        self.context: ActorContext

    async def on_start(self, context: ActorContext) -> None:
        self.context = context

    async def receive(self, message: Message) -> None:
        self.heard.append(type(message).__name__)
        if isinstance(message, ActorDown):
            self.deaths.append((message.path, message.reason))
        if isinstance(message, Do):
            raise RuntimeError(message.what)


def stage_with(watcher: Watcher, notes: list[str], **fields: Any) -> Stage:
    """Return a stage with the watcher and a player `a`."""
    return Stage(Supervisor(children=[ChildSpec(name="w", actor=watcher), player("a", notes, **fields)]))


@pytest.mark.parametrize(
    ("what", "reason"), [("stop", "normal"), ("crash", "crashed"), ("asked", "shutdown"), ("hang", "killed")]
)
@in_virtual_time
async def test_p17_a_death_is_told_once_with_its_reason(what: str, reason: str) -> None:
    """However an actor ends for good, each watcher gets one `ActorDown` that says how."""
    watcher, notes = Watcher(), list[str]()
    async with stage_with(watcher, notes, restart="temporary") as stage:
        ref = stage.ref("a")
        watcher.context.watch(ref)
        watcher.context.watch(ref)  # the same watch
        if what != "asked":
            stage.tell("a", what)
            await settle()
        if what in ("asked", "hang"):
            ref.stop(timeout_ms=100)
        await asyncio.sleep(SOON_S)
        assert watcher.deaths == [("/top/a", reason)]


@in_virtual_time
async def test_p17_a_watch_on_the_dead_is_answered_at_once_with_the_same_reason() -> None:
    """Who watches too late is told at once, each time."""
    watcher = Watcher()
    async with stage_with(watcher, []) as stage:
        ref = stage.ref("a")
        stage.tell("a", "crash")
        await settle()
        await ref.stop()  # while it waits for its restart
        watcher.context.watch(ref)
        await settle()
        assert watcher.deaths == [("/top/a", "shutdown")]
        watcher.context.watch(ref)
        await settle()
        assert len(watcher.deaths) == 2


@in_virtual_time
async def test_p17_a_restart_is_no_death() -> None:
    """A watcher hears nothing of crashes that end in a restart, and one word of the end."""
    watcher = Watcher()
    async with stage_with(watcher, []) as stage:
        ref = stage.ref("a")
        watcher.context.watch(ref)
        for _ in range(2):
            stage.tell("a", "crash")
            await asyncio.sleep(SOON_S)
        assert watcher.deaths == []
        await ref.stop()
        await settle()
        assert len(watcher.deaths) == 1


@in_virtual_time
async def test_p17_death_is_told_after_the_clean_up() -> None:
    """When the watcher hears of it, `on_stop` is over and the subscription closed."""
    watcher, notes = Watcher(), list[str]()
    seen: list[bool] = []

    class Late(Watcher):
        async def receive(self, message: Message) -> None:
            seen.append(bool(stage.bus.subscriptions))
            notes.append("told")

    watcher = Late()
    spec = player("a", notes, on_stop=once("slow"), subscribes=(Heartbeat,))
    async with Stage(Supervisor(children=[ChildSpec(name="w", actor=watcher), spec])) as stage:
        watcher.context.watch(stage.ref("a"))
        stage.ref("a").stop()
        await asyncio.sleep(5)
        assert notes == ["a+", "a-shutdown", "told"]
        assert seen == [False]


@in_virtual_time
async def test_p10_death_comes_after_the_dead_actors_last_message() -> None:
    """`ActorDown` rides in the ordinary lane, behind what the dead actor said before."""

    class Speaker(Player):
        async def receive(self, message: Do) -> Any:
            for _ in range(3):
                peer.tell(Heartbeat(attempt=1))
            return await super().receive(message)

    watcher = Watcher()
    children = [
        ChildSpec(name="w", actor=watcher),
        ChildSpec(name="a", actor=lambda: Speaker("a", []), restart="temporary"),
    ]
    async with Stage(Supervisor(children=children)) as stage:
        peer = stage.ref("w")
        watcher.context.watch(stage.ref("a"))
        peer.suspend()
        stage.tell("a", "crash")
        await asyncio.sleep(SOON_S)
        peer.resume()
        await settle()
        assert watcher.heard == ["Heartbeat"] * 3 + ["ActorDown"]


@in_virtual_time
async def test_p8_a_death_is_told_though_the_watchers_mailbox_is_full() -> None:
    """A death has reserved room: a full mailbox does not swallow it."""
    watcher = Watcher()
    children = [ChildSpec(name="w", actor=watcher, capacity=1), player("a", [])]
    async with Stage(Supervisor(children=children)) as stage:
        watcher.context.watch(stage.ref("a"))
        stage.ref("w").suspend()
        stage.ref("w").tell(Heartbeat(attempt=1))
        await stage.ref("a").stop()
        stage.ref("w").resume()
        await settle()
        assert len(watcher.deaths) == 1


@in_virtual_time
async def test_p17_unwatch_ends_a_watch() -> None:
    """After `unwatch` nothing comes; unwatching what was never watched is nothing."""
    watcher = Watcher()
    async with stage_with(watcher, []) as stage:
        ref = stage.ref("a")
        watcher.context.watch(ref)
        watcher.context.unwatch(ref)
        watcher.context.unwatch(ref)
        await ref.stop()
        await settle()
        assert watcher.deaths == []


@in_virtual_time
async def test_p17_a_watch_survives_the_watchers_restart() -> None:
    """The watcher's next incarnation is told, and only once, also if it watches again."""
    watcher = Watcher()
    async with stage_with(watcher, []) as stage:
        watcher.context.watch(stage.ref("a"))
        stage.tell("w", "crash")
        await asyncio.sleep(SOON_S)
        watcher.context.watch(stage.ref("a"))
        await stage.ref("a").stop()
        await settle()
        assert len(watcher.deaths) == 1


@in_virtual_time
async def test_p17_a_dead_watcher_is_forgotten() -> None:
    """A long-lived actor keeps nothing of the watchers that are gone, and they get no dead letters."""
    async with Stage(Supervisor(children=[player("a", [])])) as stage:
        watcher = Watcher()
        cell = stage.root.add(ChildSpec(name="w", actor=watcher))
        await settle()
        watcher.context.watch(stage.ref("a"))
        await cell.ref.stop()
        trace = weakref.ref(cell)
        del cell, watcher
        await settle()
        gc.collect()
        assert trace() is None
        await stage.ref("a").stop()
        assert stage.lost() == {}


@in_virtual_time
async def test_p17_each_watcher_is_told_and_two_may_watch_each_other() -> None:
    """Watches are independent of each other."""
    watchers = [Watcher() for _ in range(3)]
    children = [ChildSpec(name=name, actor=each) for name, each in zip("xyz", watchers, strict=True)]
    async with Stage(Supervisor(children=children)) as stage:
        for watcher in watchers:
            for name in "xyz":
                watcher.context.watch(stage.ref(name))
        await stage.ref("x").stop()
        await settle()
        assert [watcher.deaths for watcher in watchers[1:]] == [[("/top/x", "shutdown")]] * 2
        await stage.ref("y").stop()
        await settle()
        assert len(watchers[2].deaths) == 2


@in_virtual_time
async def test_p17_the_death_of_a_stuck_actor_is_told_as_well() -> None:
    """Who is given up is dead to its watchers."""
    watcher = Watcher()
    async with stage_with(watcher, []) as stage:
        watcher.context.watch(stage.ref("a"))
        stage.tell("a", "deaf")
        await settle()
        await stage.ref("a").stop(timeout_ms=1)
        await settle()
        assert watcher.deaths == [("/top/a", "killed")]
    await asyncio.sleep(3600)
