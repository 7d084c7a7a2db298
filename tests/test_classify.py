"""Errors are classified by status, the provider's words, class and text, in this order, and told safely."""

import asyncio
import importlib
import json
import socket
import ssl
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import msgspec
import pytest

from l0actors.classify import categorize_error, to_l0_error
from l0actors.errors import ErrorCategory, ErrorCode, ErrorContext, L0Error

NOW_MS = 1_700_000_000_000.0
SDKS = ["openai", "anthropic"]
URL = "https://api.example.com/v1"

TRANSIENT = (ErrorCategory.TRANSIENT, ErrorCode.PROVIDER_ERROR)
LIMITED = (ErrorCategory.TRANSIENT, ErrorCode.RATE_LIMITED)
AUTH = (ErrorCategory.FATAL, ErrorCode.AUTHENTICATION)
INVALID = (ErrorCategory.VALIDATION, ErrorCode.INVALID_REQUEST)
CONTEXT = (ErrorCategory.PROVIDER, ErrorCode.CONTEXT_LENGTH)
UNSUPPORTED = (ErrorCategory.PROVIDER, ErrorCode.PROVIDER_ERROR)
REFUSED = (ErrorCategory.REFUSED, ErrorCode.CONTENT_REFUSED)
NETWORK = (ErrorCategory.NETWORK, ErrorCode.NETWORK_ERROR)
MODEL = (ErrorCategory.MODEL, ErrorCode.PROVIDER_ERROR)
FACTORY = (ErrorCategory.VALIDATION, ErrorCode.INVALID_STREAM)

Kind = tuple[ErrorCategory, ErrorCode]


def kind_of(exc: BaseException, *, opening: bool = False) -> Kind:
    """Return what `exc` is classified as; both functions must agree."""
    error = to_l0_error(exc, timestamp=NOW_MS, opening=opening)
    if not opening:
        assert categorize_error(exc) is error.category
    return error.category, error.code


def http_of(sdk: str) -> Any:
    """Return the HTTP library that the installed SDK is built on: httpx or httpx2."""
    importlib.import_module(sdk)
    names = vars(sys.modules[f"{sdk}._exceptions"])
    return names.get("httpx2") or names["httpx"]


def chunks_of(sdk: str) -> bytes:
    """Return the first event of a well-formed stream."""
    if sdk == "openai":
        chunk = {"id": "1", "object": "chat.completion.chunk", "choices": [], "created": 1, "model": "m"}
        return b"data: " + json.dumps(chunk).encode() + b"\n\n"
    return b'event: ping\ndata: {"type": "ping"}\n\n'


def raised_by(sdk: str, handler: Callable[[Any], Any]) -> Exception:
    """Return what the real SDK raises when its HTTP transport behaves as `handler` does."""
    http, module = http_of(sdk), importlib.import_module(sdk)
    client_type = module.OpenAI if sdk == "openai" else module.Anthropic
    transport = http.Client(transport=http.MockTransport(handler))
    with client_type(api_key="sk-test", max_retries=0, http_client=transport) as client:
        create = client.chat.completions.create if sdk == "openai" else client.messages.create
        messages = [{"role": "user", "content": "hello"}]
        extra = {} if sdk == "openai" else {"max_tokens": 5}
        try:
            for _ in create(model="m", messages=messages, stream=True, **extra):
                pass
        except Exception as raised:
            return raised
    pytest.fail("the SDK raised nothing")


def answered(
    sdk: str, status: int, error: Any = None, headers: dict[str, str] | None = None, text: str | None = None
) -> Exception:
    """Return what the SDK raises for an HTTP answer with `status` and an error object."""
    body = error if sdk == "openai" else {"type": "error", "error": error}
    body = {"error": error} if sdk == "openai" else body
    content = json.dumps(body) if text is None else text
    kind = "application/json" if text is None else "text/html"
    sent = {"content-type": kind, **(headers or {})}
    return raised_by(sdk, lambda request: http_of(sdk).Response(status, headers=sent, content=content))


