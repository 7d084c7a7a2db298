"""What is known about other people's errors: by status, by the provider's words, by class, by text.

Nothing is imported from an SDK: a class is known by its package and its name. The statuses and
words are those of the OpenAI and Anthropic APIs and of gateways that speak like them; the classes
are those of their Python clients and of the HTTP libraries beneath.
"""

import re
from typing import NamedTuple

from l0actors.errors import ErrorCategory, ErrorCode


class Kind(NamedTuple):
    """What an error amounts to.

    Attributes:
        category: what is done about it.
        code: what exactly went wrong.
        what: the beginning of a message about an exception that is not a provider's answer.
    """

    category: ErrorCategory
    code: ErrorCode
    what: str = "the source raised"


_LOST = "the connection failed:"

NETWORK = Kind(ErrorCategory.NETWORK, ErrorCode.NETWORK_ERROR, _LOST)
RATE_LIMITED = Kind(ErrorCategory.TRANSIENT, ErrorCode.RATE_LIMITED)
TRANSIENT = Kind(ErrorCategory.TRANSIENT, ErrorCode.PROVIDER_ERROR)
AUTHENTICATION = Kind(ErrorCategory.FATAL, ErrorCode.AUTHENTICATION)
CONTEXT_LENGTH = Kind(ErrorCategory.PROVIDER, ErrorCode.CONTEXT_LENGTH)
UNSUPPORTED = Kind(ErrorCategory.PROVIDER, ErrorCode.PROVIDER_ERROR)
MISCONFIGURED = Kind(ErrorCategory.PROVIDER, ErrorCode.INVALID_REQUEST)
INVALID_REQUEST = Kind(ErrorCategory.VALIDATION, ErrorCode.INVALID_REQUEST)
REFUSED = Kind(ErrorCategory.REFUSED, ErrorCode.CONTENT_REFUSED)
MALFORMED = Kind(ErrorCategory.MODEL, ErrorCode.PROVIDER_ERROR, "the provider sent malformed output:")
UNKNOWN = Kind(ErrorCategory.MODEL, ErrorCode.PROVIDER_ERROR)
BAD_FACTORY = Kind(ErrorCategory.VALIDATION, ErrorCode.INVALID_STREAM, "the source's factory raised")
USED_STREAM = Kind(ErrorCategory.VALIDATION, ErrorCode.INVALID_STREAM, "the stream was already used:")
STOPPED = Kind(ErrorCategory.FATAL, ErrorCode.STREAM_ABORTED, "the source was stopped:")


_STATUSES = {
    401: AUTHENTICATION,
    402: AUTHENTICATION,  # billing: as with a wrong key, only another account can help
    403: AUTHENTICATION,
    404: UNSUPPORTED,
    407: AUTHENTICATION,
    408: TRANSIENT,
    409: TRANSIENT,
    425: TRANSIENT,
    429: RATE_LIMITED,
    499: TRANSIENT,  # a gateway that says that its client, another gateway, went away
}


def by_status(status: int) -> Kind:
    """Return what an HTTP status of 300 or more means when nothing more is known."""
    if status >= 500:
        return TRANSIENT
    return _STATUSES.get(status, INVALID_REQUEST if status >= 400 else UNSUPPORTED)


DECISIVE_WORDS = {
    "insufficient_quota": AUTHENTICATION,
    "billing_error": AUTHENTICATION,
    "billing_hard_limit_reached": AUTHENTICATION,
    "billing_not_active": AUTHENTICATION,
    "organization_on_hold": AUTHENTICATION,
    "contract_spend_limit_reached": AUTHENTICATION,
    "enforced_spend_limit_reached": AUTHENTICATION,
    "linked_organization_spend_limit_reached": AUTHENTICATION,
    "linked_organization_billing_unavailable": AUTHENTICATION,
    "context_length_exceeded": CONTEXT_LENGTH,
    "context_window_exceeded": CONTEXT_LENGTH,
    "model_context_window_exceeded": CONTEXT_LENGTH,
    "model_not_found": UNSUPPORTED,
    "model_not_supported": UNSUPPORTED,
    "unsupported_model": UNSUPPORTED,
    "content_filter": REFUSED,
    "content_policy": REFUSED,
    "content_policy_violation": REFUSED,
    "image_content_policy_violation": REFUSED,
    "responsibleaipolicyviolation": REFUSED,
    "bio_policy": REFUSED,
    "misalignment_policy_violation": REFUSED,
    "invalid_prompt": REFUSED,
}
"""A provider's `code` or `type` that says more than the status it came with."""

