"""The probe, and the system that looks after itself."""

import asyncio

import pytest

from l0actors.bus.messages import Message
from l0actors.testing import LeakError, Probe, Simulation, checked_system, simulate


class Ping(Message, frozen=True, kw_only=True):
    n: int = 0


class Pong(Message, frozen=True, kw_only=True):
    n: int = 0


def test_expect_takes_the_next_message_and_refuses_another() -> None:
    """`expect` returns the next message if it is of the type and satisfies `where`, else it fails."""

    async def scenario(sim: Simulation) -> None:
        async with sim.system() as system:
            probe = Probe(Ping, Pong)
            system.attach(probe)
            sim.loop.call_later(0.5, lambda: system.bus.publish_nowait(Ping(n=1)))
            assert (await probe.expect(Ping, where=lambda ping: ping.n == 1)).n == 1
            system.bus.publish_nowait(Ping(n=2))
            with pytest.raises(AssertionError, match=r"expected Pong, got Ping.*it has seen Ping, Ping"):
                await probe.expect(Pong)
            system.bus.publish_nowait(Ping(n=3))
            with pytest.raises(AssertionError, match="is not the Ping that was expected"):
                await probe.expect(Ping, where=lambda ping: ping.n == 4)

    simulate(scenario, range(20))


def test_expect_fails_when_its_time_is_over() -> None:
    """`expect` waits as long as it was told, and says what it has seen instead."""

    async def scenario(sim: Simulation) -> None:
        async with sim.system() as system:
            probe = Probe(Ping)
            system.attach(probe)
            with pytest.raises(AssertionError, match="no Ping within 250 ms; it has seen nothing"):
                await probe.expect(Ping, timeout_ms=250)
            assert sim.now_ms == 250

    simulate(scenario, range(5))


def test_expect_nothing_lets_the_time_pass() -> None:
    """`expect_nothing` ends after its time if nothing comes, and fails at once if something does."""

    async def scenario(sim: Simulation) -> None:
        async with sim.system() as system:
            probe = Probe(Ping)
            system.attach(probe)
            await probe.expect_nothing(100)
            assert sim.now_ms == 100
            sim.loop.call_later(0.05, lambda: system.bus.publish_nowait(Ping()))
            with pytest.raises(AssertionError, match="expected nothing for 100 ms"):
                await probe.expect_nothing(100)
            assert sim.now_ms == pytest.approx(150)

    simulate(scenario, range(5))


def test_fish_passes_over_what_is_not_wanted() -> None:
    """`fish` returns the first message that its predicate accepts, and fails when its time is over."""

    async def scenario(sim: Simulation) -> None:
        async with sim.system() as system:
            probe = Probe()
            system.attach(probe)
            for n in range(5):
                system.bus.publish_nowait(Ping(n=n))
            caught = await probe.fish(lambda message: isinstance(message, Ping) and message.n == 3)
            assert isinstance(caught, Ping)
            with pytest.raises(AssertionError, match="nothing to fish for within 10 ms"):
                await probe.fish(lambda message: isinstance(message, Pong), timeout_ms=10)

    simulate(scenario, range(5))


async def test_a_checked_system_passes_a_clean_test() -> None:
    """A test that leaves nothing is not disturbed."""
    async with checked_system() as system:
        probe = Probe(Ping)
        system.attach(probe)
        system.bus.publish_nowait(Ping())
        await probe.expect(Ping)


async def test_a_checked_system_fails_a_test_that_leaves_a_task() -> None:
    """A task that is started in the block and outlives it is a failure that names it."""
    left = None
    with pytest.raises(LeakError, match="task left-over"):
        async with checked_system():
            left = asyncio.create_task(asyncio.sleep(60), name="left-over")
    assert left is not None
    left.cancel()


async def test_a_checked_system_fails_a_test_that_leaves_a_timer() -> None:
    """A timer that is set in the block and outlives it is a failure."""
    handle = None
    with pytest.raises(LeakError, match="timer: print"):
        async with checked_system():
            handle = asyncio.get_running_loop().call_later(60, print)
    assert handle is not None
    handle.cancel()


async def test_a_checked_system_fails_a_test_with_an_unseen_error() -> None:
    """What reaches the loop's exception handler is a failure."""
    with pytest.raises(LeakError, match="unseen"):
        async with checked_system():
            asyncio.get_running_loop().call_soon(lambda: 1 // 0)


async def test_a_checked_system_wants_dead_letters_declared() -> None:
    """A dead letter is a failure unless the test says that its reason is expected."""
    with pytest.raises(LeakError, match="dead letters: 1 no_subscriber"):
        async with checked_system() as system:
            system.bus.publish_nowait(Ping())
    async with checked_system(dead_letters={"no_subscriber"}) as system:
        system.bus.publish_nowait(Ping())
