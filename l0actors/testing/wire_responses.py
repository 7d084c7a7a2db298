"""The format of OpenAI's `/v1/responses`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from l0actors.testing.frame import Frame, Mark, sse
from l0actors.testing.http1 import Request
from l0actors.testing.reply import Reply, ToolCall

_CREATED = 1_750_000_000
_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}


def stream(reply: Reply, request: Request) -> list[Frame]:
    """Return the events of a streamed answer; the sequence number of each is its index."""
    events = _Events(reply.id or f"resp_{request.number}")
    running = _response(reply, request, "in_progress")
    events.add("response.created", response=running)
    events.add("response.in_progress", response=running)
    events.answer(reply)
    status = _status(reply)
    end = _response(reply, request, status, events.output)
    events.add(f"response.{status}", "finish", response=end)
    return events.frames


def document(reply: Reply, request: Request) -> dict[str, Any]:
    """Return the answer as one document."""
    events = _Events(reply.id or f"resp_{request.number}")
    events.answer(reply)
    return _response(reply, request, _status(reply), events.output)


def failed(code: str, message: str, request: Request, sequence: int) -> bytes:
    """Return the `response.failed` event."""
    reply = Reply()
    response = _response(reply, request, "failed") | {"error": {"code": code, "message": message}}
    name = "response.failed"
    return sse({"type": name, "sequence_number": sequence, "response": response}, name)


class _Events:
    """Collects the events of one response and the items of its output."""

    def __init__(self, response_id: str) -> None:
        self.frames: list[Frame] = []
        self.output: list[dict[str, Any]] = []
        self._suffix = response_id.removeprefix("resp_")

    def add(self, event: str, mark: Mark = "", /, **fields: Any) -> None:
        data = {"type": event, "sequence_number": len(self.frames), **fields}
        self.frames.append(Frame(sse(data, event), mark))

    def answer(self, reply: Reply) -> None:
        if reply.reasoning_pieces:
            self.reasoning(reply.reasoning_pieces)
        if reply.pieces:
            self.message("output_text", "text", reply.pieces)
        if reply.refusal_pieces:
            self.message("refusal", "refusal", reply.refusal_pieces)
        for call in reply.tool_calls:
            self.tool_call(call)

    def reasoning(self, pieces: Sequence[str]) -> None:
        item: dict[str, Any] = {"id": self._id("rs"), "type": "reasoning", "summary": []}
        place: dict[str, Any] = {"item_id": item["id"], "output_index": len(self.output), "summary_index": 0}
        part: dict[str, Any] = {"type": "summary_text", "text": "".join(pieces)}
        self._open(item)
        self.add("response.reasoning_summary_part.added", part={**part, "text": ""}, **place)
        for piece in pieces:
            self.add("response.reasoning_summary_text.delta", "token", delta=piece, **place)
        self.add("response.reasoning_summary_text.done", text=part["text"], **place)
        self.add("response.reasoning_summary_part.done", part=part, **place)
        self._done({**item, "summary": [part]})

    def message(self, kind: str, key: str, pieces: Sequence[str]) -> None:
        item: dict[str, Any] = {
            "id": self._id("msg"),
            "type": "message",
            "status": "in_progress",
            "role": "assistant",
        }
        place: dict[str, Any] = {"item_id": item["id"], "output_index": len(self.output), "content_index": 0}
        more: dict[str, Any] = {"logprobs": []} if kind == "output_text" else {}
        part: dict[str, Any] = {"type": kind, key: "".join(pieces)}
        part |= {"annotations": [], **more} if more else {}
        self._open({**item, "content": []})
        self.add("response.content_part.added", part={**part, key: ""}, **place)
        for piece in pieces:
            self.add(f"response.{kind}.delta", "token", delta=piece, **more, **place)
        self.add(f"response.{kind}.done", **{key: part[key]}, **more, **place)
        self.add("response.content_part.done", part=part, **place)
        self._done({**item, "status": "completed", "content": [part]})

    def tool_call(self, call: ToolCall) -> None:
        item: dict[str, Any] = {
            "id": self._id("fc"),
            "type": "function_call",
            "call_id": call.id,
            "name": call.name,
        }
        place: dict[str, Any] = {"item_id": item["id"], "output_index": len(self.output)}
        self._open({**item, "status": "in_progress", "arguments": ""})
        for piece in call.pieces:
            self.add("response.function_call_arguments.delta", "token", delta=piece, **place)
        done = "response.function_call_arguments.done"
        self.add(done, name=call.name, arguments=call.text, **place)
        self._done({**item, "status": "completed", "arguments": call.text})

    def _id(self, prefix: str) -> str:
        return f"{prefix}_{self._suffix}_{len(self.output)}"

    def _open(self, item: dict[str, Any]) -> None:
        self.add("response.output_item.added", output_index=len(self.output), item=item)

    def _done(self, item: dict[str, Any]) -> None:
        self.add("response.output_item.done", output_index=len(self.output), item=item)
        self.output.append(item)


def _status(reply: Reply) -> str:
    return "incomplete" if reply.finish_reason in _INCOMPLETE else "completed"


def _response(
    reply: Reply, request: Request, status: str, output: Sequence[dict[str, Any]] = ()
) -> dict[str, Any]:
    reason = _INCOMPLETE.get(reply.finish_reason) if status == "incomplete" else None
    over = status in ("completed", "incomplete")
    return {
        "id": reply.id or f"resp_{request.number}",
        "object": "response",
        "created_at": _CREATED,
        "status": status,
        "background": bool(request.body.get("background")),
        "error": None,
        "incomplete_details": None if reason is None else {"reason": reason},
        "instructions": None,
        "metadata": {},
        "model": reply.model or request.model,
        "output": list(output),
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": _usage(reply) if over and "usage" not in reply.omit else None,
    }


def _usage(reply: Reply) -> dict[str, Any]:
    counts = reply.counts
    return {
        "input_tokens": counts.input_tokens,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": counts.output_tokens,
        "output_tokens_details": {"reasoning_tokens": len(reply.reasoning_pieces)},
        "total_tokens": counts.input_tokens + counts.output_tokens,
    }
