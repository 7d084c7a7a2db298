"""Decodes the events of OpenAI's responses."""

from collections.abc import Callable
from typing import Any

from l0actors.events import L0Event
from l0actors.providers.decoder import DecoderState, Fed, part, progress
from l0actors.providers.failures import cut_short, malformed, truncated
from l0actors.providers.inband import error_of
from l0actors.providers.sdk import counts, of_item, optional, plain, text
from l0actors.providers.sse import ServerEvent
from l0actors.providers.structs import parse_response
from l0actors.providers.tools import ToolCalls
from l0actors.providers.wire import item_of

_TEXT = "response.output_text.delta"
_ERRORS = ("error", "response.failed")
_LIMITS = {"max_output_tokens": "length"}
_TEXTUAL = ("message", "reasoning", "function_call")


class ResponsesDecoder(DecoderState):
    """Decodes one stream of events.

    The answer is whole when `response.completed` or `response.incomplete` came. The sequence numbers tell
    lost, repeated and swapped events. Finish reasons are those of chat completions: `stop`, `tool_calls`,
    `refusal`, `length`, `content_filter`. Parts that are not text (images, searches, calls of custom tools)
    are given with the end, when they are known to be whole.
    """

    def __init__(self) -> None:
        super().__init__()
        self._items = 0
        self._next: int | None = None
        self._last: Any = None
        self._refused = False
        self._calls = ToolCalls()
        self._parts: list[L0Event] = []

    def feed(self, event: Any, /) -> Fed:
        """Return what `event`, as the SDK gives it or as it was sent, amounts to.

        Raises:
            L0Error: it carries the provider's error, is malformed or out of sequence.
        """
        if event.__class__ is ServerEvent:
            event = item_of(self, event, parse_response)
            if event is None:
                return None
        self._items += 1
        if self.done:
            return None
        kind = getattr(event, "type", None)
        number = getattr(event, "sequence_number", None)
        if number == self._next and number is not None:
            self._next = number + 1
        elif number is not None and kind not in _ERRORS:
            if event == self._last:
                return None  # it was sent twice
            self._next = self._resequenced(number)
        self._last = event
        if kind == _TEXT:
            content = getattr(event, "delta", None)
            if content.__class__ is str and not getattr(event, "logprobs", None):
                return content or None
        return self._read(kind, event)

    def end(self) -> list[L0Event]:
        """Return the parts that are not text, and the tool calls.

        Raises:
            L0Error: no `response.completed` came, or a tool call is not whole.
        """
        if not self.finished:
            raise cut_short(self._items, "response.completed")
        return self._parts + self._calls.events(limited=self.finish_reason in ("length", "content_filter"))

    def _resequenced(self, number: Any) -> int:
        if not isinstance(number, int):
            raise malformed(f"sequence_number is {type(number).__name__}")
        if self._next is None:
            return number + 1
        if number < self._next:
            raise malformed(f"event {number} came after event {self._next - 1}")
        raise truncated(f"the events from {self._next} to {number - 1} are lost")

    def _read(self, kind: Any, event: Any) -> Fed:
        if not isinstance(kind, str):
            raise malformed("an event without a type")
        react = _REACTIONS.get(kind)
        if react is None:
            return None
        with of_item(event):
            return react(self, event)

    def _note_model(self, event: Any) -> Fed:
        self.model = optional(event.response, "model") or self.model
        return None

    def _text(self, event: Any) -> Fed:
        content = text(event.delta, "delta")
        logprobs = progress("logprobs", logprobs=plain(event.logprobs))
        return [content, logprobs] if content else logprobs

    def _refusal(self, event: Any) -> Fed:
        self._refused = True
        return progress("refusal", text=text(event.delta, "delta"))

    def _reasoning(self, event: Any) -> Fed:
        return progress("reasoning", text=text(event.delta, "delta"))

    def _annotation(self, event: Any) -> Fed:
        return progress("annotations", annotations=[plain(event.annotation)])

    def _audio(self, event: Any) -> Fed:
        return part("audio", data=text(event.delta, "delta"))

    def _transcript(self, event: Any) -> Fed:
        return part("audio", transcript=text(event.delta, "delta"))

    def _image(self, event: Any) -> Fed:
        return part("partial_image", data=text(event.partial_image_b64, "image"), id=event.item_id)

    def _item_added(self, event: Any) -> Fed:
        item = event.item
        if item.type != "function_call":
            return None
        return self._calls.begin(event.output_index, text(item.call_id, "call_id"), text(item.name, "name"))

    def _arguments(self, event: Any) -> Fed:
        return self._calls.add(event.output_index, text(event.delta, "delta"))

    def _arguments_done(self, event: Any) -> Fed:
        self._calls.close(event.output_index, text(event.arguments, "arguments"))
        return None

    def _item_done(self, event: Any) -> Fed:
        item = event.item
        if item.type == "function_call":
            return self._call_done(event.output_index, item)
        if item.type not in _TEXTUAL:
            self._parts.append(part(item.type, item=plain(item)))
        elif getattr(item, "encrypted_content", None):  # to be sent back with the tools' results
            return progress("reasoning_item", item=plain(item))
        return None

    def _call_done(self, key: int, item: Any) -> Fed:
        begun = None
        if key not in self._calls:
            begun = self._calls.begin(key, text(item.call_id, "call_id"), text(item.name, "name"))
        if self._calls.is_open(key) and _get(item, "status") != "incomplete":
            self._calls.close(key, text(item.arguments, "arguments"))
        return begun

    def _completed(self, event: Any) -> Fed:
        reason = "tool_calls" if len(self._calls) else "stop"
        return self._finish(event.response, "refusal" if self._refused else reason)

    def _incomplete(self, event: Any) -> Fed:
        reason = _get(event.response, "incomplete_details", "reason") or "incomplete"
        return self._finish(event.response, _LIMITS.get(reason, reason))

    def _finish(self, response: Any, reason: str) -> Fed:
        self.model = optional(response, "model") or self.model
        self.finish_reason = reason
        self.finished = self.done = True
        self.usage = counts(
            input_tokens=_get(response, "usage", "input_tokens"),
            output_tokens=_get(response, "usage", "output_tokens"),
            cached_tokens=_get(response, "usage", "input_tokens_details", "cached_tokens"),
            reasoning_tokens=_get(response, "usage", "output_tokens_details", "reasoning_tokens"),
        )
        return None

    def _failed(self, event: Any) -> Fed:
        raise error_of(_get(event.response, "error") or "response.failed without an error", provider="openai")

    def _error(self, event: Any) -> Fed:
        raise error_of(getattr(event, "error", None) or event, provider="openai")


