"""The test kit: a provider that fails on command, a simulated loop, a probe."""

from l0actors.testing.checked_system import checked_system
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
from l0actors.testing.leaks import LeakError
from l0actors.testing.matrix import FaultCase, fault_matrix
from l0actors.testing.probe import Probe
from l0actors.testing.provider import FaultProvider
from l0actors.testing.reply import Encoding, Reply, ToolCall, Usage
from l0actors.testing.simulated_loop import DeadlockError, LivelockError, SimulatedLoop
from l0actors.testing.simulation import (
    Simulation,
    SimulationFailed,
    SimulationReport,
    check_determinism,
    simulate,
    simulate_every_step,
)
from l0actors.testing.trace import Trace

__all__ = [
    "WIRES",
    "Close",
    "Cut",
    "DeadlockError",
    "Duplicate",
    "Encoding",
    "ErrorEvent",
    "Fault",
    "FaultCase",
    "FaultProvider",
    "LeakError",
    "LivelockError",
    "Probe",
    "Repeat",
    "Reply",
    "Request",
    "Reset",
    "Send",
    "SimulatedLoop",
    "Simulation",
    "SimulationFailed",
    "SimulationReport",
    "Stall",
    "ToolCall",
    "Trace",
    "Usage",
    "Wire",
    "check_determinism",
    "checked_system",
    "fault_matrix",
    "simulate",
    "simulate_every_step",
]
