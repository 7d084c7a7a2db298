"""The truth about the end, over real sockets: every fault of the provider, in each wire format."""

import threading
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import openai
import pytest
from provider_wires import MODEL, Read, read

from l0actors.errors import ErrorCode, L0Error
from l0actors.providers import close_stream, detect_adapter, enter, items_for
from l0actors.testing import WIRES, FaultCase, FaultProvider, Reply, Stall, Wire, fault_matrix

TEXT = "one two three four five"
CASES = [case for wire in WIRES for case in fault_matrix(wire).values() if not case.hangs]


@pytest.fixture
async def provider() -> AsyncIterator[FaultProvider]:
    """A provider on loopback."""
    async with FaultProvider() as provider:
        yield provider


async def read_from(provider: FaultProvider, wire: Wire) -> Read:
    """Read one stream of the SDK in one format."""
    options: dict[str, Any] = {"api_key": "test", "max_retries": 0, "timeout": 5.0}
    if wire == "messages":
        async with anthropic.AsyncAnthropic(base_url=provider.anthropic_url, **options) as client:
            return await read(
                await client.messages.create(model=MODEL, messages=[], max_tokens=9, stream=True)
            )
    async with openai.AsyncOpenAI(base_url=provider.openai_url, **options) as openai_client:
        if wire == "responses":
            return await read(await openai_client.responses.create(model=MODEL, input="x", stream=True))
        return await read(await openai_client.chat.completions.create(model=MODEL, messages=[], stream=True))


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.wire}-{case.name}")
async def test_no_fault_passes_for_a_whole_answer(case: FaultCase, provider: FaultProvider) -> None:
    """An attempt with a fault fails, or its text is exactly the answer; it never completes with another."""
    provider.script(case.on(Reply(TEXT)))
    try:
        seen = await read_from(provider, case.wire)
    except (AttributeError, TypeError, LookupError):
        raise  # a decoder that fell over
    except Exception:
        return
    assert case.outcome == "recovers" or (case.name == "no_tokens" and not seen.text)
    assert seen.text == ("" if case.name == "no_tokens" else TEXT)
    assert seen.decoder.finished


@pytest.mark.parametrize("wire", WIRES)
async def test_a_whole_answer_is_whole(wire: Wire, provider: FaultProvider) -> None:
    """Without a fault the text, the reason and the usage are there."""
    seen = await read_from(provider, wire)
    assert seen.text == "Hello from the fault provider, with nothing gone wrong."
    assert seen.decoder.finish_reason in ("stop", "end_turn")


async def test_a_blocked_sync_stream_is_interrupted(provider: FaultProvider) -> None:
    """Closing a synchronous SDK stream whose read blocks ends that read, its thread and the connection."""
    provider.script(Reply(TEXT, fault=Stall(after_tokens=2)))
    client = openai.OpenAI(base_url=provider.openai_url, api_key="test", max_retries=0, timeout=60)

    def opening() -> Any:
        return client.chat.completions.stream(model=MODEL, messages=[])

    stream = await enter(opening())
    adapter = detect_adapter(stream)
    items = items_for(adapter, stream)
    for _ in range(3):
        await items.__anext__()
    (worker,) = (thread for thread in threading.enumerate() if thread.name == "l0actors-stream")
    await close_stream(adapter, stream)
    worker.join(5)
    assert not worker.is_alive()
    client.close()


async def test_the_error_of_a_cut_is_typed(provider: FaultProvider) -> None:
    """A body that a proxy ends cleanly in the middle is STREAM_TRUNCATED in every format."""
    for wire in WIRES:
        provider.script(fault_matrix(wire)["cut"].on(Reply(TEXT)))
        with pytest.raises(L0Error) as failed:
            await read_from(provider, wire)
        assert failed.value.code is ErrorCode.STREAM_TRUNCATED
