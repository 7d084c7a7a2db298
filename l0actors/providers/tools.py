"""Assembles tool calls from their fragments, and releases none that is not whole."""

from collections.abc import Mapping
from typing import Any

import msgspec

from l0actors.errors import ErrorCategory, ErrorCode, L0Error
from l0actors.events import EventType, L0Event
from l0actors.providers.decoder import progress
from l0actors.providers.failures import invalid, malformed, truncated

MAX_CHARACTERS = 2**20
"""The most that all tool calls of one answer may amount to, in characters."""

MAX_DEPTH = 100
"""How deeply arguments may nest."""

_CALL_COST = 64


class ToolCalls:
    """The tool calls of one answer.

    Calls are known by the key that the provider uses for them, and numbered in the order in which they
    began, from 0.
    """

    def __init__(self) -> None:
        self._calls: dict[Any, _Call] = {}
        self._size = 0

    def __len__(self) -> int:
        return len(self._calls)

    def __contains__(self, key: Any) -> bool:
        return key in self._calls

    def begin(self, key: Any, call_id: str, name: str) -> L0Event:
        """Note that a call begins, or that a fragment names it again; return its progress event.

        Raises:
            L0Error: the provider gave the same place to two calls.
        """
        call = self._calls.get(key)
        if call is None:
            self._grow(_CALL_COST + len(call_id) + len(name))
            call = self._calls[key] = _Call(len(self._calls))
        call.id = _one(call.id, call_id, "ids")
        call.name = _one(call.name, name, "names")
        return call.fragment("")

    def add(self, key: Any, arguments: str) -> L0Event:
        """Add a piece of a call's arguments; return its progress event.

        Raises:
            L0Error: the call never began, is over, or all calls together are too large.
        """
        call = self._open(key)
        self._grow(len(arguments))
        call.pieces.append(arguments)
        return call.fragment(arguments)

    def close(self, key: Any, whole: str | None = None) -> None:
        """Note that the provider said that a call is whole; `whole` is its arguments if it repeated them.

        Raises:
            L0Error: the call never began, is over, or its pieces do not amount to `whole`.
        """
        call = self._open(key)
        call.closed = True
        if whole is not None:
            self._settle(call, whole)

    def is_open(self, key: Any) -> bool:
        """Return whether a call began and is not over."""
        return key in self._calls and not self._calls[key].closed

    def close_all(self) -> None:
        """Note that every call is whole."""
        for call in self._calls.values():
            call.closed = True

    def events(self, *, limited: bool = False) -> list[L0Event]:
        """Return the whole calls.

        Args:
            limited: the answer ended because it hit a limit, so that its last call may be cut off.

        Raises:
            L0Error: `STREAM_TRUNCATED`: a call is cut off. `PROVIDER_ERROR`: its arguments are not valid.
        """
        last = len(self._calls) - 1
        return [call.event(limited=limited and call.index == last) for call in self._calls.values()]

    def _open(self, key: Any) -> "_Call":
        call = self._calls.get(key)
        if call is None or call.closed:
            raise malformed(f"a piece of tool call {key!r}, which {'is over' if call else 'never began'}")
        return call

    def _settle(self, call: "_Call", whole: str) -> None:
        if not call.pieces:
            self._grow(len(whole))
            call.pieces.append(whole)
        elif "".join(call.pieces) != whole:
            raise malformed(f"the pieces of tool call {call.index} do not amount to its arguments")

    def _grow(self, characters: int) -> None:
        self._size += characters
        if self._size > MAX_CHARACTERS:
            raise malformed(f"tool calls of more than {MAX_CHARACTERS} characters")


class _Call:
    """One call as far as it came."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.id = ""
        self.name = ""
        self.pieces: list[str] = []
        self.closed = False

    def fragment(self, arguments: str) -> L0Event:
        return progress("tool_call_delta", index=self.index, id=self.id, name=self.name, arguments=arguments)

    def event(self, *, limited: bool) -> L0Event:
        text = "".join(self.pieces)
        if limited and not _is_valid(text):
            raise truncated(
                f"the answer hit its limit inside tool call {self.index} ({self.name!r}): it is cut off; "
                "allow more output tokens",
                category=ErrorCategory.MODEL,
            )
        if not self.closed:
            raise truncated(f"the stream ended inside tool call {self.index} ({self.name!r})")
        return call_event(self.index, self.id, self.name, text)


def call_event(index: int, call_id: str, name: str, arguments: str) -> L0Event:
    """Return the `TOOL_CALL` event of a call whose arguments are JSON text; "" means none.

    Raises:
        L0Error: `PROVIDER_ERROR`: it has no name, or its arguments are not a valid JSON object.
    """
    if not name:
        raise malformed(f"tool call {index} has no name")
    data = {"id": call_id, "name": name, "arguments": _arguments(name, arguments), "index": index}
    return L0Event(EventType.TOOL_CALL, data=data)


def whole_call(data: Mapping[str, Any] | None, index: int) -> L0Event:
    """Return the `TOOL_CALL` event, with number `index`, that the data of a user's own event stands for.

    Raises:
        L0Error: it has no name, or its arguments are no dict and no JSON object.
    """
    data = data or {}
    name, arguments = data.get("name"), data.get("arguments", {})
    if not isinstance(name, str) or not isinstance(arguments, (dict, str)):
        raise invalid("a TOOL_CALL needs data with id, name (a str) and arguments (a dict)")
    call_id = str(data.get("id") or "")
    if isinstance(arguments, str):
        return call_event(index, call_id, name, arguments)
    call = {"id": call_id, "name": name, "arguments": arguments, "index": index}
    return L0Event(EventType.TOOL_CALL, data=call)


def _one(old: str, new: str, what: str) -> str:
    if old and new and old != new:
        raise malformed(f"two {what} for one tool call: {old!r} and {new!r}")
    return old or new


def _is_valid(text: str) -> bool:
    try:
        _arguments("", text or "cut")
    except L0Error:
        return False
    return True


def _arguments(name: str, text: str) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(text) if text else {}
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise _invalid_arguments(name, type(error).__name__) from error
    if not isinstance(value, dict):
        raise _invalid_arguments(name, f"a JSON {type(value).__name__}, not an object")
    if _deeper_than(value, MAX_DEPTH):
        raise _invalid_arguments(name, f"nested more than {MAX_DEPTH} levels deep")
    return value


def _invalid_arguments(name: str, why: str) -> L0Error:
    return L0Error(
        f"the arguments of tool call {name!r} are not valid: {why}",
        code=ErrorCode.PROVIDER_ERROR,
        category=ErrorCategory.MODEL,
    )


def _deeper_than(value: Any, limit: int) -> bool:
    level = [value]
    for _ in range(limit + 1):
        level = [child for each in level for child in _children(each)]
        if not level:
            return False
    return True


def _children(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []
