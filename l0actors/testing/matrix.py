"""Every fault that a client can detect, by format, and how an attempt that meets it must end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from l0actors.testing.faults import Close, Cut, Duplicate, ErrorEvent, Repeat, Reset, Send, Stall
from l0actors.testing.frame import sse
from l0actors.testing.http1 import Wire
from l0actors.testing.reply import Encoding, Reply

Outcome = Literal["fails", "recovers"]


@dataclass(frozen=True)
class FaultCase:
    """One fault in one wire format.

    Attributes:
        name: Its name, the same in every format.
        wire: The format.
        outcome: `"fails"`: the answer is not whole, or nobody can know, so the attempt has failed,
            and another one may do better. `"recovers"`: the text is whole and its end was
            reported, so the attempt has succeeded, whatever its bytes looked like.
        hangs: The connection stays open and nothing useful comes any more, so that only a timeout
            of the client's own ends the attempt. Of a case that recovers: it ends in time only if
            the client stops reading at the end of the answer.
        changes: The fields of `Reply` that bring the fault about.
    """

    name: str
    wire: Wire
    outcome: Outcome
    hangs: bool
    changes: Mapping[str, Any]

    def on(self, reply: Reply) -> Reply:
        """Return the reply with this fault in it.

        Args:
            reply: A healthy answer of at least three tokens of text; most faults strike after two.
        """
        return replace(reply, **self.changes)


def fault_matrix(wire: Wire) -> dict[str, FaultCase]:
    """Return every case of a format by name.

    What no client can detect is not here: in chat completions and messages, which number nothing,
    an event sent twice or not at all.
    """
    fails = {**_before(), **_broken(), **_in_band(wire), **_malformed(wire), **_unfinished(wire)}
    recovers = {**_encodings(wire), **_harmless(wire), **_after_finish(wire)}
    return _cases(wire, "fails", fails) | _cases(wire, "recovers", recovers)


_Changes = dict[str, dict[str, Any]]


_HANGING = {
    "no_headers",
    "stall_before_tokens",
    "stall",
    "pings_for_ever",
    "comments_for_ever",
    "stall_after_finish",
    "body_held_open",
}
_HTML = "<html><body><h1>502 Bad Gateway</h1></body></html>"
_CONTENT_EVENTS: Mapping[Wire, dict[str, Any]] = {
    "chat": {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": 42}}]},
    "responses": {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": 42},
    "messages": {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": 42}},
}
_UNKNOWN_EVENTS: Mapping[Wire, dict[str, Any]] = {
    "chat": {"object": "chat.completion.novelty", "choices": []},
    "responses": {"type": "response.novelty.delta", "novelty": "x"},
    "messages": {"type": "novelty", "novelty": "x"},
}
_PINGS: Mapping[Wire, bytes] = {
    "chat": b": ping\n\n",
    "responses": sse({"type": "keepalive"}, "keepalive"),
    "messages": sse({"type": "ping"}, "ping"),
}


def _cases(wire: Wire, outcome: Outcome, changes: _Changes) -> dict[str, FaultCase]:
    return {
        name: FaultCase(name, wire, outcome, name in _HANGING, fields) for name, fields in changes.items()
    }


def _status(code: int, body: str | bytes | None = None, **options: Any) -> dict[str, Any]:
    """Return what turns any reply into this one."""
    reply = Reply.status(code, body, **options)
    return {
        "status_code": reply.status_code,
        "headers": reply.headers,
        "content": reply.content,
        "error": reply.error,
    }


def _event(wire: Wire, data: dict[str, Any]) -> bytes:
    return sse(data, None if wire == "chat" else data.get("type"))


def _send(data: bytes) -> dict[str, Any]:
    return {"fault": Send(data, after_tokens=2)}


def _before() -> _Changes:
    """Failures before the stream; of the statuses, those that a retry may cure."""
    statuses = (408, 409, 429, 500, 502, 503, 529)
    start = Close(at="start")
    return {
        **{f"status_{code}": _status(code) for code in statuses},
        "status_429_retry_after": _status(429, retry_after_ms=20),
        "status_502_html": _status(502, _HTML),
        "close_before_headers": {"fault": start},
        "reset_before_headers": {"fault": Reset(at="start")},
        "garbage_for_http": {"fault": (Send(b"\x16\x03\x01 no http at all\r\n\r\n", at="start"), start)},
        "half_a_header": {"fault": (Send(b"HTTP/1.1 200 OK\r\ncontent-ty", at="start"), start)},
        "no_headers": {"fault": Stall(at="start")},
        "html_200": _status(200, _HTML),
        "json_error_200": _status(200),
        "json_answer_200": {"stream": False},
        "empty_200": _status(200, b"", content_type="text/event-stream"),
    }


def _broken() -> _Changes:
    """Transport failures in the middle of the answer."""
    return {
        "cut_before_events": {"fault": Cut(after_bytes=0)},
        "cut_in_first_event": {"fault": Cut(after_bytes=40)},
        "cut": {"fault": Cut(after_tokens=2)},
        "cut_in_event": {"fault": Cut(after_tokens=2, after_bytes=40)},
        "cut_connection_close": {"fault": Cut(after_tokens=2), "encoding": Encoding(chunked=False)},
        "cut_gzip": {"fault": Cut(after_tokens=2), "encoding": Encoding(gzip=True)},
        "close": {"fault": Close(after_tokens=2)},
        "close_in_event": {"fault": Close(after_tokens=2, after_bytes=40)},
        "reset": {"fault": Reset(after_tokens=2)},
        "bad_chunk": {"fault": Send(b"zz\r\n", layer="socket", after_tokens=2)},
        "corrupt_gzip": {
            "fault": Send(b"\xff\xff\xff\xff not deflated", layer="body", after_tokens=2),
            "encoding": Encoding(gzip=True),
        },
        "stall_before_tokens": {"fault": Stall(after_bytes=0)},
        "stall": {"fault": Stall(after_tokens=2)},
        "comments_for_ever": {"fault": Repeat(b": keep-alive\n\n", after_tokens=2)},
    }


def _in_band(wire: Wire) -> _Changes:
    """Errors inside an HTTP 200, and pings without an end."""
    cases: _Changes = {
        "error_own": {"fault": ErrorEvent(after_tokens=2)},
        "error_own_first": {"fault": ErrorEvent(after_bytes=0)},
        "error_object": {"fault": ErrorEvent(form="object", after_tokens=2)},
        "error_text": {"fault": ErrorEvent(form="text", after_tokens=2)},
        "error_flat": {"fault": ErrorEvent(form="flat", after_tokens=2)},
        "pings_for_ever": {"fault": Repeat(_PINGS[wire], after_tokens=2)},
    }
    if wire == "responses":
        cases["response_failed"] = {"fault": ErrorEvent(form="failed", after_tokens=2)}
    return cases


def _malformed(wire: Wire) -> _Changes:
    """Events that can have held text which is now lost."""
    content = _CONTENT_EVENTS[wire]
    name = b"" if wire == "chat" else b"event: %b\n" % content["type"].encode()
    cases: _Changes = {
        "not_json": _send(name + b'data: {"id": "x", \n\n'),
        "invalid_utf8": _send(name + b'data: {"x": "\xff\xfe"}\n\n'),
        "wrong_type": _send(_event(wire, content)),
    }
    if wire != "chat":
        bare = {key: value for key, value in content.items() if key != "delta"}
        cases["missing_field"] = _send(_event(wire, bare))
    if wire == "responses":
        cases["lost_token"] = {"omit": {2}}
    return cases


def _unfinished(wire: Wire) -> _Changes:
    """Answers whose end was never reported, and one without content."""
    cases: _Changes = {
        "no_finish_no_terminator": {"omit": {"finish", "usage", "terminator"}},
        "no_tokens": {"text": "", "reasoning": "", "tool_calls": (), "refusal": ""},
    }
    if wire == "chat":
        cases["no_finish"] = {"omit": {"finish"}}
    return cases


def _encodings(wire: Wire) -> _Changes:
    """Unusual ways to write a whole answer."""
    cases: _Changes = {
        "crlf": {"encoding": Encoding(newline="\r\n")},
        "cr": {"encoding": Encoding(newline="\r")},
        "gzip": {"encoding": Encoding(gzip=True)},
        "drip": {"encoding": Encoding(piece_bytes=3)},
        "drip_crlf": {"encoding": Encoding(piece_bytes=1, newline="\r\n")},
        "byte_order_mark": {"encoding": Encoding(bom=True)},
        "ids_and_comments": {"encoding": Encoding(ids=True)},
        "text_plain": {"encoding": Encoding(content_type="text/plain")},
        "connection_close": {"encoding": Encoding(chunked=False)},
    }
    if wire != "chat":
        cases["no_event_lines"] = {"encoding": Encoding(event_lines=False)}
    return cases


def _harmless(wire: Wire) -> _Changes:
    """Events from which nothing can have been lost, and reports that are missing."""
    unknown = _UNKNOWN_EVENTS[wire]
    cases: _Changes = {
        "data_empty": _send(b"data:\n\n"),
        "data_null": _send(b"data: null\n\n"),
        "data_list": _send(b"data: []\n\n"),
        "data_object": _send(b"data: {}\n\n"),
        "unknown_event": _send(_event(wire, unknown)),
        "huge_event": _send(_event(wire, {**unknown, "padding": "x" * 2_000_000})),
        "no_usage": {"omit": {"usage"}},
    }
    if wire == "chat":
        cases["no_delta"] = _send(sse({"choices": [{"index": 0, "finish_reason": None}]}))
    if wire == "responses":
        cases["duplicate_token"] = {"fault": Duplicate(after_tokens=2)}
        cases["incomplete"] = {"finish": "length"}
    return cases


def _after_finish(wire: Wire) -> _Changes:
    """Failures after the answer was whole."""
    cases: _Changes = {
        "cut_after_finish": {"fault": Cut(at="finish")},
        "close_after_finish": {"fault": Close(at="finish")},
        "reset_after_finish": {"fault": Reset(at="finish")},
        "stall_after_finish": {"fault": Stall(at="finish")},
        "error_after_finish": {"fault": ErrorEvent(at="finish")},
        "finish_without_blank_line": {"omit": {"usage", "terminator", "blank_line"}},
        "body_held_open": {"fault": Stall(at="end")},
        "junk_at_end": {"fault": Send(b"data: junk\n\n", at="end")},
    }
    if wire != "responses":
        cases["no_terminator"] = {"omit": {"terminator"}}
    if wire == "messages":
        cases["no_finish"] = {"omit": {"finish"}}
    return cases