WORDS = {
    "overloaded_error": TRANSIENT,
    "server_overloaded": TRANSIENT,
    "api_error": TRANSIENT,
    "server_error": TRANSIENT,
    "internal_error": TRANSIENT,
    "internal_server_error": TRANSIENT,
    "service_unavailable": TRANSIENT,
    "timeout_error": TRANSIENT,
    "conflict_error": TRANSIENT,
    "vector_store_timeout": TRANSIENT,
    "slow_down": TRANSIENT,
    "unavailable": TRANSIENT,
    "deadline_exceeded": TRANSIENT,
    "rate_limit_error": RATE_LIMITED,
    "rate_limit_exceeded": RATE_LIMITED,
    "ramp_limit_exceeded": RATE_LIMITED,
    "too_many_requests": RATE_LIMITED,
    "resource_exhausted": RATE_LIMITED,
    "authentication_error": AUTHENTICATION,
    "permission_error": AUTHENTICATION,
    "permission_denied": AUTHENTICATION,
    "invalid_api_key": AUTHENTICATION,
    "unauthenticated": AUTHENTICATION,
    "not_found_error": UNSUPPORTED,
    "invalid_request_error": INVALID_REQUEST,
    "invalid_request": INVALID_REQUEST,
    "invalid_argument": INVALID_REQUEST,
    "request_too_large": INVALID_REQUEST,
}
"""A provider's `code` or `type`, for errors without a status: those inside a stream."""


DECISIVE_CLASSES = {
    "BudgetExceededError": AUTHENTICATION,
    "ContentFilterFinishReasonError": REFUSED,
    "ContentPolicyViolationError": REFUSED,
    "ContextWindowExceededError": CONTEXT_LENGTH,
    "CredentialsError": AUTHENTICATION,
    "SubjectTokenProviderError": AUTHENTICATION,
}
"""Class names of the SDKs that say more than the status."""

_SDK = {"APIConnectionError": NETWORK, "RetryableError": TRANSIENT, "APIResponseValidationError": MALFORMED}
_HTTPX = {
    "InvalidURL": MISCONFIGURED,
    "UnsupportedProtocol": MISCONFIGURED,
    "TooManyRedirects": MISCONFIGURED,
    "StreamConsumed": USED_STREAM,
    "StreamClosed": NETWORK,
    "RequestError": NETWORK,
}
_HTTPCORE = {
    "UnsupportedProtocol": MISCONFIGURED,
    "ConnectionNotAvailable": NETWORK,
    "NetworkError": NETWORK,
    "ProtocolError": NETWORK,
    "ProxyError": NETWORK,
    "TimeoutException": NETWORK,
}
_CLASSES = {
    "openai": _SDK,
    "anthropic": _SDK,
    "httpx": _HTTPX,
    "httpx2": _HTTPX,
    "httpcore": _HTTPCORE,
    "httpcore2": _HTTPCORE,
    "aiohttp": {
        "InvalidURL": MISCONFIGURED,
        "ContentTypeError": MALFORMED,
        "ClientError": NETWORK,
        "HttpProcessingError": NETWORK,
    },
    "anyio": {"BrokenResourceError": NETWORK, "ClosedResourceError": NETWORK, "EndOfStream": NETWORK},
    "asyncio": {"CancelledError": STOPPED, "TimeoutError": NETWORK},
    "concurrent": {"TimeoutError": NETWORK},
    "h11": {"ProtocolError": NETWORK},
    "h2": {"ProtocolError": NETWORK},
    "http": {"HTTPException": NETWORK},
    "urllib3": {"HTTPError": NETWORK},
    "websockets": {"ConnectionClosed": NETWORK},
    "zlib": {"error": NETWORK},
    "json": {"JSONDecodeError": MALFORMED},
    "msgspec": {"DecodeError": MALFORMED},
    "builtins": {"UnicodeDecodeError": MALFORMED, "EOFError": NETWORK, "TimeoutError": NETWORK},
}


