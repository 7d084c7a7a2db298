"""Actors: what handles one message at a time, and who restarts it."""

from l0actors.actors.actor import (
    Actor,
    ActorContext,
    ActorDied,
    ActorError,
    ActorRef,
    AskCycle,
    AskTimeout,
    StopReason,
    Worker,
)
from l0actors.actors.cell import MailboxOverflow
from l0actors.actors.snapshot import ActorSnapshot, MailboxSnapshot, SystemSnapshot
from l0actors.actors.supervisor import (
    ChildSpec,
    Escalated,
    RestartBackoff,
    RestartIntensityExceeded,
    StartFailed,
    StartTimeout,
    Supervisor,
)

__all__ = [
    "Actor",
    "ActorContext",
    "ActorDied",
    "ActorError",
    "ActorRef",
    "ActorSnapshot",
    "AskCycle",
    "AskTimeout",
    "ChildSpec",
    "Escalated",
    "MailboxOverflow",
    "MailboxSnapshot",
    "RestartBackoff",
    "RestartIntensityExceeded",
    "StartFailed",
    "StartTimeout",
    "StopReason",
    "Supervisor",
    "SystemSnapshot",
    "Worker",
]
