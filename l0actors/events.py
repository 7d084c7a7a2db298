"""What a consumer of a stream sees: `L0Event`, its types, and `fold`."""

from collections.abc import AsyncIterable, Iterable
from enum import Enum
from typing import Any

import msgspec


class EventType(str, Enum):
    """The kinds of `L0Event`. Values are the lower-case names."""

    TOKEN = "token"
    MESSAGE = "message"
    DATA = "data"
    PROGRESS = "progress"
    TOOL_CALL = "tool_call"
    ROLLBACK = "rollback"
    ERROR = "error"
    COMPLETE = "complete"


class L0Event(msgspec.Struct, frozen=True):
    """One event of a stream, the same for every provider.

    Attributes:
        type: what happened.
        value: the text of a `TOKEN` or a `MESSAGE`.
        data: the payload of the other types. `TOOL_CALL`: `id`, `name`, `arguments` (a dict), `index`.
            `ROLLBACK`: `keep` (characters that stay), `reason`, `attempt`. `PROGRESS`: `kind`
            (`"reasoning"`, `"ping"`, ...) and what belongs to it. `COMPLETE`: `finish_reason`, `model`.
        error: the exception of an `ERROR`.
        usage: tokens as the provider counted them, on `COMPLETE`: `input_tokens`, `output_tokens`.
        timestamp: when it was received, Unix epoch milliseconds.
    """

    type: EventType
    value: str | None = None
    data: dict[str, Any] | None = None
    error: Exception | None = None
    usage: dict[str, int] | None = None
    timestamp: float | None = None


class _Fold:
    """The consumer's text so far: tokens appended, rollbacks applied."""

    __slots__ = ("_parts",)

    def __init__(self) -> None:
        self._parts: list[str] = []

    def add(self, event: L0Event) -> None:
        if event.type is EventType.TOKEN:
            self._parts.append(event.value or "")
        elif event.type is EventType.ROLLBACK and event.data is not None:
            self._parts = [self.text()[: event.data["keep"]]]

    def text(self) -> str:
        return "".join(self._parts)


def fold(events: Iterable[L0Event]) -> str:
    """Return the text that `events` amount to: tokens joined, each rollback applied.

    >>> fold([L0Event(EventType.TOKEN, "Hello wrld"), L0Event(EventType.ROLLBACK, data={"keep": 7}),
    ...       L0Event(EventType.TOKEN, "orld")])
    'Hello world'
    """
    folded = _Fold()
    for event in events:
        folded.add(event)
    return folded.text()


async def consume_stream(stream: AsyncIterable[L0Event]) -> str:
    """Read `stream` to its end and return its text: `fold` for an async iterable."""
    folded = _Fold()
    async for event in stream:
        folded.add(event)
    return folded.text()
