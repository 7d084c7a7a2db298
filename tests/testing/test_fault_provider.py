"""Scripting, counting, waiting and stopping, with the real SDKs."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator

import openai
import pytest
from fault_clients import Clients, clients

import l0actors.testing as public
from l0actors.testing import (
    WIRES,
    Close,
    Cut,
    ErrorEvent,
    FaultProvider,
    Reply,
    Request,
    Reset,
    Stall,
    Wire,
)


@pytest.fixture
async def provider() -> AsyncIterator[FaultProvider]:
    """A provider that runs."""
    async with FaultProvider(default=Reply("default")) as provider:
        yield provider


@pytest.fixture
async def sdk(provider: FaultProvider) -> AsyncIterator[Clients]:
    """Both SDKs."""
    async with clients(provider) as both:
        yield both


def test_exported_names() -> None:
    """The public names are sorted, exist, and are these."""
    assert public.__all__ == sorted(public.__all__, key=lambda name: (not name.isupper(), name))
    assert all(hasattr(public, name) for name in public.__all__)
    assert {"FaultProvider", "Reply", "Fault", "fault_matrix"} <= set(public.__all__)


class TestScript:
    async def test_one_reply_per_request(self, provider: FaultProvider, sdk: Clients) -> None:
        """Requests take the scripted replies in order, and the default when none is left."""
        provider.script(Reply("one"), Reply("two"))
        assert [(await sdk.read("chat")).text for _ in range(3)] == ["one", "two", "default"]
        assert provider.unused == 0

    async def test_replies_for_a_format_or_model(self, provider: FaultProvider, sdk: Clients) -> None:
        """A reply meant for a format or a model waits for a request of that kind."""
        provider.script(Reply("for messages"), wire="messages")
        provider.script(Reply("for big"), model="big")
        provider.script(Reply("for any"))
        assert (await sdk.read("chat")).text == "for any"
        assert (await sdk.read("messages")).text == "for messages"
        big = await sdk.openai.chat.completions.create(model="big", messages=[])
        assert big.choices[0].message.content == "for big"

    async def test_functions(self, provider: FaultProvider, sdk: Clients) -> None:
        """A function makes the reply from the request, scripted or as the default."""
        provider.reply_with(lambda request: Reply(f"{request.wire} {request.model} {request.number}"))
        provider.script(lambda request: Reply(request.headers["authorization"]))
        assert (await sdk.read("chat")).text == "Bearer test"
        assert (await sdk.read("responses")).text == "responses m 2"

    async def test_a_function_that_raises(self) -> None:
        """The client gets a 500 that says so, and the exception comes out of `async with`."""

        def broken(request: Request) -> Reply:
            raise LookupError("no such reply")

        with pytest.raises(LookupError, match="no such reply"):
            async with FaultProvider(default=broken) as provider, clients(provider) as sdk:
                assert "no such reply" in str((await sdk.read("chat")).error)

    async def test_requests_are_recorded(self, provider: FaultProvider, sdk: Clients) -> None:
        """A request is kept with its number, connection, headers and body."""
        await sdk.read("chat")
        await sdk.read("messages")
        first, second = provider.requests
        assert (first.number, first.wire, first.method) == (1, "chat", "POST")
        assert first.path == "/v1/chat/completions"
        assert first.body["stream"] is True
        assert "anthropic-version" in second.headers
        assert first.connection != second.connection
        assert first.started_ms <= second.started_ms

    async def test_retry_after(self, provider: FaultProvider, sdk: Clients) -> None:
        """The retry headers are sent as given."""
        provider.script(
            Reply.status(429, retry_after=7, retry_after_ms=250, headers={"x-should-retry": "false"})
        )
        error = (await sdk.read("chat")).error
        assert isinstance(error, openai.RateLimitError)
        headers = error.response.headers
        assert (headers["retry-after"], headers["retry-after-ms"]) == ("7", "250")
        assert headers["x-should-retry"] == "false"
        assert headers["x-request-id"] == "req_1"
        assert error.code == "rate_limit_exceeded"

    @pytest.mark.parametrize("wire", WIRES)
    async def test_error_bodies(self, wire: Wire, provider: FaultProvider, sdk: Clients) -> None:
        """An error has the body of its provider, with the type and message that were given."""
        provider.script(Reply.status(400, error_type="context_length_exceeded", message="too long"))
        error = (await sdk.read(wire)).error
        assert error is not None
        assert getattr(error, "type", None) == "context_length_exceeded"
        assert "too long" in str(error)

    async def test_sdk_retries_meet_the_script(self, provider: FaultProvider) -> None:
        """An SDK's own retry is a request like any other."""
        provider.script(Reply.status(500, headers={"retry-after-ms": "1"}))
        async with openai.AsyncOpenAI(base_url=provider.openai_url, api_key="test") as client:
            answer = await client.chat.completions.create(model="m", messages=[])
        assert answer.choices[0].message.content == "default"
        assert provider.total_requests == 2

    @pytest.mark.parametrize("wire", WIRES)
    async def test_faults_in_a_document(self, wire: Wire, provider: FaultProvider, sdk: Clients) -> None:
        """A fault placed by tokens strikes half way through an answer that is not streamed."""
        provider.script(Reply("Hello world", stream=False, fault=Close(after_tokens=1)))
        seen = await sdk.read(wire)
        assert seen.end.startswith("iter ")


