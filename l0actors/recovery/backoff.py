"""How long to pause before a retry."""

import math
from random import Random

from l0actors.options import BackoffStrategy

_MANY = 1e300  # a float that n + 1 can be counted in, whatever n is


def delay_ms(strategy: BackoffStrategy, n: int, base_ms: float, cap_ms: float, rng: Random) -> float:
    """Return the pause in milliseconds before the retry that follows `n` earlier ones.

    With t = `base_ms` * 2^n, but at most `cap_ms`: exponential is t, full jitter is uniform in [0, t],
    fixed jitter is uniform in [t/2, t]. Linear is `base_ms` * (n + 1) and fixed is `base_ms`, each at
    most `cap_ms`. Only the two with jitter draw from `rng`, once.
    """
    if strategy is BackoffStrategy.FIXED:
        return min(base_ms, cap_ms)
    if strategy is BackoffStrategy.LINEAR:
        return _linear(base_ms, n, cap_ms)
    top = _doubled(base_ms, n, cap_ms)
    if strategy is BackoffStrategy.FULL_JITTER:
        return rng.uniform(0, top)
    if strategy is BackoffStrategy.FIXED_JITTER:
        return top / 2 + rng.uniform(0, top / 2)
    return top


def _doubled(base_ms: float, n: int, cap_ms: float) -> float:
    try:
        return min(math.ldexp(base_ms, n), cap_ms)
    except OverflowError:
        return cap_ms


def _linear(base_ms: float, n: int, cap_ms: float) -> float:
    return min(base_ms * (min(n, _MANY) + 1), cap_ms)
