"""Sessions drawn at random: every fault, every option, every way to leave, every schedule."""

from random_session import random_session

from l0actors.testing import check_determinism, simulate


def test_random_sessions_keep_every_promise() -> None:
    """Whatever fails and whoever leaves: the text is exact, the end is told once, and nothing is left."""
    simulate(random_session, range(400))


def test_a_random_session_is_the_same_run_for_the_same_seed() -> None:
    """A seed fixes the whole run, so that a failing one can be replayed."""
    for seed in range(8):
        check_determinism(random_session, seed)
