"""The public API as users write it. It is type-checked and never run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import anthropic
import openai
from typing_extensions import assert_type

from l0actors import (
    Actor,
    ActorContext,
    ActorRef,
    ActorSystem,
    Adapter,
    Attempt,
    AttemptRecord,
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
    LogSink,
    Message,
    ObservabilityEvent,
    OpenAIAdapter,
    Phase,
    RetryConfig,
    RetryManager,
    ShutdownReport,
    Source,
    StopReason,
    Subscription,
    Supervisor,
    TimeoutConfig,
    ToolCall,
    categorize_error,
    consume_stream,
    detect_adapter,
    fold,
    get_text,
    l0,
    register_adapter,
)
from l0actors.actors.snapshot import SystemSnapshot
from l0actors.bus.messages import SessionCompleted, SessionFailed, Tokens
from l0actors.testing import Cut, FaultProvider, Reply, Request, Stall


async def one_call(client: openai.AsyncOpenAI, other: anthropic.AsyncAnthropic) -> None:
    """Any function that opens a stream is a source; `Source` gives it a name."""
    result = await l0(
        stream=lambda: client.chat.completions.create(model="gpt-4o", messages=[], stream=True),
        fallbacks=[
            Source(
                lambda: other.messages.create(model="m", messages=[], max_tokens=9, stream=True),
                name="anthropic",
            ),
            lambda: client.responses.create(model="gpt-4o", input="x", stream=True),
        ],
        delivery="append",
    )
    assert_type(result, L0Result)
    async for event in result:
        assert_type(event, L0Event)
        if event.type is EventType.TOKEN:
            assert_type(event.value, str | None)
    assert_type(result.state, L0State)
    assert_type(result.state.content, str)
    assert_type(result.state.token_count, int)
    assert_type(result.state.usage, dict[str, int])
    assert_type(result.state.phase, Phase)
    assert_type(result.state.tool_calls, list[ToolCall])
    assert_type(result.errors, list[Exception])
    assert_type(result.attempts, list[AttemptRecord])
    assert_type(result.attempts[0].error, L0Error | None)
    assert_type(result.stream_id, str)
    assert_type(result.stream, AsyncIterator[L0Event])


async def words() -> AsyncIterator[str]:
    """A plain source."""
    yield "word"


async def options() -> None:
    """Options are structs; a call takes one, or its fields."""
    wanted = L0Options(
        stream=words,
        retry=RetryConfig(attempts=1, should_retry=lambda error, state, attempt, category: False),
        timeout=TimeoutConfig(total_ms=None, initial_token_ms=500),
        delivery=Delivery.FINAL,
        adapter=OpenAIAdapter(choice_index=1),
        on_event=observe,
        meta={"user": 7},
        max_content_chars=100_000,
    )
    result = await l0(wanted, delivery="live")
    assert_type(await result.text(), str)
    assert_type(await get_text(await l0(wanted)), str)
    assert_type(await consume_stream(await l0(wanted)), str)
    assert_type(fold([L0Event(EventType.TOKEN, "x")]), str)
    async with await l0(wanted) as closing:
        async for text in closing.texts(on_rollback=lambda keep: None):
            assert_type(text, str)
        closing.abort("enough")


def open_again(attempt: Attempt) -> AsyncIterator[str]:
    """A source may want to know about the attempt."""
    assert_type(attempt.number, int)
    assert_type(attempt.messages([{"role": "user"}]), list[Any])
    return words()


async def observe(event: ObservabilityEvent) -> None:
    """Take an event of the catalogue."""
    assert_type(event.meta, dict[str, Any])


async def errors() -> None:
    """One exception, with everything that is known."""
    try:
        await (await l0(stream=open_again)).text()
    except L0Error as error:
        assert_type(error.code, ErrorCode)
        assert_type(error.category.group, ErrorCategory)
        assert_type(error.provider.retry_after_ms, float | None)
        assert_type(L0Error.from_json(error.to_json()), L0Error)
        assert_type(error.to_user_message(), str)
    assert_type(categorize_error(ValueError()), ErrorCategory)


class TokenMeter(Actor):
    """A sink of one's own narrows the message to what it subscribes to."""

    subscribes = (Tokens, SessionCompleted)

    async def on_start(self, context: ActorContext) -> None:
        """Begin."""
        assert_type(context.ref, ActorRef)
        assert_type(context.bus, Bus)

    async def receive(self, message: Tokens | SessionCompleted) -> None:
        """Take one."""
        if isinstance(message, Tokens):
            assert_type(message.texts, tuple[str, ...])

    async def on_stop(self, reason: StopReason) -> None:
        """End."""


class Question(Message, frozen=True, kw_only=True):
    """A message of one's own."""

    text: str


async def embedding() -> None:
    """A service holds a system."""
    async with ActorSystem(name="chat", sinks=[LogSink()]) as system:
        assert_type(system, ActorSystem)
        ref = system.attach(TokenMeter(), overflow="drop_oldest", capacity=4096)
        assert_type(ref, ActorRef)
        system.attach(TokenMeter, name="fresh")
        system.attach(print, subscribes=(SessionFailed,))
        ref.tell(Question(text="?"))
        await ref.ask(Question(text="?"), timeout_ms=100)
        await ref.stop()
        assert_type(await system.l0(stream=words), L0Result)
        assert_type(await l0(stream=words, system=system), L0Result)
        assert_type(system.snapshot(), SystemSnapshot)
        assert_type(system.snapshot().to_json(), dict[str, Any])
        assert_type(await system.stop(drain=True, timeout_ms=10_000), ShutdownReport)


def trees() -> Supervisor:
    """Supervise actors of one's own."""
    return Supervisor(
        strategy="rest_for_one",
        max_restarts=3,
        within_s=5,
        children=[ChildSpec(name="meter", actor=TokenMeter, restart="transient", significant=True)],
        decider={OSError: "restart", KeyError: "escalate"},
    )


async def bus() -> None:
    """Publish and subscribe without an actor."""
    line = Bus()
    with line.subscribe(Tokens | Question, capacity=8) as subscription:
        assert_type(subscription, Subscription)
        await line.publish(Question(text="?"))
        async for message in subscription:
            assert_type(message, Message)


class Mine:
    """An adapter needs a name, `detect` and `wrap`."""

    name = "mine"

    def detect(self, stream: Any, /) -> bool:
        """Return whether it is ours."""
        return isinstance(stream, list)

    async def wrap(self, stream: Any, /) -> AsyncIterator[L0Event]:
        """Yield its events."""
        yield L0Event(EventType.COMPLETE)


def adapters() -> None:
    """Adapters are known by protocol, not by base class."""
    mine: Adapter = Mine()
    assert_type(register_adapter(mine), Callable[[], None])
    assert_type(detect_adapter([], hint=mine), Adapter)


def retries() -> None:
    """The policy for a loop of one's own."""
    manager = RetryManager(RetryConfig.minimal())
    assert_type(manager.should_retry(OSError()), bool)
    assert_type(manager.get_delay_ms(OSError()), int)


def answer(request: Request) -> Reply:
    """A reply may be made for the request."""
    return Reply(str(request.model), fault=[Stall(after_tokens=1, for_ms=5), Cut(at="end")])


async def tests() -> None:
    """The provider that fails, for users' tests."""
    async with FaultProvider(default=answer) as provider:
        provider.script(Reply("x"), Reply.status(429, retry_after=1), answer, wire="chat")
        assert_type(provider.openai_url, str)
        assert_type(provider.requests[0].body["model"], Any)
