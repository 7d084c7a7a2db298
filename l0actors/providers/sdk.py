"""Looks at the SDKs' objects without importing the SDKs."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import msgspec

from l0actors.providers.failures import kind_of, malformed


def is_stream_of(package: str, stream: Any) -> bool:
    """Return whether `stream` is one of the stream classes of an SDK, or derived from one."""
    return any(
        kind.__module__.partition(".")[0] == package and "Stream" in kind.__name__
        for kind in type(stream).__mro__
    )


@contextmanager
def of_item(item: Any) -> Iterator[None]:
    """Turn what goes wrong with an item that is not built as it should be into a "malformed event"."""
    try:
        yield
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise malformed(f"{kind_of(item)} is not built as it should be: {error}") from error


def text(value: Any, field: str) -> str:
    """Return `value`, which must be a str.

    Raises:
        L0Error: it is none: the event is malformed.
    """
    if not isinstance(value, str):
        raise malformed(f"{field} is {type(value).__name__}, not a text")
    return value


def optional(item: Any, field: str) -> Any:
    """Return a member, None if it is missing, of what must be an object.

    Raises:
        L0Error: it is none: the event is malformed.
    """
    if item is None or isinstance(item, (str, int, float, list)):
        raise malformed(f"what should have {field} is {type(item).__name__}, not an object")
    return getattr(item, field, None)


def count(value: Any) -> int | None:
    """Return `value` if it is a number of tokens."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def counts(**values: Any) -> dict[str, int]:
    """Return those of the values that are numbers of tokens."""
    return {name: number for name, value in values.items() if (number := count(value)) is not None}


def plain(value: Any) -> Any:
    """Return an SDK's object as plain data."""
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json", exclude_unset=True, warnings=False)
    if isinstance(value, Mapping):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    return msgspec.to_builtins(value)