def streamed(sdk: str, *events: bytes, then: Exception | None = None) -> Exception:
    """Return what the SDK raises inside a stream of a good event, `events`, and what the socket does then."""

    def body() -> Iterator[bytes]:
        yield chunks_of(sdk)
        yield from events
        if then is not None:
            raise then

    headers = {"content-type": "text/event-stream"}
    return raised_by(sdk, lambda request: http_of(sdk).Response(200, headers=headers, content=body()))


def error_event(sdk: str, error: Any) -> bytes:
    """Return the event that carries an error inside a stream."""
    if sdk == "openai":
        return b"data: " + json.dumps({"error": error}).encode() + b"\n\n"
    return b"event: error\ndata: " + json.dumps({"type": "error", "error": error}).encode() + b"\n\n"


@pytest.mark.parametrize("sdk", SDKS)
@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, INVALID),
        (401, AUTH),
        (402, AUTH),
        (403, AUTH),
        (404, UNSUPPORTED),
        (408, TRANSIENT),
        (409, TRANSIENT),
        (413, INVALID),
        (418, INVALID),
        (422, INVALID),
        (425, TRANSIENT),
        (429, LIMITED),
        (500, TRANSIENT),
        (501, TRANSIENT),
        (502, TRANSIENT),
        (503, TRANSIENT),
        (504, TRANSIENT),
        (529, TRANSIENT),
        (599, TRANSIENT),
    ],
)
def test_status_decides(sdk: str, status: int, expected: Kind) -> None:
    """The HTTP status alone gives the category of the design's table and a code."""
    error = answered(sdk, status, {"message": "no", "type": "some_new_error"})
    assert kind_of(error) == expected
    assert to_l0_error(error).provider.status_code == status


@pytest.mark.parametrize("sdk", SDKS)
def test_status_outranks_an_ordinary_type(sdk: str) -> None:
    """A 503 whose body says invalid_request_error is a 503."""
    assert kind_of(answered(sdk, 503, {"message": "no", "type": "invalid_request_error"})) == TRANSIENT


@pytest.mark.parametrize("sdk", SDKS)
def test_html_page_of_a_proxy_is_its_status_and_not_quoted(sdk: str) -> None:
    """An HTML body is no sentence: the message has the status and none of the page."""
    error = to_l0_error(answered(sdk, 502, text="<html><body>nginx secret page</body></html>"))
    assert (error.category, error.code) == TRANSIENT
    assert "502" in error.message
    assert "nginx" not in error.message


@pytest.mark.parametrize(
    ("status", "error", "expected"),
    [
        (429, {"code": "insufficient_quota", "type": "insufficient_quota"}, AUTH),
        (400, {"code": "context_length_exceeded", "type": "invalid_request_error"}, CONTEXT),
        (404, {"code": "model_not_found", "type": "invalid_request_error"}, UNSUPPORTED),
        (400, {"code": "model_not_found", "type": "invalid_request_error"}, UNSUPPORTED),
        (400, {"code": "content_filter", "type": None}, REFUSED),
        (400, {"code": "content_policy_violation", "type": "image_generation_user_error"}, REFUSED),
        (400, {"code": "unknown", "innererror": {"code": "ResponsibleAIPolicyViolation"}}, REFUSED),
        (429, {"code": "rate_limit_exceeded", "type": "tokens"}, LIMITED),
    ],
)
def test_decisive_openai_code_outranks_the_status(status: int, error: Any, expected: Kind) -> None:
    """A code that says more than the status wins: a 429 without quota cannot be waited out."""
    assert kind_of(answered("openai", status, {"message": "no", **error})) == expected


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (429, "enforced_spend_limit_reached", AUTH),
        (429, "contract_spend_limit_reached", AUTH),
        (402, "linked_organization_spend_limit_reached", AUTH),
        (400, "organization_on_hold", AUTH),
        (429, "ramp_limit_exceeded", LIMITED),
    ],
)
def test_anthropic_spend_limits_are_fatal(status: int, code: str, expected: Kind) -> None:
    """A spend limit is not waited out, although it comes as a 429; a ramp limit is."""
    error = {"type": "rate_limit_error", "message": "no", "details": {"error_code": code}}
    raised = answered("anthropic", status, error)
    if not hasattr(raised, "error_code"):
        pytest.skip("this anthropic has no error codes")
    assert kind_of(raised) == expected


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("prompt is too long: 210000 tokens > 200000 maximum", CONTEXT),
        ("This model's maximum context length is 8192 tokens.", CONTEXT),
        ("Your credit balance is too low to access the Anthropic API.", AUTH),
        ("Output blocked by content filtering policy", REFUSED),
        ("messages: roles must alternate", INVALID),
        ("the contextual length of this is fine", INVALID),
    ],
)
@pytest.mark.parametrize("sdk", SDKS)
def test_rejection_without_a_code_is_read(sdk: str, message: str, expected: Kind) -> None:
    """Anthropic gives no code for a prompt that is too long: its sentence, in whole words, decides."""
    raised = answered(sdk, 400, {"message": message, "type": "invalid_request_error"})
    assert kind_of(raised) == expected


