"""What an exception means: any exception becomes a category, or a whole `L0Error`.

What is more certain is asked first: the provider's own words where they say more than the status,
the HTTP status, the provider's other words, the exception's class, and only then its text.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from l0actors import known_errors as known
from l0actors.clock import SYSTEM_CLOCK
from l0actors.errors import ErrorCategory, ErrorCode, ErrorContext, L0Error, ProviderFields
from l0actors.known_errors import Kind
from l0actors.redaction import describe, excerpt
from l0actors.retry_after import retry_after_ms, should_retry

_SDKS = ("openai", "anthropic", "litellm")
_MAX_WORD = 100  # characters of a provider's code, type or request id
_MAX_CAUSES = 10

# What a mistake in the program raises, as opposed to a failure of the world.
_PROGRAMMING = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    NameError,
    NotImplementedError,
    TypeError,
    ValueError,
)

_ADVICE = {
    ErrorCode.AUTHENTICATION: "check the key and the account",
    ErrorCode.CONTEXT_LENGTH: "shorten the input",
}


def categorize_error(exc: BaseException) -> ErrorCategory:
    """Return what kind of failure `exc` is. Works on any exception."""
    return exc.category if isinstance(exc, L0Error) else _kind(_subject(exc)).category


def to_l0_error(
    exc: BaseException,
    *,
    context: ErrorContext | None = None,
    timestamp: float | None = None,
    opening: bool = False,
) -> L0Error:
    """Return `exc` as an `L0Error` whose `__cause__` it is; an `L0Error` is returned as it is.

    The message holds the provider's own sentence, shortened and without what looks like a key, and
    never its headers or its whole body.

    Args:
        exc: any exception.
        context: where in the session it happened; what the provider said is added.
        timestamp: now, Unix epoch milliseconds; a `Retry-After` date counts from it. Default: the
            system's clock.
        opening: the exception came from the source's factory before there was a stream. A mistake
            in the program (a TypeError, a KeyError) is then an `INVALID_STREAM`, which is not retried.
    """
    if isinstance(exc, L0Error):
        return exc
    now_ms = SYSTEM_CLOCK.now_ms() if timestamp is None else timestamp
    subject = _subject(exc)
    kind, headers = _kind(subject, opening), _headers(subject)
    provider = _provider_fields(subject, headers, now_ms)
    error = L0Error(
        _message(subject, kind, provider),
        code=kind.code,
        category=kind.category,
        context=msgspec.structs.replace(context or ErrorContext(), provider=provider),
        timestamp=now_ms,
        recoverable=False if should_retry(headers) is False else None,
    )
    error.__cause__ = exc
    return error


def _subject(exc: BaseException) -> BaseException:
    """Return the exception that says what happened: LiteLLM wraps it."""
    original = _attribute(exc, "original_exception")
    return original if isinstance(original, BaseException) else exc


def _kind(exc: BaseException, opening: bool = False) -> Kind:
    if (decisive := _decisive(exc)) is not None:
        return decisive
    kind = _by_answer(exc) or _by_class(exc) or _by_rest(exc, opening)
    if kind is known.INVALID_REQUEST:
        kind = known.by_rejection(_said(exc)) or kind
    if should_retry(_headers(exc)) and kind.category is not ErrorCategory.NETWORK:
        kind = kind._replace(category=ErrorCategory.TRANSIENT)
    return kind


def _decisive(exc: BaseException) -> Kind | None:
    for base in type(exc).__mro__:
        if known.package(base) in _SDKS and base.__name__ in known.DECISIVE_CLASSES:
            return known.DECISIVE_CLASSES[base.__name__]
    return next((known.DECISIVE_WORDS[word] for word in _words(exc) if word in known.DECISIVE_WORDS), None)


def _by_answer(exc: BaseException) -> Kind | None:
    """Return what the status or, without one, the error inside the stream says."""
    if (status := _status(exc)) is not None:
        return known.by_status(status)
    for word in _words(exc):
        if word in known.WORDS:
            return known.WORDS[word]
        if (status := _as_status(word)) is not None:
            return known.by_status(status)
    return None


def _by_class(exc: BaseException) -> Kind | None:
    kind = known.by_class(type(exc))
    if kind is known.NETWORK and any(
        known.by_class(type(cause)) is known.MISCONFIGURED for cause in _causes(exc)
    ):
        return known.MISCONFIGURED
    if kind is None and isinstance(exc, OSError) and exc.filename is None:
        return known.NETWORK
    return kind


def _by_rest(exc: BaseException, opening: bool) -> Kind:
    if not isinstance(exc, Exception):
        return known.STOPPED
    text = _said(exc)
    if not isinstance(exc, (*_PROGRAMMING, OSError)):
        return known.by_text(text) or known.UNKNOWN
    if known.NO_CREDENTIALS.search(text):
        return known.AUTHENTICATION
    return known.BAD_FACTORY if opening else known.UNKNOWN


def _attribute(exc: BaseException, name: str) -> Any:
    try:
        return getattr(exc, name, None)
    except Exception:  # a property of somebody else's class
        return None


def _status(exc: BaseException) -> int | None:
    """Return the HTTP status of a failed request. Anthropic's errors inside a stream carry a 200."""
    response = _attribute(exc, "response")
    for value in (
        _attribute(exc, "status_code"),
        _attribute(exc, "status"),
        getattr(response, "status_code", None),
    ):
        if (status := _as_status(value)) is not None:
            return status
    return None


