"""A provider that fails on command, to test how an application takes it."""

from l0actors.testing.faults import (
    Close,
    Cut,
    Duplicate,
    ErrorEvent,
    Fault,
    Repeat,
    Reset,
    Send,
    Stall,
)
from l0actors.testing.http1 import WIRES, Request, Wire
from l0actors.testing.matrix import FaultCase, fault_matrix
from l0actors.testing.provider import FaultProvider
from l0actors.testing.reply import Encoding, Reply, ToolCall, Usage

__all__ = [
    "WIRES",
    "Close",
    "Cut",
    "Duplicate",
    "Encoding",
    "ErrorEvent",
    "Fault",
    "FaultCase",
    "FaultProvider",
    "Repeat",
    "Reply",
    "Request",
    "Reset",
    "Send",
    "Stall",
    "ToolCall",
    "Usage",
    "Wire",
    "fault_matrix",
]