@pytest.mark.parametrize("sdk", SDKS)
@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("overloaded_error", TRANSIENT),
        ("api_error", TRANSIENT),
        ("server_error", TRANSIENT),
        ("timeout_error", TRANSIENT),
        ("rate_limit_error", LIMITED),
        ("authentication_error", AUTH),
        ("permission_error", AUTH),
        ("billing_error", AUTH),
        ("insufficient_quota", AUTH),
        ("not_found_error", UNSUPPORTED),
        ("invalid_request_error", INVALID),
        ("request_too_large", INVALID),
        ("context_length_exceeded", CONTEXT),
        ("content_filter", REFUSED),
        ("something_new", MODEL),
    ],
)
def test_error_inside_a_stream_is_classified_by_its_type(sdk: str, kind: str, expected: Kind) -> None:
    """An error object inside a 200 has no status: its type decides."""
    raised = streamed(sdk, error_event(sdk, {"type": kind, "message": "no"}))
    assert kind_of(raised) == expected
    provider = to_l0_error(raised).provider
    assert (provider.name, provider.status_code, provider.error_type) == (sdk, None, kind)


def test_error_inside_a_stream_with_a_numeric_code() -> None:
    """A gateway's in-stream error carries the upstream status as its code."""
    assert kind_of(streamed("openai", error_event("openai", {"code": 502, "message": "no"}))) == TRANSIENT
    assert kind_of(streamed("openai", error_event("openai", {"code": "429", "message": "no"}))) == LIMITED


@pytest.mark.parametrize("sdk", SDKS)
def test_error_inside_a_stream_that_is_only_text(sdk: str) -> None:
    """Without a type, the text's whole words decide."""
    assert kind_of(streamed(sdk, error_event(sdk, "Rate limit reached, slow down"))) == LIMITED
    assert kind_of(streamed(sdk, error_event(sdk, "Something odd"))) == MODEL


@pytest.mark.parametrize("sdk", SDKS)
def test_line_that_is_not_json_is_malformed_output(sdk: str) -> None:
    """A JSONDecodeError out of the SDK's stream is the provider's malformed output."""
    raised = streamed(sdk, b'event: message_start\ndata: {"type": "mess\n\n')
    assert isinstance(raised, json.JSONDecodeError)
    assert kind_of(raised) == MODEL
    assert "malformed output" in to_l0_error(raised).message


@pytest.mark.parametrize("sdk", SDKS)
def test_bytes_that_are_not_utf8_are_malformed_output(sdk: str) -> None:
    """A UnicodeDecodeError out of the SDK's stream is the provider's malformed output."""
    raised = streamed(sdk, b'event: x\ndata: "\xff\xfe"\n\n')
    assert isinstance(raised, UnicodeDecodeError)
    assert kind_of(raised) == MODEL


@pytest.mark.parametrize("sdk", SDKS)
@pytest.mark.parametrize("name", ["ReadTimeout", "ReadError", "RemoteProtocolError", "DecodingError"])
def test_broken_stream_is_a_network_error(sdk: str, name: str) -> None:
    """What the socket does mid-stream is a network error, wrapped by the SDK or raw."""
    broken = getattr(http_of(sdk), name)("")
    raised = streamed(sdk, then=broken)
    assert kind_of(raised) == NETWORK
    assert "connection failed" in to_l0_error(raised).message


