"""Every fault of the matrix, through the real SDKs over HTTP, as a session takes it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import anthropic
import openai
import pytest
from session_kit import HASTY, PATIENT, QUICK, Bench, Seen, bench, consume, first_then

from l0actors import ErrorCategory, ErrorCode, EventType, L0Error, RetryConfig, l0
from l0actors.testing import WIRES, FaultCase, Reply, Wire, fault_matrix

TEXT = "alpha beta gamma delta epsilon zeta"
OTHER = "alpha beta OTHER text, which is longer than that"

CASES = [case for wire in WIRES for case in fault_matrix(wire).values()]
FAILS = [case for case in CASES if case.outcome == "fails"]
RECOVERS = [case for case in CASES if case.outcome == "recovers"]

# What the SDKs' own objects hide: the answer is whole, and still costs a retry. Readers of bytes need none.
EMPTY_EVENTS = {"data_empty", "data_null", "data_list", "data_object"}
COSTS_A_RETRY: dict[Wire, set[str]] = {"chat": set(), "responses": set(), "messages": set()}

TRANSIENT = (ErrorCode.PROVIDER_ERROR, ErrorCategory.TRANSIENT)
GARBLED = (ErrorCode.PROVIDER_ERROR, ErrorCategory.MODEL)
BROKEN = (ErrorCode.NETWORK_ERROR, ErrorCategory.NETWORK)
TRUNCATED = (ErrorCode.STREAM_TRUNCATED, ErrorCategory.NETWORK)
RATE_LIMITED = (ErrorCode.RATE_LIMITED, ErrorCategory.TRANSIENT)
ERRORS: dict[str, tuple[ErrorCode, ErrorCategory]] = {
    **dict.fromkeys(("status_408", "status_409", "status_500", "status_502", "status_502_html"), TRANSIENT),
    **dict.fromkeys(("status_503", "status_529", "error_own", "error_own_first"), TRANSIENT),
    **dict.fromkeys(("error_object", "error_flat", "response_failed"), TRANSIENT),
    **dict.fromkeys(("status_429", "status_429_retry_after"), RATE_LIMITED),
    **dict.fromkeys(("close_before_headers", "reset_before_headers", "garbage_for_http"), BROKEN),
    **dict.fromkeys(("half_a_header", "close", "close_in_event", "reset", "bad_chunk"), BROKEN),
    "corrupt_gzip": BROKEN,
    **dict.fromkeys(("html_200", "empty_200"), TRUNCATED),
    **dict.fromkeys(("cut_before_events", "cut_in_first_event", "cut", "cut_in_event"), TRUNCATED),
    **dict.fromkeys(("cut_connection_close", "cut_gzip", "lost_token", "no_finish"), TRUNCATED),
    "no_finish_no_terminator": TRUNCATED,
    **dict.fromkeys(("error_text", "not_json", "invalid_utf8", "wrong_type", "missing_field"), GARBLED),
    "json_answer_200": GARBLED,
    "json_error_200": (ErrorCode.INVALID_REQUEST, ErrorCategory.MODEL),
    "no_tokens": (ErrorCode.ZERO_OUTPUT, ErrorCategory.CONTENT),
}


@pytest.fixture(scope="module")
def b() -> Iterator[Bench]:
    """Share one provider and one client of each SDK; load what the SDKs import late."""
    with bench() as made:
        for wire in WIRES:
            made.run(stream(made, wire, first_then(Reply(TEXT), Reply(TEXT))))
        yield made


async def stream(b: Bench, wire: Wire, answer: object, case: FaultCase | None = None) -> Seen:
    """Run one session; a case that hangs is given little time, and retries for a busy machine."""
    hangs = case is not None and case.hangs and case.outcome == "fails"
    result = await l0(
        stream=b.source(wire, answer),  # type: ignore[arg-type]
        timeout=HASTY if hangs else PATIENT,
        retry=QUICK,
    )
    return await consume(result)


async def both(b: Bench, case: FaultCase) -> tuple[Seen, Seen]:
    """Meet a fault twice: the model is deterministic, or says something else the second time."""
    fault = case.on(Reply(TEXT))
    return await asyncio.gather(
        stream(b, case.wire, first_then(fault, Reply(TEXT)), case),
        stream(b, case.wire, first_then(fault, Reply(OTHER)), case),
    )


def ids(case: FaultCase) -> str:
    """Return the name of a test."""
    return f"{case.wire}-{case.name}"


@pytest.mark.parametrize("case", FAILS, ids=ids)
def test_a_fault_that_fails_is_retried(b: Bench, case: FaultCase) -> None:
    """An attempt that failed is recorded with what was wrong, and the retry's text is the whole content."""
    same, diverging = b.run(both(b, case))
    assert (same.text, diverging.text) == (TEXT, OTHER)
    assert not same.keeps, "a deterministic model that is retried shows nothing"
    assert len(diverging.keeps) <= 1
    for seen in (same, diverging):
        errors = seen.result.errors
        assert seen.error is None
        assert len(seen.result.attempts) == len(errors) + 1
        assert [record.outcome for record in seen.result.attempts[:-1]] == ["failed"] * len(errors)
        first = errors[0]
        assert isinstance(first, L0Error)
        assert first.context.attempt == 1
        if case.hangs:
            assert first.category is ErrorCategory.TIMEOUT
        else:
            assert len(errors) == 1
            assert (first.code, first.category) == ERRORS[case.name]


