"""What all tests share."""

import gc
import logging
from collections.abc import Iterator

import pytest

from l0actors.providers import threaded


@pytest.fixture(autouse=True, scope="module")
def small_heap() -> None:
    """Leave what is there before a module out of its collections: who looks for leaks collects often."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def patience(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let closing wait for a thread that ends anyway, so that a test can look at what it did."""
    if "providers" in request.path.parts:
        monkeypatch.setattr(threaded, "_CLOSE_GRACE_S", 5)


@pytest.fixture(autouse=True)
def quiet(request: pytest.FixtureRequest) -> Iterator[None]:
    """Keep the library's log shut while a simulation is run again and again."""
    logger = logging.getLogger("l0actors")
    before = logger.level
    if "simulation" in request.path.parts:
        logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(before)