class TestCounts:
    async def test_connections_are_reused(self, provider: FaultProvider, sdk: Clients) -> None:
        """Whole streams and documents leave their connection to the next request."""
        for _ in range(5):
            await sdk.read("responses")
            await sdk.read("chat")
        assert (provider.total_connections, provider.open_connections) == (1, 1)
        assert {request.connection for request in provider.requests} == {1}
        assert provider.total_requests == 10

    async def test_streams_at_once(self, provider: FaultProvider, sdk: Clients) -> None:
        """Responses under way and their peak are counted, and `release` lets the stalled ones go on."""
        provider.reply_with(Reply("one two", fault=Stall(after_tokens=1)))
        reads = [asyncio.ensure_future(sdk.read("chat")) for _ in range(4)]
        await provider.wait_stalled(4)
        assert provider.open_streams == 4
        provider.release()
        assert [(await read).text for read in reads] == ["one two"] * 4
        await provider.wait_idle()
        assert (provider.peak_streams, provider.peak_connections) == (4, 4)

    @pytest.mark.parametrize("wire", WIRES)
    async def test_a_client_that_leaves_a_stall(
        self, wire: Wire, provider: FaultProvider, sdk: Clients
    ) -> None:
        """A stream that its client closes is over at once, even while nothing is being sent."""
        provider.script(Reply("one two", fault=Stall(after_tokens=1)))
        stream = await sdk.open(wire)
        assert (provider.open_streams, provider.open_connections) == (1, 1)
        await stream.close()
        await provider.wait_idle(timeout_ms=500)
        await provider.all_closed(timeout_ms=500)

    async def test_a_client_that_never_saw_headers(self, provider: FaultProvider, sdk: Clients) -> None:
        """A request cancelled before the headers came is over at once."""
        provider.script(Reply(fault=Stall(at="start")))
        read = asyncio.ensure_future(sdk.read("chat"))
        await provider.wait_requests(1)
        read.cancel()
        await provider.all_closed(timeout_ms=500)
        assert provider.open_streams == 0

    async def test_a_client_that_does_not_read(self, provider: FaultProvider, sdk: Clients) -> None:
        """A response larger than all buffers waits for its reader, and ends when that leaves."""
        provider.script(Reply(["x" * 1_000_000] * 50))
        stream = await sdk.open("chat")
        assert provider.open_streams == 1
        await stream.close()
        await provider.wait_idle()

    async def test_waiting_has_a_limit(self, provider: FaultProvider, sdk: Clients) -> None:
        """A wait that is not over in time raises TimeoutError and says what is still open."""
        await sdk.read("chat")
        with pytest.raises(TimeoutError, match="open_connections=1"):
            await provider.all_closed(timeout_ms=1)
        with pytest.raises(TimeoutError, match="requests=1"):
            await provider.wait_requests(2, timeout_ms=0)


class TestTime:
    async def test_delays(self, provider: FaultProvider, sdk: Clients) -> None:
        """`delay_ms` precedes the headers, `token_delay_ms` each token, and `Stall.for_ms` goes on."""
        loop = asyncio.get_running_loop()
        reply = Reply("a b c", delay_ms=20, token_delay_ms=10, fault=Stall(after_tokens=1, for_ms=20))
        provider.script(reply)
        started = loop.time()
        assert (await sdk.read("chat")).text == "a b c"
        assert loop.time() - started >= 0.065


