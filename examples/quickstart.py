"""One reliable stream: its connection is reset half way, and the reader does not notice.

python -m examples.quickstart
"""

import asyncio

import openai

from l0actors import EventType, l0
from l0actors.testing import FaultProvider, Reply, Reset

ANSWER = "An actor has a mailbox, handles one message at a time, and shares nothing."


async def ask(client: openai.AsyncOpenAI) -> None:
    """Ask once, print the text as it comes, then what it took."""
    result = await l0(
        stream=lambda: client.chat.completions.create(
            model="gpt-4o",
            messages=[{"role": "user", "content": "What is an actor?"}],
            stream=True,
        )
    )
    async for event in result:
        if event.type is EventType.TOKEN:
            print(event.value, end="", flush=True)
    print()
    for attempt in result.attempts:
        why = f" ({attempt.error.code.value})" if attempt.error else ""
        print(f"attempt {attempt.number}: {attempt.outcome}{why} after {attempt.tokens} tokens")


async def main() -> None:
    """Run against a provider on this machine that resets the first connection after six tokens."""
    async with FaultProvider(default=Reply(ANSWER)) as provider:
        provider.script(Reply(ANSWER, fault=Reset(after_tokens=6)))
        async with openai.AsyncOpenAI(base_url=provider.openai_url, api_key="none", max_retries=0) as client:
            await ask(client)


if __name__ == "__main__":
    asyncio.run(main())
