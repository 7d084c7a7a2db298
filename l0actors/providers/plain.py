"""Streams without a provider's format: iterators of text, of `L0Event`s or of dicts."""

from collections.abc import Callable, Mapping
from typing import Any

from l0actors.events import EventType, L0Event
from l0actors.providers.adapter import StreamAdapter
from l0actors.providers.decoder import Decoder, Fed
from l0actors.providers.event_decoder import EventDecoder
from l0actors.providers.failures import invalid, kind_of
from l0actors.providers.inband import error_of
from l0actors.providers.opening import is_async, is_blocking, unwrapped

_TYPES = {each.value: each for each in EventType}
_FIELDS = ("value", "data", "error", "usage", "timestamp")


class PlainAdapter(StreamAdapter):
    """Reads async iterators, and, in a thread, sync ones, of `str`, `L0Event` or dicts.

    The iterator's own end is taken for the provider's word that the answer is whole. A stream that turns
    out to hold an SDK's own chunks (because it was wrapped) is read as that SDK's.

    Args:
        decoders: how to read the chunks of an SDK, by the name of its package.
    """

    name = "plain"

    def __init__(self, decoders: Mapping[str, Callable[[], Decoder]] | None = None) -> None:
        self._decoders = dict(decoders or {})

    def detect(self, stream: Any, /) -> bool:
        """Return whether `stream` can be iterated at all, and is neither text nor bytes nor one answer."""
        stream = unwrapped(stream)
        return not isinstance(stream, type) and (is_async(stream) or is_blocking(stream))

    def decoder(self) -> Decoder:
        """Return a decoder for one stream."""
        return PlainDecoder(self._decoders)


class PlainDecoder(EventDecoder):
    """Decodes text, events and dicts; hands over to an SDK's decoder if the first item is that SDK's.

    Attributes:
        takes_text_as_it_is: `feed` returns a str unchanged, so a reader need not call it for one.
    """

    takes_text_as_it_is = True

    def __init__(self, decoders: Mapping[str, Callable[[], Decoder]] | None = None) -> None:
        super().__init__()
        self._decoders = dict(decoders or {})
        self._sdk: Decoder | None = None

    def end(self) -> list[L0Event]:
        """Return the tool calls; the end of the iterator is the provider's word."""
        if self._sdk is not None:
            return self._sdk.end()
        self.finished = self.done = True
        return super().end()

    def _read(self, item: Any) -> Fed:
        return super()._read(item) if self._sdk is None else self._delegate(self._sdk, item)

    def _other(self, item: Any) -> Fed:
        if isinstance(item, dict):
            return self._event(_event_of(item))
        if isinstance(item, str):
            return item
        make = self._decoders.get(type(item).__module__.partition(".")[0])
        if make is None:
            raise _unusable(item)
        self._sdk, self._plain = make(), False
        return self._delegate(self._sdk, item)

    def _delegate(self, sdk: Decoder, item: Any) -> Fed:
        try:
            return sdk.feed(item)
        finally:
            self.finished, self.done, self.usage = sdk.finished, sdk.done, sdk.usage
            self.finish_reason, self.model = sdk.finish_reason, sdk.model


def _event_of(item: dict[str, Any]) -> L0Event:
    named = item.get("type")
    kind = _TYPES.get(named) if isinstance(named, str) else None
    if kind is None:
        return L0Event(EventType.DATA, data=item)
    fields = {name: item[name] for name in _FIELDS if name in item}
    if not isinstance(fields.get("data") or {}, dict):
        raise invalid(f"the data of a {named} dict must be a dict, got {kind_of(fields['data'])}")
    rest = {name: value for name, value in item.items() if name != "type" and name not in _FIELDS}
    if rest:
        fields["data"] = {**rest, **(fields.get("data") or {})}
    error = fields.get("error")
    if error is not None and not isinstance(error, Exception):
        fields["error"] = error_of(error)
    return L0Event(kind, **fields)


def _unusable(item: Any) -> Exception:
    kind = kind_of(item)
    if isinstance(item, (bytes, bytearray, memoryview)):
        return invalid(f"the stream yields {kind}: decode it to str first (with an incremental decoder)")
    return invalid(f"the stream yields {kind}: yield str, L0Event or dict, or pass an adapter= that reads it")
