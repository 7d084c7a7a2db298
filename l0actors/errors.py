"""The errors of the library: one exception, its codes and categories, and how it travels.

`L0Error` is what a failed session raises. Its tree:

    Exception
        L0Error                  a session, an attempt or an input failed; see `code`
            RolledBackError      text was taken back, and the reader of `texts()` cannot redraw

On the bus an error is an `ErrorInfo`: data, never an exception object.
"""

import copyreg
from typing import Any

import msgspec

from l0actors.clock import SYSTEM_CLOCK
from l0actors.error_codes import CATEGORY_OF, NOT_RECOVERABLE, USER_MESSAGES, ErrorCategory, ErrorCode
from l0actors.redaction import describe

__all__ = [
    "ErrorCategory",
    "ErrorCode",
    "ErrorContext",
    "ErrorInfo",
    "ForeignError",
    "L0Error",
    "ProviderFields",
    "RolledBackError",
]

_MAX_CAUSES = 10
"""How many causes are told: enough to find the root; a circle or a hostile chain must end somewhere."""


class ProviderFields(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """What the provider said about its error, without keys, headers or prompts.

    Attributes:
        name: the provider's SDK, for example `openai`.
        status_code: the HTTP status; None when there was no response, or an error inside a 200.
        error_code: the provider's own code, for example `insufficient_quota`.
        error_type: the provider's own type, for example `overloaded_error`.
        request_id: the provider's id of the request, to quote to its support.
        retry_after_ms: how long the provider asked to wait, in milliseconds.
    """

    name: str | None = None
    status_code: int | None = None
    error_code: str | None = None
    error_type: str | None = None
    request_id: str | None = None
    retry_after_ms: float | None = None


class ErrorContext(msgspec.Struct, frozen=True, kw_only=True):
    """Where in its session an error happened.

    Attributes:
        checkpoint: the content from which a new attempt may continue, "" if there is none.
        token_count: pieces of content received so far.
        content_length: characters of content received so far.
        model_retry_count: retries that counted against `RetryConfig.attempts`.
        network_retry_count: retries that did not count (network, timeout, transient).
        fallback_index: 0 for the primary source, 1 for the first fallback.
        attempt: the number of the attempt, from 1; 0 outside an attempt.
        source: the name of the source.
        provider: what the provider said.
    """

    checkpoint: str = ""
    token_count: int = 0
    content_length: int = 0
    model_retry_count: int = 0
    network_retry_count: int = 0
    fallback_index: int = 0
    attempt: int = 0
    source: str = ""
    provider: ProviderFields | None = None


class ErrorInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An error as it travels over the bus.

    Attributes:
        code: an `ErrorCode`.
        category: an `ErrorCategory`.
        message: what was wrong and what to do.
        provider: what the provider said.
        cause: the type and message of what caused it, outermost first.
    """

    code: ErrorCode
    category: ErrorCategory
    message: str
    provider: ProviderFields | None = None
    cause: tuple[str, ...] = ()


class L0Error(Exception):
    """A session, an attempt or an input failed.

    Attributes:
        code: what exactly went wrong.
        category: what kind of failure it is. Defaults to the code's usual one.
        context: where in the session it happened.
        timestamp: when it was made, Unix epoch milliseconds.
        recoverable: whether another attempt could help. Defaults by category.
    """

    def __init__(
        self,
        message: str,
        *,
        code: ErrorCode,
        category: ErrorCategory | None = None,
        context: ErrorContext | None = None,
        timestamp: float | None = None,
        recoverable: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = ErrorCode(code)
        self.category = CATEGORY_OF[self.code] if category is None else ErrorCategory(category)
        self.context = context or ErrorContext()
        self.timestamp = SYSTEM_CLOCK.now_ms() if timestamp is None else timestamp
        self.recoverable = self.category not in NOT_RECOVERABLE if recoverable is None else recoverable

    @property
    def has_checkpoint(self) -> bool:
        """Whether there is content to continue from."""
        return bool(self.context.checkpoint)

    @property
    def provider(self) -> ProviderFields:
        """What the provider said; all None when it said nothing."""
        return self.context.provider or ProviderFields()

    def to_user_message(self) -> str:
        """Return a sentence for the person who waits: nothing internal in it."""
        return USER_MESSAGES[self.code]

    def info(self) -> ErrorInfo:
        """Return the error as it travels over the bus."""
        return ErrorInfo(
            code=self.code,
            category=self.category,
            message=self.message,
            provider=self.context.provider,
            cause=tuple(f"{_name_of(cause)}: {_told(cause)}" for cause in _causes(self)),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the error as plain JSON data in camelCase, up to ten causes included."""
        return self._to_json(_MAX_CAUSES)

    def _to_json(self, causes: int) -> dict[str, Any]:
        context = self.context
        data: dict[str, Any] = {
            "name": "L0Error",
            "code": self.code.value,
            "category": self.category.value,
            "message": self.message,
            "timestamp": self.timestamp,
            "recoverable": self.recoverable,
            "tokenCount": context.token_count,
            "contentLength": context.content_length,
            "retryAttempts": context.model_retry_count,
            "networkRetries": context.network_retry_count,
            "fallbackIndex": context.fallback_index,
            "attempt": context.attempt,
            "source": context.source,
        }
        if context.checkpoint:
            data["checkpoint"] = context.checkpoint
            data["checkpointLength"] = len(context.checkpoint)
        if context.provider is not None:
            data["provider"] = msgspec.to_builtins(_WireProvider.of(context.provider))
        if self.__cause__ is not None and causes:
            data["cause"] = _cause_to_json(self.__cause__, causes - 1)
        return data

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "L0Error":
        """Return the error that `to_json` wrote. Causes that were not ours come back as `ForeignError`.

        Raises:
            ValueError: the data is not an error of this library.
        """
        try:
            return cls._from_json(data, _MAX_CAUSES)
        except msgspec.ValidationError as invalid:
            raise ValueError(f"not a serialized L0Error: {invalid}") from None

    @classmethod
    def _from_json(cls, data: dict[str, Any], causes: int) -> "L0Error":
        error = cls._from_wire(msgspec.convert(data, _WireError))
        if (cause := data.get("cause")) is not None and causes:
            error.__cause__ = _cause_from_json(cause, causes - 1)
        return error

    @classmethod
    def _from_wire(cls, wire: "_WireError") -> "L0Error":
        context = ErrorContext(
            checkpoint=wire.checkpoint,
            token_count=wire.token_count,
            content_length=wire.content_length,
            model_retry_count=wire.retry_attempts,
            network_retry_count=wire.network_retries,
            fallback_index=wire.fallback_index,
            attempt=wire.attempt,
            source=wire.source,
            provider=wire.provider.fields() if wire.provider else None,
        )
        return cls(
            wire.message,
            code=wire.code,
            category=wire.category,
            context=context,
            timestamp=wire.timestamp,
            recoverable=wire.recoverable,
        )

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, L0Error) and self.to_json() == other.to_json())

    def __hash__(self) -> int:
        return hash((self.code, self.message))

    def __reduce__(self) -> tuple[Any, ...]:
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]


