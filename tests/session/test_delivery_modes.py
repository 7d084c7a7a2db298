"""What the consumer sees of attempts that fail, in each delivery mode, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from session_kit import Seen, consume, pieces
from virtual_time import run

from l0actors import ActorSystem, ErrorCode, EventType, L0Error, RetryConfig, Source, l0
from l0actors.bus.messages import (
    AttemptMessage,
    AttemptStarted,
    FallbackSelected,
    Message,
    RetryScheduled,
    RolledBack,
    SessionCompleted,
    SessionEnded,
    SessionMessage,
    SessionStarted,
    StreamEnded,
    StreamFailed,
    StreamOpened,
    Tokens,
)

CUT = ConnectionError("cut")


def attempts_of(*attempts: Sequence[str | Exception]) -> Any:
    """Return a source whose n-th attempt yields the n-th texts; an exception among them is raised."""
    left = list(attempts)

    async def attempt(items: Sequence[str | Exception]) -> AsyncIterator[str]:
        for item in items:
            if isinstance(item, Exception):
                raise item
            yield item

    return lambda: attempt(left.pop(0))


def seen_of(*attempts: Sequence[str | Exception], **fields: Any) -> Seen:
    """Run one session over these attempts."""

    async def scenario() -> Seen:
        fields.setdefault("retry", RetryConfig(base_delay_ms=1))
        return await consume(await l0(stream=attempts_of(*attempts), **fields))

    return run(scenario())


def test_a_deterministic_retry_shows_nothing() -> None:
    """A new attempt that says the same, cut into other pieces, is seen only where it goes further."""
    seen = seen_of(["Hello ", "wor", CUT], ["He", "llo w", "orld"])
    assert seen.tokens == ["Hello ", "wor", "ld"]
    assert seen.keeps == []


def test_a_diverging_retry_rolls_back_once() -> None:
    """At the first difference one rollback goes out, to the character, and the new text follows."""
    seen = seen_of(["Hello ", "wor", CUT], ["Hello ", "wit", "h you"])
    assert seen.tokens == ["Hello ", "wor", "it", "h you"]
    assert seen.keeps == [7]
    rollback = seen.of(EventType.ROLLBACK)[0]
    assert rollback.data == {"keep": 7, "reason": "attempt 2 differs", "attempt": 2}


def test_a_shorter_second_answer() -> None:
    """An answer that ends earlier than what the consumer has takes back the rest, at its end."""
    seen = seen_of(["Hello ", "world", CUT], ["Hello"])
    assert (seen.text, seen.keeps) == ("Hello", [5])


def test_a_failed_shorter_attempt_takes_nothing_back() -> None:
    """An attempt that fails before it has said what the consumer has leaves that as it is."""
    seen = seen_of(["Hello ", "world", CUT], ["Hel", CUT], ["Hello ", "world", "!"])
    assert (seen.tokens, seen.keeps) == (["Hello ", "world", "!"], [])


def test_two_rollbacks() -> None:
    """Each diverging attempt takes back what the one before left."""
    seen = seen_of(["abc", CUT], ["abX", "Y", CUT], ["aZ"])
    assert (seen.text, seen.keeps) == ("aZ", [2, 1])


def test_text_only_while_the_retry_is_behind() -> None:
    """`state.content` and the events agree while a new attempt repeats what is there."""
    seen = seen_of(["a", "b", "c", CUT], ["a", CUT], ["a", "b", CUT], ["a", "b", "c", "d"])
    assert seen.tokens == ["a", "b", "c", "d"]
    assert len(seen.result.errors) == 3


@pytest.mark.parametrize("second", [["Hello ", "wit"], ["Hello"]], ids=["differs", "shorter"])
def test_append_fails_rather_than_take_back(second: list[str]) -> None:
    """A recovery that would have to take text back fails the session in `append`: clearly, and at once."""
    seen = seen_of(["Hello ", "wor", CUT], second, ["Hello ", "world"], delivery="append", fallbacks=[pieces])
    assert isinstance(seen.error, L0Error)
    assert seen.error.code is ErrorCode.NETWORK_ERROR
    assert "append" in str(seen.error)
    assert "cut" in str(seen.error)
    assert not seen.error.recoverable
    assert (seen.text, seen.keeps) == ("Hello wor", [])
    assert len(seen.result.attempts) == 2
    assert [record.outcome for record in seen.result.attempts] == ["failed", "failed"]


def test_append_takes_a_retry_that_agrees() -> None:
    """In `append` a retry that says the same again goes on without a trace."""
    seen = seen_of(["Hello ", "wor", CUT], ["Hello ", "world"], delivery="append")
    assert (seen.tokens, seen.error) == (["Hello ", "wor", "ld"], None)


def test_final_gives_everything_after_completion() -> None:
    """In `final` there is no text before the answer is whole, no rollback, and then all of it."""
    states: list[bool] = []

    async def scenario() -> Seen:
        source = attempts_of(["Hello ", "wor", CUT], ["Hello ", "you", "!"])
        result = await l0(stream=source, delivery="final", retry=RetryConfig(base_delay_ms=1))
        return await consume(result, after=lambda _: states.append(result.state.completed))

    seen = run(scenario())
    assert "".join(seen.tokens) == seen.text == "Hello you!"
    assert seen.keeps == []
    assert all(states)


def test_final_gives_nothing_of_a_failed_session() -> None:
    """A session that fails in `final` gives no text at all."""
    seen = seen_of(
        ["a", CUT], ["a", CUT], delivery="final", retry=RetryConfig(max_retries=1, base_delay_ms=1)
    )
    assert (seen.events, seen.text) == ([], "")
    assert isinstance(seen.error, L0Error)


# Random attempts.

PIECES = st.lists(st.sampled_from(["", "a", "b", "ab", "ba", "aab", "é", "👍a", " "]), max_size=5)


@dataclass(frozen=True)
class Plan:
    """One attempt: what it says, with pauses in between, and how it ends."""

    texts: tuple[str, ...]
    end: str
    pause: float = 0.0

    @property
    def text(self) -> str:
        """What it says in all."""
        return "".join(self.texts)

    @property
    def whole(self) -> bool:
        """Whether it ends well, with something said."""
        return self.end == "end" and bool(self.text.strip())


ENDS = ("end", "network", "model", "fatal", "network", "end")
PLANS = st.builds(
    Plan,
    texts=PIECES.map(tuple),
    end=st.sampled_from(ENDS),
    pause=st.sampled_from([0.0, 0.0, 0.001, 1.0]),
)
SOURCES = st.lists(st.lists(PLANS, min_size=1, max_size=6), min_size=1, max_size=3)


def failure(kind: str) -> Exception:
    """Return what an attempt raises."""
    if kind == "network":
        return ConnectionError("cut")
    if kind == "fatal":
        return L0Error("no such key", code=ErrorCode.AUTHENTICATION)
    return L0Error("garbled", code=ErrorCode.PROVIDER_ERROR)


class Script:
    """Sources whose attempts follow their plans; the last plan of a source repeats."""

    def __init__(self, plans: list[list[Plan]]) -> None:
        self.plans = plans
        self.made: list[tuple[int, Plan]] = []
        self.open = 0

    def source(self, index: int) -> Source:
        """Return the source of that index."""

        def opened() -> AsyncIterator[str]:
            earlier = sum(1 for other, _ in self.made if other == index)
            plan = self.plans[index][min(earlier, len(self.plans[index]) - 1)]
            self.made.append((index, plan))
            return self._attempt(plan)

        return Source(opened)

    async def _attempt(self, plan: Plan) -> AsyncIterator[str]:
        self.open += 1
        try:
            for text in plan.texts:
                if plan.pause:
                    await asyncio.sleep(plan.pause)
                yield text
            if plan.end != "end":
                raise failure(plan.end)
        finally:
            self.open -= 1


@dataclass
class Outcome:
    """What a random session amounted to."""

    script: Script
    seen: Seen
    told: list[Message]


def play(plans: list[list[Plan]], delivery: str, retry: RetryConfig) -> Outcome:
    """Run one session over these plans, with a sink that hears everything."""
    script, told = Script(plans), list[Message]()

    async def scenario() -> Outcome:
        async with ActorSystem() as system:
            system.attach(
                told.append, name="all", subscribes=(SessionMessage, AttemptMessage), capacity=10_000
            )
            first, *others = [script.source(index) for index in range(len(plans))]
            result = await system.l0(stream=first, fallbacks=others, delivery=delivery, retry=retry)
            return Outcome(script, await consume(result), told)

    return run(scenario())


@settings(max_examples=80, deadline=None)
@given(
    plans=SOURCES,
    delivery=st.sampled_from(["live", "append", "final"]),
    attempts=st.integers(0, 3),
    max_retries=st.integers(0, 5),
)
@example([[Plan(("a", "b"), "network"), Plan(("a",), "end")]], "live", 3, 5)
def test_any_attempts(plans: list[list[Plan]], delivery: str, attempts: int, max_retries: int) -> None:
    """Over random attempts: the fold is the content, the last attempt's text; order and budgets are kept."""
    retry = RetryConfig(attempts=attempts, max_retries=max_retries, base_delay_ms=10)
    outcome = play(plans, delivery, retry)
    seen, script, result = outcome.seen, outcome.script, outcome.seen.result
    check_consumer(seen, script, delivery)
    check_order(outcome.told)
    assert script.open == 0
    assert [record.number for record in result.attempts] == list(range(1, len(script.made) + 1))
    assert [record.source_index for record in result.attempts] == [index for index, _ in script.made]
    assert len(result.errors) == len(script.made) - (seen.error is None)
    check_budgets(script, result.errors, attempts, max_retries)


