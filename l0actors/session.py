"""One reliable stream: its unit of actors, and `L0Result`, the consumer's end of it."""

import asyncio
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from types import TracebackType
from typing import Any

from l0actors.actors import retry
from l0actors.actors.cell import Cell
from l0actors.actors.unit import Unit
from l0actors.errors import ErrorCode, L0Error, RolledBackError
from l0actors.events import EventType, L0Event
from l0actors.state import AttemptRecord, L0State

SETTLE_TURNS = 20
"""How many turns of the loop the end of a session waits for its observer and for a default system."""


GONE_S = 2.0
"""How long the end of a session waits for a source that ignores that it was cancelled."""


class Session:
    """A running session, as its system holds it.

    Attributes:
        unit: what its actors share.
        head: its retry supervisor.
        settled: tells whether what hangs on the session has ended too.
    """

    __slots__ = ("_loop", "head", "settled", "unit")

    def __init__(self, unit: Unit, head: Cell, settled: Callable[[], bool]) -> None:
        self.unit = unit
        self.head = head
        self.settled = settled
        self._loop = asyncio.get_running_loop()

    def abort(self, reason: str) -> None:
        """Stop it for its consumer, who takes nothing more: not of an answer that is whole by now either."""
        retry.abort(self.head, self.unit, reason)

    def close(self) -> None:
        """Stop it if it runs."""
        if not self.unit.ended:
            self.abort("closed")

    def abandon(self) -> None:
        """Stop it because nobody can consume it any more; from whatever thread the collector runs in."""
        if not self.head.gone and not self.unit.ended and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.abort, "the result was dropped")

    async def gone(self) -> None:
        """Wait until its actors are gone, and a few turns of the loop for what hangs on it.

        An `on_event` that is quick has then seen everything; one that is slow is not waited for.
        """
        if not self.head.gone:
            await asyncio.wait({self.head.when_gone()}, timeout=GONE_S)
        for _ in range(SETTLE_TURNS):
            if self.settled():
                return
            await asyncio.sleep(0)


class L0Result:
    """A reliable stream. Iterate over it once, or ask for its text.

    `async with` closes it on the way out; so does a `break`, a cancellation, or dropping it.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._unit = session.unit
        self._begun = False
        self._finished = False
        self._taken = False
        self._iterator: weakref.ref[AsyncGenerator[L0Event, None]] | None = None

    @property
    def state(self) -> L0State:
        """The session's state, at any moment."""
        return self._unit.state

    @property
    def errors(self) -> list[Exception]:
        """The error of every failed attempt, oldest first."""
        return self._unit.errors

    @property
    def attempts(self) -> list[AttemptRecord]:
        """What became of each attempt."""
        return self._unit.records

    @property
    def stream_id(self) -> str:
        """The session's id, a UUIDv7."""
        return self._unit.stream_id

    @property
    def raw_chunks(self) -> list[Any]:
        """The provider's own chunks, of all attempts, if `raw_chunks=True`."""
        return self._unit.raw_chunks

    @property
    def stream(self) -> AsyncIterator[L0Event]:
        """The iterator over the events: the same one until it is dropped."""
        iterator = None if self._iterator is None else self._iterator()
        if iterator is None:
            if self._begun:
                raise _consumed()
            iterator = self._events()
            self._iterator = weakref.ref(iterator)
        return iterator

    def __aiter__(self) -> AsyncIterator[L0Event]:
        if self._taken or self._begun:
            raise _consumed()
        self._taken = True
        return self.stream

    async def _events(self) -> AsyncGenerator[L0Event, None]:
        self._begun = True
        outlet, state = self._unit.outlet, self.state
        token = EventType.TOKEN
        try:
            while (item := await outlet.next()) is not None:
                if isinstance(item, L0Event):
                    if item.type is EventType.ROLLBACK and item.data is not None:
                        state.roll_back(item.data["keep"])
                    self._finished = item.type is EventType.COMPLETE
                    yield item
                    outlet.took(1)
                else:
                    ts, texts = item
                    count = len(texts)
                    for text in state.hand_over(texts):
                        yield L0Event(token, text, None, None, None, ts)
                    outlet.took(count)
            if not outlet.left:
                await self._session.gone()
                self._finished = True
        finally:
            if not self._finished:
                self._session.abort("the consumer left")
        if outlet.error is not None and not outlet.left:
            raise outlet.error

    async def texts(self, *, on_rollback: Callable[[int], Any] | None = None) -> AsyncIterator[str]:
        """Yield the pieces of text.

        Args:
            on_rollback: called with how many characters stay, when text is taken back.

        Raises:
            RolledBackError: text was taken back, and there is no `on_rollback`.
            L0Error: the session failed.
        """
        async for event in self:
            if event.type is EventType.TOKEN:
                yield event.value or ""
            elif event.type is EventType.ROLLBACK and event.data is not None:
                if on_rollback is None:
                    raise RolledBackError(event.data["keep"])
                on_rollback(event.data["keep"])

    async def text(self) -> str:
        """Wait for the end and return the final content.

        Raises:
            L0Error: the session failed, or was stopped before its end: a part is never returned as a whole.
            RuntimeError: the result is being iterated over elsewhere.
        """
        if not self._begun:
            async for _ in self:
                pass
        if self.state.completed and self._finished:
            return self.state.content
        if self._unit.outlet.error is not None:
            raise self._unit.outlet.error
        if self._unit.abort_reason is not None:
            raise L0Error(
                f"the session was stopped: {self._unit.abort_reason}", code=ErrorCode.STREAM_ABORTED
            )
        raise _consumed()

    def abort(self, reason: str | None = None) -> None:
        """Stop the session at once, also while the provider is silent. Iteration then ends quietly."""
        if not self._finished:
            self._session.abort(reason or "aborted")

    async def aclose(self) -> None:
        """Stop the session if it runs, and wait until its provider connection is closed."""
        self._session.close()
        await self._session.gone()

    async def __aenter__(self) -> "L0Result":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __del__(self) -> None:
        self._session.abandon()

    def __repr__(self) -> str:
        return f"L0Result({self.stream_id!r}, {self.state!r})"


def _consumed() -> RuntimeError:
    return RuntimeError(
        "a result can be iterated over once: its events are gone; start another session with l0()"
    )
