"""Each strategy: who is restarted, in which order, and what if a sibling fails meanwhile."""

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stage import SOON_S, Boom, Player, Stage, in_virtual_time, once, player, run, settle

from l0actors.actors.actor import Actor, StopReason
from l0actors.actors.supervisor import (
    ChildSpec,
    Escalated,
    RestartBackoff,
    RestartIntensityExceeded,
    Supervisor,
)
from l0actors.bus.messages import ActorDown

NO_PAUSE = RestartBackoff(base_ms=0)


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ("one_for_one", ["b-crashed", "b+"]),
        ("rest_for_one", ["b-crashed", "d-shutdown", "c-shutdown", "b+", "c+", "d+"]),
        (
            "one_for_all",
            ["b-crashed", "d-shutdown", "c-shutdown", "a-shutdown", "a+", "b+", "c+", "d+"],
        ),
    ],
)
@in_virtual_time
async def test_p13_who_is_restarted_and_in_which_order(strategy: Any, expected: list[str]) -> None:
    """The strategy says who goes with a failed child: they stop in reverse and start in order, one by one."""
    notes: list[str] = []
    children = [player(name, notes, on_start=once("slow", at=2), on_stop=once("slow")) for name in "abcd"]
    async with Stage(Supervisor(strategy=strategy, children=children)) as stage:
        notes.clear()
        stage.tell("b", "crash")
        await asyncio.sleep(20)
        assert notes == ["b:crash", *expected]
        assert stage.names == ["a", "b", "c", "d"]
        assert stage.exits == []


@pytest.mark.parametrize("strategy", ["rest_for_one", "one_for_all"])
@in_virtual_time
async def test_p13_a_temporary_sibling_is_stopped_and_not_started_again(strategy: Any) -> None:
    """A temporary child goes down with its siblings, and for good."""
    notes: list[str] = []
    children = [player("a", notes), player("b", notes, restart="temporary"), player("c", notes)]
    async with Stage(Supervisor(strategy=strategy, children=children)) as stage:
        watcher = Player("w", notes)
        stage.root.add(ChildSpec(name="w", actor=watcher, restart="temporary"))
        await settle()
        old = stage.ref("b")
        notes.clear()
        stage.tell("a", "crash")
        await asyncio.sleep(SOON_S)
        assert stage.names == ["a", "c"]
        assert not old.alive
        assert notes == ["a:crash", "a-crashed", "w-shutdown", "c-shutdown", "b-shutdown", "a+", "c+"]


@pytest.mark.parametrize("strategy", ["rest_for_one", "one_for_all"])
@in_virtual_time
async def test_p13_a_temporary_child_that_fails_takes_nobody_with_it(strategy: Any) -> None:
    """A child that is not restarted does not restart its siblings either."""
    notes: list[str] = []
    children = [player("a", notes, restart="temporary"), player("b", notes)]
    async with Stage(Supervisor(strategy=strategy, children=children)) as stage:
        stage.tell("a", "crash")
        await asyncio.sleep(SOON_S)
        assert stage.names == ["b"]
        assert notes == ["a+", "b+", "a:crash", "a-crashed"]


@in_virtual_time
async def test_p13_a_transient_child_that_ended_well_is_not_started_with_its_siblings() -> None:
    """Who has come to a normal end is done, also when all others are restarted."""
    notes: list[str] = []
    children = [player("a", notes, restart="transient"), player("b", notes)]
    async with Stage(Supervisor(strategy="one_for_all", children=children)) as stage:
        stage.tell("a", "stop")
        await settle()
        stage.tell("b", "crash")
        await asyncio.sleep(SOON_S)
        assert stage.names == ["b"]
        assert notes.count("a+") == 1


@in_virtual_time
async def test_p12_siblings_that_are_restarted_keep_their_mailboxes() -> None:
    """Who is halted for another's sake finishes the message at hand; its next incarnation has the rest."""
    notes: list[str] = []
    children = [player("a", notes), player("b", notes)]
    async with Stage(Supervisor(strategy="one_for_all", children=children)) as stage:
        for what in ("slow", "x", "y"):
            stage.tell("b", what)
        stage.tell("a", "crash")
        stage.tell("a", "z")
        await asyncio.sleep(5)
        assert [note for note in notes if note[0] == "b"] == [
            "b+",
            "b:slow",
            "b-shutdown",
            "b+",
            "b:x",
            "b:y",
        ]
        assert "a:z" in notes
        assert stage.lost() == {"crashed_while_handling": 1}


