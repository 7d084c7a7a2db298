"""What a caller can ask for: frozen structs that refuse bad values when they are made."""

import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from types import FunctionType
from typing import Any, Literal, get_args

import msgspec

from l0actors import validation
from l0actors.errors import ErrorCategory, ErrorCode, L0Error

AttemptReason = Literal["first", "retry", "fallback"]
Continuation = Literal["auto", "native", "prefill", "user_turn", "none"]
_CONTINUATIONS = get_args(Continuation)
_ERROR_NAMES = frozenset(name.value for kind in (ErrorCategory, ErrorCode) for name in kind)


class BackoffStrategy(str, Enum):
    """How the pause before a retry grows; see `l0actors.recovery.backoff`."""

    EXPONENTIAL = "exponential"
    LINEAR = "linear"
    FIXED = "fixed"
    FULL_JITTER = "full-jitter"
    FIXED_JITTER = "fixed-jitter"


class Delivery(str, Enum):
    """When the consumer is given the text.

    `LIVE`: at once; a new attempt that goes another way sends a `ROLLBACK`. `APPEND`: at once and
    never taken back: a recovery that would have to fails the session instead. `FINAL`: all of it
    after the session completed.
    """

    LIVE = "live"
    APPEND = "append"
    CHECKED = "checked"
    FINAL = "final"


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """What a source's factory is told, if it takes an argument.

    Attributes:
        number: of the attempt in its session, from 1.
        source: the name of the source.
        source_index: 0 for the primary, 1 for the first fallback.
        reason: `first`, `retry` or `fallback`.
        prefix: the text to go on from; "" unless the attempt continues.
    """

    number: int
    source: str
    source_index: int
    reason: AttemptReason = "first"
    prefix: str = ""

    def messages(self, original: Sequence[Any]) -> list[Any]:
        """Return the messages to send for this attempt: the original ones when nothing is continued."""
        return list(original)


class RetryConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How failures are retried.

    Attributes:
        attempts: retries that count, per source (3: up to four calls).
        max_retries: retries of every kind, over the whole session.
        base_delay_ms: the first pause.
        max_delay_ms: the longest pause that the strategy gives.
        strategy: how the pause grows.
        max_retry_after_ms: a provider that asks to wait longer than this is skipped.
        fallback_on_refusal: whether a request that the provider's content filter refused is given to the
            fallback.
        should_retry: called with (error, state, attempt number, category) before a retry; may veto it by
            returning False or raising, never allow what the policy forbids. Sync or async.
        per_error_delay_ms: the first pause for a category or a code, instead of `base_delay_ms`.
    """

    attempts: int = 3
    max_retries: int = 6
    base_delay_ms: float = 1000
    max_delay_ms: float = 10_000
    strategy: BackoffStrategy = BackoffStrategy.FIXED_JITTER
    max_retry_after_ms: float = 60_000
    fallback_on_refusal: bool = False
    should_retry: Callable[..., Any] | None = None
    per_error_delay_ms: Mapping[str, float] = {}

    def __post_init__(self) -> None:
        validation.whole("retry.attempts", self.attempts)
        validation.whole("retry.max_retries", self.max_retries)
        for name in ("base_delay_ms", "max_delay_ms", "max_retry_after_ms"):
            validation.number(f"retry.{name}", getattr(self, name))
        strategy = validation.member("retry.strategy", self.strategy, BackoffStrategy)
        msgspec.structs.force_setattr(self, "strategy", strategy)
        validation.instance("retry.fallback_on_refusal", self.fallback_on_refusal, bool)
        validation.function("retry.should_retry", self.should_retry)
        validation.instance("retry.per_error_delay_ms", self.per_error_delay_ms, Mapping)
        for name, delay in self.per_error_delay_ms.items():
            if name not in _ERROR_NAMES:
                raise ValueError(f"retry.per_error_delay_ms keys are categories and codes, got {name!r}")
            validation.number(f"retry.per_error_delay_ms[{name!r}]", delay)

    @classmethod
    def minimal(cls) -> "RetryConfig":
        """Two counted retries, four in all."""
        return cls(attempts=2, max_retries=4)

    @classmethod
    def recommended(cls) -> "RetryConfig":
        """The defaults."""
        return cls()

    @classmethod
    def strict(cls) -> "RetryConfig":
        """As recommended, with full jitter, for many clients that fail together."""
        return cls(strategy=BackoffStrategy.FULL_JITTER)

    @classmethod
    def exponential(cls) -> "RetryConfig":
        """Four counted retries, eight in all, and pauses that double without jitter."""
        return cls(attempts=4, max_retries=8, strategy=BackoffStrategy.EXPONENTIAL)


class TimeoutConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How long to wait. None switches a clock off.

    Attributes:
        initial_token_ms: from the call of the source's factory to the first sign of work.
        inter_token_ms: between two signs of work.
        content_ms: between two pieces of visible output, pings and reasoning notwithstanding.
        total_ms: for the whole session, pauses included.
    """

    initial_token_ms: float | None = 5000
    inter_token_ms: float | None = 10_000
    content_ms: float | None = 600_000
    total_ms: float | None = None

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            if (limit := getattr(self, name)) is not None:
                validation.number(f"timeout.{name}", limit, positive=True)


