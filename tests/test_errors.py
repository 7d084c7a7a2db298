"""The library's errors: their codes, how they travel, and what they tell whom."""

import copy
import pickle
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from l0actors.errors import (
    ErrorCategory,
    ErrorCode,
    ErrorContext,
    ErrorInfo,
    ForeignError,
    L0Error,
    ProviderFields,
    RolledBackError,
)

CODES = [
    "STREAM_ABORTED",
    "INITIAL_TOKEN_TIMEOUT",
    "INTER_TOKEN_TIMEOUT",
    "CONTENT_TIMEOUT",
    "TOTAL_TIMEOUT",
    "ZERO_OUTPUT",
    "GUARDRAIL_VIOLATION",
    "FATAL_GUARDRAIL_VIOLATION",
    "DRIFT_DETECTED",
    "INVALID_STREAM",
    "ALL_STREAMS_EXHAUSTED",
    "NETWORK_ERROR",
    "RATE_LIMITED",
    "PROVIDER_ERROR",
    "AUTHENTICATION",
    "CONTEXT_LENGTH",
    "CONTENT_REFUSED",
    "INVALID_REQUEST",
    "STREAM_TRUNCATED",
    "CONTENT_LIMIT",
    "ADAPTER_NOT_FOUND",
    "SCHEMA_INVALID",
    "INVALID_STATE_TRANSITION",
    "FEATURE_NOT_ENABLED",
    "INTERNAL",
]
CATEGORIES = [
    "NETWORK",
    "TIMEOUT",
    "TRANSIENT",
    "MODEL",
    "CONTENT",
    "GUARDRAIL",
    "DRIFT",
    "PROVIDER",
    "VALIDATION",
    "REFUSED",
    "FATAL",
    "INTERNAL",
]
SEED_CATEGORIES = {"network", "transient", "model", "content", "provider", "fatal", "internal"}

texts = st.text(max_size=20)
optional_texts = st.one_of(st.none(), texts)
counts = st.integers(0, 10**6)
times = st.floats(0, 1e13)
providers = st.builds(
    ProviderFields,
    name=optional_texts,
    status_code=st.one_of(st.none(), st.integers(100, 599)),
    error_code=optional_texts,
    error_type=optional_texts,
    request_id=optional_texts,
    retry_after_ms=st.one_of(st.none(), times),
)
contexts = st.builds(
    ErrorContext,
    checkpoint=texts,
    token_count=counts,
    content_length=counts,
    model_retry_count=counts,
    network_retry_count=counts,
    fallback_index=counts,
    attempt=counts,
    source=texts,
    provider=st.one_of(st.none(), providers),
)


@st.composite
def errors(draw: st.DrawFn, depth: int = 3) -> L0Error:
    """Draw an error with a chain of causes, ours and others'."""
    error = L0Error(
        draw(texts),
        code=draw(st.sampled_from(list(ErrorCode))),
        category=draw(st.one_of(st.none(), st.sampled_from(list(ErrorCategory)))),
        context=draw(contexts),
        timestamp=draw(times),
        recoverable=draw(st.one_of(st.none(), st.booleans())),
    )
    if depth and draw(st.booleans()):
        error.__cause__ = draw(errors(depth=depth - 1))
    elif draw(st.booleans()):
        error.__cause__ = draw(st.sampled_from([ValueError("x"), KeyError("y"), OSError(2, "z")]))
        error.__cause__.__cause__ = draw(st.sampled_from([None, RuntimeError("beneath"), error.__cause__]))
        if error.__cause__.__cause__ is error.__cause__:
            error.__cause__.__cause__ = None
    return error


def test_codes_are_the_contract() -> None:
    """The codes are those of the public contract, and each value is its name."""
    assert [code.name for code in ErrorCode] == CODES
    assert all(code.value == code.name for code in ErrorCode)


def test_categories_are_the_contract() -> None:
    """The categories are those of the public contract, and each value is its name in lower case."""
    assert [category.name for category in ErrorCategory] == CATEGORIES
    assert all(category.value == category.name.lower() for category in ErrorCategory)


def test_groups_are_the_first_seeds_categories() -> None:
    """Every category has its group among the first seed's seven, and these are their own group."""
    assert {category.group.value for category in ErrorCategory} == SEED_CATEGORIES
    assert all(ErrorCategory(value).group.value == value for value in SEED_CATEGORIES)
    assert ErrorCategory.GUARDRAIL.group is ErrorCategory.DRIFT.group is ErrorCategory.CONTENT