@in_virtual_time
async def test_p13_a_suspended_sibling_is_restarted_and_stays_suspended() -> None:
    """Halting an actor does not wait for its resumption, and does not end its suspension."""
    notes: list[str] = []
    children = [player("a", notes), player("b", notes)]
    async with Stage(Supervisor(strategy="one_for_all", children=children)) as stage:
        stage.ref("b").suspend()
        stage.tell("b", "x")
        stage.tell("a", "crash")
        await asyncio.sleep(SOON_S)
        assert stage.child("b").state == "suspended"
        assert "b:x" not in notes
        stage.ref("b").resume()
        await settle()
        assert notes[-1] == "b:x"


@in_virtual_time
async def test_p13_a_sibling_that_does_not_stop_in_time_is_cancelled_and_restarted() -> None:
    """At `stop_ms` a halted sibling is cancelled; it is restarted with the others, not lost."""
    notes: list[str] = []
    children = [player("a", notes), player("b", notes, stop_ms=100), player("c", notes)]
    async with Stage(Supervisor(strategy="one_for_all", children=children)) as stage:
        stage.tell("b", "hang")
        await settle()
        stage.tell("a", "crash")
        await asyncio.sleep(5)
        assert stage.names == ["a", "b", "c"]
        assert [stage.child(name).incarnation for name in "abc"] == [2, 2, 2]
        assert "b-killed" in notes
        assert stage.lost() == {"crashed_while_handling": 1, "killed": 1}


@in_virtual_time
async def test_p13_a_sibling_that_ignores_every_cancellation_fails_the_unit() -> None:
    """A new incarnation never runs beside the old one: the stuck child is given up, and the unit fails."""
    notes: list[str] = []
    children = [player("a", notes), player("b", notes, stop_ms=100)]
    async with Stage(Supervisor(strategy="one_for_all", children=children)) as stage:
        stage.tell("b", "deaf")
        await settle()
        stage.tell("a", "crash")
        await asyncio.sleep(10)
        [ended] = stage.exits
        assert isinstance(ended.error, Escalated)
        assert ended.error.path == "/top/b"
        assert stage.cell.stuck == ["/top/b"]
        assert notes.count("a+") == 1
    await asyncio.sleep(3600)


# a sibling that fails while another restarts


@in_virtual_time
async def test_p13_rest_for_one_an_earlier_sibling_fails_during_the_pause() -> None:
    """The larger restart takes the smaller one over: each child starts once, in order."""
    notes: list[str] = []
    slow = RestartBackoff(base_ms=1000, cap_ms=1000)
    children = [player(name, notes) for name in "abc"]
    async with Stage(Supervisor(strategy="rest_for_one", children=children, backoff=slow)) as stage:
        stage.tell("b", "crash")
        await asyncio.sleep(0.1)
        notes.clear()
        stage.tell("a", "crash")
        await asyncio.sleep(10)
        assert notes == ["a:crash", "a-crashed", "a+", "b+", "c+"]


@in_virtual_time
async def test_p13_one_for_one_siblings_that_fail_together_restart_on_their_own() -> None:
    """Children that do not depend on each other have their own pauses."""
    notes: list[str] = []
    children = [player(name, notes) for name in "abc"]
    async with Stage(Supervisor(children=children)) as stage:
        notes.clear()
        for name in "abc":
            stage.tell(name, "crash")
        await asyncio.sleep(SOON_S)
        assert sorted(notes[-3:]) == ["a+", "b+", "c+"]
        assert len(notes) == 9


@pytest.mark.parametrize("strategy", ["rest_for_one", "one_for_all"])
@in_virtual_time
async def test_p13_siblings_that_crash_at_once_are_one_restart(strategy: Any) -> None:
    """Who has crashed before it could be halted is part of the restart that is under way, and counts once."""
    notes: list[str] = []
    children = [player(name, notes) for name in "abc"]
    supervisor = Supervisor(strategy=strategy, children=children, max_restarts=1)
    async with Stage(supervisor) as stage:
        notes.clear()
        for name in "abc":
            stage.tell(name, "crash")
        await asyncio.sleep(SOON_S)
        assert notes[-3:] == ["a+", "b+", "c+"]
        assert not stage.exits


@in_virtual_time
async def test_p13_rest_for_one_an_earlier_sibling_fails_during_the_halting() -> None:
    """While a later sibling is still stopping, an earlier one fails: it joins, and the order holds."""
    notes: list[str] = []
    children = [player("a", notes), player("b", notes), player("c", notes, on_stop=once("slow"))]
    async with Stage(Supervisor(strategy="rest_for_one", children=children)) as stage:
        stage.tell("b", "crash")
        await asyncio.sleep(0.5)
        assert notes[-1] == "c-shutdown"
        notes.clear()
        stage.tell("a", "crash")
        await asyncio.sleep(10)
        assert notes == ["a:crash", "a-crashed", "a+", "b+", "c+"]


