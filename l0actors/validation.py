"""Checks of values on entry. Each raises `ValueError` with the name, the rule and the value."""

import inspect
import math
from enum import Enum
from typing import TypeVar

_E = TypeVar("_E", bound=Enum)


def whole(name: str, value: object, *, least: int = 0) -> None:
    """Refuse what is not an int of at least `least`."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"{name} must be a whole number, got {value!r}")
    if value < least:
        raise ValueError(f"{name} must be >= {least}, got {value!r}")


def number(name: str, value: object, *, positive: bool = False) -> None:
    """Refuse what is not a finite number >= 0, or > 0 if `positive`."""
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value):
        raise ValueError(f"{name} must be a number, got {value!r}")
    if value < 0 or (positive and value == 0):
        raise ValueError(f"{name} must be {'>' if positive else '>='} 0, got {value!r}")


def instance(name: str, value: object, *kinds: type) -> None:
    """Refuse what is of none of the `kinds`."""
    if not isinstance(value, kinds):
        raise ValueError(f"{name} must be a {' or '.join(kind.__name__ for kind in kinds)}, got {value!r}")


def function(name: str, value: object) -> None:
    """Refuse what is neither callable nor None."""
    if value is not None and not callable(value):
        raise ValueError(f"{name} must be callable or None, got {value!r}")


def member(name: str, value: object, kind: type[_E]) -> _E:
    """Return the member of `kind` that `value` is or names."""
    try:
        return kind(value)
    except ValueError:
        known = ", ".join(str(each.value) for each in kind)
        raise ValueError(f"{name} must be one of {known}, got {value!r}") from None


def factory(name: str, value: object) -> None:
    """Refuse what cannot open a stream anew for each attempt."""
    if callable(value):
        return
    if inspect.iscoroutine(value):
        value.close()  # it will never be awaited now: no warning on top of the error
    raise ValueError(
        f"{name} must be a callable that opens the stream anew for each attempt, got {type(value).__name__}: "
        f"write {name}=lambda: ..."
    )