@pytest.mark.parametrize("code", list(ErrorCode))
def test_every_code_has_a_category_and_a_user_message(code: ErrorCode) -> None:
    """Each code has its usual category and one sentence for a person, with nothing internal in it."""
    error = L0Error("secret internals of gpt-4o", code=code)
    message = error.to_user_message()
    assert isinstance(error.category, ErrorCategory)
    assert message.endswith(".")
    assert "internals" not in message
    assert code.value not in message


@pytest.mark.parametrize(
    ("code", "category"),
    [
        (ErrorCode.STREAM_TRUNCATED, ErrorCategory.NETWORK),
        (ErrorCode.INITIAL_TOKEN_TIMEOUT, ErrorCategory.TIMEOUT),
        (ErrorCode.ZERO_OUTPUT, ErrorCategory.CONTENT),
        (ErrorCode.AUTHENTICATION, ErrorCategory.FATAL),
        (ErrorCode.INVALID_STREAM, ErrorCategory.VALIDATION),
    ],
)
def test_category_follows_from_the_code(code: ErrorCode, category: ErrorCategory) -> None:
    """A code brings its category unless another is given."""
    assert L0Error("no", code=code).category is category
    assert L0Error("no", code=code, category=ErrorCategory.MODEL).category is ErrorCategory.MODEL


@pytest.mark.parametrize("category", list(ErrorCategory))
def test_recoverable_follows_from_the_category(category: ErrorCategory) -> None:
    """Fatal, invalid, refused and internal errors are not recoverable unless it is said."""
    hopeless = {"fatal", "validation", "refused", "internal"}
    error = L0Error("no", code=ErrorCode.PROVIDER_ERROR, category=category)
    assert error.recoverable is (category.value not in hopeless)
    assert L0Error("no", code=ErrorCode.INTERNAL, recoverable=True).recoverable


def test_defaults() -> None:
    """An error without a context says nothing about its session, and is dated."""
    error = L0Error("no", code=ErrorCode.INTERNAL)
    assert (str(error), error.message) == ("no", "no")
    assert error.context == ErrorContext()
    assert error.provider == ProviderFields()
    assert not error.has_checkpoint
    assert error.timestamp > 1_600_000_000_000
    assert L0Error("no", code=ErrorCode.INTERNAL, context=ErrorContext(checkpoint="x")).has_checkpoint


def test_json_shape() -> None:
    """The JSON has the second seed's camelCase shape; what is empty is left out."""
    provider = ProviderFields(name="openai", status_code=429, retry_after_ms=1000.0)
    context = ErrorContext(checkpoint="Hello", token_count=2, model_retry_count=1, provider=provider)
    error = L0Error("slow", code=ErrorCode.RATE_LIMITED, context=context, timestamp=5.0)
    error.__cause__ = ValueError("beneath")
    assert error.to_json() == {
        "name": "L0Error",
        "code": "RATE_LIMITED",
        "category": "transient",
        "message": "slow",
        "timestamp": 5.0,
        "recoverable": True,
        "checkpoint": "Hello",
        "checkpointLength": 5,
        "tokenCount": 2,
        "contentLength": 0,
        "retryAttempts": 1,
        "networkRetries": 0,
        "fallbackIndex": 0,
        "attempt": 0,
        "source": "",
        "provider": {"name": "openai", "statusCode": 429, "retryAfterMs": 1000.0},
        "cause": {"name": "ValueError", "message": "beneath"},
    }
    bare = L0Error("no", code=ErrorCode.INTERNAL).to_json()
    assert not {"checkpoint", "checkpointLength", "provider", "cause"} & set(bare)


@given(errors())
def test_json_round_trip(error: L0Error) -> None:
    """`from_json(to_json(e))` equals e, causes included, also through JSON text."""
    wire = msgspec.json.decode(msgspec.json.encode(error.to_json()))
    back = L0Error.from_json(wire)
    assert back == error
    assert hash(back) == hash(error)
    assert (back.code, back.category, back.recoverable) == (error.code, error.category, error.recoverable)
    assert back.context == error.context
    assert back.to_json() == error.to_json()


