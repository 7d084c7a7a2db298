"""Everything that is said on the bus: frozen structs in one tagged union.

A name says what happened, in the past tense; the imperatives are the control messages. Offsets and
lengths are characters of the session's content, times are Unix epoch milliseconds, durations end
in `_ms`.

Each message carries `session` (its stream id, "" for the system's own), `seq` (the bus's order, set
when it is published) and `ts` (set likewise). Subscribing to a base class subscribes to all its
concrete types. Define your own messages by subclassing `Message`; the class name is the tag.
"""

from typing import Any, ClassVar, Literal

import msgspec

from l0actors.errors import ErrorInfo


class Message(
    msgspec.Struct, frozen=True, kw_only=True, tag=True, tag_field="type", forbid_unknown_fields=True
):
    """The base of everything on the bus.

    Attributes:
        session: the stream id of the session it is about, "" for the system's own.
        seq: its place in the bus-wide order, from 1; 0 before it was published.
        ts: when it was published, Unix epoch milliseconds.
        never_dropped: of the class: it has reserved room in every mailbox.
    """

    session: str = ""
    seq: int = 0
    ts: float = 0.0
    never_dropped: ClassVar[bool] = False


class SessionMessage(Message, frozen=True, kw_only=True):
    """The base of what happens to a session as a whole."""


class SessionStarted(SessionMessage, frozen=True, kw_only=True):
    """A session was opened.

    Attributes:
        sources: the names of its sources, the primary first.
        delivery: its delivery mode.
    """

    sources: tuple[str, ...] = ()
    delivery: str = "live"


class SessionEnded(SessionMessage, frozen=True, kw_only=True):
    """The base of the three terminal messages: exactly one of them ends a session.

    Attributes:
        token_count: pieces of content received.
        content_length: characters of content received.
        attempts: how many attempts were made.
        duration_ms: from the opening of the session.
    """

    never_dropped: ClassVar[bool] = True
    token_count: int = 0
    content_length: int = 0
    attempts: int = 0
    duration_ms: float = 0.0


class SessionCompleted(SessionEnded, frozen=True, kw_only=True):
    """The provider said that its answer is whole, and every check is done.

    Attributes:
        source: the name of the source that answered.
        source_index: 0 for the primary.
        finish_reason: why the model stopped, in the provider's word.
        model: the model, as the provider reported it.
        usage: tokens as the provider counted them, summed over the attempts.
    """

    source: str = ""
    source_index: int = 0
    finish_reason: str | None = None
    model: str | None = None
    usage: dict[str, int] = {}


class SessionFailed(SessionEnded, frozen=True, kw_only=True):
    """The session gave up.

    Attributes:
        error: what the consumer is told.
    """

    error: ErrorInfo


class SessionAborted(SessionEnded, frozen=True, kw_only=True):
    """The consumer stopped the session, or left it.

    Attributes:
        reason: why, in the words of whoever stopped it.
    """

    reason: str = ""


class AttemptMessage(Message, frozen=True, kw_only=True):
    """The base of what belongs to one attempt.

    Attributes:
        attempt: its number in the session, from 1.
    """

    attempt: int


class AttemptStarted(AttemptMessage, frozen=True, kw_only=True):
    """A source is being opened.

    Attributes:
        source: its name.
        source_index: 0 for the primary.
        reason: why this attempt is made: `first`, `retry` or `fallback`.
    """

    source: str = ""
    source_index: int = 0
    reason: str = "first"


class StreamOpened(AttemptMessage, frozen=True, kw_only=True):
    """The source gave its stream.

    Attributes:
        adapter: the name of the adapter that reads it.
    """

    adapter: str = ""


class StreamEnded(AttemptMessage, frozen=True, kw_only=True):
    """The provider said that the answer is whole.

    Attributes:
        finish_reason: why the model stopped, in the provider's word.
        model: the model, as the provider reported it.
        token_count: pieces received in this attempt.
    """

    finish_reason: str | None = None
    model: str | None = None
    token_count: int = 0


class StreamFailed(AttemptMessage, frozen=True, kw_only=True):
    """The attempt failed.

    Attributes:
        error: what was wrong.
        token_count: pieces received in this attempt.
    """

    error: ErrorInfo
    token_count: int = 0


class AttemptSuperseded(AttemptMessage, frozen=True, kw_only=True):
    """The attempt was given up while it ran.

    Attributes:
        reason: why.
    """

    reason: str = ""


class ContentMessage(AttemptMessage, frozen=True, kw_only=True):
    """The base of what a provider stream holds."""


