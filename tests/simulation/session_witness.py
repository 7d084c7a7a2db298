"""Sees everything that is published, and says afterwards whether the promises were kept."""

from collections import Counter, defaultdict
from collections.abc import Iterable

from l0actors import ActorSystem, EventType, L0Event, L0Result, fold
from l0actors.bus.messages import (
    AttemptStarted,
    AttemptSuperseded,
    DeadLetter,
    Message,
    RolledBack,
    SessionCompleted,
    SessionEnded,
    SessionStarted,
    StreamEnded,
    StreamFailed,
    Tokens,
)

CHECKED: Counter[str] = Counter()
"""How often each invariant was checked, over all runs."""


class Witness:
    """Subscribes to everything on a system's bus, with room for all of it."""

    def __init__(self, system: ActorSystem) -> None:
        self._system = system
        self._subscription = system.bus.subscribe(Message, capacity=10_000_000, name="witness")
        self.seen: list[Message] = []

    def look(self) -> list[Message]:
        """Return all that was published so far."""
        while (message := self._subscription.mailbox.take()) is not None:
            self.seen.append(message)
        return self.seen

    def check(self) -> None:
        """Fail if anything that was published breaks a promise; to be called after the system's end."""
        seen = self.look()
        in_order(seen)
        self._dead_letters_are_told(seen)
        sessions: dict[str, list[Message]] = defaultdict(list)
        for message in seen:
            if message.session and not isinstance(message, DeadLetter):
                sessions[message.session].append(message)
        for messages in sessions.values():
            one_session(messages)

    def _dead_letters_are_told(self, seen: Iterable[Message]) -> None:
        told = Counter(message.reason for message in seen if isinstance(message, DeadLetter))
        counted = self._system.bus.dead_letters
        for reason, count in told.items():
            assert counted[reason] >= count, f"{count} dead letters {reason} were told of, {counted} counted"
        CHECKED["dead letters are accounted for"] += 1


def in_order(seen: list[Message]) -> None:
    """Fail unless every message comes after those that were published before it."""
    orders = [message.seq for message in seen]
    assert orders == sorted(set(orders)), f"out of order: {orders}"
    CHECKED["one order"] += 1


def one_session(messages: list[Message]) -> None:
    """Fail if one session's messages break a promise."""
    names = [type(message).__name__ for message in messages]
    ends = [message for message in messages if isinstance(message, SessionEnded)]
    assert len(ends) == 1, f"{len(ends)} terminal messages: {names}"
    assert messages[-1] is ends[0], f"after the end of the session: {names}"
    assert isinstance(messages[0], (SessionStarted, SessionEnded)), names
    CHECKED["one end, and nothing after it"] += 1
    _attempts(messages, ends[0], names)
    _content(messages, ends[0])


def _attempts(messages: list[Message], end: SessionEnded, names: list[str]) -> None:
    started = [message.attempt for message in messages if isinstance(message, AttemptStarted)]
    assert started == list(range(1, len(started) + 1)), f"attempts {started}"
    assert end.attempts in (len(started), len(started) + 1), (end.attempts, names)
    over = [m.attempt for m in messages if isinstance(m, (StreamEnded, StreamFailed))]
    given_up = [m.attempt for m in messages if isinstance(m, AttemptSuperseded)]
    assert len(set(over)) == len(over), f"ends of attempts {over}: {names}"
    assert len(set(given_up)) == len(given_up), f"attempts given up {given_up}: {names}"
    if isinstance(end, SessionCompleted):
        assert over == started, f"attempts {started} ended as {over}: {names}"
    CHECKED["attempts are numbered, and end once"] += 1


def _content(messages: list[Message], end: SessionEnded) -> None:
    text = ""
    for message in messages:
        if isinstance(message, RolledBack):
            text = text[: message.keep]
        elif isinstance(message, Tokens):
            assert message.start == len(text), f"{message} after {len(text)} characters"
            text += "".join(message.texts)
    if isinstance(end, SessionCompleted):
        assert len(text) == end.content_length, f"{text!r} is not {end.content_length} characters"
    CHECKED["what is published folds to the content"] += 1


class Reader:
    """A consumer that checks what it is given, after each event.

    Attributes:
        events: what it was given.
    """

    def __init__(self, result: L0Result) -> None:
        self._result = result
        self._delivery = result._unit.options.delivery
        self.events: list[L0Event] = []
        self.text = ""

    def take(self, event: L0Event) -> None:
        """Take one event, and fail if the text is not the state's now."""
        self.events.append(event)
        if event.type is EventType.TOKEN:
            self.text += event.value or ""
        elif event.type is EventType.ROLLBACK:
            assert self._delivery == "live", f"a rollback in {self._delivery}"
            assert event.data is not None
            self.text = self.text[: event.data["keep"]]
        assert self.text == self._result.state.content, (self.text, self._result.state.content)
        CHECKED["the fold is the content, after each event"] += 1

    def check_end(self) -> None:
        """Fail unless the last event, and no other, is the `COMPLETE` of a whole answer."""
        kinds = [event.type for event in self.events]
        assert fold(self.events) == self.text == self._result.state.content
        if not self._result.state.aborted:
            assert self._result.state.completed
            assert kinds[-1] is EventType.COMPLETE, kinds
        assert EventType.COMPLETE not in kinds[:-1], kinds
        CHECKED["complete is the last event"] += 1
