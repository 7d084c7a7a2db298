"""The public surface is a contract: names, fields, defaults and signatures. It may grow."""

from __future__ import annotations

import inspect
from typing import Any

import msgspec
import pytest

import l0actors
from l0actors import (
    Actor,
    ActorRef,
    ActorSystem,
    Attempt,
    BackoffStrategy,
    Bus,
    ChildSpec,
    Delivery,
    ErrorCategory,
    ErrorCode,
    EventType,
    L0Error,
    L0Event,
    L0Options,
    L0Result,
    L0State,
    RetryConfig,
    RetryManager,
    Source,
    Supervisor,
    TimeoutConfig,
)

NAMES = """
    Actor ActorContext ActorDied ActorError ActorRef ActorSystem Adapter AnthropicAdapter AskCycle
    AskTimeout Attempt
    AttemptRecord BackoffStrategy Bus ChildSpec Clock Delivery ErrorCategory ErrorCode ErrorContext
    ErrorInfo EventType L0Error L0Event L0Options L0Result L0State LogSink MailboxFull Message
    ObservabilityEvent ObservabilityEventType OpenAIAdapter Phase PlainAdapter RetryConfig RetryManager
    RolledBackError ShutdownReport Source StateMachine StopReason Subscription Supervisor TimeoutConfig
    ToolCall Transition Worker categorize_error consume_stream detect_adapter enable_debug fold get_text
    l0 register_adapter
"""

REQUIRED = object()

FIELDS: dict[type[Any], dict[str, Any]] = {
    L0Options: {
        "stream": REQUIRED,
        "fallbacks": (),
        "guardrails": (),
        "drift": False,
        "retry": RetryConfig(),
        "timeout": TimeoutConfig(),
        "continuation": False,
        "delivery": "live",
        "adapter": None,
        "on_event": None,
        "meta": {},
        "check": None,
        "callbacks": None,
        "record": None,
        "buffer_tokens": 16_384,
        "max_content_chars": None,
        "raw_chunks": False,
    },
    RetryConfig: {
        "attempts": 3,
        "max_retries": 6,
        "base_delay_ms": 1000,
        "max_delay_ms": 10_000,
        "strategy": BackoffStrategy.FIXED_JITTER,
        "max_retry_after_ms": 60_000,
        "fallback_on_refusal": False,
        "should_retry": None,
        "per_error_delay_ms": {},
    },
    TimeoutConfig: {
        "initial_token_ms": 5000,
        "inter_token_ms": 10_000,
        "content_ms": 600_000,
        "total_ms": None,
    },
    Source: {"open": REQUIRED, "name": None, "continuation": "auto"},
    Attempt: {
        "number": REQUIRED,
        "source": REQUIRED,
        "source_index": REQUIRED,
        "reason": "first",
        "prefix": "",
    },
    L0Event: {
        "type": REQUIRED,
        "value": None,
        "data": None,
        "error": None,
        "usage": None,
        "timestamp": None,
    },
    ChildSpec: {
        "name": REQUIRED,
        "actor": REQUIRED,
        "restart": "permanent",
        "significant": False,
        "start_ms": 5000,
        "stop_ms": 5000,
        "subscribes": None,
        "session": None,
        "capacity": 1024,
        "overflow": "block",
    },
}

STATE = {
    "content": "",
    "checkpoint": "",
    "token_count": 0,
    "model_retry_count": 0,
    "network_retry_count": 0,
    "fallback_index": 0,
    "violations": [],
    "drift_detected": False,
    "completed": False,
    "aborted": False,
    "first_token_at": None,
    "last_token_at": None,
    "duration": None,
    "resumed": False,
    "network_errors": [],
    "phase": "idle",
    "finish_reason": None,
    "usage": {},
    "tool_calls": [],
    "committed": 0,
    "model": None,
}

CODES = """
    STREAM_ABORTED INITIAL_TOKEN_TIMEOUT INTER_TOKEN_TIMEOUT CONTENT_TIMEOUT TOTAL_TIMEOUT ZERO_OUTPUT
    GUARDRAIL_VIOLATION FATAL_GUARDRAIL_VIOLATION DRIFT_DETECTED INVALID_STREAM ALL_STREAMS_EXHAUSTED
    NETWORK_ERROR RATE_LIMITED PROVIDER_ERROR AUTHENTICATION CONTEXT_LENGTH CONTENT_REFUSED
    INVALID_REQUEST STREAM_TRUNCATED CONTENT_LIMIT ADAPTER_NOT_FOUND SCHEMA_INVALID
    INVALID_STATE_TRANSITION FEATURE_NOT_ENABLED INTERNAL
"""
CATEGORIES = (
    "NETWORK TIMEOUT TRANSIENT MODEL CONTENT GUARDRAIL DRIFT PROVIDER VALIDATION REFUSED FATAL INTERNAL"
)