def test_causes_come_back() -> None:
    """Our own causes come back as L0Errors, others' as ForeignErrors with the original's name."""
    inner = L0Error("inner", code=ErrorCode.NETWORK_ERROR, timestamp=1)
    inner.__cause__ = ConnectionResetError("reset")
    outer = L0Error("outer", code=ErrorCode.ALL_STREAMS_EXHAUSTED, timestamp=2)
    outer.__cause__ = inner
    back = L0Error.from_json(outer.to_json())
    assert back.__cause__ == inner
    foreign = back.__cause__ and back.__cause__.__cause__
    assert isinstance(foreign, ForeignError)
    assert (foreign.name, str(foreign)) == ("ConnectionResetError", "reset")
    assert back.info() == outer.info()


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"name": "L0Error"},
        {"code": "NOPE", "category": "fatal", "message": "", "timestamp": 1, "recoverable": True},
        {"code": "INTERNAL", "category": "nope", "message": "", "timestamp": 1, "recoverable": True},
        {"code": "INTERNAL", "category": "fatal", "message": 5, "timestamp": 1, "recoverable": True},
        {"code": "INTERNAL", "category": "fatal", "message": "", "timestamp": "x", "recoverable": True},
        [],
        "text",
        None,
    ],
)
def test_foreign_json_is_refused(data: Any) -> None:
    """What is not an error of ours raises ValueError and nothing else."""
    with pytest.raises(ValueError, match="not a serialized L0Error"):
        L0Error.from_json(data)


@pytest.mark.parametrize("cause", ["text", 5, [], {"name": "L0Error"}])
def test_foreign_cause_is_refused(cause: Any) -> None:
    """A cause that is no cause raises ValueError too."""
    data = {**L0Error("no", code=ErrorCode.INTERNAL).to_json(), "cause": cause}
    with pytest.raises(ValueError, match="not a serialized L0Error"):
        L0Error.from_json(data)


def test_endless_causes_are_cut() -> None:
    """A chain of thousands of causes neither overflows the stack when written nor when read."""
    error = first = L0Error("no", code=ErrorCode.INTERNAL, timestamp=0)
    for _ in range(5000):
        cause = L0Error("no", code=ErrorCode.INTERNAL, timestamp=0)
        error.__cause__, error = cause, cause
    assert L0Error.from_json(first.to_json()) == first
    data: dict[str, Any] = {**L0Error("no", code=ErrorCode.INTERNAL).to_json()}
    for _ in range(5000):
        data = {**data, "cause": data}
    assert L0Error.from_json(data).code is ErrorCode.INTERNAL


def test_cause_in_a_circle_is_cut() -> None:
    """A cause that leads back to itself is written a few times and no more."""
    one, two = L0Error("1", code=ErrorCode.INTERNAL), L0Error("2", code=ErrorCode.INTERNAL)
    one.__cause__, two.__cause__ = two, one
    assert one.to_json()["cause"]["message"] == "2"
    assert one.info().cause[0] == "L0Error: 2"


def test_info_travels() -> None:
    """The bus's form has the code, category, message, provider and the causes' names and words."""
    error = L0Error(
        "no", code=ErrorCode.NETWORK_ERROR, context=ErrorContext(provider=ProviderFields(name="x"))
    )
    error.__cause__ = OSError("reset")
    error.__cause__.__cause__ = RuntimeError("beneath")
    info = error.info()
    assert info == ErrorInfo(
        code=ErrorCode.NETWORK_ERROR,
        category=ErrorCategory.NETWORK,
        message="no",
        provider=ProviderFields(name="x"),
        cause=("OSError: reset", "RuntimeError: beneath"),
    )
    assert msgspec.json.decode(msgspec.json.encode(info), type=ErrorInfo) == info


def test_equality() -> None:
    """Errors are equal when they say the same, and never equal to anything else."""
    one, same, other = (L0Error(text, code=ErrorCode.INTERNAL, timestamp=1) for text in "aab")
    assert one == same
    assert hash(one) == hash(same)
    assert one != other
    assert one != "a"


@pytest.mark.parametrize("copied", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))])
def test_errors_can_be_copied_and_pickled(copied: Any) -> None:
    """An error survives what process pools and test runners do to exceptions."""
    for error in [
        L0Error("no", code=ErrorCode.INTERNAL, context=ErrorContext(attempt=2)),
        RolledBackError(7),
    ]:
        back = copied(error)
        assert type(back) is type(error)
        assert back == error
        assert str(back) == str(error)


def test_rolled_back_error() -> None:
    """It says how much stands and what to do, and is an L0Error."""
    error = RolledBackError(7)
    assert error.keep == 7
    assert isinstance(error, L0Error)
    assert error.code is ErrorCode.FEATURE_NOT_ENABLED
    assert "on_rollback=" in str(error)


def test_provider_fields_leave_out_what_is_unknown() -> None:
    """Only what the provider said is encoded."""
    assert msgspec.to_builtins(ProviderFields(status_code=500)) == {"status_code": 500}
