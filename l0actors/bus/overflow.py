"""What a mailbox does when it is full, and why it may take nothing more."""

from typing import Literal, get_args

Overflow = Literal["block", "drop_oldest", "drop_newest", "conflate", "fail"]
"""What a full mailbox does with the next ordinary message:

- `block`: the sender waits, or gets `MailboxFull` from a put that cannot wait;
- `drop_oldest`, `drop_newest`: that message is dead-lettered, and a `Lagged` marks the gap;
- `conflate`: it is joined with the newest queued one, full or not, as its `joined` says; one that
  cannot be joined is queued beyond the capacity, and the owner is failed;
- `fail`: it is dead-lettered as with `drop_newest`, and the owner is failed.
"""

OVERFLOWS: tuple[str, ...] = get_args(Overflow)
"""The same as values."""

CloseReason = Literal["draining", "stopped", "killed"]
"""Why a mailbox takes nothing more."""


class MailboxFull(Exception):
    """A blocking mailbox has no room and the sender cannot wait.

    Attributes:
        owner: the path of the mailbox's owner.
        capacity: how many ordinary messages it holds.
    """

    def __init__(self, owner: str, capacity: int) -> None:
        super().__init__(
            f"the mailbox of {owner or 'an unnamed subscriber'} is full ({capacity} messages): "
            "await publish() or put() to wait for room"
        )
        self.owner = owner
        self.capacity = capacity
