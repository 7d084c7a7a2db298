"""Where a task waits, for the error that says that it waits for ever."""

import asyncio
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

_FRAMES = ("cr_frame", "gi_frame", "ag_frame")
_AWAITED = ("cr_await", "gi_yieldfrom", "ag_await")


def whereabouts(task: "asyncio.Task[Any]") -> str:
    """Return the task's name and the lines at which it waits, the innermost first."""
    lines = [
        f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno} in {frame.f_code.co_name}"
        for frame in _frames(task.get_coro())
    ]
    return f"{task.get_name()}: {', called from '.join(reversed(lines)) or 'about to run'}"


def all_whereabouts(tasks: "Iterable[asyncio.Task[Any]]") -> str:
    """Return a line for each task."""
    return "".join(f"\n  {whereabouts(task)}" for task in tasks) or " (no task)"


def _frames(awaited: object) -> Iterator[FrameType]:
    while awaited is not None:
        frame = _first(awaited, _FRAMES)
        if isinstance(frame, FrameType):
            yield frame
        awaited = _first(awaited, _AWAITED)


def _first(thing: object, names: Iterable[str]) -> object:
    return next((getattr(thing, name) for name in names if hasattr(thing, name)), None)
