"""A slow campaign: drawn sessions under as many seeds as there is time for."""

import os
import time
from random import SystemRandom

import pytest
from random_session import HIT, random_session
from session_witness import CHECKED

from l0actors.testing import SimulationReport, simulate

MINUTES = float(os.environ.get("SOAK_MINUTES", "10"))
SEED = int(os.environ.get("SOAK_SEED", "0")) or SystemRandom().randrange(1_000_000, 2**40)
AT_ONCE = 500


@pytest.mark.soak
def test_drawn_sessions_keep_every_promise_under_many_seeds() -> None:
    """Under no seed is a text inexact, an end told twice or not at all, or anything left behind."""
    total, seed = SimulationReport(), SEED
    until = time.monotonic() + MINUTES * 60  # noqa: TID251 - a campaign is bounded by real time
    while time.monotonic() < until:  # noqa: TID251
        report = simulate(random_session, range(seed, seed + AT_ONCE))
        seed += AT_ONCE
        total.runs += report.runs
        total.steps += report.steps
        total.virtual_s += report.virtual_s
    print(f"\nseeds {SEED} to {seed - 1}: {total.runs} runs, {total.steps} steps")
    print(f"{total.virtual_s / 3600:.1f} hours of virtual time")
    for title, counts in (("faults hit", HIT), ("invariants checked", CHECKED)):
        print(title, *(f"{count:>12} {name}" for name, count in sorted(counts.items())), sep="\n")
