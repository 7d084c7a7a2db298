"""The usual events of each format as typed structs, with the fields that the decoders read and no others.

They have the attributes of the SDKs' objects. An event that is built otherwise is refused, and read in
another way: see `item_of`.
"""

from typing import Any

import msgspec


class ChatToolFunction(msgspec.Struct, gc=False):
    """The function of a tool call's fragment."""

    name: str | None = None
    arguments: str | None = None


class ChatToolCall(msgspec.Struct, gc=False):
    """A fragment of a tool call."""

    index: int
    id: str | None = None
    function: ChatToolFunction | None = None


class ChatDelta(msgspec.Struct, gc=False):
    """What a chunk adds to a choice."""

    content: str | None = None
    tool_calls: list[ChatToolCall] | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    function_call: ChatToolFunction | None = None
    audio: dict[str, Any] | None = None
    annotations: list[Any] | None = None

    @property
    def model_extra(self) -> Any:
        """What makes it more than a piece of text."""
        return (
            self.reasoning_content or self.reasoning or self.function_call or self.audio or self.annotations
        )


class ChatChoice(msgspec.Struct, gc=False):
    """One choice of a chunk."""

    index: int
    delta: ChatDelta | None = None
    finish_reason: str | None = None
    logprobs: dict[str, Any] | None = None
    text: Any = None
    message: Any = None


class ChatChunk(msgspec.Struct, gc=False):
    """A chunk of a chat completion. One with usage is read as a `Node`: there is but one of them."""

    choices: list[ChatChoice]
    model: str | None = None
    usage: None = None
    error: Any = None


class ResponseDelta(msgspec.Struct, gc=False):
    """A piece of anything in the responses format: of text, of reasoning, of a tool call's arguments."""

    type: str
    delta: str
    sequence_number: int | None = None
    output_index: int | None = None
    logprobs: list[Any] | None = None


class MessageDelta(msgspec.Struct, gc=False):
    """What an event adds to a content block of a message."""

    type: str
    text: str | None = None
    partial_json: str | None = None
    thinking: str | None = None
    signature: str | None = None
    citation: dict[str, Any] | None = None


class MessageBlockDelta(msgspec.Struct, gc=False):
    """A piece of a content block."""

    type: str
    index: int
    delta: MessageDelta


parse_chat = msgspec.json.Decoder(ChatChunk).decode
parse_response = msgspec.json.Decoder(ResponseDelta).decode
parse_message = msgspec.json.Decoder(MessageBlockDelta).decode
