"""Decodes the chunks of OpenAI's chat completions, and of everything that speaks like them."""

from typing import Any

from l0actors.events import L0Event
from l0actors.providers.decoder import DecoderState, Fed, part, progress
from l0actors.providers.failures import cut_short, invalid, malformed
from l0actors.providers.inband import error_of
from l0actors.providers.sdk import counts, of_item, optional, plain, text
from l0actors.providers.sse import ServerEvent
from l0actors.providers.structs import parse_chat
from l0actors.providers.tools import ToolCalls
from l0actors.providers.wire import item_of

_LIMITS = ("length", "content_filter", "max_tokens")
_ELSEWHERE = ("text", "message")
_FUNCTION_CALL = "function_call"

_Out = list[str | L0Event]


class ChatDecoder(DecoderState):
    """Decodes one stream of chunks.

    The answer is whole when its choice has a finish reason; the chunk with the usage comes after that, if
    it was asked for.

    Args:
        choice_index: the choice to read, of an answer that was asked for with n > 1. None: there is only
            one, and another one is an error.
    """

    def __init__(self, choice_index: int | None = None) -> None:
        super().__init__()
        self._index = choice_index or 0
        self._only = choice_index is None
        self._items = 0
        self._refused = False
        self._calls = ToolCalls()

    def feed(self, chunk: Any, /) -> Fed:
        """Return what `chunk`, as the SDK gives it or as it was sent, amounts to.

        Raises:
            L0Error: it carries the provider's error, is malformed, or belongs to a second choice.
        """
        if chunk.__class__ is ServerEvent:
            chunk = item_of(self, chunk, parse_chat)
            if chunk is None:
                return None
        self._items += 1
        if self.done:
            return None
        try:
            choices = chunk.choices
            if choices and len(choices) == 1 and chunk.usage is None and self.model is not None:
                choice = choices[0]
                if choice.index == self._index and choice.finish_reason is None and choice.logprobs is None:
                    delta = choice.delta
                    content = delta.content
                    if (
                        content.__class__ is str
                        and delta.tool_calls is None
                        and delta.refusal is None
                        and not delta.model_extra
                    ):
                        return content or None
        except (AttributeError, LookupError, TypeError):
            pass  # it is not the usual chunk
        return self._read(chunk)

    def end(self) -> list[L0Event]:
        """Return the tool calls.

        Raises:
            L0Error: no finish reason came, or a tool call is not whole.
        """
        if not self.finished:
            raise cut_short(self._items, "a finish_reason")
        return self._calls.events(limited=self.finish_reason in _LIMITS)

    def _read(self, chunk: Any) -> Fed:
        out: _Out = []
        with of_item(chunk):
            if error := getattr(chunk, "error", None):  # the SDK raises such a one itself
                raise error_of(error, provider="openai")
            choices = getattr(chunk, "choices", None)
            usage = getattr(chunk, "usage", None)
            if choices is None and usage is None:
                return self._odd(chunk)
            self.model = self.model or getattr(chunk, "model", None)
            for choice in choices or ():
                self._choice(choice, out)
            self._count(usage)
        return out or None

    def _odd(self, chunk: Any) -> Fed:
        """Read an item that is no chunk: an error that the SDK did not take for one, or an unknown event."""
        kind = getattr(chunk, "type", None)
        if kind == "error":
            raise error_of(chunk, provider="openai")
        if isinstance(kind, str):
            return None
        raise malformed("a chunk without choices")

    def _choice(self, choice: Any, out: _Out) -> None:
        index = choice.index
        if index != self._index:
            return self._other_choice(index)
        delta, finish = getattr(choice, "delta", None), getattr(choice, "finish_reason", None)
        if delta is not None:
            self._delta(delta, out)
        elif any(getattr(choice, name, None) is not None for name in _ELSEWHERE):
            raise malformed("a choice without a delta: its content is where that of another format is")
        if (logprobs := getattr(choice, "logprobs", None)) is not None:
            out.append(progress("logprobs", logprobs=plain(logprobs)))
        if finish:
            self._finish(text(finish, "finish_reason"))
        return None

    def _other_choice(self, index: Any) -> None:
        if not isinstance(index, int):
            raise malformed(f"a choice's index is {type(index).__name__}")
        if self._only:
            raise invalid(
                "the answer has several choices (n > 1), and l0 streams one: ask for n=1, or say which with "
                "adapter=OpenAIAdapter(choice_index=0)"
            )

    def _delta(self, delta: Any, out: _Out) -> None:
        reasoning = getattr(delta, "reasoning_content", None) or getattr(delta, "reasoning", None)
        if reasoning:
            out.append(progress("reasoning", text=text(reasoning, "reasoning_content")))
        if (content := optional(delta, "content")) is not None and text(content, "content"):
            out.append(content)
        if refusal := getattr(delta, "refusal", None):
            self._refused = True
            out.append(progress("refusal", text=text(refusal, "refusal")))
        self._tools(delta, out)
        if audio := getattr(delta, "audio", None):
            out.append(part("audio", **plain(audio)))
        if annotations := getattr(delta, "annotations", None):
            out.append(progress("annotations", annotations=plain(annotations)))

    def _tools(self, delta: Any, out: _Out) -> None:
        for call in getattr(delta, "tool_calls", None) or ():
            if not isinstance(call.index, int):
                raise malformed("a tool call without an index")
            self._fragment(call.index, getattr(call, "id", None), getattr(call, "function", None), out)
        if function := getattr(delta, "function_call", None):  # what tool calls were before
            self._fragment(_FUNCTION_CALL, None, function, out)

    def _fragment(self, key: int | str, call_id: str | None, function: Any, out: _Out) -> None:
        name = getattr(function, "name", None) or ""
        arguments = getattr(function, "arguments", None) or ""
        if call_id or name or key not in self._calls:
            begun = self._calls.begin(
                key, text(call_id or "", "a tool call's id"), text(name, "a tool's name")
            )
            if not arguments:
                out.append(begun)
        if arguments:
            out.append(self._calls.add(key, text(arguments, "arguments")))

    def _finish(self, reason: str) -> None:
        self.finish_reason = "refusal" if self._refused and reason == "stop" else reason
        self.finished = True
        self._calls.close_all()

    def _count(self, usage: Any) -> None:
        if usage is None:
            return
        prompt = getattr(usage, "prompt_tokens_details", None)
        completion = getattr(usage, "completion_tokens_details", None)
        self.usage = counts(
            input_tokens=getattr(usage, "prompt_tokens", None),
            output_tokens=getattr(usage, "completion_tokens", None),
            cached_tokens=getattr(prompt, "cached_tokens", None),
            reasoning_tokens=getattr(completion, "reasoning_tokens", None),
        )
        self.done = self.finished
