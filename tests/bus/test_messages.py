"""The vocabulary of the bus is a contract: names, fields, tags."""

from collections.abc import Iterator
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from l0actors.bus import messages
from l0actors.bus.messages import AnyMessage, Message, Tokens

BASE = ("session", "seq", "ts")
ENDED = ("token_count", "content_length", "attempts", "duration_ms")
ATTEMPT = ("attempt",)

CONTRACT: dict[str, tuple[str, ...]] = {
    "ActorCrashed": ("path", "incarnation", "error"),
    "ActorDown": ("path", "reason"),
    "ActorRestarted": ("path", "incarnation"),
    "ActorStarted": ("path", "incarnation"),
    "AttemptStarted": (*ATTEMPT, "source", "source_index", "reason"),
    "AttemptSuperseded": (*ATTEMPT, "reason"),
    "CheckpointSaved": (*ATTEMPT, "offset"),
    "DataReceived": (*ATTEMPT, "data"),
    "DeadLetter": ("path", "reason", "message_type", "message_seq"),
    "DriftReport": (*ATTEMPT, "upto", "findings", "final"),
    "FallbackSelected": (*ATTEMPT, "source", "source_index", "reason"),
    "Heartbeat": (*ATTEMPT, "kind"),
    "Lagged": ("missed", "first_seq", "last_seq"),
    "ProgressReported": (*ATTEMPT, "kind", "data"),
    "Resume": (),
    "RetryScheduled": (*ATTEMPT, "delay_ms", "reason", "counted"),
    "RolledBack": (*ATTEMPT, "keep", "reason"),
    "RuleDemoted": (*ATTEMPT, "rule", "took_ms"),
    "RuleQuarantined": (*ATTEMPT, "rule", "error"),
    "SessionAborted": (*ENDED, "reason"),
    "SessionCompleted": (*ENDED, "source", "source_index", "finish_reason", "model", "usage"),
    "SessionFailed": (*ENDED, "error"),
    "SessionStarted": ("sources", "delivery"),
    "Stop": ("drain",),
    "StreamEnded": (*ATTEMPT, "finish_reason", "model", "token_count"),
    "StreamFailed": (*ATTEMPT, "error", "token_count"),
    "StreamOpened": (*ATTEMPT, "adapter"),
    "Suspend": (),
    "TimeoutFired": (*ATTEMPT, "clock", "limit_ms", "waited_ms"),
    "Tokens": (*ATTEMPT, "start", "texts"),
    "ToolCallDelta": (*ATTEMPT, "index", "call_id", "name", "arguments"),
    "ToolCallReady": (*ATTEMPT, "index", "call_id", "name", "arguments"),
    "UsageReported": (*ATTEMPT, "usage"),
    "Verdict": (*ATTEMPT, "rules", "upto", "violations", "final"),
}
NEVER_DROPPED = {
    "ActorDown",
    "SessionAborted",
    "SessionCompleted",
    "SessionFailed",
    "Stop",
    "Suspend",
    "Resume",
}
MEMBERS: tuple[type[Message], ...] = get_args(AnyMessage)


def leaves(kind: type[Message]) -> Iterator[type[Message]]:
    """Yield the library's message types below `kind` that have no subclasses in the library."""
    below = [each for each in kind.__subclasses__() if each.__module__ == messages.__name__]
    for subclass in below:
        yield from leaves(subclass)
    if not below:
        yield kind


def test_the_contract_stands() -> None:
    """No message is added, removed or changed without this table: recorded sessions depend on it."""
    fields = {kind.__name__: kind.__struct_fields__ for kind in MEMBERS}
    assert fields == {name: (*BASE, *own) for name, own in CONTRACT.items()}


def test_the_union_has_every_message() -> None:
    """`AnyMessage` is all leaves of the tree, each once."""
    assert sorted(kind.__name__ for kind in MEMBERS) == sorted(kind.__name__ for kind in leaves(Message))


def test_tags_are_the_names_and_unique() -> None:
    """A tag is the name of its class, so that no two messages are mistaken for each other."""
    assert [kind.__struct_config__.tag for kind in MEMBERS] == [kind.__name__ for kind in MEMBERS]
    assert len({kind.__struct_config__.tag for kind in MEMBERS}) == len(MEMBERS)


@pytest.mark.parametrize("kind", MEMBERS)
def test_messages_are_frozen_strict_and_keyword_only(kind: type[Message]) -> None:
    """No message changes after it was made, and none accepts what it does not know."""
    config = kind.__struct_config__
    assert (config.frozen, config.forbid_unknown_fields) == (True, True)
    make: Any = kind
    with pytest.raises(TypeError):
        make("positional")


def test_p8_the_messages_that_are_never_dropped() -> None:
    """Exactly the ends of sessions and actors and the imperatives have reserved room."""
    assert {kind.__name__ for kind in MEMBERS if kind.never_dropped} == NEVER_DROPPED


def test_your_own_messages_are_tagged_by_their_name() -> None:
    """A subclass of `Message` needs nothing but its fields."""

    class TestOrderPlaced(Message, frozen=True, kw_only=True):
        number: int

    assert msgspec.json.decode(msgspec.json.encode(TestOrderPlaced(number=7))) == {
        "type": "TestOrderPlaced",
        "session": "",
        "seq": 0,
        "ts": 0.0,
        "number": 7,
    }


@given(texts=st.lists(st.text(), min_size=2), start=st.integers(0, 1000), data=st.data())
def test_p9_joining_is_lossless_and_associative(texts: list[str], start: int, data: st.DataObject) -> None:
    """Adjacent pieces joined in any grouping give the same pieces, from the first offset to the last seq."""
    pieces, offset = [], start
    for seq, text in enumerate(texts, start=1):
        pieces.append(Tokens(session="s", seq=seq, ts=float(seq), attempt=1, start=offset, texts=(text,)))
        offset += len(text)
    while len(pieces) > 1:
        place = data.draw(st.integers(0, len(pieces) - 2))
        whole = pieces[place].joined(pieces[place + 1])
        assert whole is not None
        pieces[place : place + 2] = [whole]
    last = len(texts)
    assert pieces == [
        Tokens(session="s", seq=last, ts=float(last), attempt=1, start=start, texts=tuple(texts))
    ]


@pytest.mark.parametrize(
    "other",
    [
        Tokens(session="other", attempt=1, start=2, texts=("x",)),
        Tokens(session="s", attempt=2, start=2, texts=("x",)),
        Tokens(session="s", attempt=1, start=1, texts=("x",)),
        Tokens(session="s", attempt=1, start=3, texts=("x",)),
    ],
)
def test_p9_only_adjacent_pieces_of_one_attempt_are_joined(other: Tokens) -> None:
    """Pieces of another session or attempt, or with a hole or an overlap between, are kept apart."""
    assert Tokens(session="s", attempt=1, start=0, texts=("a", "b")).joined(other) is None
