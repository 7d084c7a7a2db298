"""What is done about a failure: the table, the budgets, the waits and the order of sources."""

from collections.abc import Mapping
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from l0actors.errors import ErrorCategory, ErrorCode, ErrorContext, L0Error, ProviderFields
from l0actors.options import BackoffStrategy, RetryConfig
from l0actors.recovery.policy import (
    ENDING_CODES,
    RULES,
    Decision,
    Fallback,
    GiveUp,
    History,
    Retry,
    decide,
    pause_ms,
)

C = ErrorCategory
RETRIED = [category for category, rule in RULES.items() if rule.retry]
COUNTED = [category for category, rule in RULES.items() if rule.counts]
FREE = [category for category in RETRIED if category not in COUNTED]
FIXED = RetryConfig(strategy=BackoffStrategy.FIXED)
TWO = History(sources=2, streamed=True)
ONE = History(sources=1, streamed=True)

_CODES = {
    C.NETWORK: ErrorCode.NETWORK_ERROR,
    C.TIMEOUT: ErrorCode.INTER_TOKEN_TIMEOUT,
    C.REFUSED: ErrorCode.CONTENT_REFUSED,
    C.INTERNAL: ErrorCode.INTERNAL,
}


def failure(
    category: ErrorCategory,
    *,
    code: ErrorCode | None = None,
    retry_after_ms: float | None = None,
    recoverable: bool | None = None,
) -> L0Error:
    """Return an error of a category."""
    provider = ProviderFields(retry_after_ms=retry_after_ms)
    return L0Error(
        "no",
        code=code or _CODES.get(category, ErrorCode.PROVIDER_ERROR),
        category=category,
        context=ErrorContext(provider=provider),
        timestamp=0,
        recoverable=recoverable,
    )


def decided(error: L0Error, history: History, config: RetryConfig = FIXED, **more: Any) -> Decision:
    """Return the decision with a seeded generator."""
    return decide(error, history, config, Random(1), **more)


def spent(history: History, **counts: int) -> History:
    """Return a history with other counts."""
    return msgspec.structs.replace(history, **counts)


def test_every_category_has_its_rule() -> None:
    """The table of the design, row by row."""
    table = {category: (rule.retry, rule.counts, rule.then) for category, rule in RULES.items()}
    assert table == {
        C.NETWORK: (True, False, "fallback"),
        C.TIMEOUT: (True, False, "fallback"),
        C.TRANSIENT: (True, False, "fallback"),
        C.MODEL: (True, True, "fallback"),
        C.CONTENT: (True, True, "fallback"),
        C.GUARDRAIL: (True, True, "fallback"),
        C.DRIFT: (True, True, "fallback"),
        C.PROVIDER: (False, False, "fallback"),
        C.FATAL: (False, False, "fallback"),
        C.VALIDATION: (False, False, "end"),
        C.REFUSED: (False, False, "end"),
        C.INTERNAL: (False, False, "end"),
    }
    assert set(table) == set(ErrorCategory)


@pytest.mark.parametrize("category", list(ErrorCategory))
def test_decisions_follow_the_table(category: ErrorCategory) -> None:
    """With fresh budgets the rule decides: retry, the next source, or the end."""
    rule, decision = RULES[category], decided(failure(category), TWO)
    if rule.retry:
        assert decision == Retry(1000.0, rule.counts)
    elif rule.then == "fallback":
        assert isinstance(decision, Fallback)
        assert decision.source_index == 1
        assert isinstance(decided(failure(category), ONE), GiveUp)
    else:
        assert isinstance(decision, GiveUp)


@pytest.mark.parametrize("code", sorted(ENDING_CODES))
@pytest.mark.parametrize("category", list(ErrorCategory))
def test_some_codes_end_the_session_whatever_their_category(code: ErrorCode, category: ErrorCategory) -> None:
    """An abort, the total timeout and a fatal violation are not passed on to a fallback."""
    assert isinstance(decided(failure(category, code=code), TWO), GiveUp)


@pytest.mark.parametrize("category", COUNTED)
def test_counted_retries_stop_at_attempts(category: ErrorCategory) -> None:
    """The last of `attempts` counted retries is made; after it the next source takes over."""
    config = RetryConfig(attempts=3, max_retries=100)
    assert isinstance(decided(failure(category), spent(TWO, counted=2), config), Retry)
    assert isinstance(decided(failure(category), spent(TWO, counted=3), config), Fallback)
    assert isinstance(decided(failure(category), spent(ONE, counted=3), config), GiveUp)


@pytest.mark.parametrize("category", FREE)
def test_free_retries_do_not_count_as_attempts(category: ErrorCategory) -> None:
    """Network, timeout and transient errors are retried with all counted retries used up."""
    config = RetryConfig(attempts=0, max_retries=100)
    assert isinstance(decided(failure(category), spent(TWO, counted=50), config), Retry)


