"""Decides what each request gets, down to the bytes of its response."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from l0actors.testing.faults import ErrorEvent
from l0actors.testing.frame import Frame
from l0actors.testing.http1 import Request, Wire
from l0actors.testing.reply import Reply
from l0actors.testing.response import Response
from l0actors.testing.wire import document, error_body, error_event, stream_frames

Answer = Reply | Callable[[Request], Reply]
"""A reply, or a function that makes one for a request."""

HEALTHY = Reply("Hello from the fault provider, with nothing gone wrong.")


@dataclass(frozen=True)
class _Scripted:
    answer: Answer
    wire: Wire | None
    model: str | None

    def meant_for(self, request: Request) -> bool:
        return self.wire in (None, request.wire) and self.model in (None, request.model)


class Script:
    """The answers that wait for their requests.

    Args:
        default: What a request gets for which nothing waits.
    """

    def __init__(self, default: Answer) -> None:
        self.default = default
        self._waiting: list[_Scripted] = []
        self._background: dict[str, tuple[Reply, Request]] = {}

    @property
    def left(self) -> int:
        """How many answers wait."""
        return len(self._waiting)

    def add(self, answers: Sequence[Answer], wire: Wire | None, model: str | None) -> None:
        """Let answers wait for requests of this format and model; None is any."""
        self._waiting += [_Scripted(answer, wire, model) for answer in answers]

    def response(self, request: Request) -> Response:
        """Take the answer for a request."""
        if request.wire is None:
            return respond(_missing(f"{request.method} {request.path}"), request)
        answer = self._take(request)
        reply = answer if isinstance(answer, Reply) else answer(request)
        if request.response_id is not None:
            return self._resume(reply, request, request.response_id)
        if request.wire == "responses" and request.body.get("background"):
            self._background[reply.id or f"resp_{request.number}"] = (reply, request)
        return respond(reply, request)

    def _take(self, request: Request) -> Answer:
        found = next((item for item in self._waiting if item.meant_for(request)), None)
        if found is None:
            return self.default
        self._waiting.remove(found)
        return found.answer

    def _resume(self, reply: Reply, request: Request, response_id: str) -> Response:
        """Answer with the stored content; the reply at hand says only how it is sent."""
        if _is_document(reply):
            return respond(reply, request)
        if response_id not in self._background:
            return respond(_missing(f"response {response_id}"), request)
        stored, original = self._background[response_id]
        content = replace(stored, omit=reply.omit, encoding=reply.encoding, stream=reply.stream)
        frames = _frames(content, original, _streams(content, request))
        after = request.query.get("starting_after", "")
        return respond(reply, request, frames[int(after) + 1 :] if after.isdigit() else frames)


def respond(reply: Reply, request: Request, frames: Sequence[Frame] | None = None) -> Response:
    """Return the response that a reply stands for.

    Args:
        reply: The reply.
        request: The request that it answers.
        frames: The body, if it is another than the reply's own.
    """
    stream = _streams(reply, request)
    id_header = "request-id" if request.wire == "messages" else "x-request-id"
    headers = {
        "content-type": reply.encoding.content_type if stream else "application/json",
        id_header: f"req_{request.number}",
        **reply.headers,
    }

    def error(fault: ErrorEvent, sequence: int) -> bytes:
        return error_event(fault, request, request.wire or "chat", sequence)

    return Response(
        status=reply.status_code,
        headers=headers,
        frames=_frames(reply, request, stream) if frames is None else frames,
        faults=reply.faults,
        encoding=reply.encoding if stream else None,
        delay_ms=reply.delay_ms,
        token_delay_ms=reply.token_delay_ms,
        keep_alive=request.headers.get("connection", "").lower() != "close",
        error=error,
    )


def _missing(what: str) -> Reply:
    return Reply.status(404, message=f"{what} not found")


def _is_document(reply: Reply) -> bool:
    return reply.content is not None or reply.error is not None


def _streams(reply: Reply, request: Request) -> bool:
    if _is_document(reply):
        return False
    return request.stream if reply.stream is None else reply.stream


def _frames(reply: Reply, request: Request, stream: bool) -> list[Frame]:
    wire = request.wire or "chat"
    if reply.content is not None:
        return [Frame(reply.content)]
    if reply.error is not None:
        return [Frame(error_body(reply.status_code, *reply.error, wire))]
    if stream:
        return stream_frames(reply, request, wire)
    whole = document(reply, request, wire)
    half = len(whole) // 2  # a fault that is placed by tokens strikes half way through
    return [Frame(whole[:half], "token"), Frame(whole[half:], "finish")]
