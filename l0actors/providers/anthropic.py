"""Reads the streams of Anthropic's SDK: messages."""

from collections.abc import AsyncIterator, Callable
from typing import Any

from l0actors.events import L0Event
from l0actors.providers.adapter import StreamAdapter
from l0actors.providers.decoder import Decoder, DecoderState, Fed, part, progress
from l0actors.providers.failures import cut_short, malformed, truncated
from l0actors.providers.inband import error_of
from l0actors.providers.opening import unwrapped
from l0actors.providers.sdk import counts, is_stream_of, of_item, optional, plain, text
from l0actors.providers.sse import ServerEvent
from l0actors.providers.structs import parse_message
from l0actors.providers.tools import ToolCalls
from l0actors.providers.wire import item_of, wire_items

_LIMITS = ("max_tokens", "model_context_window_exceeded", "refusal")


class AnthropicAdapter(StreamAdapter):
    """Reads what `messages.create(stream=True)` and `messages.stream()` return, async or not."""

    name = "anthropic"

    def detect(self, stream: Any, /) -> bool:
        """Return whether `stream` is of one of the SDK's stream classes."""
        return is_stream_of("anthropic", unwrapped(stream))

    def decoder(self) -> Decoder:
        """Return a decoder for one stream."""
        return AnthropicDecoder()

    def items(self, stream: Any, /) -> AsyncIterator[Any]:
        """Return the events under `stream`, or its objects if it has to be read as its owner would."""
        return wire_items("anthropic", stream)


