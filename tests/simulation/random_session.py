"""One session after another, drawn from a seed: its sources, faults, options, sinks, and who leaves when."""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from random import Random
from typing import Any

from scripted_sources import HANG, TURN, Script, Scripted, Step, whole
from session_witness import CHECKED, Reader, Witness

from l0actors import (
    ActorSystem,
    BackoffStrategy,
    ErrorCode,
    EventType,
    L0Error,
    L0Event,
    L0Result,
    RetryConfig,
    TimeoutConfig,
)
from l0actors.actors import Actor
from l0actors.bus.messages import Lagged, Message
from l0actors.testing import Simulation

HIT: Counter[str] = Counter()
"""How often each fault, and each way to leave, was hit, over all runs."""

ANSWERS = (
    ("It ", "was the ", "best", " of ", "times", "."),
    ("It ", "was ", "the ", "wor", "st ", "of", " times, 👍"),
    ("Something else",),
)
FAULTS: tuple[BaseException, ...] = (
    ConnectionResetError("reset"),
    TimeoutError("slow"),
    ValueError("malformed"),
    L0Error("overloaded", code=ErrorCode.PROVIDER_ERROR),
    asyncio.CancelledError(),
)
OTHERS = (
    L0Event(EventType.PROGRESS, data={"kind": "ping"}),
    L0Event(EventType.PROGRESS, data={"kind": "reasoning"}),
    L0Event(EventType.PROGRESS, data={"kind": "tool_call_delta", "index": 0, "arguments": "{"}),
    L0Event(EventType.DATA, data={"n": 1}),
    L0Event(EventType.DATA, data={"n": 2}),
)
LONGEST_S = 3600.0
"""No session of these may take longer, in virtual time."""

CLOSED_S = 0.05 + 0.01
"""How long a provider stream may stay open after its consumer left: 50 ms, and its own time to close."""

GONE_S = 3.0
"""How long a session's actors may outlive its consumer when a blocking sink holds them up."""


class CrashedOnPurpose(Exception):
    """What a faulty sink raises."""


class FaultySink(Actor):
    """Sees everything; may be slow, and may crash."""

    subscribes = (Message,)

    def __init__(self, rng: Random, slow_s: float, crashes: float, overflow: str) -> None:
        self.overflow = overflow
        self._rng = rng
        self._slow_s = slow_s
        self._crashes = crashes
        self.seen: list[Message] = []

    async def receive(self, message: Message) -> None:
        self.seen.append(message)
        if self._slow_s:
            await asyncio.sleep(self._slow_s)
        if self._rng.random() < self._crashes:
            raise CrashedOnPurpose

    def check(self, published: Sequence[Message]) -> None:
        """Fail if its messages are out of order, or if one that it did not get is in no gap."""
        got = [message.seq for message in self.seen if not isinstance(message, Lagged)]
        gaps = [message for message in self.seen if isinstance(message, Lagged)]
        assert got == sorted(set(got)), got
        if not got or self.overflow in ("conflate", "fail"):
            return
        first = min([got[0], *(gap.first_seq for gap in gaps)])
        last = max([got[-1], *(gap.last_seq for gap in gaps)])
        there = sum(first <= message.seq <= last for message in published)
        missed = sum(gap.missed for gap in gaps)
        assert len(got) + missed == there, f"{len(got)} got, {missed} missed, {there} published"
        CHECKED["what a sink did not get is in a gap"] += 1


def draw_script(rng: Random) -> list[Step]:
    """Draw an answer with pauses in it, and maybe a fault."""
    steps: list[Step] = []
    for piece in ANSWERS[0] if rng.random() < 0.7 else rng.choice(ANSWERS):
        pause = rng.random()
        if pause < 0.3:
            steps.append(TURN)
        elif pause < 0.5:
            steps.append(rng.choice([0.001, 0.01, 0.1]))
        elif pause < 0.6:
            steps.append(rng.choice(OTHERS))
        steps.append(piece)
    if rng.random() < 0.5:
        endings: list[Step] = [*FAULTS, HANG, TURN]
        steps[rng.randrange(len(steps) + 1) :] = [rng.choice(endings)]
    return steps


