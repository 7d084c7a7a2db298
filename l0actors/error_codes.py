"""What can go wrong: categories and codes, what each usually means, and how a user is told."""

from enum import Enum


class ErrorCategory(str, Enum):
    """What kind of failure it is: this decides what is done about it."""

    NETWORK = "network"
    TIMEOUT = "timeout"
    TRANSIENT = "transient"
    MODEL = "model"
    CONTENT = "content"
    GUARDRAIL = "guardrail"
    DRIFT = "drift"
    PROVIDER = "provider"
    VALIDATION = "validation"
    REFUSED = "refused"
    FATAL = "fatal"
    INTERNAL = "internal"

    @property
    def group(self) -> "ErrorCategory":
        """The coarser category: network, transient, model, content, provider, fatal or internal."""
        return _GROUPS.get(self, self)


_GROUPS = {
    ErrorCategory.TIMEOUT: ErrorCategory.NETWORK,
    ErrorCategory.GUARDRAIL: ErrorCategory.CONTENT,
    ErrorCategory.DRIFT: ErrorCategory.CONTENT,
    ErrorCategory.VALIDATION: ErrorCategory.FATAL,
    ErrorCategory.REFUSED: ErrorCategory.FATAL,
}


class ErrorCode(str, Enum):
    """What exactly went wrong. Values equal the names."""

    STREAM_ABORTED = "STREAM_ABORTED"
    INITIAL_TOKEN_TIMEOUT = "INITIAL_TOKEN_TIMEOUT"
    INTER_TOKEN_TIMEOUT = "INTER_TOKEN_TIMEOUT"
    CONTENT_TIMEOUT = "CONTENT_TIMEOUT"
    TOTAL_TIMEOUT = "TOTAL_TIMEOUT"
    ZERO_OUTPUT = "ZERO_OUTPUT"
    GUARDRAIL_VIOLATION = "GUARDRAIL_VIOLATION"
    FATAL_GUARDRAIL_VIOLATION = "FATAL_GUARDRAIL_VIOLATION"
    DRIFT_DETECTED = "DRIFT_DETECTED"
    INVALID_STREAM = "INVALID_STREAM"
    ALL_STREAMS_EXHAUSTED = "ALL_STREAMS_EXHAUSTED"
    NETWORK_ERROR = "NETWORK_ERROR"
    RATE_LIMITED = "RATE_LIMITED"
    PROVIDER_ERROR = "PROVIDER_ERROR"
    AUTHENTICATION = "AUTHENTICATION"
    CONTEXT_LENGTH = "CONTEXT_LENGTH"
    CONTENT_REFUSED = "CONTENT_REFUSED"
    INVALID_REQUEST = "INVALID_REQUEST"
    STREAM_TRUNCATED = "STREAM_TRUNCATED"
    CONTENT_LIMIT = "CONTENT_LIMIT"
    ADAPTER_NOT_FOUND = "ADAPTER_NOT_FOUND"
    SCHEMA_INVALID = "SCHEMA_INVALID"
    INVALID_STATE_TRANSITION = "INVALID_STATE_TRANSITION"
    FEATURE_NOT_ENABLED = "FEATURE_NOT_ENABLED"
    INTERNAL = "INTERNAL"


