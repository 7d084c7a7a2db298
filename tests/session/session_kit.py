"""Sessions under test: the real SDKs as sources, a consumer that checks each event, a loop that tells."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import anthropic
import openai

from l0actors import EventType, L0Event, L0Result, RetryConfig, TimeoutConfig
from l0actors.testing import FaultProvider, Reply, Request, Wire

T = TypeVar("T")


Answer = Callable[[int], Reply]
"""Makes the reply to the n-th request (from 1) of one model."""

QUICK = RetryConfig(base_delay_ms=1)
PATIENT = TimeoutConfig(initial_token_ms=20_000, inter_token_ms=20_000)
HASTY = TimeoutConfig(initial_token_ms=250, inter_token_ms=250, content_ms=600)


@dataclass
class Seen:
    """What a consumer got, and how it ended."""

    result: L0Result
    events: list[L0Event] = field(default_factory=list)
    text: str = ""
    error: Exception | None = None

    def of(self, kind: EventType) -> list[L0Event]:
        """Return the events of one type."""
        return [event for event in self.events if event.type is kind]

    @property
    def tokens(self) -> list[str]:
        """The pieces of text, those that were taken back included."""
        return [str(event.value) for event in self.of(EventType.TOKEN)]

    @property
    def keeps(self) -> list[int]:
        """What each rollback kept."""
        return [event.data["keep"] for event in self.of(EventType.ROLLBACK) if event.data is not None]

    def take(self, event: L0Event) -> None:
        """Fold one event, and compare with the state."""
        self.events.append(event)
        if event.type is EventType.TOKEN:
            self.text += str(event.value)
        elif event.type is EventType.ROLLBACK and event.data is not None:
            assert 0 <= event.data["keep"] < len(self.text), "a rollback that takes nothing back"
            self.text = self.text[: event.data["keep"]]
        assert self.text == self.result.state.content, f"after {event!r}"

    def check_end(self) -> None:
        """Compare what was seen with how the session ended."""
        assert self.text == self.result.state.content
        complete = self.of(EventType.COMPLETE)
        if self.error is None and not self.result.state.aborted:
            assert complete == self.events[-1:], "one COMPLETE, and it is last"
            assert self.result.state.completed
        else:
            assert not complete


async def consume(result: L0Result, after: Callable[[L0Event], Any] | None = None) -> Seen:
    """Take every event; the fold equals `state.content` after each of them."""
    seen = Seen(result)
    try:
        async for event in result:
            seen.take(event)
            if after is not None:
                after(event)
    except Exception as error:
        if isinstance(error, AssertionError):
            raise
        seen.error = error
    seen.check_end()
    return seen


async def settle(turns: int = 50) -> None:
    """Give the loop some turns."""
    for _ in range(turns):
        await asyncio.sleep(0)


def ours(loop: asyncio.AbstractEventLoop) -> list[asyncio.Task[Any]]:
    """Return the tasks of the loop that are not those of the fault provider, nor the running one."""
    served = "FaultProvider._serve"
    return [
        task
        for task in asyncio.all_tasks(loop)
        if getattr(task.get_coro(), "__qualname__", "") != served and task is not asyncio.current_task(loop)
    ]


async def nothing_left() -> None:
    """Fail if a task is left that does not end within a few turns of the loop."""
    loop = asyncio.get_running_loop()
    for _ in range(200):
        if not ours(loop):
            return await settle(3)  # what is cancelled when a future is done
        await asyncio.sleep(0)
    raise AssertionError(f"left behind: {ours(loop)}")


class Bench:
    """One loop, one provider and one client of each SDK, for many sessions.

    Every model name is a session's own, so that its requests find its answers.

    Attributes:
        answers: what is answered, by model; a healthy text if nothing is set.
        reports: what the loop's exception handler was called with.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.answers: dict[str, Answer] = {}
        self.reports: list[dict[str, Any]] = []
        self.provider = FaultProvider(default=self._answer)
        self._counts: dict[str, itertools.count[int]] = {}
        self._names = itertools.count(1)
        loop.set_exception_handler(lambda _, report: self.reports.append(report))

    async def _open(self, stack: contextlib.AsyncExitStack) -> None:
        await stack.enter_async_context(self.provider)
        self.openai = await stack.enter_async_context(
            openai.AsyncOpenAI(
                base_url=self.provider.openai_url,
                api_key="test",
                max_retries=0,
                http_client=openai.DefaultAsyncHttpxClient(verify=False),
            )
        )
        self.anthropic = await stack.enter_async_context(
            anthropic.AsyncAnthropic(
                base_url=self.provider.anthropic_url,
                api_key="test",
                max_retries=0,
                http_client=anthropic.DefaultAsyncHttpxClient(verify=False),
            )
        )

    def _answer(self, request: Request) -> Reply:
        model = str(request.model)
        number = next(self._counts.setdefault(model, itertools.count(1)))
        return self.answers[model](number) if model in self.answers else Reply("warm")

    def source(self, wire: Wire, answer: Answer, **options: Any) -> Callable[[], Any]:
        """Return a source that gets what `answer` makes, through the SDK of that wire."""
        model = f"model-{next(self._names):05}"  # of one length, and so are the answers
        self.answers[model] = answer
        if wire == "chat":
            return lambda: self.openai.chat.completions.create(
                model=model, messages=[], stream=True, **options
            )
        if wire == "responses":
            return lambda: self.openai.responses.create(model=model, input="x", stream=True, **options)
        return lambda: self.anthropic.messages.create(
            model=model, messages=[], max_tokens=99, stream=True, **options
        )

    def run(self, scenario: Coroutine[Any, Any, T]) -> T:
        """Run `scenario`; then no response is under way, no task is left and no exception unseen."""
        result = self.loop.run_until_complete(scenario)
        self.loop.run_until_complete(self._check())
        assert not self.reports, f"unseen: {self.reports}"
        return result

    async def _check(self) -> None:
        await nothing_left()
        await self.provider.wait_idle(timeout_ms=5000)
        assert self.provider.open_streams == 0


@contextlib.contextmanager
def bench() -> Iterator[Bench]:
    """Make a bench and take it down; what was never retrieved is an error then."""
    loop = asyncio.new_event_loop()
    made = Bench(loop)
    stack = contextlib.AsyncExitStack()
    try:
        loop.run_until_complete(made._open(stack))
        yield made
        loop.run_until_complete(stack.aclose())
        gc.collect()
        loop.run_until_complete(nothing_left())
        assert not made.reports, f"unseen: {made.reports}"
    finally:
        loop.run_until_complete(stack.aclose())
        loop.close()


def first_then(first: Reply, then: Reply) -> Answer:
    """Return an answer that is `first` once and `then` from there on."""
    return lambda number: first if number == 1 else then


async def pieces(*texts: str, error: BaseException | None = None) -> AsyncIterator[str]:
    """Yield texts, then end or fail."""
    for text in texts:
        yield text
    if error is not None:
        raise error
