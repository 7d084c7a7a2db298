"""The format of Anthropic's `/v1/messages`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from l0actors.testing.frame import Frame, Mark, sse
from l0actors.testing.http1 import Request
from l0actors.testing.reply import Reply

_STOP_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}
PING = sse({"type": "ping"}, "ping")


def stream(reply: Reply, request: Request) -> list[Frame]:
    """Return the events of a streamed answer."""
    counts = reply.counts
    start = {**_message(reply, request), "usage": {"input_tokens": counts.input_tokens, "output_tokens": 1}}
    frames = [_event("message_start", message=start), Frame(PING)]
    for index, (block, deltas) in enumerate(_blocks(reply)):
        frames += _block(index, block, deltas)
    end = {"delta": _stop(reply), "usage": {"output_tokens": counts.output_tokens}}
    if "usage" in reply.omit:
        del end["usage"]
    frames.append(_event("message_delta", "finish", **end))
    return [*frames, _event("message_stop", "terminator")]


def document(reply: Reply, request: Request) -> dict[str, Any]:
    """Return the answer as one document."""
    counts = reply.counts
    usage = {"input_tokens": counts.input_tokens, "output_tokens": counts.output_tokens}
    return {**_message(reply, request), **_stop(reply), "content": _content(reply), "usage": usage}


def _event(name: str, mark: Mark = "", **fields: Any) -> Frame:
    return Frame(sse({"type": name, **fields}, name), mark)


def _message(reply: Reply, request: Request) -> dict[str, Any]:
    return {
        "id": reply.id or f"msg_{request.number}",
        "type": "message",
        "role": "assistant",
        "model": reply.model or request.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }


def _stop(reply: Reply) -> dict[str, Any]:
    reason = _STOP_REASONS.get(reply.finish_reason, reply.finish_reason)
    refusal = "".join(reply.refusal_pieces)
    if not refusal:
        return {"stop_reason": reason, "stop_sequence": None}
    details = {"type": "refusal", "category": None, "explanation": refusal}
    return {"stop_reason": "refusal", "stop_sequence": None, "stop_details": details}


def _blocks(reply: Reply) -> list[tuple[dict[str, Any], list[tuple[dict[str, str], Mark]]]]:
    """Return each content block as it starts, and its deltas."""
    blocks: list[tuple[dict[str, Any], list[tuple[dict[str, str], Mark]]]] = []
    if reply.reasoning_pieces:
        deltas = _deltas("thinking_delta", "thinking", reply.reasoning_pieces)
        deltas.append(({"type": "signature_delta", "signature": "c2lnbmF0dXJl"}, ""))
        blocks.append(({"type": "thinking", "thinking": "", "signature": ""}, deltas))
    if reply.pieces:
        blocks.append(({"type": "text", "text": ""}, _deltas("text_delta", "text", reply.pieces)))
    for call in reply.tool_calls:
        start = {"type": "tool_use", "id": call.id, "name": call.name, "input": {}}
        first: tuple[dict[str, str], Mark] = ({"type": "input_json_delta", "partial_json": ""}, "")
        blocks.append((start, [first, *_deltas("input_json_delta", "partial_json", call.pieces)]))
    return blocks


def _deltas(kind: str, key: str, pieces: Sequence[str]) -> list[tuple[dict[str, str], Mark]]:
    return [({"type": kind, key: piece}, "token") for piece in pieces]


def _block(index: int, block: dict[str, Any], deltas: Sequence[tuple[dict[str, str], Mark]]) -> list[Frame]:
    return [
        _event("content_block_start", index=index, content_block=block),
        *(_event("content_block_delta", mark, index=index, delta=delta) for delta, mark in deltas),
        _event("content_block_stop", index=index),
    ]


def _content(reply: Reply) -> list[dict[str, Any]]:
    content: list[dict[str, Any]] = []
    if reply.reasoning_pieces:
        thinking = "".join(reply.reasoning_pieces)
        content.append({"type": "thinking", "thinking": thinking, "signature": "c2lnbmF0dXJl"})
    if reply.pieces:
        content.append({"type": "text", "text": "".join(reply.pieces)})
    return content + [
        {"type": "tool_use", "id": call.id, "name": call.name, "input": _input(call.text)}
        for call in reply.tool_calls
    ]


def _input(arguments: str) -> Any:
    try:
        return json.loads(arguments)
    except ValueError:
        return {}