@pytest.mark.parametrize("strategy", ["rest_for_one", "one_for_all"])
@in_virtual_time
async def test_p13_a_sibling_crashes_while_it_is_halted(strategy: Any) -> None:
    """A crash in `on_stop` of a halted sibling is reported, and it is restarted like the others."""
    notes: list[str] = []
    children = [player("a", notes), player("b", notes, on_stop=once("crash"))]
    async with Stage(Supervisor(strategy=strategy, children=children, max_restarts=1)) as stage:
        stage.tell("a", "crash")
        await asyncio.sleep(SOON_S)
        assert [stage.child(name).incarnation for name in "ab"] == [2, 2]
        assert isinstance(stage.child("b").last_error, Boom)


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ("rest_for_one", ["a+", "b+", "b+", "c+"]),
        ("one_for_all", ["a+", "b+", "a-shutdown", "a+", "b+", "c+"]),
    ],
)
@in_virtual_time
async def test_p13_a_sibling_fails_in_its_on_start_during_a_restart(
    strategy: Any, expected: list[str]
) -> None:
    """A failed restart is a failure of that child: the strategy is applied to it anew, from there on."""
    notes: list[str] = []
    children = [player("a", notes), player("b", notes, on_start=once("crash", at=2)), player("c", notes)]
    async with Stage(Supervisor(strategy=strategy, children=children)) as stage:
        stage.tell("a", "crash")
        await settle()
        notes.clear()
        await asyncio.sleep(SOON_S)
        assert notes == expected
        assert stage.names == ["a", "b", "c"]


@in_virtual_time
async def test_p13_an_earlier_sibling_fails_while_a_later_one_starts() -> None:
    """A child that is just starting again is halted and started once more, after the one that failed."""
    notes: list[str] = []
    children = [player("a", notes), player("b", notes, on_start=once("slow", at=2)), player("c", notes)]
    async with Stage(Supervisor(strategy="rest_for_one", children=children)) as stage:
        stage.tell("b", "crash")
        await asyncio.sleep(0.5)
        assert stage.child("b").state == "starting"
        notes.clear()
        stage.tell("a", "crash")
        await asyncio.sleep(10)
        assert notes == ["a:crash", "a-crashed", "b-shutdown", "a+", "b+", "c+"]


@in_virtual_time
async def test_p13_who_comes_after_a_child_that_is_stopped_for_good_is_started_all_the_same() -> None:
    """If a child cannot start again and its decider lets it go, the rest of the restart goes on."""
    notes: list[str] = []
    children = [player("a", notes), player("b", notes, on_start=once("crash", at=2)), player("c", notes)]
    supervisor = Supervisor(strategy="one_for_all", children=children, decider={Boom: "stop"})
    async with Stage(supervisor) as stage:
        task = stage.child("a").task
        assert task is not None
        task.cancel()  # a crash that the decider does not know
        await asyncio.sleep(SOON_S)
        assert stage.names == ["a", "c"]
        assert notes[-3:] == ["a+", "b+", "c+"]


@pytest.mark.parametrize("victim", ["a", "b", "c"])
@pytest.mark.parametrize("when_s", [0.2, 1.2, 2.2])
@in_virtual_time
async def test_p13_a_sibling_is_stopped_from_outside_during_a_restart(victim: str, when_s: float) -> None:
    """Stopping a child while it is halted, waits or starts takes it out; the others are restarted."""
    notes: list[str] = []
    slow = RestartBackoff(base_ms=1000, cap_ms=1000)
    behaviour = {"on_start": once("slow", at=2), "on_stop": once("slow")}
    children = [player("a", notes), player("b", notes, **behaviour), player("c", notes)]
    async with Stage(Supervisor(strategy="one_for_all", children=children, backoff=slow)) as stage:
        stage.tell("a", "crash")
        await asyncio.sleep(when_s)
        await stage.ref(victim).stop()
        await asyncio.sleep(10)
        assert stage.names == [name for name in "abc" if name != victim]
        assert all(stage.child(name).state == "running" for name in stage.names)


