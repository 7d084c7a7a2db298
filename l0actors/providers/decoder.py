"""What turns the items of one provider stream into events and knows the truth about its end."""

from typing import Any, Protocol

from l0actors.events import EventType, L0Event

Fed = str | L0Event | list[str | L0Event] | None
"""What one item amounts to: a piece of text as a bare `str`, an event, several of them, or nothing."""


class Decoder(Protocol):
    """Decodes the items of one attempt's stream. It is pure: no asyncio, no clock.

    Attributes:
        finished: the provider said that the answer is whole.
        done: nothing more that is worth waiting for will come.
        finish_reason: why the answer ended; None until `finished`.
        model: the model as the provider reported it.
        usage: `input_tokens` and `output_tokens` as the provider counted them, and `cached_tokens`,
            `cache_creation_tokens` and `reasoning_tokens` where it did; {} if it said nothing.
    """

    @property
    def finished(self) -> bool: ...  # noqa: D102 - documented by the class

    @property
    def done(self) -> bool: ...  # noqa: D102

    @property
    def finish_reason(self) -> str | None: ...  # noqa: D102

    @property
    def model(self) -> str | None: ...  # noqa: D102

    @property
    def usage(self) -> dict[str, int]: ...  # noqa: D102

    def feed(self, item: Any, /) -> Fed:
        """Return what `item` amounts to; nothing once the stream is `done`.

        Raises:
            L0Error: the item carries the provider's error, or is malformed.
        """

    def end(self) -> list[L0Event]:
        """Return what is still to be said now that the stream is over: the whole tool calls.

        Raises:
            L0Error: the provider never said that the answer is whole, or a tool call is not.
        """


class DecoderState:
    """The attributes of a `Decoder`, as it starts."""

    def __init__(self) -> None:
        self.finished = False
        self.done = False
        self.finish_reason: str | None = None
        self.model: str | None = None
        self.usage: dict[str, int] = {}


def events_of(fed: Fed) -> list[L0Event]:
    """Return what a decoder returned as a list of events."""
    if fed is None:
        return []
    parts = fed if isinstance(fed, list) else [fed]
    return [L0Event(EventType.TOKEN, part) if isinstance(part, str) else part for part in parts]


def complete(decoder: Decoder) -> L0Event:
    """Return the `COMPLETE` event of a stream that ended well."""
    data = {"finish_reason": decoder.finish_reason, "model": decoder.model}
    return L0Event(EventType.COMPLETE, data=data, usage=decoder.usage or None)


def progress(kind: str, **data: Any) -> L0Event:
    """Return a `PROGRESS` event."""
    return L0Event(EventType.PROGRESS, data={"kind": kind, **data})


def part(kind: str, **data: Any) -> L0Event:
    """Return a `DATA` event: a part of the answer that is not text."""
    return L0Event(EventType.DATA, data={"kind": kind, **data})