class AnthropicDecoder(DecoderState):
    """Decodes one stream of events.

    The answer is whole when a stop reason or `message_stop` came, and over with the latter. Content comes in
    numbered blocks, one after another, each with a start and a stop: what breaks that order is malformed.
    """

    def __init__(self) -> None:
        super().__init__()
        self._items = 0
        self._started = False
        self._blocks = 0
        self._open: str | None = None
        self._text_index: int | None = None
        self._calls = ToolCalls()

    def feed(self, event: Any, /) -> Fed:
        """Return what `event`, as the SDK gives it or as it was sent, amounts to.

        Raises:
            L0Error: it carries the provider's error, is malformed or out of order.
        """
        if event.__class__ is ServerEvent:
            event = item_of(self, event, parse_message)
            if event is None:
                return None
        self._items += 1
        if self.done:
            return None
        kind = getattr(event, "type", None)
        if kind == "content_block_delta":
            try:
                delta = event.delta
                if delta.type == "text_delta" and event.index == self._text_index:
                    content = delta.text
                    if content.__class__ is str:
                        return content or None
            except AttributeError:
                pass  # it is malformed
        return self._read(kind, event)

    def end(self) -> list[L0Event]:
        """Return the tool calls.

        Raises:
            L0Error: no stop reason came, or a tool call is not whole.
        """
        if not self.finished:
            raise cut_short(self._items, "a stop_reason")
        return self._calls.events(limited=self.finish_reason in (None, *_LIMITS))

    def _read(self, kind: Any, event: Any) -> Fed:
        if not isinstance(kind, str):
            raise malformed("an event without a type")
        react = _REACTIONS.get(kind)
        if react is None:
            return None
        if not self._started and kind not in ("message_start", "error"):
            raise malformed(f"the stream begins with {kind}: message_start is lost")
        with of_item(event):
            return react(self, event)

    def _message_start(self, event: Any) -> Fed:
        if self._started:
            raise malformed("a second message_start")
        self._started = True
        self.model = optional(event.message, "model")
        self._count(optional(event.message, "usage"))
        self.usage.pop("output_tokens", None)  # a first estimate: the true count comes last
        return None

    def _block_start(self, event: Any) -> Fed:
        if self._open is not None or event.index != self._blocks or self.finished:
            raise malformed(f"content block {event.index} starts where block {self._blocks} should")
        block = event.content_block
        self._open = text(block.type, "a block's type")
        self._blocks += 1
        if self._open == "text":
            self._text_index = event.index
        begin = _BEGINNINGS.get(self._open)
        return part(self._open, block=plain(block)) if begin is None else begin(self, event.index, block)

    def _text_begins(self, index: int, block: Any) -> Fed:
        return text(block.text, "text") or None

    def _thinking_begins(self, index: int, block: Any) -> Fed:
        thinking = text(block.thinking, "thinking")
        return progress("reasoning", text=thinking) if thinking else None

    def _redacted_thinking(self, index: int, block: Any) -> Fed:
        return progress("redacted_reasoning", data=getattr(block, "data", None))

    def _tool_begins(self, index: int, block: Any) -> Fed:
        return self._calls.begin(index, text(block.id, "a tool call's id"), text(block.name, "a tool's name"))

    def _server_tool_begins(self, index: int, block: Any) -> Fed:
        return progress(block.type, id=block.id, name=block.name)

    def _block_delta(self, event: Any) -> Fed:
        if self._open is None or event.index != self._blocks - 1:
            raise malformed(f"a piece of content block {event.index}, which is not open")
        delta = event.delta
        react = _DELTAS.get(text(delta.type, "a delta's type"))
        return None if react is None else react(self, event.index, delta)

    def _text_delta(self, index: int, delta: Any) -> Fed:
        text(delta.text, "text")
        raise malformed(f"text in a block of type {self._open}")

    def _thinking_delta(self, index: int, delta: Any) -> Fed:
        return progress("reasoning", text=text(delta.thinking, "thinking"))

    def _signature_delta(self, index: int, delta: Any) -> Fed:
        return progress("signature", signature=text(delta.signature, "signature"))

    def _citations_delta(self, index: int, delta: Any) -> Fed:
        return progress("annotations", annotations=[plain(delta.citation)])

    def _json_delta(self, index: int, delta: Any) -> Fed:
        piece = text(delta.partial_json, "partial_json")
        if index in self._calls:
            return self._calls.add(index, piece)
        return progress(f"{self._open}_delta", arguments=piece)

    def _block_stop(self, event: Any) -> Fed:
        if self._open is None or event.index != self._blocks - 1:
            raise malformed(f"content block {event.index} stops, which is not open")
        if event.index in self._calls:
            self._calls.close(event.index)
        self._open = self._text_index = None
        return None

    def _message_delta(self, event: Any) -> Fed:
        reason = optional(event.delta, "stop_reason")
        if reason is not None:
            if self._open is not None:
                raise malformed(f"a stop_reason inside content block {self._blocks - 1}")
            self.finish_reason = text(reason, "stop_reason")
            self.finished = True
        self._count(getattr(event, "usage", None))
        return None

    def _message_stop(self, event: Any) -> Fed:
        if self._open is not None:
            raise truncated(f"message_stop came inside content block {self._blocks - 1}: it is cut off")
        self.finished = self.done = True
        return None

    def _error(self, event: Any) -> Fed:
        raise error_of(getattr(event, "error", None) or event, provider="anthropic")

    def _count(self, usage: Any) -> None:
        details = getattr(usage, "output_tokens_details", None)
        self.usage |= counts(
            input_tokens=getattr(usage, "input_tokens", None),
            output_tokens=getattr(usage, "output_tokens", None),
            cached_tokens=getattr(usage, "cache_read_input_tokens", None),
            cache_creation_tokens=getattr(usage, "cache_creation_input_tokens", None),
            reasoning_tokens=getattr(details, "thinking_tokens", None),
        )


_REACTIONS: dict[str, Callable[[AnthropicDecoder, Any], Fed]] = {
    "error": AnthropicDecoder._error,
    "message_start": AnthropicDecoder._message_start,
    "content_block_start": AnthropicDecoder._block_start,
    "content_block_delta": AnthropicDecoder._block_delta,
    "content_block_stop": AnthropicDecoder._block_stop,
    "message_delta": AnthropicDecoder._message_delta,
    "message_stop": AnthropicDecoder._message_stop,
}
_BEGINNINGS: dict[str, Callable[[AnthropicDecoder, int, Any], Fed]] = {
    "text": AnthropicDecoder._text_begins,
    "thinking": AnthropicDecoder._thinking_begins,
    "redacted_thinking": AnthropicDecoder._redacted_thinking,
    "tool_use": AnthropicDecoder._tool_begins,
    "server_tool_use": AnthropicDecoder._server_tool_begins,
    "mcp_tool_use": AnthropicDecoder._server_tool_begins,
}
_DELTAS: dict[str, Callable[[AnthropicDecoder, int, Any], Fed]] = {
    "text_delta": AnthropicDecoder._text_delta,
    "thinking_delta": AnthropicDecoder._thinking_delta,
    "signature_delta": AnthropicDecoder._signature_delta,
    "citations_delta": AnthropicDecoder._citations_delta,
    "input_json_delta": AnthropicDecoder._json_delta,
}
