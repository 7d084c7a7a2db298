"""Running a scenario under many schedules: the same seed is the same run, to the step."""

import asyncio
import gc
import itertools
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager, suppress
from random import Random
from typing import Any

import msgspec

from l0actors.clock import Clock
from l0actors.system import ActorSystem
from l0actors.testing.leaks import LeakError, left_in, unseen_in
from l0actors.testing.simulated_loop import MAX_STEPS, DeadlockError, LivelockError, SimulatedLoop
from l0actors.testing.trace import Trace

EPOCH_S = 1_700_000_000.0
"""The wall time at which every simulated run begins, in Unix seconds."""

TEAR_DOWN_ROUNDS = 10
"""How often what a scenario left behind is cancelled before it is given up."""

TAIL = 25
"""How many of its last steps the error of a failed run shows."""

_UNTIL_THE_END = range(1, 1_000_000)

Scenario = Callable[["Simulation"], Coroutine[Any, Any, Any]]


class SimulationFailed(AssertionError):
    """A scenario failed under one seed. The error itself is the cause.

    Attributes:
        seed: which one; None for asyncio's own order.
        step: at which step the armed action was called; None if there was none.
        trace: what the run did.
    """

    def __init__(self, message: str, seed: int | None, step: int | None, trace: Trace) -> None:
        super().__init__(message)
        self.seed = seed
        self.step = step
        self.trace = trace


class SimulationReport(msgspec.Struct):
    """What was simulated.

    Attributes:
        runs: how many runs there were.
        steps: of the loop, in all of them.
        virtual_s: how much time passed in them, in seconds.
    """

    runs: int = 0
    steps: int = 0
    virtual_s: float = 0.0


class Simulation:
    """One simulated run, as its scenario sees it.

    Attributes:
        seed: what everything is drawn from; None for asyncio's own order of steps.
        loop: the loop that it runs in.
        rng: for the scenario's own choices.
        clock: the runtime's wall time, which follows the loop's clock, and its chance.
    """

    def __init__(self, seed: int | None = 0, *, step: int | None = None, max_steps: int = MAX_STEPS) -> None:
        self.seed = seed
        self.loop = SimulatedLoop(seed, max_steps=max_steps)
        self.rng = Random(f"scenario {seed}")
        self.clock = Clock(wall=lambda: EPOCH_S + self.loop.time(), rng=Random(f"runtime {seed}"))
        self._at = step
        self._fired = False

    @property
    def trace(self) -> Trace:
        """What the run did so far."""
        return self.loop.trace

    @property
    def now_ms(self) -> float:
        """How much virtual time has passed, in milliseconds."""
        return self.loop.time() * 1000

    @property
    def fired(self) -> bool:
        """Whether the action that `arm` was given has been called."""
        return self._fired

    def system(self, **options: Any) -> ActorSystem:
        """Return a new actor system with this run's clock; the arguments are those of `ActorSystem`."""
        return ActorSystem(**{"clock": self.clock, **options})

    def chance(self, probability: float) -> bool:
        """Draw: true with this probability."""
        return self.rng.random() < probability

    def note(self, what: str) -> None:
        """Write a line of one's own into the trace."""
        self.trace.add(self.loop.time(), what)

    def arm(self, action: Callable[[], object]) -> None:
        """Hand over what `simulate_every_step` is to do, once, before one of the steps that follow."""
        if self._at is None:
            return

        def fire() -> None:
            self._fired = True
            action()

        self.loop.call_at_step(self._at, fire)

    async def settle(self) -> None:
        """Wait until nothing more can happen without the clock moving."""
        while True:
            await asyncio.sleep(0)
            if self.loop.idle():
                return

    def run(self, scenario: Scenario, *, clean: bool = True) -> Any:
        """Run `scenario` to its end, take the loop down, and return the scenario's result.

        Raises:
            LeakError: it ended well but, if `clean`, left something behind or let an exception go unseen.
            DeadlockError: it would have waited for ever.
            LivelockError: it took too many steps.
        """
        loop = self.loop
        try:
            result = loop.run_until_complete(loop.create_task(self._whole(scenario), name="main"))
            left = left_in(loop)
        finally:
            _tear_down(loop)
        left += unseen_in(loop)
        if clean and left:
            raise LeakError("left behind:" + "".join(f"\n  {each}" for each in left))
        return result

    async def _whole(self, scenario: Scenario) -> Any:
        try:
            return await scenario(self)
        finally:
            self.loop.disarm()


