"""A healthy answer, read by the real SDKs."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from fault_clients import Clients, clients

from l0actors.testing import WIRES, FaultProvider, Reply, ToolCall, Usage, Wire

pytestmark = pytest.mark.parametrize("wire", WIRES)

TEXTS = {
    "plain": "Hello world",
    "spaces": "  two  spaces\n\nand lines \t at the end \n",
    "unicode": "größe 東京 naïve עברית \u2028 and \x00 control",
    "emoji": "👩\u200d👩\u200d👧 🙂🏳️\u200d🌈 done",
    "json": '{"a": "data: [DONE]\\n\\n", "b": [1, 2]}',
    "one word": "word",
}


@pytest.fixture
async def provider() -> AsyncIterator[FaultProvider]:
    """A provider that runs."""
    async with FaultProvider() as provider:
        yield provider


@pytest.fixture
async def sdk(provider: FaultProvider) -> AsyncIterator[Clients]:
    """Both SDKs."""
    async with clients(provider) as both:
        yield both


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
async def test_text_is_exact(wire: Wire, text: str, provider: FaultProvider, sdk: Clients) -> None:
    """The pieces that an SDK yields join to exactly the scripted text, and the end is reported."""
    provider.script(Reply(text))
    seen = await sdk.read(wire)
    assert (seen.text, seen.end, seen.odd) == (text, "whole", 0)


async def test_pieces_are_sent_as_given(wire: Wire, provider: FaultProvider, sdk: Clients) -> None:
    """A sequence is sent piece by piece, empty ones and halves of words included."""
    provider.script(Reply(["", "Hel", "", "lo", " 🙂", ""]))
    assert (await sdk.read(wire)).text == "Hello 🙂"


async def test_everything_at_once(wire: Wire, provider: FaultProvider, sdk: Clients) -> None:
    """Reasoning, text and several tool calls each arrive whole in one answer."""
    calls = [
        ToolCall("c1", "add", '{"a": 1, "b": "größe"}'),
        ToolCall("c2", "now", "{}", fragments=["{", "}"]),
    ]
    provider.script(Reply("The text.", reasoning="First I think.", tool_calls=calls))
    seen = await sdk.read(wire)
    assert (seen.text, seen.reasoning) == ("The text.", "First I think.")
    assert list(seen.arguments.values()) == [call.arguments for call in calls]


async def test_refusal(wire: Wire, provider: FaultProvider, sdk: Clients) -> None:
    """A refusal arrives where the format has its place for one."""
    provider.script(Reply(refusal="I cannot help with that."))
    seen = await sdk.read(wire)
    assert (seen.text, seen.refusal) == ("", "I cannot help with that.")


@pytest.mark.parametrize("finish", ["stop", "length", "tool_calls", "content_filter"])
async def test_finish_reasons(wire: Wire, finish: str, provider: FaultProvider, sdk: Clients) -> None:
    """A finish reason is translated into the format's own word."""
    own = {
        "chat": {},
        "responses": {"length": "incomplete", "content_filter": "incomplete"},
        "messages": {
            "stop": "end_turn",
            "length": "max_tokens",
            "tool_calls": "tool_use",
            "content_filter": "refusal",
        },
    }[wire]
    provider.script(Reply("Some text", finish=finish))
    usual = "completed" if wire == "responses" else finish
    assert (await sdk.read(wire)).finish == own.get(finish, usual)


async def test_a_whole_document(wire: Wire, provider: FaultProvider, sdk: Clients) -> None:
    """A request that asks for no stream gets the same answer as one document."""
    call = ToolCall("c1", "add", '{"a": 1}')
    provider.script(Reply("The text.", tool_calls=[call], usage=Usage(11, 22), id="the-id", model="big"))
    if wire == "chat":
        chat = await sdk.openai.chat.completions.create(model="m", messages=[])
        usage = chat.usage
        assert usage is not None
        assert (chat.id, chat.model, usage.prompt_tokens, usage.total_tokens) == ("the-id", "big", 11, 33)
        assert chat.choices[0].message.content == "The text."
        assert chat.choices[0].finish_reason == "tool_calls"
    elif wire == "responses":
        response = await sdk.openai.responses.create(model="m", input="x")
        assert (response.id, response.model, response.output_text) == ("the-id", "big", "The text.")
        assert response.usage is not None
        assert response.usage.total_tokens == 33
    else:
        message = await sdk.anthropic.messages.create(model="m", messages=[], max_tokens=9)
        assert (message.id, message.model, message.stop_reason) == ("the-id", "big", "tool_use")
        assert [block.type for block in message.content] == ["text", "tool_use"]
        assert message.usage.output_tokens == 22


async def test_helpers_accept_the_events(wire: Wire, provider: FaultProvider, sdk: Clients) -> None:
    """The SDKs' accumulating stream helpers, the strictest readers, end with the whole answer."""
    provider.script(Reply("The text.", reasoning="Hm."))
    if wire == "chat":
        async with sdk.openai.chat.completions.stream(model="m", messages=[]) as chat:
            assert (await chat.get_final_completion()).choices[0].message.content == "The text."
    elif wire == "responses":
        async with sdk.openai.responses.stream(model="m", input="x") as responses:
            assert (await responses.get_final_response()).output_text == "The text."
    else:
        async with sdk.anthropic.messages.stream(model="m", messages=[], max_tokens=9) as messages:
            assert await messages.get_final_text() == "The text."


async def test_usage(wire: Wire, provider: FaultProvider, sdk: Clients) -> None:
    """The scripted usage is reported, by chat only to those who ask for it."""
    provider.script(Reply("The text.", usage=Usage(11, 22)), Reply("The text."))
    if wire == "chat":
        stream = await sdk.open(wire, stream_options={"include_usage": True})
        items = [item async for item in stream]
        assert (items[-1].choices, items[-1].usage.total_tokens) == ([], 33)
        assert all(item.choices for item in [item async for item in await sdk.open(wire)])
    elif wire == "responses":
        events = [event async for event in await sdk.open(wire)]
        assert events[-1].response.usage.total_tokens == 33
        assert [event.sequence_number for event in events] == list(range(len(events)))
    else:
        messages = [event async for event in await sdk.open(wire)]
        assert messages[0].message.usage.input_tokens == 11
        assert messages[-2].usage.output_tokens == 22
