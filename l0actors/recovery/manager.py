"""The retry policy for a loop of one's own: counts, decides and gives the pauses."""

import math
from random import Random

from l0actors.classify import to_l0_error
from l0actors.clock import SYSTEM_CLOCK
from l0actors.options import RetryConfig
from l0actors.recovery.policy import History, Retry, decide, pause_ms, rule_for


class RetryManager:
    """Decides about retries of one source, by the policy that a session uses.

    Call `should_retry` after a failure, then `get_delay_ms`, then `record_attempt` when the retry is
    made. Any exception will do. `RetryConfig.should_retry` is not asked: it needs a session's state.

    >>> manager = RetryManager(RetryConfig(strategy="fixed"))
    >>> manager.should_retry(ConnectionResetError()), manager.get_delay_ms(ConnectionResetError())
    (True, 1000)

    Args:
        config: the budgets and delays. Default: `RetryConfig()`.
        rng: where jitter is drawn from. Default: a freshly seeded generator.
    """

    def __init__(self, config: RetryConfig | None = None, rng: Random | None = None) -> None:
        self._config = config or RetryConfig()
        self._rng = rng or SYSTEM_CLOCK.rng
        self.reset()

    def reset(self) -> None:
        """Forget every retry."""
        self._history = History(streamed=True)
        self._model = 0

    def should_retry(self, error: BaseException) -> bool:
        """Return whether the policy and what is left of the budgets allow a retry after `error`."""
        decision = decide(to_l0_error(error), self._history, self._config, self._rng)
        return isinstance(decision, Retry)

    def record_attempt(self, error: BaseException) -> None:
        """Book the retry that is made after `error`."""
        failure = to_l0_error(error)
        rule = rule_for(failure, self._config)
        self._history = self._history.after(failure, Retry(0.0, rule.counts))
        self._model += rule.counts or not rule.retry

    def get_delay_ms(self, error: BaseException) -> int:
        """Return the pause before a retry after `error`, in milliseconds, rounded up."""
        return math.ceil(pause_ms(to_l0_error(error), self._history, self._config, self._rng))

    def get_state(self) -> dict[str, int]:
        """Return the counts: `model_retry_count`, `network_retry_count` and `total_retries`.

        Network, timeout and transient errors make up the second, all others the first.
        """
        total = self._history.retries
        return {
            "model_retry_count": self._model,
            "network_retry_count": total - self._model,
            "total_retries": total,
        }
