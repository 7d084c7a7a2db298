"""What to do about a failure: one pure function over (error, history, config), and its table."""

from collections.abc import Mapping
from random import Random
from typing import Literal, NamedTuple

import msgspec

from l0actors.errors import ErrorCategory, ErrorCode, L0Error
from l0actors.options import RetryConfig
from l0actors.recovery.backoff import delay_ms


class Rule(NamedTuple):
    """What a category of errors allows.

    Attributes:
        retry: whether the source is tried again.
        counts: whether such a retry counts against `RetryConfig.attempts`.
        then: what happens when the source is not tried again.
    """

    retry: bool
    counts: bool
    then: Literal["fallback", "end"]


_FREE = Rule(retry=True, counts=False, then="fallback")
_COUNTED = Rule(retry=True, counts=True, then="fallback")
_NEXT = Rule(retry=False, counts=False, then="fallback")
_END = Rule(retry=False, counts=False, then="end")

RULES: Mapping[ErrorCategory, Rule] = {
    ErrorCategory.NETWORK: _FREE,
    ErrorCategory.TIMEOUT: _FREE,
    ErrorCategory.TRANSIENT: _FREE,
    ErrorCategory.MODEL: _COUNTED,
    ErrorCategory.CONTENT: _COUNTED,
    ErrorCategory.GUARDRAIL: _COUNTED,
    ErrorCategory.DRIFT: _COUNTED,
    ErrorCategory.PROVIDER: _NEXT,
    ErrorCategory.FATAL: _NEXT,
    ErrorCategory.VALIDATION: _END,
    ErrorCategory.REFUSED: _END,
    ErrorCategory.INTERNAL: _END,
}
"""The table of docs/design.md: every category has its rule."""

ENDING_CODES = frozenset(
    {
        ErrorCode.STREAM_ABORTED,
        ErrorCode.TOTAL_TIMEOUT,
        ErrorCode.FATAL_GUARDRAIL_VIOLATION,
        ErrorCode.ALL_STREAMS_EXHAUSTED,
    }
)
"""Codes that end the session whatever their category allows: no other source can help."""


class History(msgspec.Struct, frozen=True, kw_only=True):
    """What a session has tried so far.

    Attributes:
        retries: retries of every kind, over the whole session. A move to a fallback is none.
        counted: retries on this source that counted.
        by_category: retries on this source, by the category of the error that led to each.
        source_index: the source that failed, 0 for the primary.
        sources: how many sources there are.
        streamed: whether the failed attempt had shown a sign of work: text, a tool call, reasoning.
    """

    retries: int = 0
    counted: int = 0
    by_category: Mapping[ErrorCategory, int] = {}
    source_index: int = 0
    sources: int = 1
    streamed: bool = False

    @property
    def has_fallback(self) -> bool:
        """Whether a source is left that was not tried."""
        return self.source_index + 1 < self.sources

    def after(self, error: L0Error, decision: "Decision") -> "History":
        """Return the history of the attempt that `decision` about `error` leads to.

        A retry is booked; a fallback starts with a budget of its own.
        """
        if isinstance(decision, Fallback):
            return History(retries=self.retries, source_index=decision.source_index, sources=self.sources)
        if isinstance(decision, GiveUp):
            return self
        earlier = self.by_category.get(error.category, 0)
        return msgspec.structs.replace(
            self,
            retries=self.retries + 1,
            counted=self.counted + decision.counted,
            by_category={**self.by_category, error.category: earlier + 1},
            streamed=False,
        )


class Retry(msgspec.Struct, frozen=True):
    """Try the same source again.

    Attributes:
        delay_ms: after this pause.
        counted: whether it counts against `RetryConfig.attempts`.
    """

    delay_ms: float
    counted: bool


class Fallback(msgspec.Struct, frozen=True):
    """Go on with another source, at once.

    Attributes:
        source_index: which one, 1 for the first fallback.
        reason: why the source that failed is not tried again.
    """

    source_index: int
    reason: str


class GiveUp(msgspec.Struct, frozen=True):
    """End the session.

    Attributes:
        reason: why nothing is tried any more, for the error's message.
    """

    reason: str


