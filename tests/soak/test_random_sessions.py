"""A slow campaign: random sessions through random faults, left at random moments."""

import asyncio
import collections
import contextlib
import os
import random
import time

import openai
import pytest
from openai import DefaultAsyncHttpxClient

from l0actors import ActorSystem, EventType, L0Error, L0Result, RetryConfig, TimeoutConfig, fold
from l0actors.testing import FaultProvider, Reply, fault_matrix

MINUTES = float(os.environ.get("SOAK_MINUTES", "10"))
SEED = int(os.environ.get("SOAK_SEED", "0")) or random.SystemRandom().randrange(1, 2**32)
TEXT = "It was the best of times, it was the worst of times. Это было лучшее время 👍 and so on."
TOGETHER = 20


async def consume(result: L0Result, leave_after: int | None) -> list[str]:
    """Read `result`, or leave it after some events; return what a consumer would hold against it."""
    events = []
    async for event in result:
        events.append(event)
        if fold(events) != result.state.content:
            return [f"fold {fold(events)!r} is not content {result.state.content!r}"]
        if len(events) == leave_after:
            return []
    if events and events[-1].type is not EventType.COMPLETE:
        return ["the last event is not COMPLETE"]
    return [] if fold(events) == TEXT else [f"the text is {fold(events)!r}"]


async def one_session(system: ActorSystem, client: openai.AsyncOpenAI, rng: random.Random) -> list[str]:
    """Run one session and return what was wrong with it."""
    result = await system.l0(
        stream=lambda: client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "?"}], stream=True
        ),
        retry=RetryConfig(base_delay_ms=1, max_retries=40, attempts=40),
        timeout=TimeoutConfig(initial_token_ms=300, inter_token_ms=300, content_ms=600),
        delivery=rng.choice(["live", "live", "final"]),
        buffer_tokens=rng.choice([1, 3, 1000]),
    )
    leave_after = rng.choice([None, None, None, 1, rng.randrange(1, 15)])
    try:
        return await consume(result, leave_after)
    except L0Error as error:
        return [f"{error!r} after {result.errors!r}"]
    finally:
        if rng.random() < 0.5:
            await result.aclose()


@pytest.mark.soak
def test_random_sessions_are_exact_and_leave_nothing() -> None:
    """Whatever fails and whoever leaves, the text is exact, and no connection or task is left."""
    rng = random.Random(SEED)
    counts: collections.Counter[str] = collections.Counter()
    matrix = fault_matrix("chat")

    def answer(_request: object) -> Reply:
        name = rng.choice(["healthy", "healthy", *matrix])
        counts[name] += 1
        return Reply(TEXT) if name == "healthy" else matrix[name].on(Reply(TEXT))

    async def campaign() -> int:
        done = 0
        until = time.monotonic() + MINUTES * 60  # noqa: TID251 - a campaign is bounded by real time
        async with FaultProvider(default=answer) as provider, ActorSystem() as system:
            http = DefaultAsyncHttpxClient(verify=False)
            async with openai.AsyncOpenAI(
                base_url=provider.openai_url, api_key="none", max_retries=0, http_client=http
            ) as client:
                while time.monotonic() < until:  # noqa: TID251
                    found = await asyncio.gather(*(one_session(system, client, rng) for _ in range(TOGETHER)))
                    wrong = [each for session in found for each in session]
                    assert not wrong, f"SOAK_SEED={SEED}: {wrong}"
                    done += TOGETHER
                    provider.release()
                    with contextlib.suppress(TimeoutError):
                        await provider.wait_idle(timeout_ms=2000)
                    assert provider.open_streams == 0, f"SOAK_SEED={SEED}: streams left open"
        return done

    sessions = asyncio.run(campaign())
    print(
        f"\nseed {SEED}: {sessions} sessions, {sum(counts.values())} requests, {len(counts)} kinds of answer"
    )
