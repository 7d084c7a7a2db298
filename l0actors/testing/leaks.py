"""What a run left behind."""

import asyncio
from typing import Any

from l0actors.testing.simulated_loop import SimulatedLoop
from l0actors.testing.whereabouts import whereabouts


class LeakError(AssertionError):
    """A run left something behind, or let an exception go unseen. It says what."""


def left_in(loop: SimulatedLoop) -> list[str]:
    """Return what is still there: tasks, timers, and async generators that are not closed."""
    return [
        *(f"task {whereabouts(task)}" for task in loop.tasks()),
        *(f"timer at {timer.when():g} s: {callback_of(timer)}" for timer in loop.timers()),
        *(f"async generator {name} is not closed" for name in sorted(_open_generators(loop))),
    ]


def unseen_in(loop: SimulatedLoop) -> list[str]:
    """Return what the loop's exception handler was told."""
    return [f"unseen: {_described(report)}" for report in loop.reports]


def callback_of(handle: asyncio.Handle) -> str:
    """Return the name of what a handle calls."""
    callback = getattr(handle, "_callback", None)
    return str(getattr(callback, "__qualname__", callback))


def _open_generators(loop: SimulatedLoop) -> list[str]:
    generators: Any = getattr(loop, "_asyncgens", ())
    return [each.__qualname__ for each in tuple(generators) if each.ag_frame is not None]


def _described(report: dict[str, Any]) -> str:
    error, source = (
        report.get("exception"),
        report.get("task") or report.get("future") or report.get("handle"),
    )
    return f"{report.get('message')} {error!r} {source!r}"
