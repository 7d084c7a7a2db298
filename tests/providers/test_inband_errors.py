"""Errors that come as items of the stream."""

from typing import Any

import pytest

from l0actors.errors import ErrorCategory, ErrorCode
from l0actors.providers.inband import error_of


@pytest.mark.parametrize(
    ("error", "code", "category"),
    [
        ({"code": "rate_limit_exceeded"}, ErrorCode.RATE_LIMITED, ErrorCategory.TRANSIENT),
        ({"type": "rate_limit_error"}, ErrorCode.RATE_LIMITED, ErrorCategory.TRANSIENT),
        ({"type": "overloaded_error"}, ErrorCode.PROVIDER_ERROR, ErrorCategory.TRANSIENT),
        ({"code": "server_error"}, ErrorCode.PROVIDER_ERROR, ErrorCategory.TRANSIENT),
        ({"code": "SERVER_ERROR"}, ErrorCode.PROVIDER_ERROR, ErrorCategory.TRANSIENT),
        ({"code": "context_length_exceeded"}, ErrorCode.CONTEXT_LENGTH, ErrorCategory.PROVIDER),
        (
            {"code": "rate_limit_exceeded", "type": "invalid_request_error"},
            ErrorCode.RATE_LIMITED,
            ErrorCategory.TRANSIENT,
        ),
        (
            {"code": "server_error", "type": "insufficient_quota"},
            ErrorCode.AUTHENTICATION,
            ErrorCategory.FATAL,
        ),
        ({"code": "image_too_large"}, ErrorCode.INVALID_REQUEST, ErrorCategory.VALIDATION),
        ({"code": "image_content_policy_violation"}, ErrorCode.CONTENT_REFUSED, ErrorCategory.REFUSED),
        ({"code": 429}, ErrorCode.RATE_LIMITED, ErrorCategory.TRANSIENT),
        ({"code": "503"}, ErrorCode.PROVIDER_ERROR, ErrorCategory.TRANSIENT),
        (
            {"type": "invalid_request_error", "message": "prompt is too long: 9 tokens"},
            ErrorCode.CONTEXT_LENGTH,
            ErrorCategory.PROVIDER,
        ),
        ({"code": "novelty"}, ErrorCode.PROVIDER_ERROR, ErrorCategory.MODEL),
        ({"code": ["odd"], "message": 3}, ErrorCode.PROVIDER_ERROR, ErrorCategory.MODEL),
        ("text", ErrorCode.PROVIDER_ERROR, ErrorCategory.MODEL),
        (None, ErrorCode.PROVIDER_ERROR, ErrorCategory.MODEL),
    ],
)
def test_words_decide(error: Any, code: ErrorCode, category: ErrorCategory) -> None:
    """The provider's code, then its type, says what an error in the stream means."""
    raised = error_of(error)
    assert (raised.code, raised.category) == (code, category)


def test_the_providers_words_are_kept() -> None:
    """Code, type and message of the provider are in the error, and keys are not."""
    error = error_of(
        {"code": "server_error", "type": "t", "message": "failed for api_key=sk-12345678901234"},
        provider="openai",
    )
    assert (error.provider.name, error.provider.error_code, error.provider.error_type) == (
        "openai",
        "server_error",
        "t",
    )
    assert "openai reported server_error: failed for" in str(error)
    assert "sk-123" not in str(error)


def test_the_type_of_the_event_is_not_that_of_the_error() -> None:
    """`{"type": "error"}` says nothing about the kind of error."""
    assert error_of({"type": "error", "code": "x"}).provider.error_type is None