def by_class(kind: type[BaseException]) -> Kind | None:
    """Return what is known of an exception's class or the nearest of its bases, None if nothing is."""
    for base in kind.__mro__:
        known = _CLASSES.get(package(base), {}).get(base.__name__)
        if known is not None:
            return known
    return None


def package(kind: type) -> str:
    """Return the name of the package that a class comes from."""
    return str(kind.__module__).partition(".")[0]


def _whole_words(*patterns: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w)(?:{'|'.join(patterns)})(?!\w)", re.IGNORECASE)


NO_CREDENTIALS = _whole_words(
    "resolve authentication method", "api_key client option must be set", "missing credentials"
)
"""How the SDKs say that they were given no key, in a plain TypeError or base class."""

_REJECTED_TEXTS = [
    (
        _whole_words("prompt is too long", "context (?:length|window)", "too many input tokens"),
        CONTEXT_LENGTH,
    ),
    (_whole_words("credit balance is too low", "billing", "exceeded your current quota"), AUTHENTICATION),
    (_whole_words("content[- ](?:filter|filtering|management|policy)", "safety system"), REFUSED),
]

_TEXTS = [
    (NO_CREDENTIALS, AUTHENTICATION),
    (_whole_words("exceeded your current quota", "credit balance is too low"), AUTHENTICATION),
    (_whole_words("rate[- ]?limit(?:s|ed|ing)?", "too many requests"), RATE_LIMITED),
    (_whole_words("(?:invalid|incorrect) api[- _]?key", "unauthori[sz]ed", "forbidden"), AUTHENTICATION),
    (_whole_words("maximum context length", "prompt is too long"), CONTEXT_LENGTH),
    (
        _whole_words(
            "overloaded", "service unavailable", "bad gateway", "gateway time-?out", "internal server error"
        ),
        TRANSIENT,
    ),
    (
        _whole_words(
            "connection (?:was )?(?:reset|refused|aborted|closed|lost|error|time-?out|timed out)",
            "(?:read |connect |request )?timed[- ]?out",
            "timeout",
            "broken pipe",
            "(?:network|host)(?: is)? unreachable",
            "network error",
            "name resolution",
            "getaddrinfo",
            "dns (?:lookup )?(?:failed|failure|error)",
            "(?:socket|ssl|tls) (?:error|hang up|failure)",
            "unexpected eof",
            "eof occurred",
            "peer closed connection",
            "incomplete (?:chunked )?read",
            "stream (?:was )?(?:closed|ended|interrupted) (?:unexpectedly|prematurely|early)",
            "sse (?:connection|stream) (?:closed|error|failed)",
            "E(?:CONNRESET|CONNREFUSED|CONNABORTED|TIMEDOUT|PIPE|AI_AGAIN|NOTFOUND|HOSTUNREACH)",
        ),
        NETWORK,
    ),
]

_STATUS_TEXT = re.compile(
    r"\b(?:HTTP(?:/[\d.]+)?|status(?:[ _]code)?|error[ _]code)[ :=]{1,3}([345]\d\d)\b", re.IGNORECASE
)


def by_text(text: str) -> Kind | None:
    """Return what an unknown exception's text says, in whole words; None if nothing known."""
    if (status := _STATUS_TEXT.search(text)) is not None:
        return by_status(int(status.group(1)))
    return _first(_TEXTS, text)


def by_rejection(text: str) -> Kind | None:
    """Return why a provider rejected a request, by its own sentence; None if it gives no known reason."""
    return _first(_REJECTED_TEXTS, text)


def _first(table: list[tuple[re.Pattern[str], Kind]], text: str) -> Kind | None:
    return next((kind for pattern, kind in table if pattern.search(text)), None)