@pytest.mark.parametrize("sdk", SDKS)
@pytest.mark.parametrize(
    "name", ["ConnectError", "ConnectTimeout", "PoolTimeout", "ReadTimeout", "ProxyError"]
)
def test_failed_connect_is_a_network_error_also_for_a_factory(sdk: str, name: str) -> None:
    """A connect or read timeout of the SDK is a network error: the TIMEOUT codes are our own clocks'."""

    def refuse(request: Any) -> Any:
        raise getattr(http_of(sdk), name)("All connection attempts failed", request=request)

    raised = raised_by(sdk, refuse)
    assert type(raised).__name__ in {"APIConnectionError", "APITimeoutError"}
    assert kind_of(raised) == kind_of(raised, opening=True) == NETWORK


@pytest.mark.parametrize("sdk", SDKS)
def test_message_of_a_failed_connect_names_the_root_cause(sdk: str) -> None:
    """The SDK says "Connection error."; the message adds what lies beneath it."""

    def refuse(request: Any) -> Any:
        try:
            raise ConnectionRefusedError(111, "Connect call failed")
        except OSError as beneath:
            raise http_of(sdk).ConnectError("no", request=request) from beneath

    message = to_l0_error(raised_by(sdk, refuse)).message
    assert "Connection error." in message
    assert "ConnectionRefusedError: [Errno 111] Connect call failed" in message


@pytest.mark.parametrize("sdk", SDKS)
def test_wrong_url_is_not_retried(sdk: str) -> None:
    """A URL that cannot work is the source's own fault, though the SDK calls it a connection error."""

    def refuse(request: Any) -> Any:
        raise http_of(sdk).UnsupportedProtocol("missing http://", request=request)

    expected = (ErrorCategory.PROVIDER, ErrorCode.INVALID_REQUEST)
    assert kind_of(raised_by(sdk, refuse)) == expected


@pytest.mark.parametrize("name", ["httpx", "httpx2"])
def test_http_library_by_itself(name: str) -> None:
    """The HTTP libraries' exceptions are known without an SDK, by class and by status."""
    http = pytest.importorskip(name)
    request = http.Request("GET", URL)
    for error in [
        "ConnectError",
        "ReadError",
        "WriteError",
        "CloseError",
        "ProxyError",
        "LocalProtocolError",
    ]:
        assert kind_of(getattr(http, error)("")) == NETWORK
    for error in ["ConnectTimeout", "ReadTimeout", "WriteTimeout", "PoolTimeout", "DecodingError"]:
        assert kind_of(getattr(http, error)("")) == NETWORK
    answer = http.Response(503, request=request)
    assert kind_of(http.HTTPStatusError("no", request=request, response=answer)) == TRANSIENT
    assert kind_of(http.StreamConsumed()) == FACTORY
    assert kind_of(http.StreamClosed()) == NETWORK
    assert kind_of(http.InvalidURL("no")) == (ErrorCategory.PROVIDER, ErrorCode.INVALID_REQUEST)


@pytest.mark.parametrize("name", ["httpcore", "httpcore2"])
def test_layer_beneath_the_http_library(name: str) -> None:
    """Exceptions that a transport lets through are known too."""
    core = pytest.importorskip(name)
    for error in ["ConnectError", "ReadError", "RemoteProtocolError", "ReadTimeout", "PoolTimeout"]:
        assert kind_of(getattr(core, error)("")) == NETWORK


def test_aiohttp() -> None:
    """The exceptions of aiohttp are known by class, its answers by status."""
    aiohttp = pytest.importorskip("aiohttp")
    for error in [
        aiohttp.ServerDisconnectedError(),
        aiohttp.ClientPayloadError("no"),
        aiohttp.ServerTimeoutError(),
        aiohttp.ClientOSError(104, "reset"),
    ]:
        assert kind_of(error) == NETWORK
    assert kind_of(aiohttp.ClientResponseError(None, (), status=429)) == LIMITED
    assert kind_of(aiohttp.InvalidURL("no"))[0] is ErrorCategory.PROVIDER


