"""Provider streams, whatever their format, as text and `L0Event`s."""

from l0actors.providers.adapter import Adapter, decoder_for, items_for
from l0actors.providers.anthropic import AnthropicAdapter
from l0actors.providers.decoder import Decoder
from l0actors.providers.event_decoder import EventDecoder
from l0actors.providers.openai import OpenAIAdapter
from l0actors.providers.opening import close_stream, enter
from l0actors.providers.plain import PlainAdapter
from l0actors.providers.registry import detect_adapter, register_adapter

__all__ = [
    "Adapter",
    "AnthropicAdapter",
    "Decoder",
    "EventDecoder",
    "OpenAIAdapter",
    "PlainAdapter",
    "close_stream",
    "decoder_for",
    "detect_adapter",
    "enter",
    "items_for",
    "register_adapter",
]