def draw_source(rng: Random) -> Scripted:
    """Draw a source of a few attempts."""
    scripts = [draw_script(rng) for _ in range(rng.randrange(1, 5))]
    opens: list[Script] = [(), (), (TURN,), (0.02,)]
    bad: list[Script] = [(ConnectionRefusedError(),), (HANG,)]
    slow_open = rng.choice(opens if rng.random() < 0.9 else bad)
    return Scripted(*scripts, slow_open=slow_open, close_s=rng.choice([0, 0, 0, 0.01]))


def draw_options(rng: Random) -> dict[str, Any]:
    """Draw the options of a session, but for its sources."""
    limit = rng.choice([10, 100, 1000])
    return {
        "delivery": rng.choice(["live", "live", "append", "final"]),
        "buffer_tokens": rng.choice([1, 1, 2, 3, 1000]),
        "retry": RetryConfig(
            attempts=rng.randrange(4),
            max_retries=rng.randrange(6),
            base_delay_ms=rng.choice([0, 10, 100]),
            strategy=rng.choice(list(BackoffStrategy)),
            should_retry=rng.choice([None, None, _slow_yes]),
        ),
        "timeout": TimeoutConfig(
            initial_token_ms=limit, inter_token_ms=limit, total_ms=rng.choice([None, None, 100, 150])
        ),
        "max_content_chars": rng.choice([None, None, None, 12]),
        "on_event": rng.choice([None, _slow_yes, _raising]),
    }


async def _slow_yes(*_: object) -> bool:
    await asyncio.sleep(0.01)
    return True


def _raising(_: object) -> None:
    raise CrashedOnPurpose


async def random_session(sim: Simulation) -> None:
    """Run one or two drawn sessions with drawn sinks in one system, and check every promise."""
    async with sim.system() as system:
        witness, sinks = Witness(system), draw_sinks(sim, system)
        sessions = [DrawnSession(sim, system) for _ in range(sim.rng.choice([1, 1, 2]))]
        await asyncio.gather(*(session.run() for session in sessions))
    report = await system.stop()
    assert report.stuck == (), report
    assert sim.loop.time() < LONGEST_S
    witness.check()
    for sink in sinks:
        sink.check(witness.seen)
    for session in sessions:
        session.check_sources()


def draw_sinks(sim: Simulation, system: ActorSystem) -> list[FaultySink]:
    """Attach a few drawn sinks."""
    sinks = []
    for _ in range(sim.rng.randrange(3)):
        overflow: Any = sim.rng.choice(["block", "drop_oldest", "drop_newest", "conflate", "fail"])
        slow_s, crashes = sim.rng.choice([0, 0, 0.001, 0.02]), sim.rng.choice([0, 0, 0.2, 1])
        sink = FaultySink(sim.rng, slow_s, crashes, overflow)
        system.attach(sink, overflow=overflow, capacity=sim.rng.choice([1, 1, 2, 1000]))
        HIT[f"sink {overflow}"] += 1
        sinks.append(sink)
    return sinks


