"""What reading the bytes of a stream does to its connection, over real sockets."""

from __future__ import annotations

import pytest
from provider_wires import real_clients

from l0actors import RetryConfig, l0
from l0actors.testing import WIRES, FaultProvider, Reply, Stall, Wire, fault_matrix


@pytest.mark.parametrize("wire", WIRES)
async def test_a_whole_stream_leaves_its_connection_for_the_next(wire: Wire) -> None:
    """The body is read to its end, so that two answers in a row need one connection."""
    async with FaultProvider() as provider, real_clients(provider) as opening:
        for _ in range(3):
            result = await l0(stream=lambda: opening(wire))
            assert await result.text()
        assert provider.total_connections == 1


@pytest.mark.parametrize("wire", WIRES)
async def test_leaving_early_releases_the_connection(wire: Wire) -> None:
    """Whoever leaves in the middle of the answer leaves no connection behind."""
    async with FaultProvider() as provider, real_clients(provider) as opening:
        provider.script(Reply("one two three four", fault=Stall(after_tokens=2)))
        result = await l0(stream=lambda: opening(wire))
        async for event in result:
            if event.value:
                break
        await result.aclose()
        await provider.all_closed()


@pytest.mark.parametrize("wire", WIRES)
async def test_a_malformed_event_releases_the_connection(wire: Wire) -> None:
    """An attempt that fails leaves no connection behind, and the next one is whole."""
    async with FaultProvider() as provider, real_clients(provider) as opening:
        provider.script(fault_matrix(wire)["not_json"].on(Reply("one two three four")))
        result = await l0(stream=lambda: opening(wire), retry=RetryConfig(base_delay_ms=0))
        assert await result.text()
        assert len(result.errors) == 1
        await provider.wait_idle()
        assert provider.open_connections <= 1
