"""The guide shows code that runs, and its tables name the cases that exist."""

from __future__ import annotations

import asyncio
import inspect
import re
from pathlib import Path
from typing import Any

import pytest

from l0actors.testing import WIRES, fault_matrix

GUIDE = (Path(__file__).parents[2] / "docs" / "testing.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_run(example: str) -> None:
    """Every example of the guide is a test that passes."""
    names: dict[str, Any] = {}
    exec(compile(example, "docs/testing.md", "exec"), names)
    tests = [value for name, value in names.items() if name.startswith("test_")]
    assert tests
    for test in tests:
        if inspect.iscoroutinefunction(test):
            asyncio.run(test())
        else:
            test()


@pytest.mark.parametrize("outcome", ["fails", "recovers"])
def test_tables_are_complete(outcome: str) -> None:
    """The guide's table of an outcome has exactly the cases of the matrix, with their formats."""
    table = GUIDE.split(f"| {outcome} | in |")[1].split("\n\n")[0]
    told = {
        (name, wire)
        for names, wires in re.findall(r"\| (.*) \| (.*) \|", table)
        for name in re.findall(r"`([a-z]+(?:_[a-z0-9]+)*)`(?! came)", names)
        for wire in (WIRES if wires == "all" else wires.split(", "))
    }
    cases = {(case.name, case.wire) for wire in WIRES for case in fault_matrix(wire).values()}
    assert told == {(n, w) for n, w in cases if fault_matrix(w)[n].outcome == outcome}
