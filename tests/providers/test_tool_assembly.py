"""Tool calls from fragments: whole ones only."""

import collections
import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l0actors.errors import ErrorCategory, ErrorCode, L0Error
from l0actors.providers.tools import MAX_CHARACTERS, MAX_DEPTH, ToolCalls, call_event

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


def whole(*fragments: str, limited: bool = False) -> Any:
    """Return the data of the one call that fragments make."""
    calls = ToolCalls()
    calls.begin(0, "c1", "get")
    for fragment in fragments:
        calls.add(0, fragment)
    calls.close(0)
    (event,) = calls.events(limited=limited)
    return event.data


@given(st.dictionaries(st.text(), VALUES), st.data())
def test_any_fragments_give_the_arguments(arguments: dict[str, Any], data: st.DataObject) -> None:
    """However the arguments' JSON is cut, the call carries exactly the arguments."""
    text = json.dumps(arguments)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=5)))
    places = [0, *cuts, len(text)]
    fragments = [text[start:end] for start, end in itertools.pairwise(places)]
    assert whole(*fragments) == {"id": "c1", "name": "get", "arguments": arguments, "index": 0}


def test_no_arguments_are_an_empty_object() -> None:
    """A call that was closed without arguments has none."""
    assert whole()["arguments"] == {}
    assert whole("")["arguments"] == {}


@pytest.mark.parametrize(
    "text",
    [
        '{"a": ',
        '{"a": 1}}',
        "{'a': 1}",
        '{"a": NaN}',
        '{"a": 01}',
        '{"a": 1,}',
        "[1]",
        '"text"',
        "null",
        "3",
        " ",
        '{"a": "\x00"}',
        '{"a": "\ud800"}',
        "[" * 100_000,
        '{"a":' * 100_000,
        '{"a":' * (MAX_DEPTH + 1) + "1" + "}" * (MAX_DEPTH + 1),
    ],
)
def test_what_is_no_json_object_is_never_a_call(text: str) -> None:
    """Arguments that are not strictly a JSON object, or nest too deeply, fail as the model's error."""
    with pytest.raises(L0Error, match="not valid") as failed:
        whole(text)
    assert (failed.value.code, failed.value.category) == (ErrorCode.PROVIDER_ERROR, ErrorCategory.MODEL)


def test_arguments_may_nest_as_deep_as_allowed() -> None:
    """The limit of the depth is what it says."""
    data = whole('{"a":' * MAX_DEPTH + "1" + "}" * MAX_DEPTH)
    assert data["arguments"]["a"]


@given(st.dictionaries(st.text(min_size=1), VALUES, min_size=1), st.data())
def test_a_prefix_is_never_a_call(arguments: dict[str, Any], data: st.DataObject) -> None:
    """No truncated call gets through when the answer hit its limit, wherever it was cut."""
    text = json.dumps(arguments)
    cut = data.draw(st.integers(0, len(text) - 1))
    with pytest.raises(L0Error) as failed:
        whole(text[:cut], limited=True)
    assert failed.value.code is ErrorCode.STREAM_TRUNCATED


def test_a_whole_call_survives_the_limit() -> None:
    """Valid arguments are whole even if the answer hit its limit after them."""
    assert whole("{}", limited=True)["arguments"] == {}


def test_only_the_last_call_can_be_cut() -> None:
    """A call without arguments that is not the last one is whole in an answer that hit its limit."""
    calls = ToolCalls()
    calls.begin(0, "c1", "get")
    calls.close(0)
    calls.begin(1, "c2", "put")
    calls.add(1, "{}")
    calls.close(1)
    assert len(calls.events(limited=True)) == 2


def test_an_open_call_is_cut_off() -> None:
    """A call whose end the provider never reported fails although its JSON is valid."""
    calls = ToolCalls()
    calls.begin(0, "c1", "get")
    calls.add(0, "{}")
    assert calls.is_open(0)
    with pytest.raises(L0Error, match="inside tool call 0") as failed:
        calls.events()
    assert failed.value.code is ErrorCode.STREAM_TRUNCATED


def test_calls_are_numbered_as_they_began() -> None:
    """The provider's own keys do not show: calls are numbered from 0."""
    calls = ToolCalls()
    for key in (7, 3):
        calls.begin(key, f"c{key}", "get")
    for key in (3, 7):
        calls.close(key)
    assert [event.data and (event.data["index"], event.data["id"]) for event in calls.events()] == [
        (0, "c7"),
        (1, "c3"),
    ]
    assert len(calls) == 2


def test_fragments_are_reported_as_progress() -> None:
    """Every fragment is a PROGRESS event that says which call it belongs to."""
    calls = ToolCalls()
    calls.begin("k", "c1", "get")
    assert calls.add("k", '{"a').data == {
        "kind": "tool_call_delta",
        "index": 0,
        "id": "c1",
        "name": "get",
        "arguments": '{"a',
    }


def test_a_name_may_be_repeated_but_not_changed() -> None:
    """Fragments may repeat id and name; two of them for one call would glue two calls together."""
    calls = ToolCalls()
    calls.begin(0, "c1", "get")
    calls.begin(0, "c1", "get")
    calls.begin(0, "", "")
    with pytest.raises(L0Error, match="two ids"):
        calls.begin(0, "c2", "get")
    with pytest.raises(L0Error, match="two names"):
        calls.begin(0, "c1", "put")


@pytest.mark.parametrize("begun", [True, False])
def test_a_fragment_needs_an_open_call(begun: bool) -> None:
    """A fragment of a call that is over, or never began, is malformed."""
    calls = ToolCalls()
    if begun:
        calls.begin(0, "c1", "get")
        calls.close(0)
    with pytest.raises(L0Error, match="is over" if begun else "never began"):
        calls.add(0, "{}")
    with pytest.raises(L0Error, match="malformed"):
        calls.close(0)


def test_the_whole_arguments_must_be_the_fragments() -> None:
    """Arguments that the provider repeats whole must equal what its fragments amount to."""
    calls = ToolCalls()
    calls.begin(0, "c1", "get")
    calls.add(0, '{"a": 1}')
    with pytest.raises(L0Error, match="do not amount"):
        calls.close(0, '{"a": 12}')


def test_whole_arguments_need_no_fragments() -> None:
    """Arguments that only came whole are taken."""
    calls = ToolCalls()
    calls.begin(0, "c1", "get")
    calls.close(0, '{"a": 1}')
    assert [event.data and event.data["arguments"] for event in calls.events()] == [{"a": 1}]


def test_a_call_needs_a_name() -> None:
    """A call without a name is malformed."""
    with pytest.raises(L0Error, match="no name"):
        call_event(0, "c1", "", "{}")


def test_arguments_are_bounded() -> None:
    """The calls of one answer cannot fill the memory, by size or by number."""
    calls = ToolCalls()
    calls.begin(0, "c1", "get")
    with pytest.raises(L0Error, match="more than"):
        calls.add(0, "x" * MAX_CHARACTERS)
    calls = ToolCalls()
    with pytest.raises(L0Error, match="more than"):
        collections.deque((calls.begin(key, "", "") for key in range(MAX_CHARACTERS)), maxlen=0)
