"""Options: names, defaults, and the errors for bad values."""

import warnings
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from l0actors.errors import ErrorCategory, ErrorCode, L0Error
from l0actors.options import (
    Attempt,
    BackoffStrategy,
    Delivery,
    L0Options,
    RetryConfig,
    Source,
    TimeoutConfig,
    takes_attempt,
)

STRATEGIES = ["exponential", "linear", "fixed", "full-jitter", "fixed-jitter"]


async def source() -> AsyncIterator[str]:
    """Yield a word."""
    yield "hello"


def defaults(struct: msgspec.Struct) -> dict[str, Any]:
    """Return the fields of an options struct."""
    return msgspec.structs.asdict(struct)


def test_retry_defaults() -> None:
    """The defaults of RetryConfig are the contract's."""
    assert defaults(RetryConfig()) == {
        "attempts": 3,
        "max_retries": 6,
        "base_delay_ms": 1000,
        "max_delay_ms": 10_000,
        "strategy": BackoffStrategy.FIXED_JITTER,
        "max_retry_after_ms": 60_000,
        "fallback_on_refusal": False,
        "should_retry": None,
        "per_error_delay_ms": {},
    }


def test_timeout_defaults() -> None:
    """The defaults of TimeoutConfig are the contract's."""
    assert defaults(TimeoutConfig()) == {
        "initial_token_ms": 5000,
        "inter_token_ms": 10_000,
        "content_ms": 600_000,
        "total_ms": None,
    }


def test_l0_defaults() -> None:
    """The defaults of L0Options are the contract's."""
    options = L0Options(stream=source)
    assert (options.fallbacks, options.guardrails, options.drift, options.continuation) == (
        (),
        (),
        False,
        False,
    )
    assert (options.retry, options.timeout) == (RetryConfig(), TimeoutConfig())
    assert options.delivery is Delivery.LIVE
    assert (options.adapter, options.on_event, options.meta) == (None, None, {})
    assert (options.buffer_tokens, options.max_content_chars, options.raw_chunks) == (16_384, None, False)


def test_enums_are_the_contract() -> None:
    """Strategies and delivery modes have the documented values."""
    assert [strategy.value for strategy in BackoffStrategy] == STRATEGIES
    assert [mode.value for mode in Delivery] == ["live", "append", "checked", "final"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"attempts": -1}, "retry.attempts must be >= 0, got -1"),
        ({"attempts": 1.5}, "retry.attempts must be a whole number, got 1.5"),
        ({"attempts": True}, "retry.attempts must be a whole number, got True"),
        ({"max_retries": -2}, "retry.max_retries must be >= 0, got -2"),
        ({"base_delay_ms": -1}, "retry.base_delay_ms must be >= 0, got -1"),
        ({"max_delay_ms": "10"}, "retry.max_delay_ms must be a number, got '10'"),
        ({"max_retry_after_ms": float("nan")}, "retry.max_retry_after_ms must be a number, got nan"),
        ({"base_delay_ms": float("inf")}, "retry.base_delay_ms must be a number, got inf"),
        (
            {"strategy": "random"},
            f"retry.strategy must be one of {', '.join(STRATEGIES)}, got 'random'",
        ),
        ({"fallback_on_refusal": 1}, "retry.fallback_on_refusal must be a bool, got 1"),
        ({"should_retry": 1}, "retry.should_retry must be callable or None, got 1"),
        ({"per_error_delay_ms": 5}, "retry.per_error_delay_ms must be a Mapping, got 5"),
        (
            {"per_error_delay_ms": {"network": -1}},
            "retry.per_error_delay_ms['network'] must be >= 0, got -1",
        ),
        (
            {"per_error_delay_ms": {"rate_limit": 5}},
            "retry.per_error_delay_ms keys are categories and codes, got 'rate_limit'",
        ),
    ],
)
def test_bad_retry_values_are_refused(fields: dict[str, Any], message: str) -> None:
    """A bad value raises ValueError with the name, the rule and the value."""
    with pytest.raises(ValueError) as raised:  # noqa: PT011
        RetryConfig(**fields)
    assert str(raised.value) == message


@pytest.mark.parametrize("name", ["initial_token_ms", "inter_token_ms", "content_ms", "total_ms"])
@pytest.mark.parametrize("value", [0, -5, "5", True, float("nan")])
def test_bad_timeouts_are_refused(name: str, value: Any) -> None:
    """A clock's limit is a number above 0, or None."""
    with pytest.raises(ValueError, match=rf"timeout\.{name} must be (a number|> 0), got"):
        TimeoutConfig(**{name: value})
    assert getattr(TimeoutConfig(**{name: None}), name) is None


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"stream": None},
            "stream must be a callable that opens the stream anew for each attempt, got NoneType",
        ),
        ({"fallbacks": [source, 5]}, r"fallbacks\[1\] must be a callable"),
        ({"fallbacks": source}, "fallbacks must be a list or tuple"),
        ({"retry": {}}, r"retry must be a RetryConfig, got \{\}"),
        ({"timeout": 5}, "timeout must be a TimeoutConfig, got 5"),
        ({"delivery": "fast"}, "delivery must be one of live, append, checked, final, got 'fast'"),
        ({"on_event": 5}, "on_event must be callable or None, got 5"),
        ({"meta": []}, r"meta must be a Mapping, got \[\]"),
        ({"buffer_tokens": 0}, "buffer_tokens must be >= 1, got 0"),
        ({"max_content_chars": 0}, "max_content_chars must be >= 1, got 0"),
        ({"raw_chunks": "yes"}, "raw_chunks must be a bool, got 'yes'"),
    ],
)
def test_bad_l0_values_are_refused(fields: dict[str, Any], message: str) -> None:
    """A bad option raises ValueError with the name, the rule and the value."""
    with pytest.raises(ValueError, match=f"^{message}"):
        L0Options(**{"stream": source, **fields})


