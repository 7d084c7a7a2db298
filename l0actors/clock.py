"""Wall time and chance, in one place, so that a simulated run can replace both.

Durations and deadlines never come from here: they come from the event loop's own clock.
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Clock:
    """What the runtime may know of the outside: the date and the dice.

    Attributes:
        wall: returns the Unix time in seconds; used for timestamps only.
        rng: the generator that jitter is drawn from.
    """

    wall: Callable[[], float] = time.time
    rng: random.Random = field(default_factory=random.Random)

    def now_ms(self) -> float:
        """Return the Unix epoch time in milliseconds."""
        return self.wall() * 1000.0


SYSTEM_CLOCK = Clock()
"""The real clock and a freshly seeded generator: the default everywhere."""
