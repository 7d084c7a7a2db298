"""A restarted attempt is laid over what was received; folding what comes out gives the content."""

import time
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l0actors.events import EventType, L0Event, fold
from l0actors.recovery.transcript import Accepted, Transcript


class Reader:
    """A consumer that is given what a transcript lets through, and checks every promise on the way."""

    def __init__(self) -> None:
        self.transcript = Transcript()
        self.events: list[L0Event] = []
        self.text = ""

    def take(self, *texts: str) -> Accepted:
        """Let the transcript accept texts, and give what is new to the consumer."""
        accepted = self.transcript.accept(list(texts))
        self._keep(accepted.keep)
        if accepted.texts:
            assert accepted.start == len(self.text)
        for text in accepted.texts:
            assert text
            self.events.append(L0Event(EventType.TOKEN, text))
            self.text += text
        self.check()
        return accepted

    def aligning(self) -> bool:
        """Return whether the transcript compares."""
        return self.transcript.aligning

    def end(self) -> int | None:
        """End the attempt well."""
        keep = self.transcript.end()
        self._keep(keep)
        self.check()
        return keep

    def _keep(self, keep: int | None) -> None:
        if keep is not None:
            assert 0 <= keep < len(self.text), "a rollback must take something back"
            self.events.append(L0Event(EventType.ROLLBACK, data={"keep": keep}))
            self.text = self.text[:keep]

    def check(self) -> None:
        """Check that the consumer's text is the transcript's in every respect."""
        transcript = self.transcript
        assert self.text == transcript.text() == "".join(transcript.pieces)
        assert len(self.text) == transcript.length
        assert transcript.token_count == len(transcript.pieces)
        assert all(transcript.pieces)


def test_first_attempt_is_new_piece_by_piece() -> None:
    """Without earlier content everything is new, and empty texts are dropped."""
    reader = Reader()
    reader.transcript.begin()
    assert not reader.aligning()
    assert reader.take("Hel", "", "lo") == Accepted(None, 0, ["Hel", "lo"])
    assert reader.take("") == Accepted(None, 5, [])
    assert reader.take(" you") == Accepted(None, 5, [" you"])
    assert reader.transcript.pieces == ["Hel", "lo", " you"]
    assert reader.end() is None


def test_equal_restart_shows_nothing() -> None:
    """A deterministic model that is retried shows its reader nothing until it goes on."""
    reader = Reader()
    reader.transcript.begin()
    reader.take("Hello", " wor")
    reader.transcript.begin()
    assert reader.aligning()
    assert reader.take("He").texts == []
    assert reader.take("llo w", "o").texts == []
    assert reader.take("rld", "!") == Accepted(None, 9, ["ld", "!"])
    assert not reader.aligning()
    assert reader.transcript.pieces == ["Hello", " wor", "ld", "!"]
    assert reader.end() is None


def test_alignment_ends_when_the_old_text_is_used_up() -> None:
    """At the last old character the comparison is over, before anything new has come."""
    reader = Reader()
    reader.transcript.begin()
    reader.take("abc")
    reader.transcript.begin()
    reader.take("ab")
    assert reader.aligning()
    reader.take("c")
    assert not reader.aligning()


def test_first_difference_is_one_rollback() -> None:
    """At the first difference the common prefix is kept, once; the rest is new."""
    reader = Reader()
    reader.transcript.begin()
    reader.take("Hello", " world")
    reader.transcript.begin()
    assert reader.take("Hello wi").keep == 7
    assert reader.take("de world") == Accepted(None, 8, ["de world"])
    assert reader.transcript.pieces == ["Hello", " w", "i", "de world"]
    assert reader.transcript.token_count == 4


def test_difference_at_the_first_character_keeps_nothing() -> None:
    """An attempt that begins differently takes all back."""
    reader = Reader()
    reader.transcript.begin()
    reader.take("Hello")
    reader.transcript.begin()
    assert reader.take("Bye") == Accepted(0, 0, ["Bye"])
    assert reader.transcript.pieces == ["Bye"]


def test_difference_at_a_piece_boundary_cuts_no_piece() -> None:
    """A difference between two pieces leaves the earlier one whole."""
    reader = Reader()
    reader.transcript.begin()
    reader.take("ab", "cd")
    reader.transcript.begin()
    assert reader.take("ab", "xy", "z") == Accepted(2, 2, ["xy", "z"])
    assert reader.transcript.pieces == ["ab", "xy", "z"]


def test_attempt_that_fails_while_aligned_leaves_the_longer_text() -> None:
    """A shorter attempt that fails takes nothing back, and the next aligns against the longer text."""
    reader = Reader()
    reader.transcript.begin()
    reader.take("Hello world")
    reader.transcript.begin()
    reader.take("Hello")
    reader.transcript.begin()
    assert reader.take("Hello world!") == Accepted(None, 11, ["!"])


def test_attempt_that_ends_well_and_short_is_cut() -> None:
    """The answer is the last attempt's: what an earlier one had beyond it is taken back at the end."""
    reader = Reader()
    reader.transcript.begin()
    reader.take("Hello", " world")
    reader.transcript.begin()
    reader.take("Hello w")
    assert reader.end() == 7
    assert reader.transcript.pieces == ["Hello", " w"]
    assert reader.end() is None


def test_attempt_that_ends_well_and_silent_keeps_nothing() -> None:
    """An empty answer is empty."""
    reader = Reader()
    reader.transcript.begin()
    reader.take("Hello")
    reader.transcript.begin()
    assert reader.end() == 0
    assert reader.transcript.pieces == []


