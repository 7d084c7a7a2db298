"""The library's own log: structlog events through the standard logger `l0actors`.

It is silent until the application gives that logger a handler and a level, or calls
`enable_debug()`. It never touches the application's structlog configuration, never logs per token,
and never logs content.
"""

import logging
from typing import Any

import structlog

_logger = logging.getLogger("l0actors")
_logger.addHandler(logging.NullHandler())

log: Any = structlog.wrap_logger(
    _logger,
    wrapper_class=structlog.stdlib.BoundLogger,
    processors=[
        structlog.stdlib.filter_by_level,
        structlog.processors.KeyValueRenderer(key_order=["event"]),
    ],
)


def enable_debug() -> None:
    """Write the library's own log to standard error, from level DEBUG on. Calling it again does nothing."""
    if not any(isinstance(handler, logging.StreamHandler) for handler in _logger.handlers):
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("[l0actors] %(levelname)s %(message)s"))
        _logger.addHandler(handler)
    _logger.setLevel(logging.DEBUG)
