"""A service with one actor system: sinks, several sessions at once, a look inside, an orderly end.

python -m examples.embed_in_a_service
"""

import asyncio
from collections.abc import AsyncIterator

import openai

from l0actors import Actor, ActorSystem, ShutdownReport
from l0actors.bus.messages import SessionCompleted, SessionFailed
from l0actors.testing import Close, FaultProvider, Reply, Request, Stall


class Accounts(Actor):
    """Counts how sessions ended. It runs beside them: however slow it is, no stream waits for it."""

    subscribes = (SessionCompleted, SessionFailed)

    def __init__(self) -> None:
        self.completed = self.failed = self.attempts = 0

    async def receive(self, message: SessionCompleted | SessionFailed) -> None:
        """Book one session."""
        self.attempts += message.attempts
        if isinstance(message, SessionCompleted):
            self.completed += 1
        else:
            self.failed += 1


class ChatService:
    """What a web application would hold: `start` and `stop` belong into its lifespan."""

    def __init__(self, client: openai.AsyncOpenAI) -> None:
        self.client = client
        self.accounts = Accounts()
        self.system = ActorSystem(name="chat", sinks=[self.accounts])

    async def start(self) -> None:
        """Start the actor system; a streaming endpoint may use it from now on."""
        await self.system.start()

    async def answer(self, question: str) -> AsyncIterator[str]:
        """Yield the answer as it comes. Nothing is taken back, so it can be sent as plain chunks."""
        result = await self.system.l0(
            stream=lambda: self.client.chat.completions.create(
                model="gpt-4o", messages=[{"role": "user", "content": question}], stream=True
            ),
            delivery="append",
        )
        async with result:  # a client that disconnects cancels us: this closes the provider's connection
            async for text in result.texts():
                yield text

    async def stop(self) -> ShutdownReport:
        """Let the streams in flight come to their end, for at most ten seconds."""
        return await self.system.stop(drain=True, timeout_ms=10_000)


async def collect(texts: AsyncIterator[str]) -> str:
    """Return all of it as one text."""
    return "".join([text async for text in texts])


def provided(request: Request) -> Reply:
    """Answer each question with itself, and stop half way until the provider is released."""
    question = request.body["messages"][0]["content"]
    return Reply(f"You asked: {question}", fault=Stall(after_tokens=2))


async def main() -> None:
    """Run four sessions at once, look at the tree, and stop while they are under way."""
    async with FaultProvider(default=provided) as provider:
        provider.script(Reply("lost", fault=Close(at="start")))  # the first request; its retry is healthy
        async with openai.AsyncOpenAI(base_url=provider.openai_url, api_key="none", max_retries=0) as client:
            service = ChatService(client)
            await service.start()
            questions = ("what is a bus?", "what is a mailbox?", "what is an actor?", "what is a sink?")
            answers = [asyncio.create_task(collect(service.answer(each))) for each in questions]

            await provider.wait_stalled(len(questions))
            tree = service.system.snapshot()
            print(f"{tree.sessions} sessions in flight")
            for actor in tree.root.children[0].children if tree.root else ():
                print(f"{actor.path}: {actor.state}, {actor.mailbox.dropped} messages dropped")

            stopping = asyncio.create_task(service.stop())
            provider.release()
            report = await stopping
            for answer in await asyncio.gather(*answers):
                print(answer)
            print(f"in flight at the stop: {report.completed} completed, {report.aborted} aborted")
            accounts = service.accounts
            print(f"booked: {accounts.completed} completed, in {accounts.attempts} attempts")


if __name__ == "__main__":
    asyncio.run(main())
