"""The known adapters, and which one reads a stream."""

import inspect
from collections.abc import Callable
from typing import Any

from l0actors.errors import ErrorCode, L0Error
from l0actors.logs import log
from l0actors.providers.adapter import Adapter
from l0actors.providers.anthropic import AnthropicAdapter, AnthropicDecoder
from l0actors.providers.failures import kind_of
from l0actors.providers.openai import OpenAIAdapter, OpenAIDecoder
from l0actors.providers.opening import unwrapped
from l0actors.providers.plain import PlainAdapter
from l0actors.redaction import describe

_BUILT_IN: tuple[Adapter, ...] = (
    OpenAIAdapter(),
    AnthropicAdapter(),
    PlainAdapter({"openai": OpenAIDecoder, "anthropic": AnthropicDecoder}),
)
_registered: list[Adapter] = []


def register_adapter(adapter: Adapter) -> Callable[[], None]:
    """Make `adapter` known, ahead of all others; return a function that undoes it.

    Raises:
        TypeError: it is no adapter: an object with a name, `detect` and `wrap`.
        ValueError: its name is empty.
    """
    _check(adapter)
    _registered.insert(0, adapter)
    return lambda: _unregister(adapter)


def detect_adapter(stream: Any, hint: Adapter | str | None = None) -> Adapter:
    """Return the adapter that reads `stream`: the newest registered one that detects it, or a built-in one.

    Args:
        stream: what a source opened.
        hint: an adapter, or the name of a known one, to be taken without a look at the stream.

    Raises:
        L0Error: `ADAPTER_NOT_FOUND`: no adapter has that name, or none detects the stream.
    """
    if hint is not None:
        return _hinted(hint)
    source = unwrapped(stream)
    for adapter in _known():
        if _detects(adapter, source):
            return adapter
    raise _not_found(f"no adapter reads {kind_of(source)}{_advice(source)}")


def _known() -> tuple[Adapter, ...]:
    return (*_registered, *_BUILT_IN)


def _unregister(adapter: Adapter) -> None:
    for index, each in enumerate(_registered):
        if each is adapter:
            del _registered[index]
            return


def _hinted(hint: Any) -> Adapter:
    if not isinstance(hint, str):
        if isinstance(hint, type) or not isinstance(hint, Adapter):
            raise _not_found(f"{hint!r} is no adapter: it needs a name, detect() and wrap()")
        return hint
    for adapter in _known():
        if adapter.name == hint:
            return adapter
    raise _not_found(f"no adapter is named {hint!r}")


def _detects(adapter: Adapter, stream: Any) -> bool:
    try:
        return bool(adapter.detect(stream))
    except Exception as error:
        log.warning("adapter_detect_failed", adapter=adapter.name, error=describe(error))
        return False


def _check(adapter: Any) -> None:
    if isinstance(adapter, type):
        raise TypeError(f"adapter must be an instance, got the class {adapter.__name__}")
    if not isinstance(getattr(adapter, "name", None), str):
        raise TypeError(f"adapter.name must be a str, got {getattr(adapter, 'name', None)!r} of {adapter!r}")
    if not adapter.name:
        raise ValueError(f"adapter.name must not be empty, got '' of {adapter!r}")
    for method in ("detect", "wrap"):
        if not callable(getattr(adapter, method, None)):
            raise TypeError(f"adapter.{method} must be a method, got {getattr(adapter, method, None)!r}")


def _not_found(message: str) -> L0Error:
    names = ", ".join(dict.fromkeys(adapter.name for adapter in _known()))
    return L0Error(f"{message}; known adapters: {names}", code=ErrorCode.ADAPTER_NOT_FOUND)


def _advice(stream: Any) -> str:
    if isinstance(stream, (str, bytes, dict)):
        return " (a stream is an iterator of pieces)"
    if hasattr(stream, "model_dump"):
        return " (a whole answer: pass stream=True to the SDK)"
    if inspect.iscoroutine(stream) or inspect.isawaitable(stream):
        return " (await it first)"
    if callable(stream):
        return " (call it)"
    return ""
