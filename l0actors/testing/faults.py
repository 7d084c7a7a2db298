"""The vocabulary of faults: what goes wrong, and where in the response.

A fault says *where* it strikes in one of three ways: `after_tokens` (so many tokens of the answer
were sent: pieces of text, reasoning, refusal or tool arguments), `after_bytes` (so many bytes of
the body before any content encoding), or `at` (`"start"`: before the first byte of the response,
`"finish"`: after the event with the finish reason, `"end"`: after the whole body, before the end
of the HTTP message). `after_tokens` and `after_bytes` add up: two tokens and five bytes. A place
that the answer does not reach is its last one.

What it does is its class. `Cut`, `Close`, `Reset`, `Repeat`, `ErrorEvent` and a `Stall` without a
time are the last thing that happens to the response; after the others it goes on. Faults compose:
a reply takes a sequence of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Place = Literal["start", "finish", "end"]
Layer = Literal["event", "body", "socket"]
ErrorForm = Literal["own", "object", "text", "flat", "failed"]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Something that goes wrong at one place of a response; use a subclass.

    Attributes:
        after_tokens: Strikes when this many tokens were sent.
        after_bytes: Strikes when this many bytes of the body were sent, counted from the start, or
            from `after_tokens` if that is given too.
        at: Strikes at a named place instead.

    Raises:
        ValueError: No place is given, or two that exclude each other, or a negative one.
    """

    after_tokens: int | None = None
    after_bytes: int | None = None
    at: Place | None = None

    def __post_init__(self) -> None:
        counts = [n for n in (self.after_tokens, self.after_bytes) if n is not None]
        if bool(counts) == (self.at is not None):
            raise ValueError(f"{self!r}: say where, by after_tokens and after_bytes, or by at")
        if any(n < 0 for n in counts):
            raise ValueError(f"{self!r}: a place cannot be negative")


@dataclass(frozen=True)
class Cut(Fault):
    """The body ends here, cleanly, as if it were whole: a silent end."""


@dataclass(frozen=True)
class Close(Fault):
    """The connection is closed (FIN) without an end of the body."""


@dataclass(frozen=True)
class Reset(Fault):
    """The connection is reset (RST)."""


@dataclass(frozen=True)
class Stall(Fault):
    """Nothing is sent for a while, with the connection held open.

    Attributes:
        for_ms: How long, in milliseconds; None (the default) is until `FaultProvider.release()`,
            the client's leaving, or `stop()`.
    """

    for_ms: float | None = None


@dataclass(frozen=True)
class Send(Fault):
    r"""Bytes that do not belong here are sent, and the response goes on.

    Attributes:
        data: The bytes, exactly as they go out (an event needs its own `data: ` and blank line).
        layer: `"event"` (default) puts them through the content encoding and the chunk framing like
            any event, `"body"` through the framing only (so they corrupt a gzip body), `"socket"`
            on the bare connection (so they break the framing). At `at="start"` they always go on
            the bare connection, ahead of the response's own head.
    """

    data: bytes
    layer: Layer = "event"


@dataclass(frozen=True)
class Repeat(Fault):
    """The same bytes are sent again and again, and nothing else comes any more.

    Attributes:
        data: The bytes of one round, usually a comment or a ping event.
        every_ms: Time between two rounds, in milliseconds. Default 10.
    """

    data: bytes
    every_ms: float = 10


@dataclass(frozen=True)
class ErrorEvent(Fault):
    """An error arrives inside the stream, then the body ends cleanly.

    Attributes:
        type: The provider's name for the error; None is the usual one for an overloaded server.
        message: The text for humans.
        form: The shape. `"own"` (default) is what the real provider sends in this format;
            `"object"` is `{"error": {...}}` (Anthropic: with a `type`), `"text"` is `{"error": "..."}`,
            `"flat"` is `{"type": "error", "code": ...}`, `"failed"` is `response.failed`, which
            only the responses format has.
    """

    type: str | None = None
    message: str = "The server had an error while processing your request."
    form: ErrorForm = "own"


@dataclass(frozen=True)
class Duplicate(Fault):
    """The event sent last before this place is sent once more."""