@pytest.mark.parametrize("when_s", [0.0, 0.5, 1.5, 2.5])
@in_virtual_time
async def test_p21_a_supervisor_is_stopped_during_a_restart(when_s: float) -> None:
    """At whatever point of a restart the stop comes, all are stopped and nothing starts any more."""
    notes: list[str] = []
    slow = RestartBackoff(base_ms=1000, cap_ms=1000)
    behaviour = {"on_start": once("slow", at=2), "on_stop": once("slow")}
    children = [player("a", notes), player("b", notes, **behaviour)]
    async with Stage(Supervisor(strategy="one_for_all", children=children, backoff=slow)) as stage:
        stage.tell("a", "crash")
        await asyncio.sleep(when_s)
        await stage.stop()
        so_far = list(notes)
        await asyncio.sleep(10)
        assert notes == so_far
        for name in "ab":
            started = sum(note == f"{name}+" for note in notes)
            assert started == sum(note.startswith(f"{name}-") for note in notes)


@in_virtual_time
async def test_p13_a_child_that_is_added_during_a_restart_is_no_part_of_it() -> None:
    """It is started at once, and stays."""
    notes: list[str] = []
    async with Stage(Supervisor(strategy="one_for_all", children=[player("a", notes)])) as stage:
        stage.tell("a", "crash")
        await settle()
        stage.root.add(player("b", notes))
        await asyncio.sleep(SOON_S)
        assert [stage.child(name).incarnation for name in "ab"] == [2, 1]


@in_virtual_time
async def test_p13_the_children_of_a_halted_supervisor_are_stopped_and_started_with_it() -> None:
    """A supervisor as a sibling is halted with all below it, and its new incarnation has new children."""
    notes: list[str] = []
    low = ChildSpec(name="low", actor=lambda: Supervisor(children=[player("x", notes), player("y", notes)]))
    supervisor = Supervisor(strategy="one_for_all", children=[player("a", notes), low])
    async with Stage(supervisor) as stage:
        notes.clear()
        stage.tell("a", "crash")
        await asyncio.sleep(SOON_S)
        assert notes == ["a:crash", "a-crashed", "y-shutdown", "x-shutdown", "a+", "x+", "y+"]


@in_virtual_time
async def test_p14_intensity_holds_for_groups_too() -> None:
    """A group that keeps failing is given up after as many restarts, and each member is stopped once."""
    notes: list[str] = []
    children = [player("a", notes, on_start=lambda n: "crash" if n > 1 else ""), player("b", notes)]
    async with Stage(Supervisor(strategy="one_for_all", children=children)) as stage:
        stage.tell("a", "crash")
        await asyncio.sleep(10)
        assert isinstance(stage.exits[0].error, RestartIntensityExceeded)
        assert notes.count("a+") == 4
        assert notes.count("b+") == 1


# whatever happens


class Tally(Actor):
    """Counts what runs, and does as its script says at each start, message and stop."""

    running: dict[str, int]

    def __init__(self, path: str, script: list[str], record: list[tuple[str, str]]) -> None:
        self._path = path
        self._script = script
        self._record = record

    def _next(self) -> str:
        return self._script.pop() if self._script else ""

    async def on_start(self, context: Any) -> None:
        self._context = context
        order = self._next()
        await self._do(order)
        self._record.append((self._path, "started"))

    async def receive(self, message: Any) -> None:
        await self._do(self._next())

    async def on_stop(self, reason: StopReason) -> None:
        self._record.append((self._path, "stopped"))
        await self._do(self._next())

    async def _do(self, order: str) -> None:
        if order == "crash":
            raise Boom
        if order == "wait":
            await asyncio.sleep(0.3)
        if order == "hang":
            await asyncio.sleep(1000)
        if order == "stop":
            self._context.stop()


ORDERS = st.lists(st.sampled_from(["", "", "", "crash", "wait", "hang", "stop"]), max_size=8)
LEAF = st.tuples(st.sampled_from(["permanent", "transient", "temporary"]), ORDERS)
NODE = st.recursive(
    LEAF,
    lambda children: st.tuples(
        st.sampled_from(["one_for_one", "rest_for_one", "one_for_all"]),
        st.integers(0, 3),
        st.lists(children, min_size=1, max_size=4),
    ),
    max_leaves=8,
)
TREE = st.tuples(
    st.sampled_from(["one_for_one", "rest_for_one", "one_for_all"]),
    st.integers(0, 3),
    st.lists(NODE, min_size=1, max_size=4),
)


