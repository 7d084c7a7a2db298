"""What all simulations share: thousands of runs are not logged."""

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Keep the library's log shut while a scenario is run again and again."""
    logger = logging.getLogger("l0actors")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(before)
