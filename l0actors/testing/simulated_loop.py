"""An event loop without the outside world: virtual time, seeded order, and no way to hang."""

import asyncio
import itertools
from collections.abc import Callable
from random import Random
from typing import Any, TypeVar

from l0actors.testing.ready_queue import ReadyQueue, task_of
from l0actors.testing.trace import Trace
from l0actors.testing.whereabouts import all_whereabouts

T = TypeVar("T")

MAX_STEPS = 1_000_000
"""How many steps a run may take before it counts as one that never ends."""

WIND_DOWN_STEPS = 100_000
"""How many steps the tear-down may take after the run."""


class DeadlockError(RuntimeError):
    """Nothing is ready and no timer is set: whoever waits would wait for ever. It names them."""


class LivelockError(RuntimeError):
    """The run took more steps than it may: somebody goes round in circles. It names who is there."""


class _Numbered:
    """Hashes by the order of creation, not by address: so a set has the same order in every run."""

    _number: int

    def __hash__(self) -> int:
        return self._number


class _SimulatedFuture(_Numbered, asyncio.Future[Any]):
    __hash__ = _Numbered.__hash__

    def __init__(self, number: int, loop: asyncio.AbstractEventLoop) -> None:
        self._number = number
        super().__init__(loop=loop)


class SimulatedTask(_Numbered, asyncio.Task[Any]):
    """A task of a simulated loop; it is numbered from 1 in each loop, and named after its number."""

    __hash__ = _Numbered.__hash__

    def __init__(self, coro: Any, number: int, *, name: str | None, **rest: Any) -> None:
        self._number = number
        super().__init__(coro, name=name or f"task-{number}", **rest)

    @property
    def number(self) -> int:
        """Its place in the order of creation."""
        return self._number


class _Selector:
    """Stands where asyncio waits for the outside world. There is none: the clock jumps instead."""

    def __init__(self, loop: "SimulatedLoop") -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[object]:
        self._loop._turn(idle=timeout is None or timeout > 0)
        return []


class SimulatedLoop(asyncio.BaseEventLoop):
    """An event loop that runs the same way each time it is given the same seed.

    Its clock starts at 0 and moves only when everybody waits: to the next timer, at once. Which of the
    ready tasks, due timers and callbacks runs next is drawn from `seed`; `seed=None` gives asyncio's own
    order. When nothing can ever happen again it raises `DeadlockError`, and after `max_steps`
    `LivelockError`.

    There are no sockets, pipes, signals or subprocesses in it. What is given to an executor runs in the loop,
    at once; threads of one's own are not waited for.

    Args:
        seed: of the order; an int or None.
        max_steps: how many steps it may take.

    Attributes:
        trace: what ran, and when.
        steps: how many tasks' steps and callbacks have run.
        reports: what its exception handler was called with: exceptions that nobody retrieved.
    """

    _ready: ReadyQueue
    _scheduled: list[asyncio.TimerHandle]

    def __init__(self, seed: int | None = None, *, max_steps: int = MAX_STEPS) -> None:
        super().__init__()
        rng = None if seed is None else Random(f"order {seed}")
        self._ready = ReadyQueue(rng, self._step)
        self._selector = _Selector(self)
        self._clock_resolution = 1e-9
        self._now = 0.0
        self._numbers = itertools.count(1)
        self._max_steps = max_steps
        self._armed: tuple[int, Callable[[], object]] | None = None
        self._tracing = True
        self.steps = 0
        self.trace = Trace()
        self.reports: list[dict[str, Any]] = []
        self.set_debug(False)
        self.set_exception_handler(lambda _, report: self.reports.append(report))

    # what asyncio asks of a loop

    def time(self) -> float:
        """Return the virtual time in seconds."""
        return self._now

    def create_future(self) -> "asyncio.Future[Any]":
        """Return a future whose hash is the same in every run."""
        return _SimulatedFuture(next(self._numbers), self)

    def create_task(  # type: ignore[override]  # the keywords differ between Python's versions
        self, coro: Any, *, name: str | None = None, **rest: Any
    ) -> "asyncio.Task[Any]":
        """Start a task whose hash and default name are the same in every run."""
        self._check_closed()
        rest = {key: value for key, value in rest.items() if value is not None}
        return SimulatedTask(coro, next(self._numbers), name=name, loop=self, **rest)

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., T], *args: Any
    ) -> "asyncio.Future[T]":
        """Call `func` in the loop's next turn: a thread would bring an order of its own."""
        called = self.create_future()

        def call() -> None:
            if called.cancelled():
                return
            try:
                called.set_result(func(*args))
            except Exception as error:
                called.set_exception(error)

        self.call_soon(call)
        return called

    def _check_closed(self) -> None:
        if self.is_closed():
            raise RuntimeError("Event loop is closed")

    def _write_to_self(self) -> None:
        """Nobody sleeps in a selector: a call from a finalizer needs no wake-up."""

    def _process_events(self, event_list: list[object]) -> None:
        """No events come from outside."""

    # what a test may do to it

    def advance(self, seconds: float) -> None:
        """Let time pass in the middle of a step, as if its code had blocked the loop."""
        self._now += seconds

    def call_at_step(self, number: int, action: Callable[[], object]) -> None:
        """Call `action` right before the `number`-th step from now, from 1; outside of any task."""
        self._armed = (self.steps + number, action)

    def disarm(self) -> None:
        """Forget what `call_at_step` was told."""
        self._armed = None

    def idle(self) -> bool:
        """Return whether nothing can happen until the clock moves."""
        return not self._ready

    def wind_down(self) -> None:
        """Choose no more and trace no more, for an orderly tear-down."""
        self._ready.keep_order()
        self.disarm()
        self._tracing = False
        self._max_steps = self.steps + WIND_DOWN_STEPS

    def tasks(self) -> "list[asyncio.Task[Any]]":
        """Return the tasks that are not done, in the order of their creation."""
        return sorted(asyncio.all_tasks(self), key=hash)

    def timers(self) -> list[asyncio.TimerHandle]:
        """Return the timers that are set and not cancelled, the next one first."""
        return sorted(timer for timer in self._scheduled if not timer.cancelled())

    # the run

    def _turn(self, *, idle: bool) -> None:
        self._ready.begin_turn()
        if not idle:
            return
        if not self._scheduled:
            raise DeadlockError(
                f"nothing is ready and no timer is set at {self._now:g} s; "
                f"these wait:{all_whereabouts(self.tasks())}"
            )
        self._now = max(self._now, self._scheduled[0].when())

    def _step(self, handle: asyncio.Handle) -> None:
        self.steps += 1
        if self.steps > self._max_steps:
            raise LivelockError(
                f"no end after {self._max_steps} steps, at {self._now:g} s:{all_whereabouts(self.tasks())}"
            )
        if self._armed is not None and self.steps >= self._armed[0]:
            action, self._armed = self._armed[1], None
            self.trace.add(self._now, "armed action")
            asyncio.Handle(action, (), self)._run()
        if self._tracing:
            task = task_of(handle)
            self.trace.add(self._now, task.get_name() if task else getattr(handle, "_callback", None))
