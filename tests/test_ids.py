"""Stream ids are UUIDv7 as RFC 9562 lays them out."""

from uuid import RFC_4122, UUID

from hypothesis import given
from hypothesis import strategies as st

from l0actors.ids import stream_id

NOW_MS = 1_700_000_000_123.9


def test_stream_id_is_a_uuid_of_version_7() -> None:
    """Version and variant are those of RFC 9562, in the canonical text form."""
    text = stream_id(NOW_MS)
    parsed = UUID(text)
    assert (parsed.version, parsed.variant, str(parsed)) == (7, RFC_4122, text)


@given(st.integers(0, (1 << 48) - 1))
def test_first_48_bits_are_the_milliseconds(wall_ms: int) -> None:
    """Any tool reads the session's start from its id."""
    assert UUID(stream_id(wall_ms)).int >> 80 == wall_ms


def test_later_sessions_sort_later() -> None:
    """Ids of different milliseconds sort by time, as text too."""
    ids = [stream_id(NOW_MS + 1000 * n) for n in range(50)]
    assert ids == sorted(ids)


def test_ids_of_one_millisecond_differ() -> None:
    """Ten thousand sessions of one millisecond have ten thousand ids."""
    assert len({stream_id(NOW_MS) for _ in range(10_000)}) == 10_000