class Source(msgspec.Struct, frozen=True):
    """A way to open a provider stream.

    Attributes:
        open: called for each attempt, without an argument or, if it needs one, with the `Attempt`; returns
            the stream or an awaitable of it.
        name: what it is called in states, events and errors. Default: `primary`, `fallback-1`, ...
        continuation: how a new attempt may go on from text that was received.
    """

    open: Callable[..., Any]
    name: str | None = None
    continuation: Continuation = "auto"

    def __post_init__(self) -> None:
        validation.factory("source.open", self.open)
        validation.instance("source.name", self.name, str, type(None))
        if self.continuation not in _CONTINUATIONS:
            raise ValueError(
                f"source.continuation must be one of {', '.join(_CONTINUATIONS)}, got {self.continuation!r}"
            )


class L0Options(msgspec.Struct, frozen=True, kw_only=True):
    """One call of `l0()`.

    Attributes:
        stream: the primary source.
        fallbacks: the sources to try when it cannot be recovered, in order.
        guardrails: rules for the text. Not part of this version: must be empty.
        drift: drift detection. Not part of this version: must be False.
        retry: how failures are retried.
        timeout: how long to wait.
        continuation: going on from received text. Not part of this version: must be False.
        delivery: when the consumer is given the text; see `Delivery`.
        adapter: how to read the stream: an adapter or the name of a registered one. Default: detected.
        on_event: called with each `ObservabilityEvent`, off the token path. Sync or async; what it raises is
            reported, never raised.
        meta: copied onto every observability event.
        check: how checks run. Not part of this version: must be None, as the next two.
        callbacks: hooks of the session's life; use `on_event`.
        record: a store for the session's events.
        buffer_tokens: how many pieces of text the provider may run ahead of the consumer.
        max_content_chars: a longer answer fails with `CONTENT_LIMIT`. Default: no limit.
        raw_chunks: keep the provider's own chunks in `result.raw_chunks`.
    """

    stream: Source | Callable[..., Any]
    fallbacks: Sequence[Source | Callable[..., Any]] = ()
    guardrails: Sequence[Any] = ()
    drift: Any = False
    retry: RetryConfig = RetryConfig()
    timeout: TimeoutConfig = TimeoutConfig()
    continuation: Any = False
    delivery: Delivery | str = Delivery.LIVE
    adapter: Any = None
    on_event: Callable[[Any], Any] | None = None
    meta: Mapping[str, Any] = {}
    check: Any = None
    callbacks: Any = None
    record: Any = None
    buffer_tokens: int = 16_384
    max_content_chars: int | None = None
    raw_chunks: bool = False

    def __post_init__(self) -> None:
        validation.instance("fallbacks", self.fallbacks, list, tuple)
        for name, source in self._named_sources():
            if not isinstance(source, Source):
                validation.factory(name, source)
        validation.instance("retry", self.retry, RetryConfig)
        validation.instance("timeout", self.timeout, TimeoutConfig)
        msgspec.structs.force_setattr(
            self, "delivery", validation.member("delivery", self.delivery, Delivery)
        )
        validation.function("on_event", self.on_event)
        validation.instance("meta", self.meta, Mapping)
        msgspec.structs.force_setattr(self, "meta", _copied(self.meta))
        validation.instance("raw_chunks", self.raw_chunks, bool)
        validation.whole("buffer_tokens", self.buffer_tokens, least=1)
        if self.max_content_chars is not None:
            validation.whole("max_content_chars", self.max_content_chars, least=1)
        self._refuse_what_is_not_there()

    def _refuse_what_is_not_there(self) -> None:
        for name in ("guardrails", "drift", "continuation", "check", "callbacks", "record"):
            if getattr(self, name):
                raise L0Error(
                    f"{name} is not part of this version, got {getattr(self, name)!r}; leave it out",
                    code=ErrorCode.FEATURE_NOT_ENABLED,
                )
        if self.delivery == Delivery.CHECKED:
            raise L0Error(
                "delivery='checked' needs guardrails, which are not part of this version of l0actors; "
                "use 'live', 'append' or 'final'",
                code=ErrorCode.FEATURE_NOT_ENABLED,
            )

    def sources(self) -> list[Source]:
        """Return the sources in the order in which they are tried, each with its name."""
        names = ["primary", *(f"fallback-{number}" for number in range(1, len(self.fallbacks) + 1))]
        return [_named(source, name) for name, (_, source) in zip(names, self._named_sources(), strict=True)]

    def _named_sources(self) -> list[tuple[str, Source | Callable[..., Any]]]:
        fallbacks = [(f"fallbacks[{index}]", fallback) for index, fallback in enumerate(self.fallbacks)]
        return [("stream", self.stream), *fallbacks]


def _copied(meta: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return copy.deepcopy(dict(meta)) if meta else {}
    except Exception as error:
        raise ValueError(f"meta must hold data that can be copied, got {meta!r}: {error}") from None


def takes_attempt(factory: Callable[..., Any]) -> bool:
    """Return whether `factory` needs an argument: it is then called with the `Attempt`."""
    if type(factory) is FunctionType and not hasattr(factory, "__wrapped__"):
        return factory.__code__.co_argcount > len(factory.__defaults__ or ())  # 50 times faster
    try:
        parameters = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):
        return False
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return any(p.default is p.empty and p.kind in positional for p in parameters)


def _named(source: Source | Callable[..., Any], default: str) -> Source:
    if not isinstance(source, Source):
        return Source(source, default)
    return source if source.name else msgspec.structs.replace(source, name=default)
