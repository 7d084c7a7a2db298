"""The clocks of one attempt: when it has been silent, or without visible output, for too long."""

from typing import NamedTuple

from l0actors.errors import ErrorCode
from l0actors.options import TimeoutConfig


class Deadline(NamedTuple):
    """The moment at which an attempt has waited too long.

    Attributes:
        at: that moment, in seconds of the loop's clock.
        code: the error that it is then.
        clock: the clock's name: `initial_token`, `inter_token` or `content`.
        limit_ms: the limit that was set.
        since: since when it waits, in seconds of the loop's clock.
    """

    at: float
    code: ErrorCode
    clock: str
    limit_ms: float
    since: float


class AttemptClocks:
    """Three clocks over one timer. Times are seconds of the loop's clock.

    *Liveness* is reset by any event, *activity* is the first sign of work (text, tool calls, reasoning),
    *content* is reset by visible output. Before the first sign of work `initial_token_ms` applies,
    afterwards `inter_token_ms`; any event holds them off, but `content_ms` without visible output is
    the end of it.

    Attributes:
        working: whether there was a sign of work.
    """

    __slots__ = ("_alive", "_config", "_content", "working")

    def __init__(self, config: TimeoutConfig, now: float) -> None:
        self._config = config
        self._alive = self._content = now
        self.working = False

    def heard(self, now: float) -> None:
        """Note that anything came, if only a ping."""
        self._alive = now

    def worked(self, now: float, *, visible: bool) -> None:
        """Note a sign of work, and whether it can be seen."""
        self._alive = now
        self.working = True
        if visible:
            self._content = now

    def pause(self, seconds: float) -> None:
        """Leave `seconds` out of account: it was not the provider who was slow."""
        self._alive += seconds
        self._content += seconds

    def next_deadline(self) -> Deadline | None:
        """Return the next moment at which the wait is too long; None if no clock runs."""
        config = self._config
        deadlines = []
        if self.working and config.inter_token_ms is not None:
            deadlines.append(
                self._silence(ErrorCode.INTER_TOKEN_TIMEOUT, "inter_token", config.inter_token_ms)
            )
        if not self.working and config.initial_token_ms is not None:
            deadlines.append(
                self._silence(ErrorCode.INITIAL_TOKEN_TIMEOUT, "initial_token", config.initial_token_ms)
            )
        if (limit := config.content_ms) is not None:
            at = self._content + limit / 1000
            deadlines.append(Deadline(at, ErrorCode.CONTENT_TIMEOUT, "content", limit, self._content))
        return min(deadlines, default=None)

    def _silence(self, code: ErrorCode, clock: str, limit: float) -> Deadline:
        return Deadline(self._alive + limit / 1000, code, clock, limit, self._alive)
