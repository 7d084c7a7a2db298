"""Recovery: the retry policy, its delays, and the transcript that a restart is laid over. Pure."""

from l0actors.recovery.backoff import delay_ms
from l0actors.recovery.manager import RetryManager
from l0actors.recovery.policy import (
    ENDING_CODES,
    RULES,
    Decision,
    Fallback,
    GiveUp,
    History,
    Retry,
    Rule,
    decide,
    pause_ms,
    rule_for,
)
from l0actors.recovery.transcript import Accepted, Transcript

__all__ = [
    "ENDING_CODES",
    "RULES",
    "Accepted",
    "Decision",
    "Fallback",
    "GiveUp",
    "History",
    "Retry",
    "RetryManager",
    "Rule",
    "Transcript",
    "decide",
    "delay_ms",
    "pause_ms",
    "rule_for",
]
