"""What a subscriber asks for, resolved to concrete message types.

Types are the keys, never their names. A tag is what tells types apart once they are encoded, so a
tag that two types share is refused here rather than found out by whoever reads the record.
"""

import types
from collections.abc import Iterable, Iterator
from typing import Any, Union, get_args, get_origin

from l0actors.bus.messages import AnyMessage, Control, Lagged, Message

_WHAT_TO_PASS = "pass a message type, a union or a tuple of them, or a base class such as ContentMessage"


def resolve(asked: Any) -> frozenset[type[Message]]:
    """Return the message types that `asked` stands for: each with all its subclasses as of now.

    `Control` and `Lagged` are left out where `Message` or `AnyMessage` includes them.

    Raises:
        TypeError: something in it is not a message type.
        ValueError: it is empty, has a type that cannot be subscribed to, one without a tag, or names two
            with one tag.
    """
    named = members(Message if asked == AnyMessage else asked)
    if not named:
        raise ValueError(f"subscribing to no types at all; {_WHAT_TO_PASS}")
    found: dict[type[Message], None] = {}
    for kind in named:
        if issubclass(kind, (Control, Lagged)):
            raise ValueError(
                f"{kind.__name__} cannot be subscribed to: it is put into a mailbox, never published; "
                f"{_WHAT_TO_PASS}"
            )
        found.update(dict.fromkeys(_with_subclasses(kind)))
    _refuse_twins(named)
    return frozenset(found)


def members(union: Any) -> tuple[type[Message], ...]:
    """Return the message types that are named in a union, a tuple or alone, without their subclasses.

    Raises:
        TypeError: something in it is not a message type.
    """
    return tuple(dict.fromkeys(_named(union)))


def publishable(kind: Any) -> None:
    """Refuse what cannot be published.

    Raises:
        TypeError: it is not a message type, or one that only mailboxes hold.
    """
    if not (isinstance(kind, type) and issubclass(kind, Message)):
        name = getattr(kind, "__name__", repr(kind))
        raise TypeError(f"{name} is not a message and cannot be published: subclass l0actors.bus.Message")
    if issubclass(kind, Control):
        raise TypeError(f"{kind.__name__} is for one actor: send it with its ref's tell(), or stop()")
    if issubclass(kind, Lagged):
        raise TypeError("Lagged is put into a mailbox by the mailbox itself; publish a message of your own")


def tag_of(kind: type[Message]) -> str:
    """Return the tag that stands for `kind` in its encoding.

    Raises:
        ValueError: it has none that a reader could tell from the others.
    """
    config = kind.__struct_config__
    if not isinstance(config.tag, str) or config.tag_field != "type":
        raise ValueError(
            f"{kind.__name__} has the tag {config.tag!r} in the field {config.tag_field!r}: "
            "a message needs a str tag in 'type'; leave tag= and tag_field= out of its definition"
        )
    return config.tag


def check_tags(kinds: Iterable[type[Message]], known: dict[str, type[Message]]) -> None:
    """Refuse a tag that another type in `known` (by tag) or in `kinds` has already, then add all to `known`.

    A class that was defined anew, as by running a notebook cell twice, is no other type.

    Raises:
        ValueError: two types share a tag.
    """
    added = dict(known)
    for kind in kinds:
        other = added.setdefault(tag_of(kind), kind)
        if other is not kind and _origin(other) != _origin(kind):
            raise _shared(other, kind)
    known.update(added)


def _refuse_twins(named: Iterable[type[Message]]) -> None:
    by_tag: dict[str, type[Message]] = {}
    for kind in named:
        if (other := by_tag.setdefault(tag_of(kind), kind)) is not kind:
            raise _shared(other, kind)


def _shared(one: type[Message], other: type[Message]) -> ValueError:
    return ValueError(
        f"{'.'.join(_origin(one))} and {'.'.join(_origin(other))} share the tag {tag_of(one)!r}: rename one, "
        "or give it a tag= of its own (an explicit tag is inherited verbatim)"
    )


def _origin(kind: type[Message]) -> tuple[str, str]:
    return kind.__module__, kind.__qualname__


def _named(asked: Any) -> Iterator[type[Message]]:
    if isinstance(asked, tuple) or get_origin(asked) in (Union, types.UnionType):
        for part in asked if isinstance(asked, tuple) else get_args(asked):
            yield from _named(part)
    elif isinstance(asked, type) and issubclass(asked, Message):
        yield asked
    else:
        raise TypeError(f"cannot subscribe to {asked!r}: it is not a message type; {_WHAT_TO_PASS}")


def _with_subclasses(kind: type[Message]) -> Iterator[type[Message]]:
    if issubclass(kind, (Control, Lagged)):
        return
    yield kind
    for subclass in kind.__subclasses__():
        yield from _with_subclasses(subclass)


LIBRARY_TAGS: dict[str, type[Message]] = {tag_of(kind): kind for kind in get_args(AnyMessage)}
"""The library's own messages by their tags."""