def _get(item: Any, *path: str) -> Any:
    """Return a member of a member, None if there is none."""
    for name in path:
        item = getattr(item, name, None)
    return item


_REACTIONS: dict[str, Callable[[ResponsesDecoder, Any], Fed]] = {
    "error": ResponsesDecoder._error,
    "response.created": ResponsesDecoder._note_model,
    "response.completed": ResponsesDecoder._completed,
    "response.incomplete": ResponsesDecoder._incomplete,
    "response.failed": ResponsesDecoder._failed,
    _TEXT: ResponsesDecoder._text,
    "response.output_text.annotation.added": ResponsesDecoder._annotation,
    "response.refusal.delta": ResponsesDecoder._refusal,
    "response.reasoning_text.delta": ResponsesDecoder._reasoning,
    "response.reasoning_summary_text.delta": ResponsesDecoder._reasoning,
    "response.output_item.added": ResponsesDecoder._item_added,
    "response.output_item.done": ResponsesDecoder._item_done,
    "response.function_call_arguments.delta": ResponsesDecoder._arguments,
    "response.function_call_arguments.done": ResponsesDecoder._arguments_done,
    "response.audio.delta": ResponsesDecoder._audio,
    "response.audio.transcript.delta": ResponsesDecoder._transcript,
    "response.image_generation_call.partial_image": ResponsesDecoder._image,
}