@pytest.mark.parametrize("category", RETRIED)
def test_max_retries_covers_the_session_and_not_the_move_to_a_fallback(category: ErrorCategory) -> None:
    """With the session's retries used up no source is retried, but the sources left are tried once."""
    config = RetryConfig(max_retries=6)
    assert isinstance(decided(failure(category), spent(TWO, retries=5), config), Retry)
    assert isinstance(decided(failure(category), spent(TWO, retries=6), config), Fallback)
    given_up = decided(failure(category), spent(ONE, retries=6), config)
    assert isinstance(given_up, GiveUp)
    assert "retry.max_retries (6) is used up" in given_up.reason


def test_fallback_starts_with_its_own_counted_budget() -> None:
    """A fallback does not inherit a spent budget, nor the growth of the pauses; the session's total stays."""
    history = History(retries=3, counted=3, by_category={C.MODEL: 3}, sources=2, streamed=True)
    error = failure(C.MODEL)
    moved = history.after(error, decided(error, history))
    assert moved == History(retries=3, counted=0, by_category={}, source_index=1, sources=2)
    assert decided(error, moved) == Retry(1000.0, True)


def test_history_books_a_retry() -> None:
    """A retry adds to the session, to its category, and to the counted ones if it counts."""
    history = History(sources=2, streamed=True)
    history = history.after(failure(C.MODEL), Retry(0, True))
    history = history.after(failure(C.NETWORK), Retry(0, False))
    history = history.after(failure(C.NETWORK), Retry(0, False))
    assert (history.retries, history.counted) == (3, 1)
    assert history.by_category == {C.MODEL: 1, C.NETWORK: 2}
    assert not history.streamed
    assert history.after(failure(C.MODEL), GiveUp("no")) is history


def test_timeout_before_the_first_token_prefers_a_fallback() -> None:
    """A source that says nothing is left for a fallback if there is one, else it is retried."""
    silent = failure(C.TIMEOUT, code=ErrorCode.INITIAL_TOKEN_TIMEOUT)
    assert isinstance(decided(silent, spent(TWO, streamed=False)), Fallback)
    assert isinstance(decided(silent, spent(ONE, streamed=False)), Retry)
    assert isinstance(decided(silent, spent(TWO, streamed=False, source_index=1)), Retry)


def test_timeout_mid_stream_is_retried() -> None:
    """A source that stalls after its first token is tried again."""
    assert isinstance(decided(failure(C.TIMEOUT), TWO), Retry)


@pytest.mark.parametrize("category", [C.NETWORK, C.TRANSIENT, C.MODEL])
def test_only_timeouts_ask_whether_it_streamed(category: ErrorCategory) -> None:
    """Other failures before the first token are retried on the source."""
    assert isinstance(decided(failure(category), spent(TWO, streamed=False)), Retry)


@pytest.mark.parametrize("category", RETRIED)
def test_not_recoverable_is_not_retried(category: ErrorCategory) -> None:
    """An error that is not recoverable skips the source and may still have a fallback."""
    error = failure(category, recoverable=False)
    assert isinstance(decided(error, TWO), Fallback)
    assert isinstance(decided(error, ONE), GiveUp)


def test_refusal_ends_unless_the_fallback_is_allowed() -> None:
    """`fallback_on_refusal` gives a refused request to the next source, never to the same."""
    config = RetryConfig(fallback_on_refusal=True)
    assert isinstance(decided(failure(C.REFUSED), TWO), GiveUp)
    assert isinstance(decided(failure(C.REFUSED), TWO, config), Fallback)
    assert isinstance(decided(failure(C.REFUSED), ONE, config), GiveUp)


def test_veto_turns_a_retry_into_the_next_source() -> None:
    """`should_retry` may only narrow: a vetoed retry goes to a fallback or ends, what ends stays ended."""
    assert isinstance(decided(failure(C.NETWORK), TWO, vetoed=True), Fallback)
    assert isinstance(decided(failure(C.NETWORK), ONE, vetoed=True), GiveUp)
    assert isinstance(decided(failure(C.VALIDATION), TWO, vetoed=True), GiveUp)


@pytest.mark.parametrize(
    ("asked", "expected"), [(None, 1000), (0, 1000), (400, 1000), (2500, 2500), (60_000, 60_000)]
)
def test_pause_is_the_longer_of_retry_after_and_backoff(asked: float | None, expected: float) -> None:
    """A provider is not asked again before the time it named, nor before the back-off is over."""
    error = failure(C.TRANSIENT, code=ErrorCode.RATE_LIMITED, retry_after_ms=asked)
    assert decided(error, TWO) == Retry(expected, False)


def test_retry_after_that_is_too_long_skips_the_source() -> None:
    """Beyond `max_retry_after_ms` the fallback takes over, or the session ends with the wait named."""
    error = failure(C.TRANSIENT, retry_after_ms=60_001)
    assert isinstance(decided(error, TWO), Fallback)
    ended = decided(error, ONE)
    assert isinstance(ended, GiveUp)
    assert "the provider asks to wait 60.001 s" in ended.reason
    assert "retry.max_retry_after_ms" in ended.reason