CATEGORY_OF = {
    ErrorCode.STREAM_ABORTED: ErrorCategory.FATAL,
    ErrorCode.INITIAL_TOKEN_TIMEOUT: ErrorCategory.TIMEOUT,
    ErrorCode.INTER_TOKEN_TIMEOUT: ErrorCategory.TIMEOUT,
    ErrorCode.CONTENT_TIMEOUT: ErrorCategory.TIMEOUT,
    ErrorCode.TOTAL_TIMEOUT: ErrorCategory.TIMEOUT,
    ErrorCode.ZERO_OUTPUT: ErrorCategory.CONTENT,
    ErrorCode.GUARDRAIL_VIOLATION: ErrorCategory.GUARDRAIL,
    ErrorCode.FATAL_GUARDRAIL_VIOLATION: ErrorCategory.FATAL,
    ErrorCode.DRIFT_DETECTED: ErrorCategory.DRIFT,
    ErrorCode.INVALID_STREAM: ErrorCategory.VALIDATION,
    ErrorCode.ALL_STREAMS_EXHAUSTED: ErrorCategory.PROVIDER,
    ErrorCode.NETWORK_ERROR: ErrorCategory.NETWORK,
    ErrorCode.RATE_LIMITED: ErrorCategory.TRANSIENT,
    ErrorCode.PROVIDER_ERROR: ErrorCategory.MODEL,
    ErrorCode.AUTHENTICATION: ErrorCategory.FATAL,
    ErrorCode.CONTEXT_LENGTH: ErrorCategory.PROVIDER,
    ErrorCode.CONTENT_REFUSED: ErrorCategory.REFUSED,
    ErrorCode.INVALID_REQUEST: ErrorCategory.VALIDATION,
    ErrorCode.STREAM_TRUNCATED: ErrorCategory.NETWORK,
    ErrorCode.CONTENT_LIMIT: ErrorCategory.VALIDATION,
    ErrorCode.ADAPTER_NOT_FOUND: ErrorCategory.VALIDATION,
    ErrorCode.SCHEMA_INVALID: ErrorCategory.CONTENT,
    ErrorCode.INVALID_STATE_TRANSITION: ErrorCategory.INTERNAL,
    ErrorCode.FEATURE_NOT_ENABLED: ErrorCategory.VALIDATION,
    ErrorCode.INTERNAL: ErrorCategory.INTERNAL,
}

NOT_RECOVERABLE = {
    ErrorCategory.FATAL,
    ErrorCategory.VALIDATION,
    ErrorCategory.REFUSED,
    ErrorCategory.INTERNAL,
}

_TRY_AGAIN = "Please try again."
USER_MESSAGES = {
    ErrorCode.STREAM_ABORTED: "The response was stopped.",
    ErrorCode.INITIAL_TOKEN_TIMEOUT: f"The service is taking too long to respond. {_TRY_AGAIN}",
    ErrorCode.INTER_TOKEN_TIMEOUT: f"The response was interrupted. {_TRY_AGAIN}",
    ErrorCode.CONTENT_TIMEOUT: f"The service is taking too long to respond. {_TRY_AGAIN}",
    ErrorCode.TOTAL_TIMEOUT: f"The response took too long. {_TRY_AGAIN}",
    ErrorCode.ZERO_OUTPUT: f"The service gave an empty response. {_TRY_AGAIN}",
    ErrorCode.GUARDRAIL_VIOLATION: f"The response did not pass a quality check. {_TRY_AGAIN}",
    ErrorCode.FATAL_GUARDRAIL_VIOLATION: "The response did not pass a safety check.",
    ErrorCode.DRIFT_DETECTED: f"The response did not pass a quality check. {_TRY_AGAIN}",
    ErrorCode.INVALID_STREAM: "The service gave a response that cannot be read.",
    ErrorCode.ALL_STREAMS_EXHAUSTED: "The service is not available right now. Please try again later.",
    ErrorCode.NETWORK_ERROR: f"There was a connection problem. {_TRY_AGAIN}",
    ErrorCode.RATE_LIMITED: "The service is busy. Please try again in a moment.",
    ErrorCode.PROVIDER_ERROR: f"The service reported a problem. {_TRY_AGAIN}",
    ErrorCode.AUTHENTICATION: "The service is not set up correctly. Please contact support.",
    ErrorCode.CONTEXT_LENGTH: "The conversation is too long for the service.",
    ErrorCode.CONTENT_REFUSED: "The service declined this request.",
    ErrorCode.INVALID_REQUEST: "The service could not handle this request.",
    ErrorCode.STREAM_TRUNCATED: f"The response was interrupted. {_TRY_AGAIN}",
    ErrorCode.CONTENT_LIMIT: "The response was longer than allowed.",
    ErrorCode.ADAPTER_NOT_FOUND: "The service is not set up correctly. Please contact support.",
    ErrorCode.SCHEMA_INVALID: f"The service gave a response in the wrong form. {_TRY_AGAIN}",
    ErrorCode.INVALID_STATE_TRANSITION: "Something went wrong on our side.",
    ErrorCode.FEATURE_NOT_ENABLED: "This is not available.",
    ErrorCode.INTERNAL: "Something went wrong on our side.",
}
