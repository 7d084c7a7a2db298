"""Patience: on a busy machine a thread may need longer than closing waits for it."""

import pytest

from l0actors.providers import threaded


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let closing wait for a thread that ends anyway, so that a test can look at what it did."""
    monkeypatch.setattr(threaded, "_CLOSE_GRACE_S", 5)
