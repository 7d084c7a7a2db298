"""Three sinks on one system: an actor that counts, a function, and one that crashes all the time.

python -m examples.custom_sink
"""

import asyncio
from typing import NoReturn

import openai

from l0actors import Actor, ActorContext, ActorRef, ActorSystem, StopReason
from l0actors.bus.messages import ActorDown, SessionCompleted, SessionEnded, Tokens
from l0actors.testing import FaultProvider, Reply

SESSIONS = 4


class TokenMeter(Actor):
    """Counts pieces of text per session. One `Tokens` message holds all that came in a turn of the loop."""

    subscribes = (Tokens, SessionEnded)

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

    async def on_start(self, context: ActorContext) -> None:
        """Run once per life, before the first message."""
        print(f"{context.path}: started")

    async def receive(self, message: Tokens | SessionEnded) -> None:
        """Add up, and print the sum when a session ends, however it ended."""
        if isinstance(message, Tokens):
            self.counts[message.session] = self.counts.get(message.session, 0) + len(message.texts)
        else:
            print(f"meter: {self.counts.pop(message.session, 0)} tokens")

    async def on_stop(self, reason: StopReason) -> None:
        """Run once per life, after the last message."""
        print(f"meter: stopped ({reason.value}), {len(self.counts)} sessions left open")


def tell(message: SessionCompleted) -> None:
    """Print how a session ended. A function is a sink too, sync or async."""
    print(f"tell: finish reason {message.finish_reason}, {message.content_length} characters")


def broken(message: SessionCompleted) -> NoReturn:
    """Fail on every message."""
    raise RuntimeError("the disk is full")


class Mourner(Actor):
    """Watches another actor, and says so when it is gone for good."""

    def __init__(self, ref: ActorRef) -> None:
        self.ref = ref
        self.over = asyncio.Event()

    async def on_start(self, context: ActorContext) -> None:
        """Watch. A restart is no death: there is one message, at the end."""
        context.watch(self.ref)

    async def receive(self, message: ActorDown) -> None:
        """Hear of the end."""
        print(f"{message.path}: given up")
        self.over.set()


async def main() -> None:
    """Run sessions beside the sinks. No session notices that one of them is broken."""
    async with (
        FaultProvider(default=Reply("A sink costs its own messages and nothing else.")) as provider,
        openai.AsyncOpenAI(base_url=provider.openai_url, api_key="none", max_retries=0) as client,
        ActorSystem(name="demo", sinks=[TokenMeter()]) as system,
    ):
        system.attach(tell, subscribes=SessionCompleted)
        mourner = Mourner(system.attach(broken, subscribes=SessionCompleted))
        system.attach(mourner)
        for _ in range(SESSIONS):
            result = await system.l0(
                stream=lambda: client.chat.completions.create(
                    model="gpt-4o", messages=[{"role": "user", "content": "What is a sink?"}], stream=True
                )
            )
            print(await result.text())
        await mourner.over.wait()  # restarted three times in five seconds, then no more
        print(f"not delivered: {system.snapshot().dead_letters}")


if __name__ == "__main__":
    asyncio.run(main())