# How each callable may be called, without annotations: names, kinds and defaults.
SIGNATURES: dict[str, str] = {
    "l0": "(options=None, /, *, system=None, **fields)",
    "get_text": "(result)",
    "consume_stream": "(stream)",
    "fold": "(events)",
    "enable_debug": "()",
    "categorize_error": "(exc)",
    "register_adapter": "(adapter)",
    "detect_adapter": "(stream, hint=None)",
    "L0Result.texts": "(self, *, on_rollback=None)",
    "L0Result.text": "(self)",
    "L0Result.abort": "(self, reason=None)",
    "L0Result.aclose": "(self)",
    "L0Error.to_json": "(self)",
    "L0Error.from_json": "(data)",
    "L0Error.to_user_message": "(self)",
    "ActorSystem": "(*, name='l0actors', sinks=(), clock=Clock)",
    "ActorSystem.l0": "(self, options=None, /, **fields)",
    "ActorSystem.stop": "(self, *, drain=True, timeout_ms=10000)",
    "ActorSystem.snapshot": "(self)",
    "ActorSystem.attach": (
        "(self, sink, *, name=None, subscribes=None, capacity=1024, overflow='drop_oldest', "
        "restart='permanent')"
    ),
    "Actor.on_start": "(self, context)",
    "Actor.receive": "(self, message)",
    "Actor.on_stop": "(self, reason)",
    "ActorRef.tell": "(self, message)",
    "ActorRef.ask": "(self, message, *, timeout_ms)",
    "Supervisor": (
        "(*, strategy='one_for_one', max_restarts=3, within_s=5.0, children=(), backoff=None, decider=None)"
    ),
    "Bus.publish": "(self, message)",
    "Bus.publish_nowait": "(self, message)",
    "RetryManager": "(config=None, rng=None)",
    "RetryManager.should_retry": "(self, error)",
    "RetryManager.record_attempt": "(self, error)",
    "RetryManager.get_delay_ms": "(self, error)",
    "RetryManager.get_state": "(self)",
    "RetryManager.reset": "(self)",
    "StateMachine.transition": "(self, event)",
    "StateMachine.subscribe": "(self, listener)",
}


def called(name: str) -> str:
    """Return the signature of a public callable without its annotations."""
    target: Any = l0actors
    for part in name.split("."):
        target = getattr(target, part)
    parameters = [
        parameter.replace(annotation=parameter.empty)
        for parameter in inspect.signature(target).parameters.values()
    ]
    text = str(inspect.Signature(parameters))
    return "".join(text.partition("clock=")[:2]) + "Clock)" if "clock=" in text else text


def test_the_names_are_pinned_and_sorted() -> None:
    """Exactly these names import from `l0actors`, in ASCII order."""
    assert l0actors.__all__ == sorted(NAMES.split())
    assert all(hasattr(l0actors, name) for name in l0actors.__all__)


@pytest.mark.parametrize("kind", FIELDS, ids=lambda kind: str(kind.__name__))
def test_a_struct_keeps_its_fields_and_defaults(kind: type[Any]) -> None:
    """Structs of options, events and specifications are frozen, with these fields and defaults."""
    assert kind.__struct_config__.frozen
    told = {
        field.name: REQUIRED
        if field.required
        else field.default
        if field.default is not msgspec.NODEFAULT
        else field.default_factory()
        for field in msgspec.structs.fields(kind)
    }
    assert told == FIELDS[kind]


@pytest.mark.parametrize("kind", [L0Options, RetryConfig, TimeoutConfig, Attempt, ChildSpec])
def test_option_structs_take_keywords_only(kind: type[Any]) -> None:
    """A field may be added anywhere without breaking a caller."""
    with pytest.raises(TypeError):
        kind(1)


def test_a_state_starts_with_these_fields() -> None:
    """The consumer's state has the documented fields from the start, each with its empty value."""
    state = L0State()
    assert {name: getattr(state, name) for name in STATE} == STATE


@pytest.mark.parametrize("name", SIGNATURES)
def test_a_callable_keeps_its_signature(name: str) -> None:
    """Parameters keep their names, kinds and defaults."""
    assert called(name) == SIGNATURES[name]


def test_a_result_has_its_attributes() -> None:
    """What is not called is read."""
    names = ("stream", "state", "errors", "stream_id", "attempts", "raw_chunks")
    assert all(isinstance(inspect.getattr_static(L0Result, name), property) for name in names)
    assert all(hasattr(L0Result, name) for name in ("__aiter__", "__aenter__", "__aexit__"))
    assert isinstance(inspect.getattr_static(ActorRef, "path"), object)


def test_the_words_are_pinned() -> None:
    """Event types, delivery modes, codes, categories and strategies keep their values."""
    assert [each.value for each in EventType] == [
        "token",
        "message",
        "data",
        "progress",
        "tool_call",
        "rollback",
        "error",
        "complete",
    ]
    assert [each.value for each in Delivery] == ["live", "append", "checked", "final"]
    assert [each.value for each in ErrorCode] == CODES.split()
    assert [each.name for each in ErrorCategory] == CATEGORIES.split()
    assert [each.value for each in BackoffStrategy] == [
        "exponential",
        "linear",
        "fixed",
        "full-jitter",
        "fixed-jitter",
    ]


def test_an_error_has_its_attributes() -> None:
    """`L0Error` says what, where, when, and whether another attempt could help."""
    error = L0Error("no", code=ErrorCode.RATE_LIMITED)
    assert (error.code, error.category, error.recoverable, error.has_checkpoint) == (
        ErrorCode.RATE_LIMITED,
        ErrorCategory.TRANSIENT,
        True,
        False,
    )
    assert error.timestamp > 0
    context = "checkpoint token_count content_length model_retry_count network_retry_count fallback_index"
    assert all(hasattr(error.context, name) for name in [*context.split(), "attempt", "source", "provider"])


def test_the_parts_of_a_system_are_there() -> None:
    """Embedding needs these, with the defaults of the documentation."""
    assert Actor.subscribes == ()
    assert ActorSystem.DRAIN_MS == 10_000
    assert {"publish", "publish_nowait", "subscribe"} <= set(dir(Bus))
    assert {"tell", "ask", "stop"} <= set(dir(ActorRef))
    assert Supervisor().max_restarts == 3
    assert RetryManager().get_state() == {
        "model_retry_count": 0,
        "network_retry_count": 0,
        "total_retries": 0,
    }
