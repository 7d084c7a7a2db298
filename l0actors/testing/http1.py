"""HTTP/1.1 as far as a test server needs it: read a request, write a response head."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Literal, Protocol
from urllib.parse import parse_qs, urlsplit

Wire = Literal["chat", "responses", "messages"]
WIRES: tuple[Wire, ...] = ("chat", "responses", "messages")

MAX_HEAD_BYTES = 64 * 1024
MAX_BODY_BYTES = 32 * 1024 * 1024


class BadRequestError(Exception):
    """The client's bytes are no request that we serve.

    Attributes:
        status: The HTTP status to answer with, before the connection is closed.
    """

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class Source(Protocol):
    """Where a request is read from."""

    async def read_until(self, separator: bytes, limit: int) -> bytes:
        """Return the bytes before the separator, which is consumed too."""

    async def read_exactly(self, count: int) -> bytes:
        """Return that many bytes."""


@dataclass(frozen=True)
class Request:
    """One request as the provider received it.

    Attributes:
        number: From 1, over all connections of the provider.
        connection: The number of its connection, from 1.
        started_ms: When it had arrived, in milliseconds since the provider was started.
        method: The HTTP method.
        path: The path without its query.
        query: The query's parameters; of several with one name, the last.
        headers: The headers, names in lower case.
        raw: The body's bytes.
        body: The body as a JSON object; empty if it is none.
        wire: `"chat"`, `"responses"` or `"messages"` by the path; None if nothing is served there.
    """

    number: int
    connection: int
    started_ms: float
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    raw: bytes
    body: Mapping[str, Any]
    wire: Wire | None

    @property
    def stream(self) -> bool:
        """Whether a stream was asked for."""
        return bool(self.body.get("stream")) or self.query.get("stream") == "true"

    @property
    def model(self) -> str:
        """The model that was asked for, or `"fault-model"`."""
        return str(self.body.get("model") or "fault-model")

    @property
    def include_usage(self) -> bool:
        """Whether a chat request asked for a usage chunk."""
        options = self.body.get("stream_options")
        return isinstance(options, Mapping) and bool(options.get("include_usage"))

    @property
    def response_id(self) -> str | None:
        """The id in `GET /v1/responses/{id}`, None for any other request."""
        _, found, last = self.path.rpartition("/responses/")
        return last if self.method == "GET" and found and "/" not in last else None


def wire_of(method: str, path: str) -> Wire | None:
    """Return the format that is served at this path, whatever stands before it."""
    if method == "GET":
        return "responses" if "/responses/" in path else None
    if method != "POST":
        return None
    ends: dict[str, Wire] = {"/chat/completions": "chat", "/responses": "responses", "/messages": "messages"}
    return next((wire for end, wire in ends.items() if path.endswith(end)), None)


async def read_request(source: Source, stamp: Callable[[], tuple[int, int, float]]) -> Request:
    """Read one request.

    Args:
        source: The connection.
        stamp: Called when the request is whole: its number, connection number and time.

    Raises:
        BadRequestError: The bytes are malformed or exceed a limit.
    """
    head = await source.read_until(b"\r\n\r\n", MAX_HEAD_BYTES)
    line, *lines = head.decode("latin-1").split("\r\n")
    method, target = _request_line(line)
    headers = _headers(lines)
    raw = await _read_body(source, headers)
    url = _url(target)
    number, connection, started_ms = stamp()
    return Request(
        number=number,
        connection=connection,
        started_ms=started_ms,
        method=method,
        path=url[0],
        query=url[1],
        headers=headers,
        raw=raw,
        body=_json_object(raw),
        wire=wire_of(method, url[0]),
    )


def _request_line(line: str) -> tuple[str, str]:
    words = line.split(" ")
    if len(words) != 3 or not words[0].isalpha() or not words[2].startswith("HTTP/1."):
        raise BadRequestError(f"malformed request line: {line[:80]!r}")
    return words[0], words[1]


def _url(target: str) -> tuple[str, dict[str, str]]:
    try:
        url = urlsplit(target)
    except ValueError as error:
        raise BadRequestError(f"malformed target: {target[:80]!r}") from error
    return url.path, {name: values[-1] for name, values in parse_qs(url.query).items()}


def _headers(lines: list[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise BadRequestError(f"malformed header: {line[:80]!r}")
        key = name.lower()
        headers[key] = f"{headers[key]}, {value.strip()}" if key in headers else value.strip()
    return headers


async def _read_body(source: Source, headers: Mapping[str, str]) -> bytes:
    if "transfer-encoding" in headers:
        if headers["transfer-encoding"].lower() != "chunked" or "content-length" in headers:
            raise BadRequestError("a body is either chunked or has a length")
        return await _read_chunks(source)
    return await _read_sized(source.read_exactly, headers.get("content-length", "0"), 10)


async def _read_sized(read: Callable[[int], Awaitable[bytes]], size: str, base: int, had: int = 0) -> bytes:
    digits = "0123456789abcdefABCDEF" if base == 16 else "0123456789"
    if not size or set(size) - set(digits):
        raise BadRequestError(f"malformed length: {size[:20]!r}")
    count = int(size, base) if len(size) < 20 else MAX_BODY_BYTES + 1
    if had + count > MAX_BODY_BYTES:
        raise BadRequestError(f"the body exceeds {MAX_BODY_BYTES} bytes", 413)
    return await read(count)


async def _read_chunks(source: Source) -> bytes:
    body = bytearray()
    while True:
        size = (await source.read_until(b"\r\n", 1024)).decode("latin-1").partition(";")[0].strip()
        chunk = await _read_sized(source.read_exactly, size, 16, len(body))
        if not chunk:
            break
        body += chunk
        if await source.read_exactly(2) != b"\r\n":
            raise BadRequestError("malformed chunk")
    while await source.read_until(b"\r\n", MAX_HEAD_BYTES):  # trailers
        pass
    return bytes(body)


def _json_object(raw: bytes) -> Mapping[str, Any]:
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def head(status: int, headers: Mapping[str, str]) -> bytes:
    """Return the head of a response, up to and with its blank line."""
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Overloaded" if status == 529 else "Unknown"
    lines = [f"HTTP/1.1 {status} {phrase}", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
