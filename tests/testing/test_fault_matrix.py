"""Each fault of the matrix, as the real SDKs see it (PROVIDERS.md, section 3)."""

from __future__ import annotations

import pytest
from fault_clients import clients

from l0actors.testing import WIRES, FaultCase, FaultProvider, Reply, Wire, fault_matrix

REPLY = Reply("one two three four five")

# How the SDKs end: OpenAI's chat, OpenAI's responses, Anthropic's messages. One word stands for all three.
CONNECTION = ("iter APIConnectionError",) * 2
ENDS: dict[str, tuple[str, ...]] = {
    "status_408": (*["create APIStatusError"] * 2, "create RequestTimeoutError"),
    "status_409": ("create ConflictError",),
    "status_429": ("create RateLimitError",),
    "status_429_retry_after": ("create RateLimitError",),
    "status_500": ("create InternalServerError",),
    "status_502": ("create InternalServerError",),
    "status_502_html": ("create InternalServerError",),
    "status_503": (*["create InternalServerError"] * 2, "create ServiceUnavailableError"),
    "status_529": (*["create InternalServerError"] * 2, "create OverloadedError"),
    "close_before_headers": ("create APIConnectionError",),
    "reset_before_headers": ("create APIConnectionError",),
    "garbage_for_http": ("create APIConnectionError",),
    "half_a_header": ("create APIConnectionError",),
    "no_headers": ("create APITimeoutError",),
    "html_200": ("silent",),
    "json_error_200": ("silent",),
    "json_answer_200": ("silent",),
    "empty_200": ("silent",),
    "cut_before_events": ("silent",),
    "cut_in_first_event": ("silent",),
    "cut": ("silent",),
    "cut_in_event": ("silent",),
    "cut_connection_close": ("silent",),
    "cut_gzip": ("silent",),
    "close": (*CONNECTION, "iter RemoteProtocolError"),
    "close_in_event": (*CONNECTION, "iter RemoteProtocolError"),
    "reset": (*CONNECTION, "iter ReadError"),
    "bad_chunk": (*CONNECTION, "iter RemoteProtocolError"),
    "corrupt_gzip": (*CONNECTION, "iter DecodingError"),
    "stall_before_tokens": (*["iter APITimeoutError"] * 2, "iter ReadTimeout"),
    "stall": (*["iter APITimeoutError"] * 2, "iter ReadTimeout"),
    "error_own": ("iter APIError", "silent", "iter APIStatusError"),
    "error_own_first": ("iter APIError", "silent", "iter APIStatusError"),
    "error_object": (*["iter APIError"] * 2, "iter APIStatusError"),
    "error_text": (*["iter APIError"] * 2, "iter APIStatusError"),
    "error_flat": ("silent", "silent", "iter APIStatusError"),
    "response_failed": ("silent",),
    "not_json": ("iter JSONDecodeError",),
    "invalid_utf8": ("iter UnicodeDecodeError",),
    "no_finish_no_terminator": ("silent",),
    "no_finish": ("silent",),
    "ids_and_comments": (*["iter JSONDecodeError"] * 2, "whole"),
    "data_empty": (*["iter JSONDecodeError"] * 2, "whole"),
    "no_event_lines": ("whole", "whole", "silent"),
    "close_after_finish": (*CONNECTION, "iter RemoteProtocolError"),
    "reset_after_finish": (*CONNECTION, "iter ReadError"),
    "stall_after_finish": (*["iter APITimeoutError"] * 2, "iter ReadTimeout"),
    "error_after_finish": ("iter APIError", "whole", "iter APIStatusError"),
    "finish_without_blank_line": ("silent",),
    "body_held_open": ("whole", "iter APITimeoutError", "iter ReadTimeout"),
    "junk_at_end": ("whole", "iter JSONDecodeError", "whole"),
}
# Every byte resets the SDK's timeout, so that it hangs for ever.
FOR_EVER = {"pings_for_ever", "comments_for_ever"}
CASES = [case for wire in WIRES for case in fault_matrix(wire).values()]


def ids(case: FaultCase) -> str:
    """Return the name of a test."""
    return f"{case.wire}-{case.name}"


@pytest.mark.parametrize("case", [case for case in CASES if case.name not in FOR_EVER], ids=ids)
async def test_sdk_sees_the_fault(case: FaultCase) -> None:
    """An SDK ends as it was measured to end, and the next request on the same client is healthy."""
    ends = ENDS.get(case.name, ("whole",))
    async with FaultProvider(default=REPLY) as provider, clients(provider) as sdk:
        provider.script(case.on(REPLY))
        seen = await sdk.read(case.wire, timeout=0.1 if case.hangs else 5.0)
        assert seen.end == ends[WIRES.index(case.wire) % len(ends)]
        again = await sdk.read(case.wire)
        assert (again.text, again.end) == (REPLY.text, "whole")
        await provider.wait_idle()


@pytest.mark.parametrize("case", [case for case in CASES if case.name in FOR_EVER], ids=ids)
async def test_endless_faults_last_until_the_client_leaves(case: FaultCase) -> None:
    """A stream of pings goes on until the client closes it, and then ends at once."""
    async with FaultProvider() as provider, clients(provider) as sdk:
        provider.script(case.on(REPLY))
        stream = await sdk.open(case.wire)
        raw = stream.response.aiter_raw()
        received = b""
        while received.count(case.changes["fault"].data) < 10:
            received += await anext(raw)
        assert provider.open_streams == 1
        await stream.close()
        await provider.wait_idle()
        await provider.all_closed()


@pytest.mark.parametrize("wire", WIRES)
def test_matrix_is_consistent(wire: Wire) -> None:
    """A case stands under its own name and format, with an outcome, and changes the reply."""
    for name, case in fault_matrix(wire).items():
        assert (case.name, case.wire) == (name, wire)
        assert case.on(REPLY) != REPLY


def test_expectations_name_cases() -> None:
    """No expectation of this file is left over from a case that was renamed."""
    assert set(ENDS) | FOR_EVER <= {case.name for case in CASES}
