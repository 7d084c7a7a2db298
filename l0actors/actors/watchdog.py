"""One timer that watches the clocks of an attempt."""

import asyncio
from collections.abc import Awaitable, Callable

from l0actors.options import TimeoutConfig
from l0actors.recovery.clocks import AttemptClocks, Deadline

USAGE_S = 0.5
"""How long the usage may come after the finish reason: it is the next chunk, if it comes at all."""

LINGER_S = 0.1
"""How long the body may stay open after the last chunk: read to its end, the connection can be used again."""

STALL_S = 0.1
"""A timer that is later than this was held up by whoever blocked the loop: the provider did not wait."""


class Watchdog:
    """Tells when an attempt has waited too long, or long enough after its end.

    The timer is set for the next moment that matters and moved only when it fires: a token costs it
    nothing but a note.

    Args:
        limits: how long to wait.
        on_timeout: called once with the deadline that passed and how long the wait was, in milliseconds.
        on_lingered: called once when the body of a whole answer was held open.
    """

    def __init__(
        self,
        limits: TimeoutConfig,
        on_timeout: Callable[[Deadline, float], None],
        on_lingered: Callable[[], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._clocks = AttemptClocks(limits, self._loop.time())
        self._on_timeout = on_timeout
        self._on_lingered = on_lingered
        self._linger_until: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._stopped = False
        self._arm()

    @property
    def working(self) -> bool:
        """Whether there was a sign of work."""
        return self._clocks.working

    def heard(self) -> None:
        """Note that anything came, if only a ping."""
        self._clocks.heard(self._loop.time())

    def worked(self, *, visible: bool) -> None:
        """Note a sign of work."""
        first = not self._clocks.working
        self._clocks.worked(self._loop.time(), visible=visible)
        if first:
            self._arm()  # another limit applies from now on, and it may be a shorter one

    def linger(self, *, done: bool) -> None:
        """The answer is whole: allow a moment for the usage or, if `done`, for the end of the body."""
        until = self._loop.time() + (LINGER_S if done else USAGE_S)
        if self._linger_until is None or until < self._linger_until:
            self._linger_until = until
            self._arm()

    async def standing_still(self, waiting: Awaitable[None]) -> None:
        """Wait for others than the provider: its clocks stand still meanwhile."""
        since = self._loop.time()
        self._disarm()
        try:
            await waiting
        finally:
            self._excuse(self._loop.time() - since)
            self._arm()

    def _excuse(self, seconds: float) -> None:
        """Leave a time out of account that was not the provider's."""
        self._clocks.pause(seconds)
        if self._linger_until is not None:
            self._linger_until += seconds

    def stop(self) -> None:
        """Watch no more, whatever is still noted."""
        self._stopped = True
        self._disarm()

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _arm(self) -> None:
        deadline = self._clocks.next_deadline()
        at = deadline.at if deadline is not None and self._linger_until is None else self._linger_until
        self._disarm()
        self._timer = None if at is None or self._stopped else self._loop.call_at(at, self._tick, at)

    def _tick(self, due: float) -> None:
        now = self._loop.time()
        if now - due > STALL_S:
            self._excuse(now - due + STALL_S)  # what came meanwhile has yet to be read
        elif self._linger_until is not None:
            if now >= self._linger_until:
                self._on_lingered()
                return
        elif (deadline := self._clocks.next_deadline()) is not None and now >= deadline.at:
            self._on_timeout(deadline, (now - deadline.since) * 1000)
            return
        self._arm()
