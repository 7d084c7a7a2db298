"""An actor system for a test, which fails that test if anything is left or goes unseen."""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Any

from l0actors.system import ActorSystem
from l0actors.testing.leaks import LeakError, callback_of
from l0actors.testing.whereabouts import whereabouts

CLOSE_TURNS = 5
"""How many turns of the loop, after the system's end, what the test itself started may take to end."""


@asynccontextmanager
async def checked_system(*, dead_letters: Collection[str] = (), **options: Any) -> AsyncIterator[ActorSystem]:
    """Run an actor system for the block, and look at what is left after it.

        @pytest.fixture
        async def system():
            async with checked_system(dead_letters={"superseded"}) as system:
                yield system

    Args:
        dead_letters: the reasons for which messages may stay undelivered.
        **options: the arguments of `ActorSystem`.

    Raises:
        LeakError: a task or a timer that was started in the block is left, the loop's exception handler was
            called, an actor ignored its cancellation, or there are dead letters for another reason. Not
            raised when the block itself raises.
    """
    loop = asyncio.get_running_loop()
    tasks, timers = set(asyncio.all_tasks()), _timers(loop)
    reports: list[dict[str, Any]] = []
    before = loop.get_exception_handler()
    loop.set_exception_handler(lambda _, report: reports.append(report))
    try:
        async with ActorSystem(**options) as system:
            yield system
        report = await system.stop()
        for _ in range(CLOSE_TURNS):
            await asyncio.sleep(0)
    finally:
        loop.set_exception_handler(before)
    left = [
        *(f"task {whereabouts(task)}" for task in asyncio.all_tasks() - tasks),
        *(f"timer: {callback_of(timer)}" for timer in _timers(loop) - timers),
        *(f"unseen: {each.get('message')} {each.get('exception')!r}" for each in reports),
        *(f"actor that was given up: {path}" for path in report.stuck),
        *(
            f"dead letters: {count} {reason}"
            for reason, count in report.dead_letters.items()
            if reason not in dead_letters
        ),
    ]
    if left:
        raise LeakError("left behind:" + "".join(f"\n  {each}" for each in left))


def _timers(loop: asyncio.AbstractEventLoop) -> set[asyncio.TimerHandle]:
    """Return the timers that are set; a loop that is not asyncio's own does not tell."""
    scheduled: list[asyncio.TimerHandle] = getattr(loop, "_scheduled", [])
    return {timer for timer in scheduled if not timer.cancelled()}
