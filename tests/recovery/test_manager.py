"""The first seed's retry manager, over the policy that a session uses."""

from random import Random

import pytest

from l0actors.errors import ErrorCategory, ErrorCode, ErrorContext, L0Error, ProviderFields
from l0actors.options import BackoffStrategy, RetryConfig
from l0actors.recovery.manager import RetryManager

RESET = ConnectionResetError(104, "Connection reset by peer")
ODD = RuntimeError("odd")
EMPTY = L0Error("nothing", code=ErrorCode.ZERO_OUTPUT)
WRONG_KEY = L0Error("no", code=ErrorCode.AUTHENTICATION)


def limited(retry_after_ms: float) -> L0Error:
    """Return a rate limit that names its wait."""
    provider = ProviderFields(retry_after_ms=retry_after_ms)
    return L0Error("no", code=ErrorCode.RATE_LIMITED, context=ErrorContext(provider=provider))


def test_counted_retries_are_limited_by_attempts() -> None:
    """Unknown and content errors share the counted budget."""
    manager = RetryManager(RetryConfig(attempts=2))
    for error in (ODD, EMPTY):
        assert manager.should_retry(error)
        manager.record_attempt(error)
    assert not manager.should_retry(ODD)
    assert not manager.should_retry(EMPTY)
    assert manager.should_retry(RESET)


def test_network_retries_are_limited_by_max_retries_only() -> None:
    """A network error does not count against attempts, but against the whole."""
    manager = RetryManager(RetryConfig(attempts=0, max_retries=4))
    for _ in range(4):
        assert manager.should_retry(RESET)
        manager.record_attempt(RESET)
    assert not manager.should_retry(RESET)
    assert manager.get_state() == {"model_retry_count": 0, "network_retry_count": 4, "total_retries": 4}


def test_hopeless_errors_are_not_retried() -> None:
    """What the policy gives up or passes on to a fallback is no retry."""
    manager = RetryManager()
    assert not manager.should_retry(WRONG_KEY)
    assert not manager.should_retry(L0Error("no", code=ErrorCode.INVALID_REQUEST))
    assert not manager.should_retry(KeyboardInterrupt())


def test_first_token_timeout_is_retried() -> None:
    """With one source there is no fallback to prefer."""
    assert RetryManager().should_retry(L0Error("late", code=ErrorCode.INITIAL_TOKEN_TIMEOUT))


def test_state_counts_by_kind() -> None:
    """The state has the two kinds of retries and their sum."""
    manager = RetryManager()
    for error in (RESET, ODD, limited(0), WRONG_KEY):
        manager.record_attempt(error)
    assert manager.get_state() == {"model_retry_count": 2, "network_retry_count": 2, "total_retries": 4}


def test_reset_forgets() -> None:
    """After a reset all budgets and pauses are as at first."""
    manager = RetryManager(RetryConfig(strategy=BackoffStrategy.EXPONENTIAL, max_retries=1))
    manager.record_attempt(RESET)
    assert not manager.should_retry(RESET)
    manager.reset()
    assert manager.should_retry(RESET)
    assert manager.get_delay_ms(RESET) == 1000
    assert manager.get_state() == {"model_retry_count": 0, "network_retry_count": 0, "total_retries": 0}


def test_delay_grows_by_category() -> None:
    """Each category has its own count in the formula."""
    manager = RetryManager(RetryConfig(strategy=BackoffStrategy.EXPONENTIAL))
    delays = []
    for _ in range(3):
        delays.append(manager.get_delay_ms(RESET))
        manager.record_attempt(RESET)
    assert delays == [1000, 2000, 4000]
    assert manager.get_delay_ms(ODD) == 1000


def test_delay_is_a_whole_number_never_before_retry_after() -> None:
    """The pause is an int, rounded up, so that a provider is not asked too early."""
    manager = RetryManager(rng=Random(1))
    delay = manager.get_delay_ms(limited(2500.2))
    assert (delay, type(delay)) == (2501, int)
    assert not manager.should_retry(limited(60_001))


def test_generator_is_injected() -> None:
    """The same seed gives the same pauses; without one the clock's generator serves."""
    same = [RetryManager(rng=Random(5)).get_delay_ms(ODD) for _ in range(3)]
    assert len(set(same)) == 1
    assert 500 <= RetryManager().get_delay_ms(ODD) <= 1000


@pytest.mark.parametrize("category", list(ErrorCategory))
def test_any_category_can_be_asked_about(category: ErrorCategory) -> None:
    """Every category has an answer."""
    error = L0Error("no", code=ErrorCode.PROVIDER_ERROR, category=category)
    manager = RetryManager()
    manager.should_retry(error)
    manager.record_attempt(error)
    assert manager.get_state()["total_retries"] == 1