def plant(path: str, tree: Any, record: list[tuple[str, str]]) -> Supervisor:
    """Return a supervisor of the tree."""
    strategy, limit, nodes = tree
    children = []
    for number, node in enumerate(nodes):
        name = str(number)
        below = f"{path}/{name}"
        if len(node) == 2:
            restart, script = node
            actor: Any = lambda below=below, script=script: Tally(below, script, record)  # noqa: E731
        else:
            restart = "permanent"
            actor = lambda below=below, node=node: plant(below, node, record)  # noqa: E731
        children.append(ChildSpec(name=name, actor=actor, restart=restart, start_ms=500, stop_ms=500))
    return Supervisor(strategy=strategy, max_restarts=limit, within_s=2, children=children)


async def live_through(tree: Any, messages: list[tuple[int, float]], drain: bool) -> None:
    """Let a tree live, with messages to its actors now and then, and check what it did."""
    record: list[tuple[str, str]] = []
    supervisor = plant("/top", tree, record)
    before = asyncio.all_tasks()
    stage = Stage(supervisor)
    async with stage:
        restarted = stage.bus.subscribe(ActorDown)
        for index, pause in messages:
            cells = leaves(supervisor)
            if cells:
                cells[index % len(cells)].ref.tell(ActorDown(path="x", reason="x"))
            await asyncio.sleep(pause)
        restarted.close()
        await stage.stop(drain=drain)
    assert asyncio.all_tasks() == before
    assert stage.cell.stuck == []
    check(record)
    assert len(stage.exits) == 1


def leaves(supervisor: Supervisor) -> list[Any]:
    """Return the cells of all actors below that are no supervisors."""
    found: list[Any] = []
    for child in supervisor.children.values():
        actor = child.cell.actor
        found += leaves(actor) if isinstance(actor, Supervisor) else [child.cell]
    return found


def check(record: list[tuple[str, str]]) -> None:
    """Starts and stops pair up for each actor, one incarnation at a time."""
    for path in {path for path, _ in record}:
        mine = [what for each, what in record if each == path]
        assert mine == ["started", "stopped"] * (len(mine) // 2), (path, mine)


@settings(max_examples=80, deadline=None)
@given(TREE, st.lists(st.tuples(st.integers(0, 20), st.sampled_from([0.0, 0.01, 0.4, 3.0]))), st.booleans())
def test_p21_whatever_fails_nothing_is_left_and_hooks_pair_up(
    tree: Any, messages: list[tuple[int, float]], drain: bool
) -> None:
    """For any tree and any failures: after the stop nothing runs, and each start has had its stop."""
    run(live_through(tree, messages, drain))


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["one_for_one", "rest_for_one", "one_for_all"]),
    st.integers(0, 4),
    st.lists(st.tuples(st.integers(0, 2), st.floats(0, 2)), max_size=20),
)
def test_p14_restarts_are_bounded_by_the_intensity(
    strategy: Any, limit: int, crashes: list[tuple[int, float]]
) -> None:
    """In no window are there more restarts than allowed, and it fails exactly when there would be."""

    async def scenario() -> None:
        loop, notes, times = asyncio.get_running_loop(), [], []  # type: ignore[var-annotated]
        children = [player(name, notes) for name in "abc"]
        supervisor = Supervisor(
            strategy=strategy, max_restarts=limit, within_s=5, children=children, backoff=NO_PAUSE
        )
        async with Stage(supervisor) as stage:
            for index, pause in crashes:
                await asyncio.sleep(pause)
                times.append(loop.time())
                stage.tell("abc"[index], "crash")
                await settle()
                failed = sum(time >= loop.time() - 5 for time in times) > limit
                assert stage.cell.gone == failed
                if failed:
                    return
                assert [stage.child(name).state for name in "abc"] == ["running"] * 3

    run(scenario())


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from("abcd"), min_size=1, max_size=6),
    st.sampled_from(["rest_for_one", "one_for_all"]),
)
def test_p13_order_holds_whoever_fails_whenever(failing: list[str], strategy: Any) -> None:
    """Whoever fails during a restart: a child never starts before an earlier one that is to start with it."""

    async def scenario() -> None:
        notes: list[str] = []
        children = [player(name, notes, on_start=lambda n: "slow" if n > 1 else "") for name in "abcd"]
        supervisor = Supervisor(strategy=strategy, max_restarts=100, children=children)
        async with Stage(supervisor) as stage:
            for name in failing:
                stage.tell(name, "crash")
                await asyncio.sleep(0.7)
            await asyncio.sleep(60)
            assert [stage.child(name).state for name in "abcd"] == ["running"] * 4
        up: set[str] = set()
        for note in notes:
            if note.endswith("+"):
                later = {name for name in up if name > note[0]}
                assert not later, (note, up, notes)
                up.add(note[0])
            elif "-" in note:
                up.discard(note[0])

    run(scenario())
