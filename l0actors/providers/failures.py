"""The errors that a decoder raises: a truncated stream, a malformed event, an item of no use here."""

from l0actors.errors import ErrorCategory, ErrorCode, L0Error


def truncated(message: str, *, category: ErrorCategory | None = None) -> L0Error:
    """Return the error of a stream that ended before its provider said so."""
    return L0Error(message, code=ErrorCode.STREAM_TRUNCATED, category=category)


def cut_short(items: int, marker: str) -> L0Error:
    """Return the error of a stream that ended after `items` items without `marker`."""
    if items:
        return truncated(f"the stream ended after {items} events without {marker}: the answer is cut off")
    return truncated(
        "the stream ended without a single event: an empty body, or an error page or a whole document "
        "where an event stream should be"
    )


def malformed(what: str) -> L0Error:
    """Return the error of an event that the provider's protocol does not allow."""
    return L0Error(f"malformed event: {what}", code=ErrorCode.PROVIDER_ERROR, category=ErrorCategory.MODEL)


def invalid(message: str) -> L0Error:
    """Return the error of a stream that the caller should have set up otherwise."""
    return L0Error(message, code=ErrorCode.INVALID_STREAM, category=ErrorCategory.VALIDATION)


def kind_of(item: object) -> str:
    """Return the name of an object's type as an error should give it."""
    kind = type(item)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
