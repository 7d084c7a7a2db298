"""Renders a reply in the wire format that the request asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from l0actors.testing import wire_chat, wire_messages, wire_responses
from l0actors.testing.faults import ErrorEvent
from l0actors.testing.frame import Frame, json_bytes, sse
from l0actors.testing.http1 import Request, Wire
from l0actors.testing.reply import Encoding, Reply

_STREAMS: Mapping[Wire, Callable[[Reply, Request], list[Frame]]] = {
    "chat": wire_chat.stream,
    "responses": wire_responses.stream,
    "messages": wire_messages.stream,
}
_DOCUMENTS: Mapping[Wire, Callable[[Reply, Request], dict[str, Any]]] = {
    "chat": wire_chat.document,
    "responses": wire_responses.document,
    "messages": wire_messages.document,
}
_OPENAI_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
_OPENAI_CODES = {401: "invalid_api_key", 404: "model_not_found", 429: "rate_limit_exceeded"}
_ANTHROPIC_TYPES = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def stream_frames(reply: Reply, request: Request, wire: Wire) -> list[Frame]:
    """Return the events of a streamed answer, as the reply's `omit` and `encoding` want them."""
    frames = _STREAMS[wire](reply, request)
    frames = _omit(frames, reply)
    return _encode(frames, reply.encoding, "blank_line" not in reply.omit)


def document(reply: Reply, request: Request, wire: Wire) -> bytes:
    """Return the JSON document of an answer that is not streamed."""
    return json_bytes(_DOCUMENTS[wire](reply, request))


def error_body(status: int, error_type: str | None, message: str, wire: Wire | None) -> bytes:
    """Return the body that the provider sends with an HTTP error."""
    if wire == "messages":
        usual = "api_error" if status >= 500 else "invalid_request_error"
        name = error_type or _ANTHROPIC_TYPES.get(status, usual)
        return json_bytes({"type": "error", "error": {"type": name, "message": message}})
    usual = "server_error" if status >= 500 else "invalid_request_error"
    error = {
        "message": message,
        "type": error_type or _OPENAI_TYPES.get(status, usual),
        "param": None,
        "code": error_type or _OPENAI_CODES.get(status),
    }
    return json_bytes({"error": error})


def error_event(fault: ErrorEvent, request: Request, wire: Wire, sequence: int) -> bytes:
    """Return an error as it comes inside a stream.

    Args:
        fault: Its type, message and form.
        request: The request that is answered.
        wire: The format.
        sequence: The sequence number that comes next in the responses format.
    """
    name = fault.type or ("overloaded_error" if wire == "messages" else "server_error")
    form = fault.form
    if form == "own":
        form = "flat" if wire == "responses" else "object"
    if form == "failed" and wire == "responses":
        return wire_responses.failed(name, fault.message, request, sequence)
    data: dict[str, Any]
    if form == "flat":
        data = {"type": "error", "code": name, "message": fault.message, "param": None}
        data |= {"sequence_number": sequence} if wire == "responses" else {}
    elif form == "text":
        data = {"error": fault.message}
    elif wire == "messages":
        data = {"type": "error", "error": {"type": name, "message": fault.message}}
    else:
        data = {"error": {"message": fault.message, "type": name, "param": None, "code": name}}
    return sse(data, None if wire == "chat" else "error")


def _omit(frames: Sequence[Frame], reply: Reply) -> list[Frame]:
    kept, token = [], 0
    for frame in frames:
        token += frame.mark == "token"
        number = token if frame.mark == "token" else 0
        if frame.mark not in reply.omit and number not in reply.omit:
            kept.append(frame)
    return kept


def _encode(frames: Sequence[Frame], encoding: Encoding, last_blank_line: bool) -> list[Frame]:
    texts = [frame.data for frame in frames]
    if not encoding.event_lines:
        texts = [data[data.index(b"data:") :] for data in texts]
    if encoding.ids:
        texts = [b"id: %d\n%b: keep-alive\n\n" % (n, data) for n, data in enumerate(texts, 1)]
    if texts and not last_blank_line:
        texts[-1] = texts[-1][:-1]
    # JSON has no bare line break, so every one of them ends a line of the event stream.
    texts = [data.replace(b"\n", encoding.newline.encode()) for data in texts]
    if texts and encoding.bom:
        texts[0] = b"\xef\xbb\xbf" + texts[0]
    return [Frame(data, frame.mark) for data, frame in zip(texts, frames, strict=True)]
