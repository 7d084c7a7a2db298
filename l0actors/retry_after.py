"""What a provider's headers say about trying again."""

import re
from collections.abc import Mapping
from datetime import timezone
from email.utils import parsedate_to_datetime

_NUMBER = re.compile(r"[0-9]{1,12}(?:\.[0-9]*)?|\.[0-9]+")


def retry_after_ms(headers: Mapping[str, str], now_ms: float) -> float | None:
    """Return how long to wait, in milliseconds from `now_ms` (Unix epoch milliseconds).

    `retry-after-ms` is asked first, then `retry-after` in seconds or as an HTTP date; a date that is
    over gives 0. None if neither is there or can be read, or if it is negative.

    Args:
        headers: by their lower-case names.
        now_ms: the date to which an HTTP date is compared.
    """
    if (milliseconds := _number(headers.get("retry-after-ms"))) is not None:
        return milliseconds
    asked = headers.get("retry-after")
    if (seconds := _number(asked)) is not None:
        return seconds * 1000
    return _until(asked, now_ms) if asked else None


def should_retry(headers: Mapping[str, str]) -> bool | None:
    """Return what `x-should-retry` says, None if it says neither true nor false."""
    return {"true": True, "false": False}.get(headers.get("x-should-retry", "").strip().lower())


def _number(value: str | None) -> float | None:
    if value is None or not _NUMBER.fullmatch(value.strip()):
        return None
    return float(value)


def _until(date: str, now_ms: float) -> float | None:
    try:
        parsed = parsedate_to_datetime(date)
        aware = parsed if parsed.tzinfo else parsed.replace(tzinfo=timezone.utc)
        return max(0.0, aware.timestamp() * 1000 - now_ms)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