@pytest.mark.parametrize("case", RECOVERS, ids=ids)
def test_a_fault_that_is_harmless_is_no_failure(b: Bench, case: FaultCase) -> None:
    """A whole answer is taken as it is, however its bytes look, unless the SDK hides that it is whole."""
    same, diverging = b.run(both(b, case))
    retried = case.name in COSTS_A_RETRY[case.wire]
    assert (same.text, diverging.text) == (TEXT, OTHER if retried else TEXT)
    assert not same.keeps
    for seen in (same, diverging):
        assert seen.error is None
        assert len(seen.result.attempts) == 1 + retried
        assert len(seen.result.errors) == retried


NEXT: dict[Wire, Wire] = {"chat": "messages", "responses": "chat", "messages": "responses"}


@pytest.mark.parametrize("case", FAILS, ids=ids)
def test_a_fallback_of_another_wire_takes_over(b: Bench, case: FaultCase) -> None:
    """A source that always fails is left for the fallback, whose text alone is the content."""

    async def scenario() -> Seen:
        result = await l0(
            stream=b.source(case.wire, lambda _: case.on(Reply(TEXT))),
            fallbacks=[b.source(NEXT[case.wire], lambda _: Reply(OTHER))] * 3,
            timeout=HASTY if case.hangs else PATIENT,
            retry=RetryConfig(base_delay_ms=1, max_retries=1),
        )
        return await consume(result)

    seen = b.run(scenario())
    assert seen.text == OTHER
    assert len(seen.keeps) <= 1
    assert seen.result.state.fallback_index >= 1
    if not case.hangs:
        assert [record.source for record in seen.result.attempts] == ["primary", "primary", "fallback-1"]
        assert [error.code for error in seen.result.errors] == [ERRORS[case.name][0]] * 2  # type: ignore[attr-defined]


def test_the_tables_name_cases_that_exist() -> None:
    """Every case that fails has its expected error, and the tables hold no case that is not there."""
    names = {wire: set(fault_matrix(wire)) for wire in WIRES}
    assert all(costs <= names[wire] for wire, costs in COSTS_A_RETRY.items())
    assert {case.name for case in FAILS if not case.hangs} == set(ERRORS)
    assert len(CASES) >= 190


SYNC = (
    "cut",
    "close",
    "reset",
    "error_own",
    "not_json",
    "status_500",
    "no_tokens",
    "drip",
    "gzip",
    "no_usage",
)


@pytest.mark.parametrize("wire", WIRES)
def test_synchronous_clients_are_as_reliable(b: Bench, wire: Wire) -> None:
    """The SDKs' synchronous clients, read in a thread, give the same exact text over the same faults."""
    cases = [fault_matrix(wire)[name] for name in SYNC]
    first = openai.OpenAI(
        base_url=b.provider.openai_url,
        api_key="test",
        max_retries=0,
        http_client=openai.DefaultHttpxClient(verify=False),
    )
    second = anthropic.Anthropic(
        base_url=b.provider.anthropic_url,
        api_key="test",
        max_retries=0,
        http_client=anthropic.DefaultHttpxClient(verify=False),
    )

    def open_it(model: str) -> object:
        if wire == "chat":
            return first.chat.completions.create(model=model, messages=[], stream=True)
        if wire == "responses":
            return first.responses.create(model=model, input="x", stream=True)
        return second.messages.create(model=model, messages=[], max_tokens=9, stream=True)

    async def one(case: FaultCase) -> Seen:
        model = f"sync-{case.wire}-{case.name}"
        b.answers[model] = first_then(case.on(Reply(TEXT)), Reply(OTHER))
        result = await l0(stream=lambda: asyncio.to_thread(open_it, model), timeout=PATIENT, retry=QUICK)
        return await consume(result)

    async def scenario() -> list[Seen]:
        return await asyncio.gather(*map(one, cases))

    with first, second:
        for case, seen in zip(cases, b.run(scenario()), strict=True):
            assert seen.text == (OTHER if case.outcome == "fails" else TEXT), case.name
            assert [event.type for event in seen.events].count(EventType.COMPLETE) == 1


@pytest.mark.parametrize("wire", ["chat", "messages"])
def test_a_synchronous_stream_that_stalls_is_left(b: Bench, wire: Wire) -> None:
    """The connection of a stream that blocks a thread is closed when its attempt times out."""
    case = fault_matrix(wire)["stall"]
    first = openai.OpenAI(
        base_url=b.provider.openai_url,
        api_key="test",
        max_retries=0,
        http_client=openai.DefaultHttpxClient(verify=False),
    )

    async def scenario() -> Seen:
        b.answers["sync-stall"] = first_then(case.on(Reply(TEXT)), Reply(OTHER))
        result = await l0(
            stream=lambda: asyncio.to_thread(
                lambda: first.chat.completions.create(model="sync-stall", messages=[], stream=True)
            ),
            timeout=HASTY,
            retry=QUICK,
        )
        return await consume(result)

    with first:
        assert b.run(scenario()).text == OTHER
