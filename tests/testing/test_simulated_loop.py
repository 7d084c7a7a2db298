"""The simulated loop: virtual time, seeded order, and errors instead of a hang."""

import asyncio
import contextlib
import itertools
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from l0actors.testing import (
    DeadlockError,
    LeakError,
    LivelockError,
    Simulation,
    SimulationFailed,
    check_determinism,
    simulate,
    simulate_every_step,
)


async def three_tasks(sim: Simulation) -> list[str]:
    """Return the order in which three tasks of two steps each ran."""
    order: list[str] = []

    async def work(name: str) -> None:
        order.append(f"{name}1")
        await asyncio.sleep(0)
        order.append(f"{name}2")

    await asyncio.gather(*(work(name) for name in "abc"))
    return order


def test_time_is_virtual_and_an_hour_costs_nothing() -> None:
    """The clock moves to the next timer at once, and only when everybody waits."""

    async def scenario(sim: Simulation) -> float:
        await asyncio.gather(asyncio.sleep(3600), asyncio.sleep(1800))
        return sim.now_ms

    began = time.process_time()
    assert Simulation().run(scenario) == 3_600_000
    assert time.process_time() - began < 1


def test_seeds_choose_among_ready_tasks_and_keep_the_steps_of_each() -> None:
    """Different seeds give different orders of tasks, and none changes the order within one task."""
    orders = [Simulation(seed).run(three_tasks) for seed in range(30)]
    assert len({tuple(order) for order in orders}) > 5
    for order in orders:
        for name in "abc":
            assert order.index(f"{name}1") < order.index(f"{name}2")


def test_no_seed_gives_the_order_of_asyncio() -> None:
    """Without a seed the tasks run in the order in which an ordinary loop runs them."""
    assert Simulation(None).run(three_tasks) == ["a1", "b1", "c1", "a2", "b2", "c2"]