def check_consumer(seen: Seen, script: Script, delivery: str) -> None:
    """The content is what the last attempt said, if it ended well; otherwise nothing is taken for whole."""
    _, last = script.made[-1]
    if seen.error is None:
        assert last.whole
        assert seen.text == last.text
        assert seen.result.state.token_count <= max(1, len([t for t in seen.tokens if t]))
    if delivery != "live":
        assert not seen.keeps
    if delivery == "final" and seen.error is not None:
        assert seen.text == ""
    assert "" not in seen.tokens


def check_budgets(script: Script, errors: Sequence[Exception], attempts: int, max_retries: int) -> None:
    """Retries are counted over the session, those that count over one source."""
    retries = {index: 0 for index, _ in script.made}
    counted = dict(retries)
    for (before, _), (after, _), error in zip(script.made, script.made[1:], errors, strict=False):
        if before == after:
            assert isinstance(error, L0Error)
            retries[after] += 1
            counted[after] += error.category.value in ("model", "content")
            assert error.category.value != "fatal"
        else:
            assert after == before + 1, "sources are tried in order"
    assert sum(retries.values()) <= max_retries
    assert max(counted.values()) <= attempts


def check_order(told: list[Message]) -> None:
    """Start first, one terminal message last, and each attempt opened, then ended once."""
    kinds = [type(message) for message in told]
    assert [message.seq for message in told] == sorted(message.seq for message in told)
    assert kinds[0] is SessionStarted
    assert isinstance(told[-1], SessionEnded)
    assert sum(issubclass(kind, SessionEnded) for kind in kinds) == 1
    started = [message.attempt for message in told if isinstance(message, AttemptStarted)]
    assert started == list(range(1, len(started) + 1))
    for number in started:
        own = [type(m) for m in told if isinstance(m, AttemptMessage) and m.attempt == number]
        steps = [kind for kind in own if kind not in (Tokens, RolledBack)]
        assert steps[:2] == [AttemptStarted, StreamOpened]
        assert steps[2] in (StreamEnded, StreamFailed)
        rest = steps[3:]
        assert rest in ([], [RetryScheduled], [FallbackSelected], [SessionCompleted]), steps
        ended = own.index(steps[2])
        assert Tokens not in own[ended:]
    offset = 0
    for message in told:
        if isinstance(message, RolledBack):
            assert message.keep < offset
            offset = message.keep
        elif isinstance(message, Tokens):
            assert message.start == offset
            offset += sum(map(len, message.texts))


@settings(max_examples=40, deadline=None)
@given(plans=SOURCES, delivery=st.sampled_from(["live", "append", "final"]), leave=st.integers(1, 6))
def test_leaving_random_attempts(plans: list[list[Plan]], delivery: str, leave: int) -> None:
    """Whoever leaves after any event sees nothing more, and every attempt's source is closed."""
    script = Script(plans)

    async def scenario() -> None:
        first, *others = [script.source(index) for index in range(len(plans))]
        result = await l0(stream=first, fallbacks=others, delivery=delivery)
        seen = Seen(result)
        try:
            async for event in result:
                seen.take(event)
                if len(seen.events) == leave:
                    result.abort()
        except L0Error:
            assert len(seen.events) < leave
        assert len(seen.events) <= leave
        await result.aclose()

    run(scenario())
    assert script.open == 0
