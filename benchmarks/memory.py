"""What 10,000 short sessions, one after another, leave behind in memory.

    python -m benchmarks.memory [--sessions 10000]

The first tenth warms caches up; what counts is the growth over the rest, per session.
"""

import argparse
import asyncio
import gc
import time
import tracemalloc
from collections.abc import AsyncIterator

from l0actors import l0


async def one_token() -> AsyncIterator[str]:
    """Yield a whole, short answer."""
    yield "token"


async def sessions(count: int) -> None:
    """Run `count` sessions one after another."""
    for _ in range(count):
        assert await (await l0(stream=one_token)).text() == "token"


def held() -> int:
    """Return the bytes that are allocated and reachable."""
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


async def main(count: int) -> None:
    """Print the growth, and the CPU time of a session (measured apart, without tracing)."""
    warm = count // 10
    tracemalloc.start()
    await sessions(warm)
    before = held()
    await sessions(count - warm)
    after = held()
    tracemalloc.stop()
    left = len(asyncio.all_tasks()) - 1
    grown, ran = after - before, count - warm
    print(f"{ran:,} sessions: {grown:+,} bytes held, {grown / ran:+.2f} each")
    print(f"tasks left: {left}")
    begin = time.process_time()
    await sessions(2000)
    print(f"CPU per session of one token: {(time.process_time() - begin) / 2000 * 1e6:.0f} µs")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sessions", type=int, default=10_000, help="how many sessions (10000)")
    asyncio.run(main(parser.parse_args().sessions))
