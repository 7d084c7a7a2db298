"""Who is restarted after which end, together with whom, how often, and how soon: pure rules.

They are Erlang/OTP's. The supervisor carries them out.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import msgspec

from l0actors import validation
from l0actors.actors.actor import StopReason
from l0actors.actors.life import Exit

Strategy = Literal["one_for_one", "rest_for_one", "one_for_all"]
Restart = Literal["permanent", "transient", "temporary"]
Directive = Literal["restart", "stop", "escalate"]
Decider = Mapping[type[BaseException], Directive]


class RestartBackoff(msgspec.Struct, frozen=True, kw_only=True):
    """How long a supervisor waits before a restart: capped exponential with jitter.

    Attributes:
        base_ms: the first pause.
        cap_ms: the longest pause.
        healthy_s: after running this long without a crash an actor starts at the first pause again.
    """

    base_ms: float = 10
    cap_ms: float = 5000
    healthy_s: float = 10

    def __post_init__(self) -> None:
        validation.number("backoff.base_ms", self.base_ms)
        validation.number("backoff.cap_ms", self.cap_ms)
        validation.number("backoff.healthy_s", self.healthy_s)

    def delay_ms(self, earlier: int, draw: float) -> float:
        """Return the pause after `earlier` restarts in a row; `draw` is from [0, 1)."""
        longest = min(self.base_ms * 2.0 ** min(earlier, 60), self.cap_ms)
        return longest / 2 + draw * longest / 2


class Intensity:
    """How often something failed lately: more than `limit` times within `within_s` is too often."""

    __slots__ = ("_failures", "limit", "within_s")

    def __init__(self, limit: int, within_s: float) -> None:
        self.limit = limit
        self.within_s = within_s
        self._failures: deque[tuple[float, BaseException | None]] = deque()

    def record(self, now: float, cause: BaseException | None) -> bool:
        """Add a failure; return whether it was one too many."""
        self._failures.append((now, cause))
        while self._failures[0][0] < now - self.within_s:
            self._failures.popleft()
        return len(self._failures) > self.limit

    @property
    def causes(self) -> list[BaseException | None]:
        """What the failures raised, oldest first; None for an end without an error."""
        return [cause for _, cause in self._failures]


def directive_for(restart: Restart, ended: Exit, decider: Decider) -> Directive:
    """Return what to do about a child that ended by itself."""
    if isinstance(ended.error, (KeyboardInterrupt, SystemExit)):  # the whole program is to end
        return "escalate"
    crashed = ended.reason in (StopReason.CRASHED, StopReason.KILLED)
    if crashed and ended.error is not None:
        for kind, directive in decider.items():
            if isinstance(ended.error, kind):
                return "stop" if directive == "restart" and restart == "temporary" else directive
    if restart == "permanent" or (restart == "transient" and crashed):
        return "restart"
    return "stop"


def affected(strategy: Strategy, names: Sequence[str], failed: str) -> list[str]:
    """Return who is restarted when `failed` is, in the order in which they start."""
    if strategy == "one_for_all":
        return list(names)
    index = list(names).index(failed)
    return list(names[index:]) if strategy == "rest_for_one" else [failed]


def one_of(name: str, value: object, known: Sequence[str]) -> None:
    """Refuse a value that is not `known`."""
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}")


def check_decider(decider: Mapping[Any, Any]) -> None:
    """Refuse what does not map exception types to directives."""
    for kind, directive in decider.items():
        if not (isinstance(kind, type) and issubclass(kind, BaseException)):
            raise ValueError(f"decider's keys must be exception types, got {kind!r}")
        one_of("decider's directive", directive, get_args(Directive))
