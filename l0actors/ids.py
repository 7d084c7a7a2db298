"""Stream ids: UUIDv7 as RFC 9562 lays it out, so that any tool can read the date."""

from uuid import UUID

from uuid_extensions import uuid7

_RANDOM_BITS = (1 << 62) - 1


def stream_id(wall_ms: float) -> str:
    """Return a new UUIDv7 for a session that starts at `wall_ms` (Unix epoch milliseconds).

    `uuid7` (0.1.0) writes its timestamp as an early draft did, in seconds, which RFC 9562 reads as
    the year 2203. Only its sequence and random bits are taken; the first 48 bits are the
    milliseconds that the RFC asks for.
    """
    drawn = uuid7(as_type="int")
    milliseconds = int(wall_ms) & ((1 << 48) - 1)
    sequence = (drawn >> 64) & 0xFFF
    return str(
        UUID(int=milliseconds << 80 | 0x7 << 76 | sequence << 64 | 0b10 << 62 | (drawn & _RANDOM_BITS))
    )