Decision = Retry | Fallback | GiveUp


def rule_for(error: L0Error, config: RetryConfig) -> Rule:
    """Return what may be done about `error`: its category's rule, or an end that its code demands."""
    if error.code in ENDING_CODES:
        return _END
    if error.category is ErrorCategory.REFUSED and config.fallback_on_refusal:
        return _NEXT
    return RULES[error.category]


def decide(
    error: L0Error,
    history: History,
    config: RetryConfig,
    rng: Random,
    *,
    total_left_ms: float | None = None,
    vetoed: bool = False,
) -> Decision:
    """Return what to do about `error`.

    The source is retried if the error's rule and the budgets allow it, after the longer of the
    back-off and what the provider asked for. Otherwise the next source takes over, if the rule
    allows that and one is left.

    Args:
        error: what failed the attempt.
        history: what was tried so far.
        config: the session's budgets and delays.
        rng: where jitter is drawn from.
        total_left_ms: what is left of `TimeoutConfig.total_ms`; None without such a limit.
        vetoed: `RetryConfig.should_retry` refused the retry that was decided before.
    """
    rule = rule_for(error, config)
    if rule.then == "end":
        return GiveUp(f"{_name(error)} ends the session")
    if total_left_ms is not None and total_left_ms <= 0:
        return GiveUp("the session's time is used up")
    why_not = "should_retry refused a retry" if vetoed else _why_not_retry(error, rule, history, config)
    if why_not is None:
        pause = pause_ms(error, history, config, rng)
        why_not = _why_not_wait(error, pause, config, total_left_ms)
        if why_not is None:
            return Retry(pause, rule.counts)
    return _next_source(history, why_not)


def pause_ms(error: L0Error, history: History, config: RetryConfig, rng: Random) -> float:
    """Return the pause before a retry after `error`: the longer of back-off and `Retry-After`.

    The back-off grows with the earlier retries on this source for the same category of error, from
    `RetryConfig.per_error_delay_ms` for the error's code or else its category, or `base_delay_ms`.
    """
    own = config.per_error_delay_ms
    base = own.get(error.code.value, own.get(error.category.value, config.base_delay_ms))
    earlier = history.by_category.get(error.category, 0)
    backoff = delay_ms(config.strategy, earlier, base, config.max_delay_ms, rng)
    return max(backoff, error.provider.retry_after_ms or 0.0)


def _why_not_retry(error: L0Error, rule: Rule, history: History, config: RetryConfig) -> str | None:
    if not rule.retry:
        return f"{_name(error)} is not retried"
    if not error.recoverable:
        return f"this {_name(error)} is not recoverable"
    if history.retries >= config.max_retries:
        return f"retry.max_retries ({config.max_retries}) is used up"
    if rule.counts and history.counted >= config.attempts:
        return f"retry.attempts ({config.attempts}) is used up"
    if error.category is ErrorCategory.TIMEOUT and not history.streamed and history.has_fallback:
        return "nothing came in time, and a fallback is left"
    return None


def _why_not_wait(
    error: L0Error, pause: float, config: RetryConfig, total_left_ms: float | None
) -> str | None:
    asked = error.provider.retry_after_ms or 0.0
    if asked > config.max_retry_after_ms:
        limit = config.max_retry_after_ms
        return (
            f"the provider asks to wait {_seconds(asked)}, more than retry.max_retry_after_ms ({limit:g} ms)"
        )
    if total_left_ms is not None and pause >= total_left_ms:
        return (
            f"a pause of {_seconds(pause)} does not fit into the {_seconds(total_left_ms)} that are left "
            "of timeout.total_ms"
        )
    return None


def _next_source(history: History, why: str) -> Decision:
    if history.has_fallback:
        return Fallback(history.source_index + 1, why)
    return GiveUp(f"{why}, and no source is left")


def _name(error: L0Error) -> str:
    return f"{error.code.value} ({error.category.value})"


def _seconds(milliseconds: float) -> str:
    return f"{milliseconds / 1000:g} s"
