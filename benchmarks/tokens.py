"""CPU time per token: a bare async generator against `l0()` over it, in turn, in one process.

    python -m benchmarks.tokens [--rounds 7]

The figures that count are the ratios: this machine's speed cancels out.
"""

import argparse
import asyncio
import platform
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable

from l0actors import ActorSystem, l0
from l0actors.bus.messages import Tokens

COUNTS = (2_000, 20_000, 100_000)


async def tokens(count: int) -> AsyncIterator[str]:
    """Yield `count` pieces of text without ever suspending: the worst case for a reader."""
    for _ in range(count):
        yield "token "


async def bare(count: int) -> None:
    """Read the generator itself."""
    async for _ in tokens(count):
        pass


async def core(count: int) -> None:
    """Read it through `l0()`, with the default timeouts."""
    async for _ in await l0(stream=lambda: tokens(count)):
        pass


async def observed(count: int) -> None:
    """The same with a sink that gets every batch of tokens."""
    seen = 0

    def count_batch(message: Tokens) -> None:
        nonlocal seen
        seen += len(message.texts)

    async with ActorSystem() as system:
        system.attach(count_batch, subscribes=Tokens)
        async for _ in await system.l0(stream=lambda: tokens(count)):
            pass
    assert seen == count


async def cpu_per_token(run: Callable[[int], Awaitable[None]], count: int) -> float:
    """Return the microseconds of CPU that `run` takes per token."""
    begin = time.process_time()
    await run(count)
    return (time.process_time() - begin) / count * 1e6


async def measure(count: int, rounds: int) -> tuple[float, float, float]:
    """Return the medians over `rounds`, each taken in turn: bare, core, observed."""
    runs = (bare, core, observed)
    for run in runs:
        await run(count)
    samples = [[await cpu_per_token(run, count) for run in runs] for _ in range(rounds)]
    first, second, third = (statistics.median(column) for column in zip(*samples, strict=True))
    return first, second, third


async def main(rounds: int) -> None:
    """Print one row for each number of tokens."""
    print(f"{platform.python_implementation()} {platform.python_version()}, median of {rounds} rounds")
    print(f"{'tokens':>8} {'bare µs':>9} {'l0() µs':>9} {'ratio':>6} {'with a sink µs':>15} {'ratio':>6}")
    for count in COUNTS:
        plain, through, seen = await measure(count, rounds)
        print(
            f"{count:>8,} {plain:>9.3f} {through:>9.3f} {through / plain:>6.2f} "
            f"{seen:>15.3f} {seen / plain:>6.2f}"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7, help="how often everything is measured (7)")
    asyncio.run(main(parser.parse_args().rounds))
