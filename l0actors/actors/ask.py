"""Asking: a message that waits for an answer, and all the ways in which none comes."""

import asyncio
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

from l0actors.actors.actor import ActorDied, AskCycle, AskTimeout, AskUnhandled
from l0actors.bus.messages import DeadLetterReason, Message
from l0actors.bus.overflow import MailboxFull

if TYPE_CHECKING:
    from l0actors.actors.cell import Cell

current: ContextVar["Cell | None"] = ContextVar("l0actors_cell", default=None)
"""The actor whose task, or whose task's descendant, runs."""


class _Failure(NamedTuple):
    """An ask that failed: a value, so that an asker who left leaves no unseen exception."""

    error: Exception


class Ask(Message, frozen=True, kw_only=True):
    """A message that waits for an answer, as it lies in a mailbox.

    Attributes:
        message: what was asked.
        answer: a future of the answer, or of a `_Failure`; done when nobody waits any more.
        target: the cell of the actor that was asked.
    """

    message: Message
    answer: Any
    target: Any

    def expired(self) -> bool:
        """Whether nobody waits for the answer any more."""
        done: bool = self.answer.done()
        return done

    def reply(self, result: object) -> None:
        """Answer it; None of the asker's business if it is too late."""
        if not self.expired():
            self.answer.set_result(result)

    def fail(self, error: Exception) -> None:
        """Tell the asker that no answer comes."""
        self.reply(_Failure(error))

    def lost(self, reason: DeadLetterReason) -> None:
        """Tell the asker that the message was not handled, and why."""
        path = self.target.path
        if reason in ("dropped_oldest", "dropped_newest"):
            self.fail(MailboxFull(path, self.target.mailbox.capacity))
        elif reason == "unhandled":
            self.fail(AskUnhandled(path, type(self.message).__name__))
        else:
            self.fail(ActorDied(path))


async def ask(target: "Cell", message: Message, timeout_ms: float) -> Any:
    """Put a message into the target's mailbox and wait for the answer; see `ActorRef.ask`."""
    asker = _asker()
    _refuse_a_cycle(asker, target)
    if target.gone:
        target.dead_letter(message, "stopped")
        raise ActorDied(target.path)
    loop = asyncio.get_running_loop()
    asked = Ask(message=message, answer=loop.create_future(), target=target)
    expiry = loop.call_later(timeout_ms / 1000, asked.fail, AskTimeout(target.path, timeout_ms))
    if asker is not None:
        asker.waiting_for = target
    try:
        target.mailbox.put_nowait(asked)
        result = await asked.answer
    finally:
        expiry.cancel()
        asked.answer.cancel()
        if asker is not None:
            asker.waiting_for = None
    if type(result) is _Failure:
        raise result.error
    return result


def _asker() -> "Cell | None":
    """Return the actor that asks, if it is one: in a task that it made it can go on meanwhile."""
    cell = current.get()
    return cell if cell is not None and cell.task is asyncio.current_task() else None


def _refuse_a_cycle(asker: "Cell | None", target: "Cell") -> None:
    link: Cell | None = target if asker is not None else None
    while link is not None:
        if link is asker:
            raise AskCycle(target.path)
        link = link.waiting_for
