"""What happens in sessions, for people and dashboards: the event catalogue and sinks."""

from l0actors.observability.catalogue import META, ObservabilityEvent, ObservabilityEventType
from l0actors.observability.log import LogSink

__all__ = ["META", "LogSink", "ObservabilityEvent", "ObservabilityEventType"]
