"""Counting and logging what was not delivered."""

import asyncio
from collections import Counter
from typing import Any

from l0actors.bus.messages import DeadLetterReason, Message

_QUIET = {"no_subscriber", "superseded", "stopped", "draining"}
_INTERVAL_S = 10.0


class DeadLetterOffice:
    """Counts every dead letter and logs a few: per reason the first at once, then one in 10 s.

    Attributes:
        counts: how many there were, by reason.
    """

    def __init__(self, log: Any) -> None:
        self.counts: Counter[str] = Counter()
        self._log = log
        self._quiet_until: dict[str, float] = {}
        self._suppressed: Counter[str] = Counter()

    def record(self, message: Message, reason: DeadLetterReason, path: str) -> None:
        """Count one, and log it if it is the first of its reason for a while."""
        self.counts[reason] += 1
        now = _loop_time()
        if now < self._quiet_until.get(reason, now):
            self._suppressed[reason] += 1
            return
        self._quiet_until[reason] = now + _INTERVAL_S
        write = self._log.debug if reason in _QUIET else self._log.warning
        write(
            "dead_letter",
            reason=reason,
            message_type=type(message).__name__,
            seq=message.seq,
            session=message.session,
            path=path,
            suppressed=self._suppressed.pop(reason, 0),
        )


def _loop_time() -> float:
    try:
        return asyncio.get_running_loop().time()
    except RuntimeError:  # called outside a loop: only the first of a reason is logged
        return 0.0
