"""What the provider is to answer: the content, how it is sent, and what goes wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Literal

from l0actors.testing.faults import Fault

Part = Literal["finish", "terminator", "usage", "blank_line"]

_WORD = re.compile(r"\s*\S+|\s+")


def split_words(text: str) -> tuple[str, ...]:
    """Split a text into word-like pieces whose join is exactly the text."""
    return tuple(_WORD.findall(text))


def _pieces(content: str | Sequence[str]) -> tuple[str, ...]:
    return split_words(content) if isinstance(content, str) else tuple(content)


@dataclass(frozen=True)
class ToolCall:
    """One tool call of an answer.

    Attributes:
        id: The call's id (chat `id`, responses `call_id`, Anthropic `tool_use` id).
        name: The tool's name.
        arguments: The arguments as JSON text. It is sent as it stands, valid or not.
        fragments: How the arguments are cut into events; None (default) cuts every 8 characters.
    """

    id: str
    name: str
    arguments: str = "{}"
    fragments: Sequence[str] | None = None

    @property
    def pieces(self) -> tuple[str, ...]:
        """The fragments as they will be sent."""
        if self.fragments is not None:
            return tuple(self.fragments)
        return tuple(self.arguments[i : i + 8] for i in range(0, len(self.arguments), 8))

    @property
    def text(self) -> str:
        """The arguments that a client which joins all fragments ends up with."""
        return "".join(self.pieces)


@dataclass(frozen=True)
class Usage:
    """Token counts as the provider reports them.

    Attributes:
        input_tokens: Tokens of the prompt.
        output_tokens: Tokens of the answer.
    """

    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, kw_only=True)
class Encoding:
    r"""How the bytes of a stream are written; the default is what a provider does.

    Attributes:
        newline: Ends every line of the event stream; `"\r\n"` and `"\r"` are just as valid.
        event_lines: False leaves out the `event:` lines.
        ids: True gives every event an `id:` line and puts a comment after it.
        bom: True puts a byte order mark first.
        piece_bytes: Cuts the body into HTTP chunks of this many bytes, each its own write;
            None (default) is one chunk per event.
        gzip: True compresses the body, flushed after every event.
        chunked: False sends a body that ends with the connection (`Connection: close`).
        content_type: The header's value.
    """

    newline: str = "\n"
    event_lines: bool = True
    ids: bool = False
    bom: bool = False
    piece_bytes: int | None = None
    gzip: bool = False
    chunked: bool = True
    content_type: str = "text/event-stream; charset=utf-8"


@dataclass(frozen=True)
class Reply:
    """One answer of the provider. A plain `Reply("text")` is a healthy one in any wire format.

    Attributes:
        text: The text; a str is sent in word-like pieces, a sequence is sent piece by piece.
        reasoning: Reasoning that comes before the text, cut in the same way.
        tool_calls: Calls that come after the text.
        refusal: A refusal in place of a text. Anthropic has no text for it: there it is the
            explanation of the stop reason `refusal`.
        finish: `"stop"`, `"length"`, `"tool_calls"` or `"content_filter"`, translated into the
            format's own words; any other word is sent as it is. None (default) is what the content
            implies.
        usage: What the usage report says. None (default) counts 8 tokens in, one per piece out.
        model: The model's name in the answer; None (default) echoes the request's.
        id: The answer's id; None (default) is one numbered like the request.
        fault: What goes wrong, one or several; nothing by default.
        omit: What is left out: `"finish"` (the event with the finish reason), `"terminator"`
            (`[DONE]`, `message_stop`; the responses format has none apart from its finish),
            `"usage"`, `"blank_line"` (after the last event), or the number of a token, from 1.
        encoding: How the stream's bytes are written.
        delay_ms: Time before the first byte of the response, in milliseconds. Default 0.
        token_delay_ms: Time before each token, in milliseconds. Default 0: one event-loop turn.
        stream: False answers with one JSON document even if a stream was asked for, True the
            other way round; None (default) does what the request asks.
        status_code: The HTTP status. Default 200.
        headers: More response headers; they replace those of the same name.
        content: A whole body that replaces the answer; use `Reply.status`.
        error: Type and message of the provider's error body; use `Reply.status`.
    """

    text: str | Sequence[str] = ""
    _: KW_ONLY
    reasoning: str | Sequence[str] = ""
    tool_calls: Sequence[ToolCall] = ()
    refusal: str | Sequence[str] = ""
    finish: str | None = None
    usage: Usage | None = None
    model: str | None = None
    id: str | None = None
    fault: Fault | Sequence[Fault] = ()
    omit: Collection[Part | int] = ()
    encoding: Encoding = field(default_factory=Encoding)
    delay_ms: float = 0
    token_delay_ms: float = 0
    stream: bool | None = None
    status_code: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes | None = None
    error: tuple[str | None, str] | None = None

    @classmethod
    def status(
        cls,
        code: int,
        body: str | bytes | Mapping[str, Any] | None = None,
        *,
        error_type: str | None = None,
        message: str = "The fault provider was told to fail.",
        retry_after: float | str | None = None,
        retry_after_ms: float | None = None,
        content_type: str | None = None,
        headers: Mapping[str, str] | None = None,
        fault: Fault | Sequence[Fault] = (),
        delay_ms: float = 0,
    ) -> Reply:
        """A response that is not an answer: an error, or a body that has no business there.

        Args:
            code: The HTTP status. 200 is allowed: some gateways report errors that way.
            body: The whole body: text, bytes or a JSON object. None (default) is the error body
                that the provider of the asked format sends with this status.
            error_type: The error type in that body; None (default) is the provider's own for the status.
            message: The error message in that body.
            retry_after: The `retry-after` header: seconds, or a date as text.
            retry_after_ms: The `retry-after-ms` header, in milliseconds.
            content_type: Default `application/json`, or `text/html` for a body given as text.
            headers: More response headers.
            fault: What goes wrong besides.
            delay_ms: Time before the first byte, in milliseconds.
        """
        extra = {
            "content-type": content_type or ("text/html" if isinstance(body, str) else "application/json"),
            **({} if retry_after is None else {"retry-after": str(retry_after)}),
            **({} if retry_after_ms is None else {"retry-after-ms": str(retry_after_ms)}),
            **(headers or {}),
        }
        return cls(
            status_code=code,
            headers=extra,
            content=None if body is None else _encode(body),
            error=(error_type, message) if body is None else None,
            fault=fault,
            delay_ms=delay_ms,
        )

    @property
    def pieces(self) -> tuple[str, ...]:
        """The text as it will be sent."""
        return _pieces(self.text)

    @property
    def reasoning_pieces(self) -> tuple[str, ...]:
        """The reasoning as it will be sent."""
        return _pieces(self.reasoning)

    @property
    def refusal_pieces(self) -> tuple[str, ...]:
        """The refusal as it will be sent."""
        return _pieces(self.refusal)

    @property
    def finish_reason(self) -> str:
        """The finish reason, in the words of the chat format."""
        return self.finish or ("tool_calls" if self.tool_calls else "stop")

    @property
    def counts(self) -> Usage:
        """The usage that is reported."""
        if self.usage is not None:
            return self.usage
        spoken = len(self.pieces) + len(self.reasoning_pieces) + len(self.refusal_pieces)
        return Usage(8, spoken + sum(len(call.pieces) for call in self.tool_calls))

    @property
    def faults(self) -> tuple[Fault, ...]:
        """All faults, in the order in which they were given."""
        return (self.fault,) if isinstance(self.fault, Fault) else tuple(self.fault)


def _encode(body: str | bytes | Mapping[str, Any]) -> bytes:
    if isinstance(body, bytes):
        return body
    return (body if isinstance(body, str) else json.dumps(body)).encode()
