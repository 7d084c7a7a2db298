"""What a simulated run did, step by step, in a form that two runs can be compared by."""

import re
from collections.abc import Iterator

_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Trace:
    """The steps of a run: when, and who.

    Stream ids are written as `session-1`, `session-2`, ... in the order in which they appear.
    """

    def __init__(self) -> None:
        self._entries: list[tuple[float, object]] = []

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[str]:
        return iter(self.lines())

    def add(self, now: float, what: object) -> None:
        """Note a step: what is not a string is named when the lines are asked for."""
        self._entries.append((now, what if isinstance(what, str) else _name(what)))

    def lines(self, last: int | None = None) -> list[str]:
        """Return one line for each entry, or for the `last` ones."""
        names: dict[str, str] = {}

        def named(found: re.Match[str]) -> str:
            return names.setdefault(found[0], f"session-{len(names) + 1}")

        lines = [f"{now:.6f} {_ID.sub(named, str(what))}" for now, what in self._entries]
        return lines if last is None else lines[-last:]


def _name(callback: object) -> str:
    return str(getattr(callback, "__qualname__", type(callback).__name__))