@pytest.mark.parametrize(
    "exc",
    [
        ConnectionResetError(104, "Connection reset by peer"),
        ConnectionRefusedError(),
        BrokenPipeError(),
        socket.gaierror(-2, "Name or service not known"),
        ssl.SSLError(1, "handshake failure"),
        OSError(101, "Network is unreachable"),
        TimeoutError(),
        asyncio.TimeoutError(),
        asyncio.IncompleteReadError(b"", 5),
        EOFError(),
    ],
    ids=lambda exc: type(exc).__name__,
)
def test_failures_of_the_operating_system_are_network_errors(exc: Exception) -> None:
    """Sockets, DNS, TLS and bare timeouts are the network, also when a factory raises them."""
    assert kind_of(exc) == kind_of(exc, opening=True) == NETWORK


def test_missing_file_is_no_network_error() -> None:
    """An OSError about a file is a mistake in the factory, and unknown elsewhere."""
    missing = FileNotFoundError(2, "No such file or directory", "prompt.txt")
    assert kind_of(missing) == MODEL
    assert kind_of(missing, opening=True) == FACTORY


@pytest.mark.parametrize("exc", [asyncio.CancelledError(), KeyboardInterrupt(), GeneratorExit()])
def test_being_stopped_is_no_failure_of_the_source(exc: BaseException) -> None:
    """What is not an Exception is somebody's wish to stop."""
    assert kind_of(exc) == (ErrorCategory.FATAL, ErrorCode.STREAM_ABORTED)


@pytest.mark.parametrize(
    "exc",
    [
        TypeError("create() got an unexpected keyword argument 'temperature'"),
        AttributeError("'NoneType' object has no attribute 'chat'"),
        NameError("name 'client' is not defined"),
        ImportError("no module"),
        AssertionError(),
        KeyError("OPENAI_API_KEY"),
        IndexError(),
        NotImplementedError(),
        ValueError("Streaming is required"),
        ZeroDivisionError(),
    ],
    ids=lambda exc: type(exc).__name__,
)
def test_mistake_in_a_factory_is_one_clear_error(exc: Exception) -> None:
    """A programming error from the factory is an INVALID_STREAM; mid-stream it is an unknown error."""
    assert kind_of(exc, opening=True) == FACTORY
    assert f"the source's factory raised {type(exc).__name__}" in to_l0_error(exc, opening=True).message
    assert kind_of(exc) == MODEL


def test_unknown_error_of_a_factory_is_unknown() -> None:
    """A plain RuntimeError or Exception from a factory is retried like any unknown error."""
    assert kind_of(RuntimeError("odd"), opening=True) == MODEL
    assert kind_of(Exception("odd"), opening=True) == MODEL


def test_factory_that_gets_a_rate_limit_is_not_at_fault() -> None:
    """An SDK's answer is classified as usual when the factory raises it."""
    assert kind_of(answered("openai", 429, {"message": "no"}), opening=True) == LIMITED
    assert kind_of(RuntimeError("429 Too Many Requests"), opening=True) == LIMITED