class TestFaults:
    @pytest.mark.parametrize("wire", WIRES)
    @pytest.mark.parametrize("tokens", [0, 1, 3, 4, 99])
    async def test_after_tokens(self, wire: Wire, tokens: int, provider: FaultProvider, sdk: Clients) -> None:
        """Exactly that many tokens arrive, and no more than there are."""
        provider.script(Reply("one two three four", fault=Cut(after_tokens=tokens)))
        words = ["one", "two", "three", "four"][:tokens]
        seen = await sdk.read(wire)
        assert (seen.text, seen.end) == (" ".join(words), "silent")

    async def test_faults_compose(self, provider: FaultProvider, sdk: Clients) -> None:
        """Several faults strike in the order of their places."""
        faults = (Reset(at="finish"), Stall(after_tokens=1, for_ms=1))
        provider.script(Reply("one two", fault=faults))
        seen = await sdk.read("chat")
        assert (seen.text, seen.finish, seen.end) == ("one two", "stop", "iter APIConnectionError")

    async def test_error_event(self, provider: FaultProvider, sdk: Clients) -> None:
        """An error event carries the type and message that were given."""
        provider.script(Reply("one two", fault=ErrorEvent("billing_error", "pay first", after_tokens=1)))
        error = (await sdk.read("messages")).error
        assert getattr(error, "type", None) == "billing_error"
        assert "pay first" in str(error)

    @pytest.mark.parametrize(
        "place", [{}, {"at": "end", "after_tokens": 1}, {"after_bytes": -1}, {"after_tokens": -1}]
    )
    def test_places_are_checked(self, place: dict[str, int]) -> None:
        """A fault without a place, with two, or with a negative one is refused."""
        with pytest.raises(ValueError, match=r"place|where"):
            Reset(**place)  # type: ignore[arg-type]


class TestResume:
    async def test_events_after_a_number(self, provider: FaultProvider, sdk: Clients) -> None:
        """A background response that was cut goes on after the last event that was seen."""
        provider.script(Reply("one two three", fault=Cut(after_tokens=2)))
        events = [event async for event in await sdk.open("responses", background=True)]
        response = sdk.openai.responses
        rest = await response.retrieve(
            events[0].response.id, stream=True, starting_after=events[-1].sequence_number
        )
        events += [event async for event in rest]
        assert [event.sequence_number for event in events] == list(range(len(events)))
        assert "".join(event.delta for event in events if "text.delta" in event.type) == "one two three"
        assert events[-1].response.id == events[0].response.id

    async def test_resuming_can_fail(self, provider: FaultProvider, sdk: Clients) -> None:
        """A request to resume takes a scripted reply, which says how the stored events are sent."""
        provider.script(Reply("one two three", fault=Cut(after_tokens=1)))
        events = [event async for event in await sdk.open("responses", background=True)]
        provider.script(Reply(fault=Cut(after_tokens=1)), Reply.status(500))
        name = events[0].response.id
        rest = await sdk.openai.responses.retrieve(
            name, stream=True, starting_after=events[-1].sequence_number
        )
        assert [event.delta async for event in rest] == [" two"]  # type: ignore[union-attr]
        with pytest.raises(openai.InternalServerError):
            await sdk.openai.responses.retrieve(name, stream=True)

    async def test_retrieve_a_document(self, provider: FaultProvider, sdk: Clients) -> None:
        """Without a stream the stored response comes as one document; an unknown id is a 404."""
        provider.script(Reply("one two three"))
        made = await sdk.openai.responses.create(model="m", input="x", background=True)
        assert (await sdk.openai.responses.retrieve(made.id)).output_text == "one two three"
        with pytest.raises(openai.NotFoundError):
            await sdk.openai.responses.retrieve("resp_unknown")


class TestLife:
    async def test_stop_ends_everything(self) -> None:
        """Stopping closes stalled streams and idle connections and leaves no task behind."""
        provider = FaultProvider(default=Reply("one two", fault=Stall(after_tokens=1)))
        await provider.start()
        async with clients(provider) as sdk:
            before = asyncio.all_tasks()
            reads = [asyncio.ensure_future(sdk.read(wire)) for wire in WIRES]
            await provider.wait_requests(3)
            await provider.stop()
            assert (provider.open_connections, provider.open_streams) == (0, 0)
            assert [(await read).error is not None for read in reads] == [True] * 3
            assert asyncio.all_tasks() == before
        await provider.stop()
        gc.collect()

    async def test_a_stopped_provider_refuses(self) -> None:
        """After `stop` its address refuses connections, and it may be started again there."""
        async with FaultProvider() as provider:
            pass
        async with clients(provider) as sdk:
            assert (await sdk.read("chat")).end == "create APIConnectionError"
            async with provider:
                assert (await sdk.read("chat")).end == "whole"

    async def test_several_at_once(self) -> None:
        """Providers do not share anything."""
        async with FaultProvider(default=Reply("a")) as a, FaultProvider(default=Reply("b")) as b:
            assert a.url != b.url
            async with clients(a) as first, clients(b) as second:
                assert (await first.read("chat")).text == "a"
                assert (await second.read("chat")).text == "b"
            assert (a.total_requests, b.total_requests) == (1, 1)

    async def test_starting_twice(self, provider: FaultProvider) -> None:
        """A provider that runs cannot be started, and one that never ran has no address."""
        with pytest.raises(RuntimeError, match="started already"):
            await provider.start()
        with pytest.raises(RuntimeError, match="before it is started"):
            _ = FaultProvider().url