def test_pause_grows_with_the_earlier_retries_of_the_same_category() -> None:
    """Three network retries do not lengthen the pause after the first model error."""
    config = RetryConfig(strategy=BackoffStrategy.EXPONENTIAL)
    history = spent(TWO, retries=3)
    history = msgspec.structs.replace(history, by_category={C.NETWORK: 3})
    assert decided(failure(C.NETWORK), history, config) == Retry(8000.0, False)
    assert decided(failure(C.MODEL), history, config) == Retry(1000.0, True)


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ({}, 1000),
        ({"transient": 50}, 50),
        ({"RATE_LIMITED": 70}, 70),
        ({"transient": 50, "RATE_LIMITED": 70}, 70),
        ({"network": 50}, 1000),
        ({ErrorCategory.TRANSIENT: 50}, 50),
        ({"transient": 99_999}, 10_000),
    ],
)
def test_per_error_delay(own: Mapping[str, float], expected: float) -> None:
    """A code's own base delay is taken first, then the category's, then the general one; the cap holds."""
    config = RetryConfig(strategy=BackoffStrategy.FIXED, per_error_delay_ms=own)
    assert decided(failure(C.TRANSIENT, code=ErrorCode.RATE_LIMITED), TWO, config) == Retry(expected, False)


def test_pause_that_ends_beyond_the_total_is_not_begun() -> None:
    """A retry that could not begin in time is not waited for; a fallback needs no pause."""
    error = failure(C.NETWORK)
    assert isinstance(decided(error, TWO, total_left_ms=1001), Retry)
    assert isinstance(decided(error, TWO, total_left_ms=1000), Fallback)
    ended = decided(error, ONE, total_left_ms=500)
    assert isinstance(ended, GiveUp)
    assert "timeout.total_ms" in ended.reason


@pytest.mark.parametrize("category", list(ErrorCategory))
@pytest.mark.parametrize("left", [0, -5])
def test_nothing_is_tried_without_time(category: ErrorCategory, left: float) -> None:
    """When the session's time is used up, no source is tried."""
    assert isinstance(decided(failure(category), TWO, total_left_ms=left), GiveUp)


def test_no_dice_for_an_error_that_is_not_retried() -> None:
    """Jitter is drawn only for an error whose source may be retried."""
    rng = Random(1)
    decide(failure(C.FATAL), TWO, RetryConfig(), rng)
    assert rng.random() == Random(1).random()


categories = st.sampled_from(list(ErrorCategory))
errors = st.builds(
    failure,
    categories,
    code=st.one_of(st.none(), st.sampled_from(list(ErrorCode))),
    retry_after_ms=st.one_of(st.none(), st.floats(0, 100_000)),
    recoverable=st.one_of(st.none(), st.booleans()),
)
configs = st.builds(
    RetryConfig,
    attempts=st.integers(0, 5),
    max_retries=st.integers(0, 8),
    base_delay_ms=st.floats(0, 5000),
    strategy=st.sampled_from(list(BackoffStrategy)),
    fallback_on_refusal=st.booleans(),
)


@given(st.lists(errors, min_size=60, max_size=60), configs, st.integers(1, 5), st.data())
def test_a_session_that_always_fails_is_bounded(
    failures: list[L0Error], config: RetryConfig, sources: int, data: st.DataObject
) -> None:
    """Whatever fails: at most sources + max_retries attempts, every source in order, budgets kept."""
    history, rng, attempts, visited = History(sources=sources), Random(7), 0, [0]
    for error in failures:
        attempts += 1
        history = spent(history, streamed=data.draw(st.booleans()))
        decision = decide(error, history, config, rng)
        if isinstance(decision, GiveUp):
            break
        if isinstance(decision, Retry):
            assert RULES[error.category].retry
            assert error.recoverable
            assert decision.counted == RULES[error.category].counts
            assert decision.delay_ms >= (error.provider.retry_after_ms or 0)
        else:
            assert RULES[error.category].then == "fallback" or config.fallback_on_refusal
            visited.append(decision.source_index)
        history = history.after(error, decision)
        assert history.counted <= config.attempts
        assert history.retries <= config.max_retries
    else:
        pytest.fail("the session never gave up")
    assert attempts <= sources + config.max_retries
    assert visited == list(range(len(visited)))


@given(errors, configs, st.integers(0, 10), st.integers(0, 10), st.integers())
def test_same_seed_same_decision(
    error: L0Error, config: RetryConfig, retries: int, counted: int, seed: int
) -> None:
    """A decision depends on its arguments and the generator's state, and on nothing else."""
    history = History(retries=retries, counted=counted, sources=2)
    first = decide(error, history, config, Random(seed))
    assert first == decide(error, history, config, Random(seed))


@given(errors, configs, st.integers(0, 10**6))
def test_pause_is_never_shorter_than_asked(error: L0Error, config: RetryConfig, earlier: int) -> None:
    """However long the history: the pause honours Retry-After, and else the cap."""
    history = History(by_category={error.category: earlier})
    asked = error.provider.retry_after_ms or 0.0
    assert asked <= pause_ms(error, history, config, Random(1)) <= max(asked, config.max_delay_ms)
