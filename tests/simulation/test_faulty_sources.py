"""Sessions whose source fails in every way, read to their end, under many schedules."""

from scripted_sources import HANG, TURN, Script, Scripted, cut, whole
from session_witness import Reader, Witness

from l0actors import RetryConfig, TimeoutConfig
from l0actors.testing import Simulation, simulate

ANSWER: Script = ("One ", TURN, "two ", 0.01, "three", " ", TURN, TURN, "four.")
RETRY = RetryConfig(base_delay_ms=10)


def test_a_source_that_fails_after_any_token_is_exact() -> None:
    """A source that fails after its n-th step costs the consumer no token and shows none twice."""

    async def scenario(sim: Simulation) -> None:
        at = sim.seed % (len(ANSWER) + 1)
        fault = sim.rng.choice([ConnectionResetError(), ValueError("?"), HANG, TimeoutError()])
        source = Scripted(cut(ANSWER, at, fault), ANSWER)
        async with sim.system() as system:
            witness = Witness(system)
            result = await system.l0(
                stream=source, retry=RETRY, timeout=TimeoutConfig(initial_token_ms=100, inter_token_ms=100)
            )
            reader = Reader(result)
            async for event in result:
                reader.take(event)
            reader.check_end()
            assert reader.text == whole(ANSWER)
        witness.check()
        source.check_closed()

    simulate(scenario, range(200))