class RolledBackError(L0Error):
    """Text that `L0Result.texts()` had given was taken back: a new attempt went another way.

    Attributes:
        keep: how many characters of the text so far still stand.
    """

    def __init__(self, keep: int) -> None:
        super().__init__(
            f"a new attempt keeps only the first {keep} characters; pass on_rollback= to texts() to redraw, "
            "or use delivery='append' or 'final', which never take text back",
            code=ErrorCode.FEATURE_NOT_ENABLED,
        )
        self.keep = keep


class ForeignError(Exception):
    """Stands in for an exception that was read from JSON and is not ours.

    Attributes:
        name: the name of the original's class.
    """

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


class _WireProvider(msgspec.Struct, rename="camel", omit_defaults=True):
    name: str | None = None
    status_code: int | None = None
    error_code: str | None = None
    error_type: str | None = None
    request_id: str | None = None
    retry_after_ms: float | None = None

    @classmethod
    def of(cls, fields: ProviderFields) -> "_WireProvider":
        return cls(**msgspec.structs.asdict(fields))

    def fields(self) -> ProviderFields:
        return ProviderFields(**msgspec.structs.asdict(self))


class _WireError(msgspec.Struct, rename="camel", kw_only=True):
    code: ErrorCode
    category: ErrorCategory
    message: str
    timestamp: float
    recoverable: bool
    token_count: int = 0
    content_length: int = 0
    retry_attempts: int = 0
    network_retries: int = 0
    fallback_index: int = 0
    attempt: int = 0
    source: str = ""
    checkpoint: str = ""
    provider: _WireProvider | None = None


def _causes(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    cause = error.__cause__
    while cause is not None and len(found) < _MAX_CAUSES:
        found.append(cause)
        cause = cause.__cause__ or cause.__context__
    return found


def _name_of(cause: BaseException) -> str:
    return cause.name if isinstance(cause, ForeignError) else type(cause).__name__


def _told(cause: BaseException) -> str:
    """Return what a cause says. What others wrote may hold keys, prompts and whole bodies."""
    return str(cause) if isinstance(cause, (L0Error, ForeignError)) else describe(cause)


def _cause_to_json(cause: BaseException, causes: int) -> dict[str, Any]:
    if isinstance(cause, L0Error):
        return cause._to_json(causes)
    data: dict[str, Any] = {"name": _name_of(cause), "message": _told(cause)}
    if cause.__cause__ is not None and causes:
        data["cause"] = _cause_to_json(cause.__cause__, causes - 1)
    return data


def _cause_from_json(data: Any, causes: int) -> Exception:
    if not isinstance(data, dict):
        raise msgspec.ValidationError("a cause must be an object")
    if data.get("name") == "L0Error":
        return L0Error._from_json(data, causes)
    error = ForeignError(str(data.get("name")), str(data.get("message")))
    if (inner := data.get("cause")) is not None and causes:
        error.__cause__ = _cause_from_json(inner, causes - 1)
    return error
