"""Reads the streams of OpenAI's SDK: chat completions and responses."""

from collections.abc import AsyncIterator, Callable
from typing import Any

from l0actors import validation
from l0actors.events import L0Event
from l0actors.providers.adapter import StreamAdapter
from l0actors.providers.decoder import Decoder, Fed
from l0actors.providers.failures import kind_of, malformed
from l0actors.providers.inband import error_of
from l0actors.providers.openai_chat import ChatDecoder
from l0actors.providers.openai_responses import ResponsesDecoder
from l0actors.providers.opening import unwrapped
from l0actors.providers.sdk import is_stream_of
from l0actors.providers.sse import ServerEvent
from l0actors.providers.wire import DONE, read_event, wire_items


class OpenAIAdapter(StreamAdapter):
    """Reads what `create(stream=True)` and the `.stream()` helpers of OpenAI's SDK return, async or not.

    Args:
        choice_index: the choice to read when the answer was asked for with n > 1.

    Raises:
        ValueError: `choice_index` is not a whole number >= 0.
    """

    name = "openai"

    def __init__(self, choice_index: int | None = None) -> None:
        if choice_index is not None:
            validation.whole("choice_index", choice_index)
        self._choice_index = choice_index

    def detect(self, stream: Any, /) -> bool:
        """Return whether `stream` is of one of the SDK's stream classes."""
        return is_stream_of("openai", unwrapped(stream))

    def decoder(self) -> Decoder:
        """Return a decoder for one stream."""
        return OpenAIDecoder(self._choice_index)

    def items(self, stream: Any, /) -> AsyncIterator[Any]:
        """Return the events under `stream`, or its objects if it has to be read as its owner would."""
        return wire_items("openai", stream)


class OpenAIDecoder:
    """Decodes chat chunks, the chat helper's events or responses events: whichever the first item is of.

    Items are the SDK's objects, or the server-sent events under them.

    Args:
        choice_index: as for `OpenAIAdapter`.
    """

    def __init__(self, choice_index: int | None = None) -> None:
        self._chat = ChatDecoder(choice_index)
        self._decoder: Decoder = self._chat
        self._feed: Callable[[Any], Fed] = self._first

    @property
    def finished(self) -> bool:
        """Whether the provider said that the answer is whole."""
        return self._decoder.finished

    @property
    def done(self) -> bool:
        """Whether nothing more that is worth waiting for will come."""
        return self._decoder.done

    @property
    def finish_reason(self) -> str | None:
        """Why the answer ended."""
        return self._decoder.finish_reason

    @property
    def model(self) -> str | None:
        """The model as the provider reported it."""
        return self._decoder.model

    @property
    def usage(self) -> dict[str, int]:
        """The tokens as the provider counted them."""
        return self._decoder.usage

    def feed(self, item: Any, /) -> Fed:
        """Return what `item` amounts to."""
        return self._feed(item)

    def end(self) -> list[L0Event]:
        """Return what is still to be said."""
        return self._decoder.end()

    def _first(self, item: Any) -> Fed:
        if isinstance(item, ServerEvent):
            return self._first_event(item)
        kind = getattr(item, "type", None)
        if hasattr(item, "choices") and kind is None:
            self._feed = self._chat.feed
        elif kind == "chunk":
            self._feed = self._helper
        elif _is_responses(kind, item):
            self._decoder = ResponsesDecoder()
            self._feed = self._decoder.feed
        elif isinstance(kind, str):
            return None
        else:
            raise malformed(f"the stream begins with {kind_of(item)}, which has neither choices nor a type")
        return self._feed(item)

    def _first_event(self, event: ServerEvent) -> Fed:
        item = read_event(event)
        if item is None:
            return None
        if item is DONE or "choices" in item:
            self._feed = self._chat.feed
        elif _is_responses(item.get("type"), item):
            self._decoder = ResponsesDecoder()
            self._feed = self._decoder.feed
        elif item.get("error"):
            raise error_of(item["error"], provider="openai")
        elif isinstance(item.get("type"), str):
            return None
        else:
            raise malformed("the stream begins with an object that has neither choices nor a type")
        return self._feed(event)

    def _helper(self, event: Any) -> Fed:
        """Read an event of `chat.completions.stream()`: the raw chunk; the others only repeat it."""
        return self._chat.feed(event.chunk) if getattr(event, "type", None) == "chunk" else None


def _is_responses(kind: Any, item: Any) -> bool:
    if not isinstance(kind, str):
        return False
    return kind == "error" or kind.startswith("response.") or hasattr(item, "sequence_number")
