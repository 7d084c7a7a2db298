"""An HTTP server that speaks the providers' wire formats and fails on command."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from l0actors.testing.connection import Connection
from l0actors.testing.http1 import BadRequestError, Request, Wire, head, read_request
from l0actors.testing.reply import Reply
from l0actors.testing.response import Response, Transmission
from l0actors.testing.script import HEALTHY, Answer, Script, respond
from l0actors.testing.wire import error_body

if TYPE_CHECKING:
    from typing_extensions import Self


class FaultProvider:
    """A provider on a loopback port that answers as it is told.

    It serves OpenAI chat completions (`POST .../chat/completions`), OpenAI responses
    (`POST .../responses`, and `GET .../responses/{id}` for those made with `background`) and
    Anthropic messages (`POST .../messages`), streamed or not, as the request asks.

    Args:
        default: What a request gets for which nothing is scripted. By default a healthy text.
        port: The port; 0 (default) is a free one.

    Example:
        >>> import asyncio, openai
        >>> from l0actors.testing import FaultProvider, Reply, Reset
        >>> async def main() -> None:
        ...     async with FaultProvider() as provider:
        ...         provider.script(Reply("Hello world", fault=Reset(after_tokens=1)))
        ...         client = openai.AsyncOpenAI(base_url=provider.openai_url, api_key="test")
        ...         # the first stream is reset after one token, all others are healthy
    """

    def __init__(self, *, default: Answer = HEALTHY, port: int = 0) -> None:
        self._script = Script(default)
        self._port = port
        self._requests: list[Request] = []
        self._failures: list[Exception] = []
        self._connections: dict[Connection, int] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._waiters: set[asyncio.Future[None]] = set()
        self._released = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._started = 0.0
        self._total_connections = self._peak_connections = 0
        self._open_streams = self._peak_streams = self._stalled = 0

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()
        if error is None and self._failures:
            raise self._failures[0]

    async def start(self) -> None:
        """Listen on the loopback interface.

        Raises:
            RuntimeError: It is started already.
            OSError: The port is taken.
        """
        if self._server is not None:
            raise RuntimeError("the provider is started already")
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._connection, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]
        self._started = loop.time()

    async def stop(self) -> None:
        """Close every connection at once and listen no more. It may be called again."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        for _ in range(3):  # connections that were accepted but not announced yet
            await asyncio.sleep(0)
        for connection in self._connections:
            connection.abort()
        await self._until(lambda: not self._connections, None)
        if self._ending:
            await asyncio.wait(self._ending)
        await server.wait_closed()

    @property
    def url(self) -> str:
        """`http://127.0.0.1:PORT`. It stays after `stop()`, when it refuses connections.

        Raises:
            RuntimeError: The provider was never started and has no fixed port.
        """
        if not self._port:
            raise RuntimeError("the provider has no port before it is started")
        return f"http://127.0.0.1:{self._port}"

    @property
    def openai_url(self) -> str:
        """The `base_url` for OpenAI's client."""
        return f"{self.url}/v1"

    @property
    def anthropic_url(self) -> str:
        """The `base_url` for Anthropic's client."""
        return self.url

    def script(self, *answers: Answer, wire: Wire | None = None, model: str | None = None) -> None:
        """Say what the next requests get, one answer each, after what is scripted already.

        A request takes the first answer that is left and meant for it, and the default if there
        is none.

        Args:
            answers: Replies, or functions that make one for the request.
            wire: Only for requests in this format: `"chat"`, `"responses"` or `"messages"`.
            model: Only for requests that ask for this model.
        """
        self._script.add(answers, wire, model)

    def reply_with(self, answer: Answer) -> None:
        """Set what a request gets for which nothing is scripted."""
        self._script.default = answer

    def release(self) -> None:
        """Let every response that stalls now go on; `wait_stalled` waits until it does."""
        self._released.set()
        self._released = asyncio.Event()

    @property
    def requests(self) -> Sequence[Request]:
        """Every request so far, in order of arrival."""
        return tuple(self._requests)

    @property
    def total_requests(self) -> int:
        """How many requests came."""
        return len(self._requests)

    @property
    def unused(self) -> int:
        """How many scripted answers no request has taken yet."""
        return self._script.left

    @property
    def open_connections(self) -> int:
        """How many connections are open."""
        return len(self._connections)

    @property
    def total_connections(self) -> int:
        """How many connections were ever opened."""
        return self._total_connections

    @property
    def peak_connections(self) -> int:
        """The most connections that were open at once."""
        return self._peak_connections

    @property
    def open_streams(self) -> int:
        """How many responses, streamed or not, are under way."""
        return self._open_streams

    @property
    def peak_streams(self) -> int:
        """The most responses that were under way at once."""
        return self._peak_streams

    async def wait_requests(self, count: int, *, timeout_ms: float = 5000) -> None:
        """Wait until so many requests have come in all.

        Raises:
            TimeoutError: They have not, after `timeout_ms` milliseconds.
        """
        await self._until(lambda: len(self._requests) >= count, timeout_ms)

    async def wait_stalled(self, count: int = 1, *, timeout_ms: float = 5000) -> None:
        """Wait until so many responses stall, each having sent all that comes before its `Stall`.

        Raises:
            TimeoutError: They do not, after `timeout_ms` milliseconds.
        """
        await self._until(lambda: self._stalled >= count, timeout_ms)

    async def wait_idle(self, *, timeout_ms: float = 5000) -> None:
        """Wait until no response is under way, whether it was sent whole or its client left.

        Raises:
            TimeoutError: One still is, after `timeout_ms` milliseconds.
        """
        await self._until(lambda: not self._open_streams, timeout_ms)

    async def all_closed(self, *, timeout_ms: float = 5000) -> None:
        """Wait until no connection is open. Clients keep idle ones: close the client first.

        Raises:
            TimeoutError: One still is, after `timeout_ms` milliseconds.
        """
        await self._until(lambda: not self._connections, timeout_ms)

    def _connection(self) -> Connection:
        return Connection(self._opened, self._serve, self._closed)

    def _opened(self, connection: Connection) -> None:
        self._total_connections += 1
        self._connections[connection] = self._total_connections
        self._peak_connections = max(self._peak_connections, len(self._connections))
        if self._server is None:
            connection.abort()
        self._changed()

    def _closed(self, connection: Connection) -> None:
        del self._connections[connection]
        self._ending.add(connection.task)
        connection.task.add_done_callback(self._ending.discard)
        self._changed()

    def _changed(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def _until(self, reached: Callable[[], bool], timeout_ms: float | None) -> None:
        loop = asyncio.get_running_loop()
        deadline = None if timeout_ms is None else loop.time() + timeout_ms / 1000
        while not reached():
            waiter = loop.create_future()
            self._waiters.add(waiter)
            left = None if deadline is None else max(0.0, deadline - loop.time())
            try:
                done, _ = await asyncio.wait({waiter}, timeout=left)
            finally:
                self._waiters.discard(waiter)
            if not done and not reached():
                raise TimeoutError(f"after {timeout_ms} ms: {self!r}")

    def __repr__(self) -> str:
        return (
            f"<FaultProvider port={self._port} requests={self.total_requests} "
            f"open_connections={self.open_connections} open_streams={self.open_streams}>"
        )

    async def _serve(self, connection: Connection) -> None:
        """Answer one request of a connection after the other."""
        number = self._connections[connection]
        try:
            while await self._respond(connection, await self._read(connection, number)):
                pass
            connection.close()
        except BadRequestError as error:
            await self._refuse(connection, error)
        except Exception as error:
            self._failures.append(error)
            connection.abort()

    async def _read(self, connection: Connection, number: int) -> Request:
        loop = asyncio.get_running_loop()
        return await read_request(
            connection, lambda: (len(self._requests) + 1, number, (loop.time() - self._started) * 1000)
        )

    async def _refuse(self, connection: Connection, error: BadRequestError) -> None:
        body = error_body(error.status, None, str(error), None)
        headers = {
            "content-type": "application/json",
            "content-length": str(len(body)),
            "connection": "close",
        }
        await connection.write(head(error.status, headers) + body)
        connection.close()

    async def _respond(self, connection: Connection, request: Request) -> bool:
        self._requests.append(request)
        self._open_streams += 1
        self._peak_streams = max(self._peak_streams, self._open_streams)
        self._changed()
        try:
            return await Transmission(connection, self._answer(request), self._stall).run()
        finally:
            self._open_streams -= 1
            self._changed()

    def _answer(self, request: Request) -> Response:
        try:
            return self._script.response(request)
        except Exception as error:
            self._failures.append(error)
            return respond(Reply.status(500, message=f"the scripted answer raised {error!r}"), request)

    async def _stall(self, for_ms: float | None) -> None:
        released = asyncio.ensure_future(self._released.wait())
        self._stalled += 1
        self._changed()
        try:
            await asyncio.wait({released}, timeout=None if for_ms is None else for_ms / 1000)
        finally:
            released.cancel()
            self._stalled -= 1
