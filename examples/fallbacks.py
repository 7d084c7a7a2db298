"""Two providers: OpenAI is down, then refuses the key, so Anthropic answers.

python -m examples.fallbacks
"""

import asyncio

import anthropic
import openai

from l0actors import L0Error, RetryConfig, Source, l0
from l0actors.testing import FaultProvider, Reply

ANSWER = "A supervisor restarts its children, each by the rule that it was given."
QUESTION = "What does a supervisor do?"

RETRY = RetryConfig(max_retries=1, base_delay_ms=50)


def sources(first: openai.AsyncOpenAI, second: anthropic.AsyncAnthropic) -> list[Source]:
    """Return the sources in the order in which they are tried."""
    return [
        Source(
            lambda: first.chat.completions.create(
                model="gpt-4o", messages=[{"role": "user", "content": QUESTION}], stream=True
            ),
            name="openai",
        ),
        Source(
            lambda: second.messages.create(
                model="claude-haiku-4-5",
                messages=[{"role": "user", "content": QUESTION}],
                max_tokens=200,
                stream=True,
            ),
            name="anthropic",
        ),
    ]


async def answered(primary: Source, fallback: Source) -> None:
    """Show which source answered, and what the others said."""
    result = await l0(stream=primary, fallbacks=[fallback], retry=RETRY)
    print(await result.text())
    for attempt in result.attempts:
        why = f" ({attempt.error.code.value})" if attempt.error else ""
        print(f"attempt {attempt.number}, {attempt.source}: {attempt.outcome}{why}")
    print(f"answered by {result.state.source}, model {result.state.model}")


async def exhausted(primary: Source, fallback: Source) -> None:
    """Show what is raised when no source is left."""
    result = await l0(stream=primary, fallbacks=[fallback], retry=RETRY)
    try:
        await result.text()
    except L0Error as error:
        print(f"{error.code.value}: {error}")
        print(f"tell the user: {error.to_user_message()}")


async def main() -> None:
    """Ask twice: when one provider is down, and when both are."""
    async with FaultProvider() as provider:
        # 503 is retried, 401 is not: no retry makes a key valid, but the fallback has its own.
        provider.script(Reply.status(503), Reply.status(401), wire="chat")
        provider.script(Reply(ANSWER), wire="messages")
        first = openai.AsyncOpenAI(base_url=provider.openai_url, api_key="none", max_retries=0)
        second = anthropic.AsyncAnthropic(base_url=provider.anthropic_url, api_key="none", max_retries=0)
        async with first, second:
            await answered(*sources(first, second))
            provider.reply_with(Reply.status(529))
            await exhausted(*sources(first, second))


if __name__ == "__main__":
    asyncio.run(main())
