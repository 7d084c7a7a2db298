"""The real SDKs behind one function, so that a test can be written once for all three formats."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anthropic
import openai

from l0actors.testing import FaultProvider, Wire


@dataclass
class Seen:
    """What one SDK client got out of one stream."""

    text: str = ""
    reasoning: str = ""
    refusal: str = ""
    arguments: dict[int, str] = field(default_factory=dict)
    finish: str | None = None
    odd: int = 0
    error: Exception | None = None
    opened: bool = False

    @property
    def end(self) -> str:
        """`whole`, `silent`, or when and how it failed: `create X`, `iter X`."""
        if self.error is None:
            return "whole" if self.finish else "silent"
        return f"{'iter' if self.opened else 'create'} {type(self.error).__name__}"


@dataclass
class Clients:
    """Both SDKs, against one provider, without retries of their own."""

    openai: openai.AsyncOpenAI
    anthropic: anthropic.AsyncAnthropic

    async def open(self, wire: Wire, **options: Any) -> Any:
        """Return the SDK's stream object."""
        if wire == "chat":
            return await self.openai.chat.completions.create(model="m", messages=[], stream=True, **options)
        if wire == "responses":
            return await self.openai.responses.create(model="m", input="x", stream=True, **options)
        return await self.anthropic.messages.create(
            model="m", messages=[], max_tokens=99, stream=True, **options
        )

    async def read(self, wire: Wire, **options: Any) -> Seen:
        """Read one stream to its end, whatever that is."""
        seen = Seen()
        try:
            stream = await self.open(wire, **options)
            seen.opened = True
            async with stream:
                async for item in stream:
                    fold(wire, item, seen)
        except Exception as error:
            seen.error = error
        return seen


@asynccontextmanager
async def clients(provider: FaultProvider) -> AsyncIterator[Clients]:
    """Open both SDKs, and close them. Certificates, which take long to load, are not needed."""
    async with (
        openai.AsyncOpenAI(
            base_url=provider.openai_url,
            api_key="test",
            max_retries=0,
            timeout=5.0,
            http_client=openai.DefaultAsyncHttpxClient(verify=False),
        ) as first,
        anthropic.AsyncAnthropic(
            base_url=provider.anthropic_url,
            api_key="test",
            max_retries=0,
            timeout=5.0,
            http_client=anthropic.DefaultAsyncHttpxClient(verify=False),
        ) as second,
    ):
        yield Clients(first, second)


def fold(wire: Wire, item: Any, seen: Seen) -> None:
    """Add one item of a stream; count those that a careless reader would trip over."""
    try:
        {"chat": _chat, "responses": _responses, "messages": _messages}[wire](item, seen)
    except (AttributeError, TypeError, IndexError, KeyError):
        seen.odd += 1


def _chat(item: Any, seen: Seen) -> None:
    for choice in item.choices:
        seen.finish = choice.finish_reason or seen.finish
        delta = choice.delta
        seen.text += delta.content or ""
        seen.reasoning += getattr(delta, "reasoning_content", None) or ""
        seen.refusal += delta.refusal or ""
        for call in delta.tool_calls or ():
            seen.arguments[call.index] = seen.arguments.get(call.index, "") + call.function.arguments


def _responses(item: Any, seen: Seen) -> None:
    kind = item.type
    if kind == "response.output_text.delta":
        seen.text += item.delta
    elif kind == "response.reasoning_summary_text.delta":
        seen.reasoning += item.delta
    elif kind == "response.refusal.delta":
        seen.refusal += item.delta
    elif kind == "response.function_call_arguments.delta":
        index = item.output_index
        seen.arguments[index] = seen.arguments.get(index, "") + item.delta
    elif kind in ("response.completed", "response.incomplete"):
        seen.finish = item.response.status


def _messages(item: Any, seen: Seen) -> None:
    if item.type == "message_delta":
        seen.finish = item.delta.stop_reason
        details = item.delta.stop_details
        seen.refusal += details.explanation if details else ""
    if item.type != "content_block_delta":
        return
    delta = item.delta
    if delta.type == "text_delta":
        seen.text += delta.text
    elif delta.type == "thinking_delta":
        seen.reasoning += delta.thinking
    elif delta.type == "input_json_delta":
        seen.arguments[item.index] = seen.arguments.get(item.index, "") + delta.partial_json