class Tokens(ContentMessage, frozen=True, kw_only=True):
    """Adjacent pieces of text of one turn of the event loop.

    Attributes:
        start: the offset of the first piece in the session's content.
        texts: the pieces, as the provider sent them.
    """

    start: int
    texts: tuple[str, ...]

    def joined(self, later: "Tokens") -> "Tokens | None":
        """Return both as one message if `later` goes on where this one ends, else None."""
        if (later.session, later.attempt) != (self.session, self.attempt):
            return None
        if later.start != self.start + sum(map(len, self.texts)):
            return None
        return msgspec.structs.replace(self, texts=self.texts + later.texts, seq=later.seq, ts=later.ts)


class ToolCallDelta(ContentMessage, frozen=True, kw_only=True):
    """A fragment of a tool call.

    Attributes:
        index: the call's place in the answer.
        call_id: the provider's id, "" when the fragment does not repeat it.
        name: the tool's name, "" likewise.
        arguments: the next piece of the arguments' JSON text.
    """

    index: int
    call_id: str = ""
    name: str = ""
    arguments: str = ""


class ToolCallReady(ContentMessage, frozen=True, kw_only=True):
    """A whole tool call: its arguments are valid JSON and the attempt ended well.

    Attributes:
        index: the call's place in the answer.
        call_id: the provider's id.
        name: the tool's name.
        arguments: the parsed arguments.
    """

    index: int
    call_id: str
    name: str
    arguments: dict[str, Any]


class DataReceived(ContentMessage, frozen=True, kw_only=True):
    """A part of the answer that is not text.

    Attributes:
        data: the part, as its adapter gave it.
    """

    data: dict[str, Any]


class ProgressReported(ContentMessage, frozen=True, kw_only=True):
    """The provider said something about its work.

    Attributes:
        kind: what it is about.
        data: what belongs to it.
    """

    kind: str
    data: dict[str, Any] = {}


class UsageReported(ContentMessage, frozen=True, kw_only=True):
    """The provider counted its tokens.

    Attributes:
        usage: for example `input_tokens` and `output_tokens`.
    """

    usage: dict[str, int]


class Heartbeat(ContentMessage, frozen=True, kw_only=True):
    """The provider is alive, with nothing to show.

    Attributes:
        kind: `ping` or `reasoning`.
    """

    kind: str = "ping"


class Violation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A guardrail's finding as it travels over the bus; see `GuardrailViolation`."""

    rule: str
    message: str
    severity: Literal["warning", "error", "fatal"] = "error"
    recoverable: bool = True
    position: int | None = None


