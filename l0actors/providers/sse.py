"""Splits the bytes of an event stream into server-sent events, wherever the network cut them."""

import msgspec

from l0actors.providers.failures import malformed

MAX_EVENT_BYTES = 16 * 2**20
"""The most that one event may amount to."""

_BOM = b"\xef\xbb\xbf"
_DATA = b"data: "
_EVENT = b"event: "


class ServerEvent(msgspec.Struct, gc=False):
    """One event of the stream.

    Attributes:
        data: its `data` lines, joined by line feeds. b"": it has none, it is a comment or a keep-alive.
        name: what its `event` line says; b"" without one.
        cut: the stream ended before the blank line that ends an event: it may be a part of one.
    """

    data: bytes = b""
    name: bytes = b""
    cut: bool = False


class SSEParser:
    """Turns bytes into events, as the HTML standard says; it is pure.

    Lines end with LF, CRLF or CR. `id` and `retry` are of no use here and not kept. A comment that stands
    alone is an event without data, so that a reader knows that the provider is alive.

    Args:
        limit: how many bytes an event may have.
    """

    def __init__(self, limit: int = MAX_EVENT_BYTES) -> None:
        self._limit = limit
        self._rest = bytearray()
        self._head: bytes | None = b""
        self._after_cr = False
        self._overlong = False

    def feed(self, data: bytes) -> list[ServerEvent]:
        """Return the events that are complete now that `data` came.

        Raises:
            L0Error: an event is over the limit. The events before it are returned first.
        """
        if self._head is not None:
            data = self._without_mark(data)
        if self._after_cr or b"\r" in data:
            data = self._normalized(data)
        if self._rest:
            blocks = self._continued(data)
        else:
            *blocks, rest = data.split(b"\n\n")
            self._rest += rest
        return self._events(blocks)

    def flush(self) -> list[ServerEvent]:
        """Return what is left at the end of the stream: at most one event, which may be cut.

        Raises:
            L0Error: an event is over the limit.
        """
        block = bytes(self._rest) or self._head or b""
        self._rest.clear()
        self._head = None
        events = self._events([block])
        for event in events:
            event.cut = True
        return events

    def _without_mark(self, data: bytes) -> bytes:
        """Drop a byte order mark, which may come in pieces."""
        data = (self._head or b"") + data
        if len(data) < len(_BOM) and _BOM.startswith(data):
            self._head = data
            return b""
        self._head = None
        return data.removeprefix(_BOM)

    def _normalized(self, data: bytes) -> bytes:
        """Make every line end with LF; of a CRLF that the network cut, the CR counted already."""
        if not data:
            return data
        if self._after_cr:
            data = data.removeprefix(b"\n")
            self._after_cr = False
        if data.endswith(b"\r"):
            self._after_cr = True
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _continued(self, data: bytes) -> list[bytes]:
        rest = self._rest
        seen = len(rest) - 1
        rest += data
        end = rest.rfind(b"\n\n", seen)
        if end < 0:
            return []
        blocks = bytes(rest[:end]).split(b"\n\n")
        del rest[: end + 2]
        return blocks

    def _events(self, blocks: list[bytes]) -> list[ServerEvent]:
        if self._overlong:
            raise self._too_long()
        events: list[ServerEvent] = []
        for block in blocks:
            if len(block) > self._limit and len(block.strip(b"\n")) > self._limit:
                self._overlong = True
                break
            if block.startswith(_DATA):
                if block.find(b"\n") < 0:
                    events.append(ServerEvent(block[6:]))
                    continue
            elif block.startswith(_EVENT):
                line = block.find(b"\n") + 1
                if line and block.startswith(_DATA, line) and block.find(b"\n", line) < 0:
                    events.append(ServerEvent(block[line + 6 :], block[7 : line - 1]))
                    continue
            if (event := _parsed(block)) is not None:
                events.append(event)
        self._overlong = self._overlong or len(self._rest) > self._limit + 2  # for its line ends
        if self._overlong and not events:
            raise self._too_long()
        return events

    def _too_long(self) -> Exception:
        self._rest.clear()
        return malformed(f"it has more than {self._limit} bytes")


def _parsed(block: bytes) -> ServerEvent | None:
    """Read an event line by line; None if it has not a single one."""
    data: list[bytes] = []
    name, lines = b"", 0
    for line in block.split(b"\n"):
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        lines += bool(line)
        if field == b"data":
            data.append(value)
        elif field == b"event":
            name = value
    return ServerEvent(b"\n".join(data), name) if lines else None
