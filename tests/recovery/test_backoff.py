"""The pauses before a retry."""

from fractions import Fraction
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l0actors.options import BackoffStrategy
from l0actors.recovery.backoff import delay_ms

BASE, CAP = 1000.0, 10_000.0
PLAIN = [BackoffStrategy.EXPONENTIAL, BackoffStrategy.LINEAR, BackoffStrategy.FIXED]

strategies = st.sampled_from(list(BackoffStrategy))
retries = st.one_of(st.integers(0, 40), st.integers(0, 10**400))
amounts = st.one_of(st.just(0.0), st.floats(0.001, 1e12))


class NoDice(Random):
    """A generator that must not be asked."""

    def random(self) -> float:
        """Fail the test."""
        pytest.fail("a strategy without jitter drew a number")


def delays(strategy: BackoffStrategy, upto: int = 6) -> list[float]:
    """Return the first pauses of a strategy without jitter."""
    return [delay_ms(strategy, n, BASE, CAP, NoDice()) for n in range(upto)]


def test_exponential_doubles_up_to_the_cap() -> None:
    """Exponential: min(b * 2^n, cap), without dice."""
    assert delays(BackoffStrategy.EXPONENTIAL) == [1000, 2000, 4000, 8000, 10_000, 10_000]


def test_linear_adds_up_to_the_cap() -> None:
    """Linear: min(b * (n + 1), cap), without dice."""
    assert delays(BackoffStrategy.LINEAR, 12) == [*range(1000, 10_001, 1000), 10_000, 10_000]


def test_fixed_stays() -> None:
    """Fixed: min(b, cap), without dice."""
    assert delays(BackoffStrategy.FIXED) == [1000] * 6
    assert delay_ms(BackoffStrategy.FIXED, 3, 50_000, CAP, NoDice()) == CAP


@given(retries, amounts, amounts, st.integers())
def test_full_jitter_is_within_zero_and_the_exponential(n: int, base: float, cap: float, seed: int) -> None:
    """Full jitter: uniform in [0, min(b * 2^n, cap)]."""
    top = delay_ms(BackoffStrategy.EXPONENTIAL, n, base, cap, NoDice())
    assert 0 <= delay_ms(BackoffStrategy.FULL_JITTER, n, base, cap, Random(seed)) <= top


@given(retries, amounts, amounts, st.integers())
def test_fixed_jitter_is_within_half_and_the_whole_exponential(
    n: int, base: float, cap: float, seed: int
) -> None:
    """Fixed jitter: t/2 + uniform[0, t/2] with t = min(b * 2^n, cap)."""
    top = delay_ms(BackoffStrategy.EXPONENTIAL, n, base, cap, NoDice())
    assert top / 2 <= delay_ms(BackoffStrategy.FIXED_JITTER, n, base, cap, Random(seed)) <= top


@pytest.mark.parametrize("strategy", [BackoffStrategy.FULL_JITTER, BackoffStrategy.FIXED_JITTER])
def test_jitter_fills_its_range(strategy: BackoffStrategy) -> None:
    """The dice reach both ends of the range, evenly."""
    low = 0.0 if strategy is BackoffStrategy.FULL_JITTER else 4000.0
    rng = Random(1)
    drawn = [delay_ms(strategy, 3, BASE, CAP, rng) for _ in range(4000)]
    assert min(drawn) == pytest.approx(low, abs=20)
    assert max(drawn) == pytest.approx(8000, abs=20)
    assert sum(drawn) / len(drawn) == pytest.approx((low + 8000) / 2, rel=0.02)


@given(strategies, retries, amounts, amounts, st.integers())
def test_never_negative_nor_beyond_the_cap(
    strategy: BackoffStrategy, n: int, base: float, cap: float, seed: int
) -> None:
    """No count of retries overflows, and no pause exceeds the cap."""
    assert 0 <= delay_ms(strategy, n, base, cap, Random(seed)) <= cap


@given(st.sampled_from(PLAIN), st.integers(0, 60), st.integers(0, 10**6), st.integers(0, 10**6))
def test_formula_exactly(strategy: BackoffStrategy, n: int, base: int, cap: int) -> None:
    """Each strategy without jitter is its formula, to the last digit."""
    factor = {"exponential": 2**n, "linear": n + 1, "fixed": 1}[strategy.value]
    assert Fraction(delay_ms(strategy, n, base, cap, NoDice())) == min(base * factor, cap)


@given(strategies, retries, st.integers())
def test_same_seed_same_pause(strategy: BackoffStrategy, n: int, seed: int) -> None:
    """Chance comes from the generator that is given, and from nowhere else."""
    assert delay_ms(strategy, n, BASE, CAP, Random(seed)) == delay_ms(strategy, n, BASE, CAP, Random(seed))