def test_a_turn_runs_all_that_was_ready_before_anything_newer() -> None:
    """A task that yields once lets every task run that was ready before it."""

    async def scenario(sim: Simulation) -> None:
        ran = []

        async def other(n: int) -> None:
            ran.append(n)

        others = [asyncio.create_task(other(n)) for n in range(5)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert len(ran) == len(others)

    simulate(scenario, range(50))


def test_callbacks_keep_their_order() -> None:
    """Plain callbacks run in the order in which they were scheduled, under every seed."""

    async def scenario(sim: Simulation) -> None:
        ran: list[int] = []
        for n in range(5):
            sim.loop.call_soon(ran.append, n)
        await asyncio.sleep(0.1)
        assert ran == [0, 1, 2, 3, 4]

    simulate(scenario, range(50))


def test_timers_of_one_instant_come_in_any_order() -> None:
    """A timeout and what it waits for may come at the same moment, and either may be first."""

    async def scenario(sim: Simulation) -> None:
        ran: list[str] = []
        sim.loop.call_at(1, ran.append, "a")
        sim.loop.call_at(1, ran.append, "b")
        await asyncio.sleep(2)
        orders.add("".join(ran))

    orders: set[str] = set()
    simulate(scenario, range(30))
    assert orders == {"ab", "ba"}


def test_a_deadlock_is_an_error_that_names_who_waits_and_where() -> None:
    """When nothing can ever happen again the run fails, and tells which tasks wait at which lines."""

    async def stuck_here() -> None:
        await asyncio.get_running_loop().create_future()

    async def scenario(sim: Simulation) -> None:
        await asyncio.create_task(stuck_here(), name="the-stuck-one")

    with pytest.raises(
        SimulationFailed, match=r"the-stuck-one: test_simulated_loop\.py:\d+ in stuck_here"
    ) as no:
        simulate(scenario, [7])
    assert isinstance(no.value.__cause__, DeadlockError)


def test_going_round_in_circles_is_an_error() -> None:
    """A run that never ends is stopped after `max_steps`."""

    async def scenario(sim: Simulation) -> None:
        for _ in itertools.count():
            await asyncio.sleep(0)

    with pytest.raises(SimulationFailed) as endless:
        simulate(scenario, [1], max_steps=1000)
    assert isinstance(endless.value.__cause__, LivelockError)


def test_a_failure_tells_its_seed_and_how_to_replay_it() -> None:
    """The error names the seed that failed, the call that repeats it, and has the failure as its cause."""

    async def fails_sometimes(sim: Simulation) -> None:
        assert (await three_tasks(sim))[0] != "c1", "c was first"

    with pytest.raises(SimulationFailed, match="c was first") as failed:
        simulate(fails_sometimes)
    seed = failed.value.seed
    assert f"fails_sometimes, seeds=[{seed}])" in str(failed.value)
    with pytest.raises(SimulationFailed):
        simulate(fails_sometimes, seeds=[seed])


def test_an_action_can_be_called_before_every_step() -> None:
    """`simulate_every_step` calls the armed action once in each run, one step later each time."""
    moments: list[int] = []

    async def scenario(sim: Simulation) -> None:
        sim.arm(lambda: moments.append(sim.loop.steps))
        for _ in range(5):
            await asyncio.sleep(0)

    report = simulate_every_step(scenario, [3])
    assert moments == list(range(moments[0], moments[0] + len(moments)))
    assert len(moments) >= 5
    assert report.runs == len(moments) + 1


def test_a_task_that_ignores_cancellation_does_not_hold_up_the_tear_down() -> None:
    """The failure of a run is told even if a task that it left cannot be cancelled."""

    async def deaf() -> None:
        for _ in itertools.count():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(1)

    async def scenario(sim: Simulation) -> None:
        sim.loop.create_task(deaf(), name="deaf")
        await asyncio.sleep(0)
        raise KeyError("the failure")

    with pytest.raises(SimulationFailed, match="the failure"):
        simulate(scenario, [1])


async def _leaks_a_task(sim: Simulation) -> None:
    sim.loop.create_task(asyncio.sleep(10), name="left-over")


async def _leaks_a_timer(sim: Simulation) -> None:
    sim.loop.call_later(10, print)


async def _leaks_a_generator(sim: Simulation) -> None:
    async def numbers() -> AsyncIterator[int]:
        yield 1
        yield 2

    generator: Any = numbers()
    await generator.__anext__()
    sim.kept = generator  # type: ignore[attr-defined]


async def _loses_an_exception(sim: Simulation) -> None:
    sim.loop.create_future().set_exception(KeyError("lost"))


async def _raises_in_a_callback(sim: Simulation) -> None:
    sim.loop.call_soon(int, "gone")
    await asyncio.sleep(0.1)


@pytest.mark.parametrize(
    ("scenario", "told"),
    [
        (_leaks_a_task, "left-over"),
        (_leaks_a_timer, "timer at 10 s: print"),
        (_leaks_a_generator, "numbers is not closed"),
        (_loses_an_exception, "never retrieved"),
        (_raises_in_a_callback, "invalid literal"),
    ],
)
def test_what_a_run_leaves_behind_fails_it(scenario: Any, told: str) -> None:
    """A task, a timer, an open generator or an exception that nobody saw is a failure that names it."""
    with pytest.raises(SimulationFailed, match=told) as failed:
        simulate(scenario, [1])
    assert isinstance(failed.value.__cause__, LeakError)
    simulate(scenario, [1], clean=False)


def test_sets_of_tasks_have_one_order() -> None:
    """The order of a set of tasks or futures is the same in every run, wherever they lie in memory."""

    async def scenario(sim: Simulation) -> None:
        tasks = {asyncio.create_task(asyncio.sleep(n), name=str(n)) for n in range(20)}
        sim.note(" ".join(task.get_name() for task in tasks))
        await asyncio.wait(tasks)

    for seed in range(5):
        ballast = [bytearray(seed * 1000) for _ in range(100)]
        check_determinism(scenario, seed)
        del ballast


def test_a_run_that_is_not_determined_by_its_seed_is_found() -> None:
    """`check_determinism` fails, and shows where the runs part, if something follows the real world."""
    runs: list[int] = []

    async def scenario(sim: Simulation) -> None:
        runs.append(1)
        await asyncio.sleep(len(runs))

    with pytest.raises(AssertionError, match="differ at step"):
        check_determinism(scenario)


def test_work_for_an_executor_runs_in_the_loop() -> None:
    """`asyncio.to_thread` gives its result or its exception, without a thread and its own order."""

    async def scenario(sim: Simulation) -> None:
        assert await asyncio.to_thread(lambda: 42) == 42
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(lambda: 1 // 0)

    simulate(scenario, range(5))


_SCRIPT = """
import asyncio
from l0actors.testing import check_determinism

async def scenario(sim):
    async def source():
        for piece in ("a", "b", "c"):
            await asyncio.sleep(sim.rng.random())
            yield piece
        if sim.chance(0.5):
            raise ConnectionResetError
    async with sim.system() as system:
        result = await system.l0(stream=source)
        try:
            await result.text()
        except Exception as error:
            sim.note(type(error).__name__)

for seed in range(10):
    print("\\n".join(check_determinism(scenario, seed)))
"""


def test_a_seed_is_the_same_run_in_another_process() -> None:
    """A seed that failed elsewhere is replayed here: nothing hangs on the hashes of strings."""

    def trace(hash_seed: str) -> str:
        env = {
            **os.environ,
            "PYTHONHASHSEED": hash_seed,
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        }
        return subprocess.run(
            [sys.executable, "-c", _SCRIPT], env=env, capture_output=True, text=True, check=True
        ).stdout

    assert trace("1") == trace("2") != ""