class Finding(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A drift detector's finding.

    Attributes:
        kind: which detector it was.
        confidence: from 0 to 1.
        position: the offset where it begins.
        evidence: the text that shows it.
    """

    kind: str
    confidence: float
    position: int
    evidence: str = ""


class CheckMessage(AttemptMessage, frozen=True, kw_only=True):
    """The base of what the checks report."""


class Verdict(CheckMessage, frozen=True, kw_only=True):
    """A set of rules has read the content up to an offset.

    Attributes:
        rules: the name of the rule set.
        upto: the offset reached.
        violations: what was found since the last verdict.
        final: whether the whole answer was read.
    """

    rules: str
    upto: int
    violations: tuple[Violation, ...] = ()
    final: bool = False


class DriftReport(CheckMessage, frozen=True, kw_only=True):
    """The drift detectors have read the content up to an offset.

    Attributes:
        upto: the offset reached.
        findings: what was found since the last report.
        final: whether the whole answer was read.
    """

    upto: int
    findings: tuple[Finding, ...] = ()
    final: bool = False


class RuleDemoted(CheckMessage, frozen=True, kw_only=True):
    """A rule was too slow for the loop and runs in a thread from now on.

    Attributes:
        rule: its name.
        took_ms: how long it took.
    """

    rule: str
    took_ms: float


class RuleQuarantined(CheckMessage, frozen=True, kw_only=True):
    """A rule raised and is not run again in this session.

    Attributes:
        rule: its name.
        error: what it raised.
    """

    rule: str
    error: ErrorInfo


class RecoveryMessage(AttemptMessage, frozen=True, kw_only=True):
    """The base of what the retry supervisor decides. `attempt` is the one that failed."""


class RetryScheduled(RecoveryMessage, frozen=True, kw_only=True):
    """The source will be tried again.

    Attributes:
        delay_ms: after this pause.
        reason: the code of the error that led to it.
        counted: whether it counts against `RetryConfig.attempts`.
    """

    delay_ms: float
    reason: str
    counted: bool


class FallbackSelected(RecoveryMessage, frozen=True, kw_only=True):
    """The next source takes over.

    Attributes:
        source: its name.
        source_index: 1 for the first fallback.
        reason: the code of the error that led to it.
    """

    source: str
    source_index: int
    reason: str


class CheckpointSaved(RecoveryMessage, frozen=True, kw_only=True):
    """The content up to an offset may be continued from.

    Attributes:
        offset: that offset.
    """

    offset: int


class RolledBack(RecoveryMessage, frozen=True, kw_only=True):
    """What the consumer has is cut back.

    Attributes:
        keep: how many characters stay.
        reason: why.
    """

    keep: int
    reason: str = ""


class TimeoutFired(RecoveryMessage, frozen=True, kw_only=True):
    """A clock ran out.

    Attributes:
        clock: `initial_token`, `inter_token`, `content` or `total`.
        limit_ms: its limit.
        waited_ms: how long the wait really was.
    """

    clock: str
    limit_ms: float
    waited_ms: float


class ActorMessage(Message, frozen=True, kw_only=True):
    """The base of what happens to an actor.

    Attributes:
        path: the actor's path in the tree.
    """

    path: str


class ActorStarted(ActorMessage, frozen=True, kw_only=True):
    """An actor's `on_start` returned.

    Attributes:
        incarnation: how often it was started, from 1.
    """

    incarnation: int = 1


class ActorCrashed(ActorMessage, frozen=True, kw_only=True):
    """An actor raised.

    Attributes:
        incarnation: which of its lives it was.
        error: what it raised.
    """

    incarnation: int
    error: ErrorInfo


class ActorRestarted(ActorMessage, frozen=True, kw_only=True):
    """A supervisor started the actor anew.

    Attributes:
        incarnation: which life begins.
    """

    incarnation: int


class ActorDown(ActorMessage, frozen=True, kw_only=True):
    """A watched actor is gone for good. A restart is no death.

    Attributes:
        reason: a `StopReason`.
    """

    never_dropped: ClassVar[bool] = True
    reason: str


DeadLetterReason = Literal[
    "no_subscriber",
    "dropped_oldest",
    "dropped_newest",
    "stopped",
    "draining",
    "killed",
    "crashed_while_handling",
    "late_reply",
    "unhandled",
    "superseded",
]


class DeadLetter(ActorMessage, frozen=True, kw_only=True):
    """A message was not delivered. `path` is the actor that did not get it, "" for nobody.

    Attributes:
        reason: why not.
        message_type: the name of the message's type.
        message_seq: its place in the bus-wide order, 0 if it was never published.
    """

    reason: DeadLetterReason
    message_type: str
    message_seq: int


class Lagged(Message, frozen=True, kw_only=True):
    """Stands in a mailbox where messages were dropped. Never published.

    Attributes:
        missed: how many were dropped.
        first_seq: the order of the first of them.
        last_seq: the order of the last.
    """

    missed: int
    first_seq: int
    last_seq: int


class Control(Message, frozen=True, kw_only=True):
    """The base of the imperatives. They overtake everything else in a mailbox."""

    never_dropped: ClassVar[bool] = True


class Stop(Control, frozen=True, kw_only=True):
    """Stop.

    Attributes:
        drain: handle what is queued first.
    """

    drain: bool = True


class Suspend(Control, frozen=True, kw_only=True):
    """Handle nothing but control messages until `Resume`."""


class Resume(Control, frozen=True, kw_only=True):
    """Go on after `Suspend`."""


AnyMessage = (
    SessionStarted
    | SessionCompleted
    | SessionFailed
    | SessionAborted
    | AttemptStarted
    | StreamOpened
    | StreamEnded
    | StreamFailed
    | AttemptSuperseded
    | Tokens
    | ToolCallDelta
    | ToolCallReady
    | DataReceived
    | ProgressReported
    | UsageReported
    | Heartbeat
    | Verdict
    | DriftReport
    | RuleDemoted
    | RuleQuarantined
    | RetryScheduled
    | FallbackSelected
    | CheckpointSaved
    | RolledBack
    | TimeoutFired
    | ActorStarted
    | ActorCrashed
    | ActorRestarted
    | ActorDown
    | DeadLetter
    | Lagged
    | Stop
    | Suspend
    | Resume
)
"""Every message of the library, as one tagged union."""