def _as_status(value: object) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value[:4])
    return int(value) if isinstance(value, int) and 300 <= value <= 599 else None


def _error_body(exc: BaseException) -> Any:
    """Return the provider's error object, or its text. Anthropic's `body` holds it, OpenAI's is it."""
    body = _attribute(exc, "body")
    return body["error"] if isinstance(body, dict) and body.get("error") else body


def _field(exc: BaseException, *names: str) -> str | None:
    """Return the first of the provider's fields that is a word: of the exception, or of its body."""
    body = _error_body(exc)
    inner = body if isinstance(body, dict) else {}
    for value in (*(_attribute(exc, name) for name in names), *(inner.get(name) for name in names)):
        if isinstance(value, (str, int)) and not isinstance(value, bool) and value != "":
            return excerpt(str(value))[:_MAX_WORD]
    return None


def _words(exc: BaseException) -> Iterator[str]:
    """Yield what the provider calls the error, the most precise word first."""
    body = _error_body(exc)
    inner = body.get("innererror") if isinstance(body, dict) else None
    if isinstance(inner, dict) and isinstance(inner.get("code"), str):  # Azure
        yield inner["code"].lower()
    for name in ("error_code", "code", "type", "status"):
        if (word := _field(exc, name)) is not None:
            yield word.lower()


def _said(exc: BaseException) -> str:
    """Return the provider's own sentence, fit to be shown; "" for an HTML page or a body without one."""
    body = _error_body(exc)
    if body is None:
        return describe(exc)
    message = body.get("message") if isinstance(body, dict) else body
    return excerpt(message) if isinstance(message, str) and not message.lstrip().startswith("<") else ""


def _headers(exc: BaseException) -> dict[str, str]:
    """Return the response's headers by their lower-case names. LiteLLM keeps them beside the response."""
    response = _attribute(exc, "response")
    found: dict[str, str] = {}
    for headers in (
        getattr(response, "headers", None),
        _attribute(exc, "litellm_response_headers"),
        _attribute(exc, "headers"),
    ):
        if isinstance(headers, Mapping):
            found.update((str(name).lower(), str(value)) for name, value in headers.items())
    return found


def _provider_fields(exc: BaseException, headers: Mapping[str, str], now_ms: float) -> ProviderFields | None:
    packages = map(known.package, type(exc).__mro__)
    fields = ProviderFields(
        name=next((package for package in packages if package in _SDKS), None),
        status_code=_status(exc),
        error_code=_field(exc, "error_code", "code"),
        error_type=_field(exc, "type"),
        request_id=_request_id(exc, headers),
        retry_after_ms=retry_after_ms(headers, now_ms),
    )
    return None if fields == ProviderFields() else fields


def _request_id(exc: BaseException, headers: Mapping[str, str]) -> str | None:
    value = _attribute(exc, "request_id") or headers.get("x-request-id") or headers.get("request-id")
    return value[:_MAX_WORD] if isinstance(value, str) else None


def _message(exc: BaseException, kind: Kind, provider: ProviderFields | None) -> str:
    parts = [_head(exc, kind, provider or ProviderFields()), _said(exc), _root_cause(exc, kind)]
    message = ": ".join(part for part in parts if part)
    advice = _ADVICE.get(kind.code)
    return f"{message} ({advice})" if advice else message


def _head(exc: BaseException, kind: Kind, provider: ProviderFields) -> str:
    word = provider.error_code or provider.error_type
    if provider.status_code is not None:
        answer = f"{provider.name or 'the provider'} answered HTTP {provider.status_code}"
        return f"{answer} ({word})" if word else answer
    if word and provider.name:
        return f"{provider.name} reported {word}"
    return f"{kind.what} {type(exc).__name__}"


def _root_cause(exc: BaseException, kind: Kind) -> str:
    """Return what lies beneath a failed connection: the SDKs only say "Connection error."."""
    causes = _causes(exc) if kind.category is ErrorCategory.NETWORK else []
    return f"{type(causes[-1]).__name__}: {describe(causes[-1])}" if causes else ""


def _causes(exc: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    cause = _cause(exc)
    while cause is not None and len(found) < _MAX_CAUSES:
        found.append(cause)
        cause = _cause(cause)
    return found


def _cause(exc: BaseException) -> BaseException | None:
    return exc.__cause__ or (None if exc.__suppress_context__ else exc.__context__)
