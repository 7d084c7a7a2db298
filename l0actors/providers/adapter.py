"""What reads the streams of one provider: the `Adapter` protocol, and the base of the built-in ones."""

from collections.abc import AsyncIterator
from typing import Any, Protocol, runtime_checkable

from l0actors.events import L0Event
from l0actors.providers.decoder import Decoder, complete, events_of
from l0actors.providers.event_decoder import EventDecoder
from l0actors.providers.opening import close_stream, iterate, unwrapped


@runtime_checkable
class Adapter(Protocol):
    """Reads the streams of one provider. Yours need nothing but this; see `register_adapter`.

    It may have `close(stream)` too, sync or async: called once the stream is over, instead of the stream's
    own `aclose` or `close`.

    Attributes:
        name: what `L0Options.adapter` and events call it.
    """

    name: str

    def detect(self, stream: Any, /) -> bool:
        """Return whether `stream` is one of this provider's. Called once per attempt; must not read it."""
        ...

    def wrap(self, stream: Any, /) -> AsyncIterator[L0Event]:
        """Return the events of `stream`.

        It must yield a `COMPLETE` when, and only when, the provider said that the answer is whole, with the
        usage and `data={"finish_reason": ..., "model": ...}` as far as they are known. Without one the
        attempt counts as cut off. An `ERROR` event, like an exception, is the end of the attempt.
        """
        ...


class StreamAdapter:
    """The base of the built-in adapters: a decoder, and the items that it is fed."""

    name: str

    def detect(self, stream: Any, /) -> bool:
        """Return whether `stream` is one of this provider's."""
        raise NotImplementedError

    def decoder(self) -> Decoder:
        """Return a decoder for one stream."""
        raise NotImplementedError

    def items(self, stream: Any, /) -> AsyncIterator[Any]:
        """Return what the decoder is to be fed."""
        return iterate(stream)

    def objects(self, stream: Any, /) -> AsyncIterator[Any]:
        """Return the items of `stream` as its user would get them, which the decoder takes too."""
        return iterate(stream)

    async def wrap(self, stream: Any, /) -> AsyncIterator[L0Event]:
        """Yield the events of `stream`, a `COMPLETE` last, and close it on every way out.

        Raises:
            L0Error: the stream carried an error, is malformed, or ended before its provider said so.
        """
        decoder, items = self.decoder(), self.items(stream)
        try:
            while (events := await _step(items, decoder)) is not None:
                for event in events:
                    yield event
            for event in decoder.end():
                yield event
            yield complete(decoder)
        finally:
            await close_stream(self, stream, items)


async def _step(items: AsyncIterator[Any], decoder: Decoder) -> list[L0Event] | None:
    """Return the events of the next item, None at the end; a failure after the answer is whole is one too."""
    try:
        return None if decoder.done else events_of(decoder.feed(await items.__anext__()))
    except StopAsyncIteration:
        return None
    except Exception:
        if decoder.finished:
            return None
        raise


def decoder_for(adapter: Adapter) -> Decoder:
    """Return a decoder for one stream of `adapter`: its own, or one that passes its events on."""
    make = getattr(adapter, "decoder", None)
    return EventDecoder() if make is None else make()


def items_for(adapter: Adapter, stream: Any, *, raw: bool = False) -> AsyncIterator[Any]:
    """Return what the decoder of `adapter` is to be fed: the items of `stream`, or its events.

    Args:
        adapter: the one that reads the stream.
        stream: what `enter` returned.
        raw: the items are to be kept for the caller, so they must be what the stream itself yields.
    """
    if hasattr(adapter, "decoder"):
        items = getattr(adapter, "items", iterate)
        return (getattr(adapter, "objects", items) if raw else items)(stream)
    return iterate(adapter.wrap(unwrapped(stream)))
