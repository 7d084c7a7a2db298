"""Errors that arrive as items of the stream, after a status of 200."""

from collections.abc import Mapping
from typing import Any

from l0actors import known_errors as known
from l0actors.errors import ErrorContext, L0Error, ProviderFields
from l0actors.redaction import excerpt


def error_of(error: Any, *, provider: str | None = None) -> L0Error:
    """Return the `L0Error` that a provider's error object or dict, or its bare text, stands for.

    Its code says more than its type, so that is looked up first. An unknown one is the model's failure.

    Args:
        error: has `code`, `type` and `message`, any of which may be missing.
        provider: the name of the provider's SDK.
    """
    code, kind = _word(error, "code"), _word(error, "type")
    message = error if isinstance(error, str) else _word(error, "message")
    meaning = _meaning([word.lower() for word in (code, kind) if word is not None], message or "")
    said = excerpt(message or "it gave no message")
    return L0Error(
        f"{provider or 'the provider'} reported {code or kind or 'an error'}: {said}",
        code=meaning.code,
        category=meaning.category,
        context=ErrorContext(provider=ProviderFields(name=provider, error_code=code, error_type=kind)),
    )


def _meaning(words: list[str], message: str) -> known.Kind:
    for table in (known.DECISIVE_WORDS, known.WORDS):
        for word in words:
            if word in table:
                return _reason(table[word], message)
    if any("image" in word for word in words):  # the responses format has a dozen codes for a bad image
        return known.INVALID_REQUEST
    statuses = [int(word) for word in words if word.isascii() and word.isdigit() and len(word) == 3]
    return known.by_status(statuses[0]) if statuses else known.UNKNOWN


def _reason(kind: known.Kind, message: str) -> known.Kind:
    return (known.by_rejection(message) or kind) if kind is known.INVALID_REQUEST else kind


def _word(error: Any, field: str) -> str | None:
    value = error.get(field) if isinstance(error, Mapping) else getattr(error, field, None)
    if field == "type" and value == "error":  # the type of the event, not of the error
        return None
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return str(value) if is_number or (isinstance(value, str) and value) else None