@pytest.mark.parametrize("sdk", SDKS)
def test_client_without_a_key_is_an_authentication_error(sdk: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An SDK that was given no key raises a bare error: its text says so, and a fallback may have one."""
    for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    module, http = importlib.import_module(sdk), http_of(sdk)

    def use() -> None:
        transport = http.MockTransport(lambda request: http.Response(200))
        with http.Client(transport=transport) as own:
            if sdk == "openai":
                module.OpenAI(http_client=own)
            else:
                module.Anthropic(http_client=own).messages.create(model="m", messages=[], max_tokens=1)

    with pytest.raises(Exception) as raised:  # noqa: PT011
        use()
    assert kind_of(raised.value, opening=True) == AUTH


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Rate limit exceeded", LIMITED),
        ("rate-limited by upstream", LIMITED),
        ("Too Many Requests", LIMITED),
        ("HTTP 503 from upstream", TRANSIENT),
        ("Error code: 401 - no", AUTH),
        ("Service Unavailable", TRANSIENT),
        ("the server is overloaded", TRANSIENT),
        ("Connection reset by peer", NETWORK),
        ("read timed out", NETWORK),
        ("socket hang up", NETWORK),
        ("connect ECONNREFUSED 127.0.0.1:80", NETWORK),
        ("Temporary failure in name resolution", NETWORK),
        ("Invalid API key", AUTH),
        ("This model's maximum context length is 8192", CONTEXT),
        ("Your request could not be processed", MODEL),
        ("the narrate limitation", MODEL),
        ("processed 503 items", MODEL),
        ("reconnection resets", MODEL),
        ("assess the timeouts table", MODEL),
        ("", MODEL),
    ],
)
def test_text_is_the_last_resort_and_matches_whole_words(text: str, expected: Kind) -> None:
    """An unknown exception's text is read in whole words: "could not be processed" is no SSE error."""
    assert kind_of(Exception(text)) == expected


def test_text_of_a_programming_error_says_nothing() -> None:
    """A KeyError("timeout") mid-stream is no network error."""
    assert kind_of(KeyError("timeout")) == MODEL


def test_subclass_of_an_sdk_error_is_known() -> None:
    """A class is known by its bases, wherever it was defined."""
    openai = importlib.import_module("openai")

    class OwnError(openai.APIConnectionError):  # type: ignore[misc, name-defined, unused-ignore]
        pass

    error = to_l0_error(OwnError(request=http_of("openai").Request("GET", URL)))
    assert error.category is ErrorCategory.NETWORK
    assert error.provider.name == "openai"


def litellm_error(name: str, base: type[Exception] = Exception, **fields: Any) -> Exception:
    """Return an exception as LiteLLM makes them: named so, from its package, a subclass of OpenAI's."""
    kind = type(name, (base,), {"__module__": "litellm.exceptions"})
    error: Exception = kind(f"litellm.{name}: no")
    vars(error).update(fields)
    return error


def test_litellm_wrapper_is_looked_into() -> None:
    """A MidStreamFallbackError says 500; the exception that it wraps says what happened."""
    original = litellm_error("RateLimitError", status_code=429, litellm_response_headers={"retry-after": "2"})
    wrapper = litellm_error("MidStreamFallbackError", status_code=500, original_exception=original)
    error = to_l0_error(wrapper)
    assert (error.category, error.code) == LIMITED
    assert error.provider.retry_after_ms == 2000
    assert error.__cause__ is wrapper


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ContextWindowExceededError", CONTEXT),
        ("ContentPolicyViolationError", REFUSED),
        ("BudgetExceededError", AUTH),
        ("BadRequestError", INVALID),
    ],
)
def test_litellm_class_names_say_more_than_the_status(name: str, expected: Kind) -> None:
    """LiteLLM's classes name what its statuses do not."""
    assert kind_of(litellm_error(name, status_code=400)) == expected


def test_exception_with_hostile_attributes() -> None:
    """An exception whose attributes or text raise is still classified."""

    class HostileError(Exception):
        @property
        def response(self) -> object:
            raise RuntimeError("no")

        def __str__(self) -> str:
            raise RuntimeError("no")

    assert kind_of(HostileError()) == MODEL


def test_odd_attributes_are_no_status() -> None:
    """Only a whole number from 300 to 599 is a status of a failure."""
    for status in [None, True, 200, 0, 1000, "abc", 4.29, object()]:
        odd = Exception("odd")
        vars(odd)["status_code"] = status
        assert kind_of(odd) == MODEL


def test_l0_error_is_returned_as_it_is() -> None:
    """Our own errors pass unchanged."""
    error = L0Error("no", code=ErrorCode.ZERO_OUTPUT)
    assert to_l0_error(error, opening=True) is error
    assert categorize_error(error) is ErrorCategory.CONTENT


def test_fields_context_and_cause() -> None:
    """What the provider said joins the context that was given, and the exception is the cause."""
    headers = {"x-request-id": "req_1", "request-id": "req_1", "retry-after": "7"}
    raised = answered("openai", 429, {"message": "no", "code": "slow", "type": "requests"}, headers)
    error = to_l0_error(raised, context=ErrorContext(attempt=2, source="primary"), timestamp=NOW_MS)
    assert (error.context.attempt, error.context.source, error.timestamp) == (2, "primary", NOW_MS)
    assert msgspec.to_builtins(error.context.provider) == {
        "name": "openai",
        "status_code": 429,
        "error_code": "slow",
        "error_type": "requests",
        "request_id": "req_1",
        "retry_after_ms": 7000.0,
    }
    assert error.__cause__ is raised
    assert error.message == "openai answered HTTP 429 (slow): no"