def test_made_stream_is_refused_without_a_warning() -> None:
    """A coroutine or a stream in place of its factory is refused with what to write, without a warning."""

    async def create() -> str:
        return ""

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match="write stream=lambda: "):
            L0Options(stream=create())  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="got async_generator"):
            L0Options(stream=source())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "fields", [{"guardrails": [1]}, {"drift": True}, {"continuation": True}, {"delivery": "checked"}]
)
def test_features_that_are_not_there_say_so(fields: dict[str, Any]) -> None:
    """What this version does not have is refused as FEATURE_NOT_ENABLED, not ignored."""
    with pytest.raises(L0Error, match=next(iter(fields))) as raised:
        L0Options(**{"stream": source, **fields})
    assert raised.value.code is ErrorCode.FEATURE_NOT_ENABLED


@pytest.mark.parametrize("struct", [RetryConfig(), TimeoutConfig(), L0Options(stream=source), Source(source)])
def test_options_are_frozen(struct: msgspec.Struct) -> None:
    """Options cannot be changed after they were checked."""
    with pytest.raises(AttributeError):
        setattr(struct, struct.__struct_fields__[0], 1)


@pytest.mark.parametrize("kind", [RetryConfig, TimeoutConfig, L0Options])
def test_options_are_keyword_only(kind: Any) -> None:
    """Every option is named."""
    with pytest.raises(TypeError):
        kind(1)


def test_words_become_members() -> None:
    """A strategy and a delivery mode may be given as their words."""
    assert RetryConfig(strategy="linear").strategy is BackoffStrategy.LINEAR  # type: ignore[arg-type]
    assert L0Options(stream=source, delivery="final").delivery is Delivery.FINAL


def test_per_error_delays_take_categories_and_codes() -> None:
    """The keys are categories and codes, as members or as their values."""
    keys = {"network": 1, ErrorCategory.MODEL: 2, "RATE_LIMITED": 3, ErrorCode.ZERO_OUTPUT: 4}
    assert RetryConfig(per_error_delay_ms=keys).per_error_delay_ms["zero_output".upper()] == 4


def test_presets() -> None:
    """The presets are the contract's."""
    assert defaults(RetryConfig.minimal()) == defaults(RetryConfig(attempts=2, max_retries=4))
    assert RetryConfig.recommended() == RetryConfig()
    assert RetryConfig.strict() == RetryConfig(strategy=BackoffStrategy.FULL_JITTER)
    expected = RetryConfig(attempts=4, max_retries=8, strategy=BackoffStrategy.EXPONENTIAL)
    assert RetryConfig.exponential() == expected


def test_sources_have_names_and_an_order() -> None:
    """The primary comes first; a source without a name is called by its place."""
    options = L0Options(stream=source, fallbacks=[source, Source(source, "mine"), source])
    assert [each.name for each in options.sources()] == ["primary", "fallback-1", "mine", "fallback-3"]
    assert all(each.open is source for each in options.sources())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"open": 5}, "source.open must be a callable"),
        ({"name": 5}, "source.name must be a str or NoneType, got 5"),
        (
            {"continuation": "magic"},
            "source.continuation must be one of auto, native, prefill, user_turn, none",
        ),
    ],
)
def test_bad_source_values_are_refused(fields: dict[str, Any], message: str) -> None:
    """A bad source raises ValueError with the name, the rule and the value."""
    with pytest.raises(ValueError, match=message):
        Source(**{"open": source, **fields})


def test_attempt_is_passed_to_a_factory_that_needs_an_argument() -> None:
    """One required positional parameter asks for the Attempt; defaults and keywords do not."""
    assert takes_attempt(lambda attempt: None)
    assert not takes_attempt(lambda: None)
    assert not takes_attempt(lambda messages=(): None)
    assert not takes_attempt(lambda *args, **kwargs: None)
    assert not takes_attempt(source)


def test_attempt_without_a_prefix_sends_the_original_messages() -> None:
    """Nothing is continued: the messages are a copy of the original ones."""
    original = [{"role": "user", "content": "hi"}]
    messages = Attempt(number=2, source="primary", source_index=0, reason="retry").messages(original)
    assert messages == original
    assert messages is not original
