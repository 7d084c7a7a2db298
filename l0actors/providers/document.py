"""Tells what a provider answered with instead of an event stream."""

import json
from typing import Any

from l0actors.errors import ErrorCategory, ErrorCode, L0Error
from l0actors.providers.failures import truncated
from l0actors.providers.inband import error_of

MAX_BYTES = 2**16
"""How much of such an answer is looked at."""


def is_document(begin: bytes) -> bool:
    """Return whether a body that begins like this is no event stream: none begins with these."""
    return begin.lstrip()[:1] in (b"{", b"[", b"<")


def error_of_document(body: bytes, provider: str) -> L0Error:
    """Return the error that a whole document stands for: the one in it, or that it came at all.

    Args:
        body: the document, of which the end may be missing.
        provider: the name of the provider's SDK.
    """
    if body.lstrip().startswith(b"<"):
        return truncated("a page (HTML or XML) came instead of an event stream: a proxy answered")
    content = _content(body)
    error = content.get("error") if isinstance(content, dict) else None
    if error:
        return _doubted(error_of(error, provider=provider))
    if isinstance(content, dict) and {"choices", "output", "content"} & content.keys():
        return L0Error(
            "a whole answer came instead of an event stream: the provider, or a proxy, ignores stream=True",
            code=ErrorCode.PROVIDER_ERROR,
            category=ErrorCategory.MODEL,
        )
    return truncated("a JSON document came instead of an event stream")


def _doubted(error: L0Error) -> L0Error:
    """Take "invalid request" for a failure that may pass: a provider that means it does not answer 200."""
    if error.category is not ErrorCategory.VALIDATION:
        return error
    return L0Error(str(error), code=error.code, category=ErrorCategory.MODEL, context=error.context)


def _content(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None