def test_plain_exception_has_no_provider() -> None:
    """Nothing is made up about a provider that said nothing."""
    assert to_l0_error(RuntimeError("odd")).context.provider is None


@pytest.mark.parametrize("sdk", SDKS)
@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"retry-after": "3"}, 3000),
        ({"retry-after": "1.5"}, 1500),
        ({"retry-after": "0"}, 0),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after-ms": "250"}, 250),
        ({"retry-after-ms": "250", "retry-after": "3"}, 250),
        ({"retry-after-ms": "x", "retry-after": "3"}, 3000),
        ({"Retry-After": "Tue, 14 Nov 2023 22:13:30 GMT"}, 10_000),
        ({"retry-after": "Tue, 14 Nov 2023 22:13:30 -0000"}, 10_000),
        ({"retry-after": "Tue, 14 Nov 2023 22:13:10 GMT"}, 0),
        ({"retry-after": "Tue, 99 Nov 2023 22:13:10 GMT"}, None),
        ({}, None),
    ],
)
def test_retry_after(sdk: str, headers: dict[str, str], expected: float | None) -> None:
    """Both headers are read: milliseconds first, seconds, an HTTP date from now; what is over is 0."""
    raised = answered(sdk, 429, {"message": "no"}, headers)
    assert to_l0_error(raised, timestamp=NOW_MS).provider.retry_after_ms == expected


@pytest.mark.parametrize("sdk", SDKS)
def test_x_should_retry_false_forbids_a_retry(sdk: str) -> None:
    """A provider that says not to retry is heeded, whatever its status."""
    error = to_l0_error(answered(sdk, 503, {"message": "no"}, {"x-should-retry": "false"}))
    assert (error.category, error.recoverable) == (ErrorCategory.TRANSIENT, False)


@pytest.mark.parametrize("sdk", SDKS)
@pytest.mark.parametrize("status", [400, 401, 404, 429, 500])
def test_x_should_retry_true_makes_it_transient(sdk: str, status: int) -> None:
    """A provider that says to retry is heeded, whatever its status."""
    raised = answered(sdk, status, {"message": "no"}, {"x-should-retry": "true"})
    assert to_l0_error(raised).recoverable
    assert categorize_error(raised) is ErrorCategory.TRANSIENT


def test_x_should_retry_true_does_not_refill_a_quota() -> None:
    """A decisive code outranks the header."""
    raised = answered("openai", 429, {"code": "insufficient_quota"}, {"x-should-retry": "true"})
    assert kind_of(raised) == AUTH


SECRETS = [
    "sk-proj-Abc123def456ghi789",
    "sk-ant-api03-Zz9yXx8wVv7uTt6sRr5q-_AA",
    "AIzaSyA1234567890abcdefghijklmnopqrstu",
    "deadbeefdeadbeefdeadbeefdeadbeef",
    "dGhpcyBpcyBhIHNlY3JldCB0b2tlbg0123==",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmN",
]
PLACES: list[Callable[[str], str]] = [
    lambda secret: f"Incorrect API key provided: {secret}.",
    lambda secret: f"header Authorization: Bearer {secret} was refused",
    lambda secret: f"url was https://api.example.com/v1?key={secret}&x=1",
    lambda secret: f'{{"api_key": "{secret}"}}',
    lambda secret: f"{'x ' * 140} {secret}",
]


def shown(error: L0Error) -> str:
    """Return everything that an error shows to anybody."""
    parts = [error.message, str(error), error.to_user_message(), json.dumps(error.to_json())]
    return " ".join([*parts, msgspec.json.encode(error.info()).decode(), repr(error)])


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("sdk", SDKS)
def test_planted_key_is_never_shown(sdk: str, place: Callable[[str], str], secret: str) -> None:
    """A key in the message, the body or the headers reaches no text, JSON, bus or user."""
    error = {"message": place(secret), "type": "authentication_error", "hint": secret, "code": place(secret)}
    headers = {"x-api-key": secret, "authorization": f"Bearer {secret}", "set-cookie": f"session={secret}"}
    raised = answered(sdk, 401, error, headers)
    told = to_l0_error(raised)
    assert secret not in shown(told)
    assert secret[:20] not in shown(told)
    assert secret not in shown(L0Error.from_json(told.to_json()))


