"""Reliable LLM token streams: a supervised actor system on a typed message bus."""

from l0actors.actors import (
    Actor,
    ActorContext,
    ActorDied,
    ActorError,
    ActorRef,
    AskCycle,
    AskTimeout,
    ChildSpec,
    StopReason,
    Supervisor,
    Worker,
)
from l0actors.bus import Bus, MailboxFull, Message, Subscription
from l0actors.classify import categorize_error
from l0actors.clock import Clock
from l0actors.errors import ErrorCategory, ErrorCode, ErrorContext, ErrorInfo, L0Error, RolledBackError
from l0actors.events import EventType, L0Event, consume_stream, fold
from l0actors.facade import get_text, l0
from l0actors.logs import enable_debug
from l0actors.observability import LogSink, ObservabilityEvent, ObservabilityEventType
from l0actors.options import (
    Attempt,
    BackoffStrategy,
    Delivery,
    L0Options,
    RetryConfig,
    Source,
    TimeoutConfig,
)
from l0actors.providers import (
    Adapter,
    AnthropicAdapter,
    OpenAIAdapter,
    PlainAdapter,
    detect_adapter,
    register_adapter,
)
from l0actors.recovery import RetryManager
from l0actors.session import L0Result
from l0actors.state import AttemptRecord, L0State, Phase, StateMachine, ToolCall, Transition
from l0actors.system import ActorSystem, ShutdownReport

__version__ = "0.1.0"

__all__ = [
    "Actor",
    "ActorContext",
    "ActorDied",
    "ActorError",
    "ActorRef",
    "ActorSystem",
    "Adapter",
    "AnthropicAdapter",
    "AskCycle",
    "AskTimeout",
    "Attempt",
    "AttemptRecord",
    "BackoffStrategy",
    "Bus",
    "ChildSpec",
    "Clock",
    "Delivery",
    "ErrorCategory",
    "ErrorCode",
    "ErrorContext",
    "ErrorInfo",
    "EventType",
    "L0Error",
    "L0Event",
    "L0Options",
    "L0Result",
    "L0State",
    "LogSink",
    "MailboxFull",
    "Message",
    "ObservabilityEvent",
    "ObservabilityEventType",
    "OpenAIAdapter",
    "Phase",
    "PlainAdapter",
    "RetryConfig",
    "RetryManager",
    "RolledBackError",
    "ShutdownReport",
    "Source",
    "StateMachine",
    "StopReason",
    "Subscription",
    "Supervisor",
    "TimeoutConfig",
    "ToolCall",
    "Transition",
    "Worker",
    "categorize_error",
    "consume_stream",
    "detect_adapter",
    "enable_debug",
    "fold",
    "get_text",
    "l0",
    "register_adapter",
]