def simulate(
    scenario: Scenario,
    seeds: Iterable[int | None] = range(200),
    *,
    clean: bool = True,
    max_steps: int = MAX_STEPS,
) -> SimulationReport:
    """Run `async def scenario(sim)` once for each seed, each time in a fresh loop.

        async def scenario(sim: Simulation) -> None:
            async with sim.system() as system:
                ...

        simulate(scenario)

    Args:
        scenario: an async function of the `Simulation`.
        seeds: which runs; each is repeated exactly by its seed. None runs in asyncio's own order.
        clean: whether leaving a task, a timer, an open async generator or an unseen exception is a failure.
        max_steps: how many steps a run may take.

    Raises:
        SimulationFailed: a run failed; it says how to replay that run, and its cause is the error.
    """
    report = SimulationReport()
    with _collector_tamed():
        for seed in seeds:
            _run_one(scenario, Simulation(seed, max_steps=max_steps), report, clean=clean)
    return report


def simulate_every_step(
    scenario: Scenario,
    seeds: Iterable[int | None] = (0,),
    *,
    steps: Iterable[int] = _UNTIL_THE_END,
    clean: bool = True,
) -> SimulationReport:
    """Run `scenario` again and again, and let what it gave to `sim.arm` happen one step later each time.

    For each seed the steps are counted from the call of `arm`. It ends with the first run that is over
    before the action was called.

    Raises:
        SimulationFailed: a run failed; it says how to replay that run, and its cause is the error.
    """
    report = SimulationReport()
    with _collector_tamed():
        for seed in seeds:
            for step in steps:
                sim = Simulation(seed, step=step)
                _run_one(scenario, sim, report, clean=clean)
                if not sim.fired:
                    break
    return report


def check_determinism(scenario: Scenario, seed: int | None = 0) -> Trace:
    """Run `scenario` twice with one seed, and return the trace.

    Raises:
        AssertionError: the runs differ; it shows where. Something in them follows the real clock, an
            unseeded generator, an address, or the order of a set.
    """
    traces = []
    with _collector_tamed():
        for _ in range(2):
            sim = Simulation(seed)
            _run_one(scenario, sim, SimulationReport(), clean=False)
            traces.append(sim.trace)
    pairs = itertools.zip_longest(*traces, fillvalue="(the end)")
    for number, (first, second) in enumerate(pairs):
        if first != second:
            raise AssertionError(
                f"seed {seed} gives two runs that differ at step {number + 1}: {first!r}, then {second!r}"
            )
    return traces[0]


def _run_one(scenario: Scenario, sim: Simulation, report: SimulationReport, *, clean: bool) -> None:
    try:
        sim.run(scenario, clean=clean)
    except Exception as error:
        raise _failed(scenario, sim, error) from error
    finally:
        report.runs += 1
        report.steps += sim.loop.steps
        report.virtual_s += sim.loop.time()


def _failed(scenario: Scenario, sim: Simulation, error: Exception) -> SimulationFailed:
    name = getattr(scenario, "__qualname__", repr(scenario))
    replay = f"simulate({name}, seeds=[{sim.seed}])"
    if sim._at is not None:
        replay = f"simulate_every_step({name}, seeds=[{sim.seed}], steps=[{sim._at}])"
    tail = "".join(f"\n  {line}" for line in sim.trace.lines(TAIL))
    return SimulationFailed(
        f"seed {sim.seed}: {type(error).__name__}: {error}\nreplay it: {replay}\nits last steps:{tail}",
        sim.seed,
        sim._at,
        sim.trace,
    )


def _tear_down(loop: SimulatedLoop) -> None:
    """Cancel what is left, in plain order, and close the loop; what does not listen is left to itself."""
    loop.wind_down()
    try:
        for _ in range(TEAR_DOWN_ROUNDS):
            left = loop.tasks()
            if not left:
                break
            _run(loop, _cancelled(left))
            del left
        _run(loop, loop.shutdown_asyncgens())
        gc.collect()  # what was never retrieved is reported now
    finally:
        loop.close()


def _run(loop: SimulatedLoop, ending: Coroutine[Any, Any, Any]) -> None:
    with suppress(DeadlockError, LivelockError):
        loop.run_until_complete(ending)


async def _cancelled(tasks: "list[asyncio.Task[Any]]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks, timeout=60)


@contextmanager
def _collector_tamed() -> Iterator[None]:
    """Keep the garbage collector from running in the middle of a step, and its collections short."""
    enabled = gc.isenabled()
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.unfreeze()
        if enabled:
            gc.enable()
