"""Sources that fail in every way, read to their end, under many schedules."""

from typing import Any

import pytest
from scripted_sources import DEAF, HANG, TURN, Script, Scripted, Step, cut, whole
from session_witness import Reader, Witness

from l0actors import RetryConfig, TimeoutConfig
from l0actors.testing import Simulation, simulate

ANSWER: Script = ("One ", TURN, "two ", 0.01, "three", " ", TURN, TURN, "four.")
OTHER: Script = ("One two", 0.01, " or more")
FAULTS: dict[str, Step] = {
    "reset": ConnectionResetError(),
    "malformed": ValueError("?"),
    "hang": HANG,
}


async def read_all(sim: Simulation, source: Scripted, limit_ms: float = 100, **options: Any) -> Witness:
    """Read a session of `source` to its end, and fail if anything about it is not exact."""
    async with sim.system() as system:
        witness = Witness(system)
        result = await system.l0(
            stream=source,
            retry=RetryConfig(base_delay_ms=10),
            timeout=TimeoutConfig(initial_token_ms=limit_ms, inter_token_ms=limit_ms),
            **options,
        )
        reader = Reader(result)
        async for event in result:
            reader.take(event)
        reader.check_end()
        assert reader.text == whole(source.played)
    witness.check()
    source.check_closed()
    return witness


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("following", [ANSWER, OTHER], ids=["same", "different"])
def test_a_source_that_fails_after_any_token_is_exact(fault: str, following: Script) -> None:
    """A source that fails after its n-th step costs the consumer no token and shows none twice."""
    for at in range(len(ANSWER) + 1):

        async def scenario(sim: Simulation, at: int = at) -> None:
            buffer = sim.rng.choice([1, 2, 1000])
            await read_all(sim, Scripted(cut(ANSWER, at, FAULTS[fault]), following), buffer_tokens=buffer)

        simulate(scenario, range(3))


def test_a_timeout_at_the_instant_of_a_token_is_exact() -> None:
    """A token, or the end, that comes at the very moment of a timeout comes first or too late; never both."""

    async def scenario(sim: Simulation) -> None:
        source = Scripted(("One ", 0.1, "two ", 0.1), ("One ", "two "))
        await read_all(sim, source)

    simulate(scenario, range(60))


def test_a_blocked_loop_is_not_the_provider_s_silence() -> None:
    """When the loop itself stood still, tokens that came meanwhile are taken and nothing times out."""

    async def scenario(sim: Simulation) -> None:
        source = Scripted(("One ", 0.05, "two ", 0.05, "three."))
        hold_up = sim.loop.call_at(sim.rng.choice([0.01, 0.05, 0.06]), sim.loop.advance, 5)
        await read_all(sim, source)
        hold_up.cancel()
        assert source.begun == 1

    simulate(scenario, range(60))


def test_a_source_that_swallows_its_cancellation_holds_nobody_up() -> None:
    """A source that does not listen is given up within seconds, and its text stays exact."""

    async def scenario(sim: Simulation) -> None:
        source = Scripted(("One ", DEAF), ANSWER)
        await read_all(sim, source, limit_ms=50)
        assert sim.now_ms < 10_000

    simulate(scenario, range(40))
