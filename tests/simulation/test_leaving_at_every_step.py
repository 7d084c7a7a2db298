"""Leaving a session at every scheduling point that it has: nothing hangs, and nothing is left."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from random_session import CLOSED_S, HIT
from scripted_sources import HANG, TURN, Script, Scripted, cut, whole
from session_witness import Reader, Witness

from l0actors import ActorSystem, L0Error, L0Result, RetryConfig, TimeoutConfig, l0
from l0actors.actors import Actor
from l0actors.bus.messages import Message
from l0actors.testing import Simulation, simulate_every_step

ANSWER: Script = ("One ", TURN, "two ", 0.01, "three.")
OTHER: Script = ("One ", "or two.")
SCRIPTS: dict[str, tuple[Script, ...]] = {
    "healthy": (ANSWER,),
    "retried": (cut(ANSWER, 3, ConnectionResetError()), ANSWER),
    "diverging": (cut(ANSWER, 3, ValueError()), OTHER),
    "hanging": (cut(ANSWER, 3, HANG), ANSWER),
}
WAYS = ("abort", "aclose", "cancel", "stop", "stop at once")
SEEDS: tuple[int | None, ...] = (None, 1)


class SlowSink(Actor):
    """A sink that everybody waits for."""

    subscribes = (Message,)

    async def receive(self, message: Message) -> None:
        await asyncio.sleep(0)


class Leaving:
    """A session that is left in one way while it is read."""

    def __init__(self, way: str, scripts: tuple[Script, ...], **options: Any) -> None:
        self._way = way
        self._scripts = scripts
        self._options = options
        self._aside: list[asyncio.Task[Any]] = []

    async def scenario(self, sim: Simulation) -> None:
        """Read the session, leave it when the moment has come, and check what is left of it."""
        source = Scripted(*self._scripts)
        async with sim.system() as system:
            witness = Witness(system)
            system.attach(SlowSink(), overflow="block", capacity=1)
            result = await system.l0(
                stream=source,
                retry=RetryConfig(base_delay_ms=20),
                timeout=TimeoutConfig(initial_token_ms=30, inter_token_ms=30),
                **self._options,
            )
            consumer = asyncio.create_task(self._read(result, source))
            sim.arm(self._leave(system, result, consumer))
            await asyncio.wait([consumer])
            assert consumer.cancelled() or consumer.exception() is None, consumer
            if not result.state.completed:
                result.abort()  # it was cancelled before it began
            await asyncio.sleep(CLOSED_S)
            source.check_closed()
            await result.aclose()
            assert result._session.head.gone
        if self._aside:
            await asyncio.wait(self._aside)
        self._aside.clear()
        witness.check()

    async def _read(self, result: L0Result, source: Scripted) -> None:
        reader = Reader(result)
        try:
            async for event in result:
                reader.take(event)
        except L0Error:
            assert not result.state.completed or result.state.aborted
        else:
            reader.check_end()
            assert result.state.aborted or reader.text == whole(source.played)

    def _leave(
        self, system: ActorSystem, result: L0Result, consumer: "asyncio.Task[None]"
    ) -> Callable[[], object]:
        ways: dict[str, Callable[[], object]] = {
            "abort": result.abort,
            "aclose": lambda: self._later(result.aclose()),
            "cancel": consumer.cancel,
            "stop": lambda: self._later(system.stop()),
            "stop at once": lambda: self._later(system.stop(drain=False)),
        }

        def leave() -> None:
            HIT[f"{self._way} at a step"] += 1
            ways[self._way]()

        return leave

    def _later(self, ending: Coroutine[Any, Any, Any]) -> None:
        self._aside.append(asyncio.create_task(ending))


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("way", WAYS)
def test_a_session_can_be_left_at_every_step(way: str, script: str) -> None:
    """Whenever a session is left, its stream is closed within 50 ms, and nothing is left."""
    simulate_every_step(Leaving(way, SCRIPTS[script], buffer_tokens=1).scenario, SEEDS)


@pytest.mark.parametrize("way", WAYS)
def test_a_session_in_final_delivery_can_be_left_at_every_step(way: str) -> None:
    """What is given all at once at the end is given whole or not at all, whenever somebody leaves."""
    simulate_every_step(Leaving(way, SCRIPTS["diverging"], delivery="final").scenario, SEEDS)


@pytest.mark.parametrize("way", ["abort", "aclose", "cancel"])
def test_a_session_of_the_default_system_can_be_left_at_every_step(way: str) -> None:
    """The default system ends with its last session, whenever that is left."""

    async def scenario(sim: Simulation) -> None:
        source = Scripted(*SCRIPTS["retried"])
        others: list[asyncio.Task[Any]] = []

        async def consume() -> None:
            result = await l0(stream=source, retry=RetryConfig(base_delay_ms=20))
            results.append(result)
            async for _ in result:
                pass

        def leave() -> None:
            if way == "cancel":
                consumer.cancel()
            for result in results:
                if way == "abort":
                    result.abort()
                elif way == "aclose":
                    others.append(asyncio.create_task(result.aclose()))

        results: list[L0Result] = []
        consumer = asyncio.create_task(consume())
        sim.arm(leave)
        await asyncio.wait([consumer, *others])
        if others:
            await asyncio.wait(others)
        assert consumer.cancelled() or consumer.exception() is None, consumer
        await sim.settle()
        source.check_closed()

    simulate_every_step(scenario, SEEDS)