class DrawnSession:
    """A drawn session, its consumer, and whoever stops it."""

    def __init__(self, sim: Simulation, system: ActorSystem) -> None:
        self._sim = sim
        self._rng = sim.rng
        self._system = system
        self._sources = [draw_source(sim.rng) for _ in range(sim.rng.randrange(1, 4))]
        self._options = draw_options(sim.rng)
        self._others: list[asyncio.Task[Any]] = []
        self.left = ""

    async def run(self) -> None:
        """Open it, consume it, maybe leave it, and check what its consumer was given."""
        first, *others = self._sources
        await asyncio.sleep(self._rng.choice([0, 0, 0.05]))
        if not self._system.running:
            return
        result = await self._system.l0(stream=first, fallbacks=others, **self._options)
        consumer = asyncio.create_task(self._consume(result), name="consumer")
        self._plan_to_leave(result, consumer)
        await asyncio.wait([consumer])
        if not consumer.cancelled():
            consumer.result()
        self.left = self.left or ("cancelled" if consumer.cancelled() else "")
        if not result._begun:  # cancelled before its first step: a result that is held is left by closing it
            await result.aclose()
        await self._check_left(result)
        if self._others:
            await asyncio.wait(self._others)

    async def _consume(self, result: L0Result) -> None:
        how = self._rng.choice([self._iterate, self._iterate, self._ask_for_text, self._break])
        try:
            await how(result)
        except L0Error as failure:
            self._check_failure(result, failure)

    def _check_failure(self, result: L0Result, error: L0Error) -> None:
        assert not result.state.completed or result.state.aborted, f"{error!r} although the answer was whole"
        assert error is result._unit.outlet.error or result.state.aborted, repr(error)

    async def _iterate(self, result: L0Result) -> None:
        reader, slow = Reader(result), self._rng.choice([0, 0, 0.3])
        async for event in result:
            reader.take(event)
            if self._sim.chance(slow):
                await asyncio.sleep(self._rng.choice([0, 0.005, 0.2]))
        reader.check_end()
        self._check_text(result, reader.text)

    async def _ask_for_text(self, result: L0Result) -> None:
        text = await result.text()
        assert result.state.completed
        self._check_text(result, text)

    async def _break(self, result: L0Result) -> None:
        reader, left = Reader(result), self._rng.randrange(1, 8)
        async for event in result:
            reader.take(event)
            left -= 1
            if not left:
                self._leave("break")
                break

    def _check_text(self, result: L0Result, text: str) -> None:
        if result.state.aborted:
            return
        assert result.state.completed, "the consumer's end came without an error"
        expected = whole(self._sources[result.attempts[-1].source_index].played)
        assert text == result.state.content == expected, (text, expected)
        CHECKED["the text is that of the attempt that completed"] += 1

    # leaving

    def _plan_to_leave(self, result: L0Result, consumer: "asyncio.Task[None]") -> None:
        ways: dict[str, Callable[[], Any]] = {
            "abort": result.abort,
            "aclose": lambda: self._aside(result.aclose()),
            "cancel": consumer.cancel,
            "stop": lambda: self._aside(self._system.stop(timeout_ms=50)),
            "stop at once": lambda: self._aside(self._system.stop(drain=False)),
        }
        if self._sim.chance(0.4):
            return
        way = self._rng.choice(list(ways))

        def leave() -> None:
            if not consumer.done():
                self._leave(way)
                ways[way]()

        if self._sim.chance(0.5):
            self._sim.loop.call_at_step(self._rng.randrange(1, 150), leave)
        else:
            timer = self._sim.loop.call_later(self._rng.choice([0, 0.001, 0.01, 0.1, 0.2]), leave)
            consumer.add_done_callback(lambda _: timer.cancel())

    def _leave(self, way: str) -> None:
        self.left = way
        HIT[way] += 1

    def _aside(self, ending: Coroutine[Any, Any, Any]) -> None:
        self._others.append(asyncio.create_task(ending, name="leaving"))

    async def _check_left(self, result: L0Result) -> None:
        """Fail unless the streams of a session that was left are closed within 50 ms, and it is gone soon."""
        await asyncio.sleep(CLOSED_S)
        self.check_sources()
        await asyncio.sleep(GONE_S)
        assert result._session.head.gone, f"{result!r} is not gone, {self.left}"
        CHECKED["the streams are closed within 50 ms"] += 1

    def check_sources(self) -> None:
        """Fail unless every stream was closed once."""
        for source in self._sources:
            source.check_closed()
            HIT.update(source.faults)
            source.faults.clear()
