"""What a consumer sees, and what it folds to."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l0actors.events import EventType, L0Event, consume_stream, fold


def token(text: str) -> L0Event:
    """Return a token."""
    return L0Event(EventType.TOKEN, text)


def rollback(keep: int) -> L0Event:
    """Return a rollback."""
    return L0Event(EventType.ROLLBACK, data={"keep": keep, "reason": "retry", "attempt": 2})


async def stream(events: list[L0Event]) -> AsyncIterator[L0Event]:
    """Yield the events."""
    for event in events:
        yield event


def test_event_types_are_the_contract() -> None:
    """The kinds are those of the public contract, and each value is its name in lower case."""
    names = ["TOKEN", "MESSAGE", "DATA", "PROGRESS", "TOOL_CALL", "ROLLBACK", "ERROR", "COMPLETE"]
    assert [kind.name for kind in EventType] == names
    assert all(kind.value == kind.name.lower() for kind in EventType)


def test_event_fields_and_defaults() -> None:
    """An event has six fields beside its type, None unless given, and cannot be changed."""
    event = L0Event(EventType.TOKEN)
    assert event.__struct_fields__ == ("type", "value", "data", "error", "usage", "timestamp")
    assert all(getattr(event, name) is None for name in event.__struct_fields__[1:])
    with pytest.raises(AttributeError):
        event.value = "x"  # type: ignore[misc]


def test_fold_applies_rollbacks() -> None:
    """Tokens are joined and each rollback keeps the first characters."""
    assert fold([token("Hello"), token(" wrld"), rollback(7), token("orld")]) == "Hello world"
    assert fold([token("Hello"), rollback(0)]) == ""
    assert fold([]) == ""


def test_fold_ignores_other_events() -> None:
    """Only tokens and rollbacks are text; a token without a value is empty."""
    others = [L0Event(kind, "x") for kind in EventType if kind not in {EventType.TOKEN, EventType.ROLLBACK}]
    assert fold([token("a"), *others, L0Event(EventType.TOKEN), token("b")]) == "ab"


steps = st.lists(st.one_of(st.text(max_size=5), st.integers(0, 20)), max_size=30)


@given(steps)
def test_fold_is_the_plain_definition(drawn: list[Any]) -> None:
    """Folding equals appending and slicing one string."""
    text, events = "", []
    for step in drawn:
        events.append(token(step) if isinstance(step, str) else rollback(step))
        text = text + step if isinstance(step, str) else text[:step]
    assert fold(events) == text


async def test_consume_stream_is_fold() -> None:
    """`consume_stream` folds an async iterable to its end."""
    events = [token("Hello"), rollback(4), token("p"), L0Event(EventType.COMPLETE)]
    assert await consume_stream(stream(events)) == fold(events) == "Hellp"


async def test_consume_stream_passes_what_the_stream_raises() -> None:
    """An error of the stream is not swallowed."""

    async def broken() -> AsyncIterator[L0Event]:
        yield token("a")
        raise OSError("reset")

    with pytest.raises(OSError, match="reset"):
        await consume_stream(broken())
