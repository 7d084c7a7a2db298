"""Decodes a stream of `L0Event`s: what a user's adapter yields, and what a plain stream may hold."""

from collections.abc import Callable
from typing import Any

from l0actors.errors import ErrorCode, L0Error
from l0actors.events import EventType, L0Event
from l0actors.providers.decoder import DecoderState, Fed
from l0actors.providers.failures import invalid, kind_of, truncated
from l0actors.providers.tools import whole_call

_NO_WORD = (
    "the adapter's events ended without a COMPLETE: the answer is taken for cut off. An adapter must yield "
    "L0Event(EventType.COMPLETE) when the provider said that the answer is whole"
)


class EventDecoder(DecoderState):
    """Passes text and events on, and takes `COMPLETE` for the provider's word about the end.

    Tool calls are held back until the end, like those of every provider.
    """

    def __init__(self) -> None:
        super().__init__()
        self._plain = True
        self._calls: list[L0Event] = []

    def feed(self, item: Any, /) -> Fed:
        """Return what `item` amounts to: text as it is, an event after a look at its type."""
        if item.__class__ is str and self._plain:
            return item
        return None if self.done else self._read(item)

    def end(self) -> list[L0Event]:
        """Return the tool calls.

        Raises:
            L0Error: `STREAM_TRUNCATED`: no `COMPLETE` came.
        """
        if not self.finished:
            raise truncated(_NO_WORD)
        return self._calls

    def _read(self, item: Any) -> Fed:
        return self._event(item) if isinstance(item, L0Event) else self._other(item)

    def _other(self, item: Any) -> Fed:
        if isinstance(item, str):
            return item
        raise invalid(f"an adapter must yield L0Event or str, got {kind_of(item)}")

    def _event(self, event: L0Event) -> Fed:
        react = _REACTIONS.get(event.type)
        return event if react is None else react(self, event)

    def _token(self, event: L0Event) -> Fed:
        text = event.value
        if not isinstance(text, str):
            raise invalid(f"a TOKEN event needs its text in value, got {kind_of(text)}")
        bare = event.data is None and event.usage is None and event.error is None and event.timestamp is None
        return text if bare else event

    def _tool_call(self, event: L0Event) -> Fed:
        self._calls.append(whole_call(event.data, len(self._calls)))
        return None

    def _rollback(self, event: L0Event) -> Fed:
        raise invalid(
            "a source may not send a ROLLBACK: what it yields is final; to read from another session, "
            "open that one with delivery='append'"
        )

    def _error(self, event: L0Event) -> Fed:
        if event.error is not None:
            raise event.error
        detail = event.value or (event.data or {}).get("message") or "an ERROR event without an error"
        raise L0Error(str(detail), code=ErrorCode.PROVIDER_ERROR)

    def _complete(self, event: L0Event) -> Fed:
        data = event.data or {}
        self.finish_reason = data.get("finish_reason") or self.finish_reason
        self.model = data.get("model") or self.model
        self.usage = dict(event.usage or self.usage)
        self.finished = self.done = True
        self._plain = False
        return None


_REACTIONS: dict[EventType, Callable[[EventDecoder, L0Event], Fed]] = {
    EventType.TOKEN: EventDecoder._token,
    EventType.TOOL_CALL: EventDecoder._tool_call,
    EventType.ROLLBACK: EventDecoder._rollback,
    EventType.ERROR: EventDecoder._error,
    EventType.COMPLETE: EventDecoder._complete,
}
