"""The format of OpenAI's `/v1/chat/completions`."""

from __future__ import annotations

from typing import Any

from l0actors.testing.frame import Frame, Mark, sse
from l0actors.testing.http1 import Request
from l0actors.testing.reply import Reply, ToolCall

_CREATED = 1_750_000_000


def stream(reply: Reply, request: Request) -> list[Frame]:
    """Return the chunks of a streamed answer."""
    common = _common(reply, request, "chat.completion.chunk")
    if request.include_usage:
        common["usage"] = None

    def chunk(delta: dict[str, Any], mark: Mark = "", finish: str | None = None) -> Frame:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return Frame(sse({**common, "choices": [choice]}), mark)

    frames = [chunk({"role": "assistant", "content": "", "refusal": None})]
    frames += [chunk({"reasoning_content": piece}, "token") for piece in reply.reasoning_pieces]
    frames += [chunk({"content": piece}, "token") for piece in reply.pieces]
    frames += [chunk({"refusal": piece}, "token") for piece in reply.refusal_pieces]
    for index, call in enumerate(reply.tool_calls):
        frames.append(chunk({"tool_calls": [{"index": index, **_call(call, "")}]}))
        frames += [chunk(_fragment(index, piece), "token") for piece in call.pieces]
    frames.append(chunk({}, "finish", reply.finish_reason))
    if request.include_usage:
        frames.append(Frame(sse({**common, "choices": [], "usage": _usage(reply)}), "usage"))
    return [*frames, Frame(b"data: [DONE]\n\n", "terminator")]


def document(reply: Reply, request: Request) -> dict[str, Any]:
    """Return the answer as one document."""
    refusal = "".join(reply.refusal_pieces)
    message: dict[str, Any] = {
        "role": "assistant",
        "content": "".join(reply.pieces) or None,
        "refusal": refusal or None,
    }
    if reply.reasoning_pieces:
        message["reasoning_content"] = "".join(reply.reasoning_pieces)
    if reply.tool_calls:
        message["tool_calls"] = [_call(call, call.text) for call in reply.tool_calls]
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": reply.finish_reason}
    return {**_common(reply, request, "chat.completion"), "choices": [choice], "usage": _usage(reply)}


def _common(reply: Reply, request: Request, kind: str) -> dict[str, Any]:
    return {
        "id": reply.id or f"chatcmpl-{request.number}",
        "object": kind,
        "created": _CREATED,
        "model": reply.model or request.model,
        "service_tier": "default",
        "system_fingerprint": "fp_fault",
    }


def _call(call: ToolCall, arguments: str) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}}


def _fragment(index: int, piece: str) -> dict[str, Any]:
    return {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}


def _usage(reply: Reply) -> dict[str, Any]:
    counts = reply.counts
    return {
        "prompt_tokens": counts.input_tokens,
        "completion_tokens": counts.output_tokens,
        "total_tokens": counts.input_tokens + counts.output_tokens,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": len(reply.reasoning_pieces), "audio_tokens": 0},
    }
