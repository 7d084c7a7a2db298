"""One server-sent event, ready to send, and what it stands for."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

Mark = Literal["", "token", "finish", "usage", "terminator"]


@dataclass(frozen=True)
class Frame:
    """The bytes of one event.

    Attributes:
        data: The event with its blank line.
        mark: What it carries, so that faults can be placed by it; "" is of no interest.
    """

    data: bytes
    mark: Mark = ""


def json_bytes(value: object) -> bytes:
    """Encode as providers do: compact, and in UTF-8 rather than escapes."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def sse(data: Any, event: str | None = None) -> bytes:
    """Return one event.

    Args:
        data: A JSON value.
        event: The event's name for its `event:` line; None leaves the line out.
    """
    name = b"" if event is None else b"event: %b\n" % event.encode()
    return name + b"data: %b\n\n" % json_bytes(data)