def test_attempt_that_goes_on_is_appended() -> None:
    """A continuing attempt is not compared, even where it repeats."""
    reader = Reader()
    reader.transcript.begin()
    reader.take("ab")
    reader.transcript.begin(restart=False)
    assert not reader.aligning()
    assert reader.take("ab") == Accepted(None, 2, ["ab"])
    assert reader.end() is None
    assert reader.transcript.text() == "abab"


def test_part_that_was_given_is_not_given_again() -> None:
    """The n-th part of a new attempt that equals the n-th one given is not new."""
    transcript = Transcript()
    image, other = {"type": "image", "url": "a"}, {"type": "image", "url": "b"}
    transcript.begin()
    assert transcript.accept_part(image)
    assert transcript.accept_part(image), "the same part twice in one attempt is two parts"
    transcript.begin()
    assert not transcript.accept_part(dict(image))
    assert transcript.accept_part(other), "another part in its place is new"
    assert transcript.accept_part(image)
    transcript.begin()
    assert [transcript.accept_part(part) for part in (image, other, image)] == [False, False, False]


def test_part_of_an_attempt_that_goes_on_is_new() -> None:
    """A continuing attempt does not repeat the parts that were given."""
    transcript = Transcript()
    transcript.begin()
    assert transcript.accept_part({"n": 1})
    transcript.begin(restart=False)
    assert transcript.accept_part({"n": 1})


@dataclass(frozen=True)
class Try:
    """One attempt of a session: its text cut into batches of chunks, and how it ends."""

    batches: list[list[str]]
    ends_well: bool
    restart: bool = True

    @property
    def text(self) -> str:
        """The whole text of the attempt."""
        return "".join(chunk for batch in self.batches for chunk in batch)


@st.composite
def attempts(draw: st.DrawFn) -> Try:
    """Draw an attempt that has much in common with others, cut anywhere."""
    text = draw(
        st.one_of(st.text("ab", max_size=12), st.sampled_from(["Hello 🌍 world", "Hello 🌍 w", "He", ""]))
    )
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=8)))
    chunks = [text[a:b] for a, b in pairwise([0, *cuts, len(text)])]
    ends = sorted(draw(st.lists(st.integers(0, len(chunks)), max_size=3)))
    batches = [chunks[a:b] for a, b in pairwise([0, *ends, len(chunks)])]
    return Try(batches, draw(st.booleans()), draw(st.sampled_from([True, True, True, False])))


def expected_text(before: str, attempt: Try) -> str:
    """Return the content after an attempt, by the definition: slow and plain."""
    if not attempt.restart:
        return before + attempt.text
    if before.startswith(attempt.text) and not attempt.ends_well:
        return before
    return attempt.text


@given(st.lists(attempts(), max_size=6))
def test_fold_equals_the_content_at_every_moment(tries: list[Try]) -> None:
    """Whatever fails where: the folded events are the content, and rollbacks come only when needed."""
    reader = Reader()
    for attempt in tries:
        before, seen = reader.text, len(reader.events)
        reader.transcript.begin(attempt.restart)
        for batch in attempt.batches:
            reader.take(*batch)
            assert fold(reader.events) == reader.transcript.text()
        if attempt.ends_well:
            reader.end()
        assert fold(reader.events) == reader.transcript.text() == expected_text(before, attempt)
        keeps = [event for event in reader.events[seen:] if event.type is EventType.ROLLBACK]
        needed = not reader.text.startswith(before)
        assert len(keeps) == needed, "one rollback if text had to be taken back, else none"


@given(st.text("ab", min_size=1, max_size=30), st.data())
def test_an_equal_restart_gives_nothing_however_it_is_cut(text: str, data: st.DataObject) -> None:
    """The chunks of a restart need not be those of the first attempt, and the pieces stay the first's."""
    reader = Reader()
    reader.transcript.begin()
    reader.take(*_cut(text, data))
    pieces, events = list(reader.transcript.pieces), len(reader.events)
    reader.transcript.begin()
    for chunk in _cut(text, data):
        reader.take(chunk)
    assert reader.end() is None
    assert (reader.transcript.pieces, len(reader.events)) == (pieces, events)


def _cut(text: str, data: st.DataObject) -> list[str]:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=10)))
    return [text[a:b] for a, b in pairwise([0, *cuts, len(text)])]


def _seconds(old: list[str], new: list[str]) -> float:
    transcript = Transcript()
    transcript.begin()
    transcript.accept(old)
    transcript.begin()
    before = time.process_time()
    for text in new:
        transcript.accept([text])
    return time.process_time() - before


@pytest.mark.parametrize("old_size", [1, 400_000], ids=["small old pieces", "one old piece"])
def test_alignment_is_linear(old_size: int) -> None:
    """Eight times the text costs about eight times the work, however the old text is cut."""

    def cost(length: int) -> float:
        text = "ab" * (length // 2)
        old = [text[i : i + old_size] for i in range(0, length, old_size)]
        return min(_seconds(old, list(text)) for _ in range(3))

    assert cost(160_000) < 30 * cost(20_000)


def test_text_is_joined_once_per_change() -> None:
    """Asking again without a change gives the same string object."""
    transcript = Transcript()
    transcript.begin()
    transcript.accept(["ab", "cd"])
    assert transcript.text() is transcript.text()


def test_accepted_is_told_apart_by_value() -> None:
    """Accepted is plain data."""
    data: dict[str, Any] = {"keep": 1, "start": 1, "texts": ["x"]}
    assert Accepted(**data) == Accepted(**data)