@pytest.mark.parametrize("secret", SECRETS)
def test_planted_key_in_a_cause_is_never_shown(secret: str) -> None:
    """The causes are told as carefully as the error itself."""
    raised = RuntimeError(f"api_key={secret}")
    raised.__cause__ = OSError(f"Illegal header value b'Bearer {secret}'")
    assert secret not in shown(to_l0_error(raised))


@pytest.mark.parametrize("secret", ["hunter2", "s3cr3t!", "abc"])
@pytest.mark.parametrize("name", ["password", "api_key", "x-api-key", "client_secret", "access_token"])
def test_short_secret_after_its_name_is_never_shown(name: str, secret: str) -> None:
    """What stands after a name like password is gone, however short it is."""
    for text in [
        f"{name}={secret}",
        f"{name}: {secret}",
        f'"{name}": "{secret}"',
        f"{name.upper()}={secret}",
    ]:
        assert secret not in to_l0_error(RuntimeError(text)).message.replace(name, "")


def test_body_is_never_shown_whole() -> None:
    """A provider that quotes the prompt is cut off: 300 characters of its sentence at most."""
    prompt = "my private words " * 1000
    raised = answered("openai", 400, {"message": f"Invalid content: {prompt}", "echo": prompt})
    error = to_l0_error(raised)
    assert len(error.message) < 400
    assert len(json.dumps(error.to_json())) < 1200
    assert len(msgspec.json.encode(error.info())) < 1200


@pytest.mark.parametrize(
    "text",
    [
        "The model `claude-sonnet-4-5-20250929` does not exist",
        "The model gpt-4o-mini-transcribe-2025-03-20 does not exist",
        "Unsupported parameter: max_completion_tokens_for_reasoning",
        "see https://platform.openai.com/docs/guides/error-codes/api-errors",
        "max_tokens: 99999 is too large",
        "EnforcedSpendLimitReachedError",
    ],
)
def test_ordinary_words_are_not_redacted(text: str) -> None:
    """Names of models, parameters, paths and classes are kept: they say what was wrong."""
    assert text in to_l0_error(RuntimeError(text)).message


def test_huge_text_is_told_fast() -> None:
    """A body of megabytes costs no more than its beginning."""
    error = to_l0_error(RuntimeError("a" * 5_000_000))
    assert len(error.message) < 400


def test_no_sdk_is_imported() -> None:
    """Classification imports neither an SDK nor an HTTP library."""
    code = (
        "import sys, l0actors.classify as c; c.categorize_error(ValueError());"
        "print([m for m in ('openai','anthropic','httpx','httpx2','aiohttp') if m in sys.modules])"
    )
    import subprocess

    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def _module() -> ModuleType:
    return importlib.import_module("l0actors.known_errors")


def test_every_known_word_is_lower_case() -> None:
    """Words are compared in lower case, so the tables are written in it."""
    for word in [*_module().WORDS, *_module().DECISIVE_WORDS]:
        assert word == word.lower()


def test_status_outranks_the_class() -> None:
    """LiteLLM calls a refused answer a connection error and gives it a status: the status says more."""
    openai = importlib.import_module("openai")
    request = http_of("openai").Request("POST", URL)
    raised = openai.APIConnectionError(request=request)
    raised.status_code = 429
    assert kind_of(raised) == LIMITED


@pytest.mark.parametrize("text", ["Bearer hunter2", "basic hunter2", "https://me:hunter2@example.com/v1"])
def test_short_secret_of_a_header_or_url_is_never_shown(text: str) -> None:
    """What stands after an authentication scheme or before a URL's host is gone, however short it is."""
    assert "hunter2" not in to_l0_error(RuntimeError(f"refused: {text}")).message
