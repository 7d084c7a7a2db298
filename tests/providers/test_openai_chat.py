"""OpenAI's chat completions, through the real SDK."""

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from provider_wires import (
    DONE,
    MODEL,
    call_delta,
    chat,
    chunk,
    feed_all,
    open_chat,
    openai_client,
    read,
    sse,
    usage_chunk,
)

from l0actors.errors import ErrorCategory, ErrorCode, L0Error
from l0actors.events import EventType, fold
from l0actors.providers import OpenAIAdapter
from l0actors.providers.openai_chat import ChatDecoder

ROLE = chunk({"role": "assistant", "content": ""})
STOP = chunk(finish="stop")


def thing(**fields: Any) -> Any:
    """An object with attributes, as any decoder of the wire format would make."""
    return SimpleNamespace(**fields)


async def fails(body: bytes, content_type: str = "text/event-stream") -> L0Error:
    """Read a stream that must fail, and return how."""
    with pytest.raises(L0Error) as failed:
        await read(await open_chat(body, content_type))
    return failed.value


async def test_a_whole_answer() -> None:
    """The text is what was sent, and the end is known with reason, model and usage."""
    details = {
        "prompt_tokens_details": {"cached_tokens": 2},
        "completion_tokens_details": {"reasoning_tokens": 3},
    }
    body = sse(
        ROLE, chunk({"content": "Hi"}), chunk({"content": " you"}), STOP, usage_chunk(5, 7, **details), DONE
    )
    seen = await read(await open_chat(body))
    assert (seen.adapter, seen.text) == ("openai", "Hi you")
    assert (seen.decoder.finish_reason, seen.decoder.model) == ("stop", MODEL)
    assert seen.decoder.usage == {
        "input_tokens": 5,
        "output_tokens": 7,
        "cached_tokens": 2,
        "reasoning_tokens": 3,
    }


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]))))
def test_any_tokens_fold_back(tokens: list[str]) -> None:
    """Whatever the chunks carry, in whatever objects, their fold is the text."""
    items = [
        thing(
            model=MODEL,
            usage=None,
            choices=[
                thing(
                    index=0,
                    finish_reason=None,
                    logprobs=None,
                    delta=thing(content=token, tool_calls=None, refusal=None, model_extra=None),
                )
            ],
        )
        for token in tokens
    ]
    last = thing(model=MODEL, usage=None, choices=[thing(index=0, finish_reason="stop", delta=None)])
    assert fold(feed_all(ChatDecoder(), [*items, last])) == "".join(tokens)


async def test_a_piece_of_text_is_a_bare_str() -> None:
    """The cheap form: text comes as a str, and an empty text as nothing."""
    decoder = ChatDecoder()
    assert [decoder.feed(item) async for item in await open_chat(chat("a", "", "b"))] == [
        None,
        "a",
        None,
        "b",
        None,
    ]


async def test_it_is_done_when_the_usage_came() -> None:
    """After the finish reason the answer is whole, and after the usage nothing is worth waiting for."""
    decoder = OpenAIAdapter().decoder()
    states = []
    async for item in await open_chat(sse(ROLE, chunk({"content": "x"}), STOP, usage_chunk(1, 1), DONE)):
        decoder.feed(item)
        states.append((decoder.finished, decoder.done))
    assert states == [(False, False), (False, False), (True, False), (True, True)]


async def test_a_running_count_is_not_the_last_word() -> None:
    """Usage before the finish reason (a server that counts as it goes) does not end the stream."""
    running = {**chunk({"content": "x"}), "usage": usage_chunk(1, 1)["usage"]}
    seen = await read(await open_chat(sse(running, running, STOP, usage_chunk(1, 2), DONE)))
    assert (seen.text, seen.decoder.usage) == ("xx", {"input_tokens": 1, "output_tokens": 2})


@pytest.mark.parametrize("reason", ["stop", "length", "content_filter", "novelty"])
async def test_finish_reasons_are_reported(reason: str) -> None:
    """The finish reason is passed on in the provider's word; none is a failure by itself."""
    assert (await read(await open_chat(chat("Hi", finish=reason)))).decoder.finish_reason == reason


async def test_a_missing_done_marker_is_fine() -> None:
    """After a finish reason the stream may end as it likes."""
    assert (await read(await open_chat(sse(ROLE, chunk({"content": "x"}), STOP)))).text == "x"


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", "text/event-stream"),
        (b"<html>Bad gateway</html>", "text/html"),
        (b'{"error": {"message": "no"}}', "application/json"),
        (b'{"object": "chat.completion", "choices": []}', "application/json"),
        (b": only a comment\n\n", "text/event-stream"),
        (DONE, "text/event-stream"),
    ],
)
async def test_no_event_at_all_is_a_failure(body: bytes, content_type: str) -> None:
    """A 200 with a page, a document or nothing, which the SDK ends quietly, is STREAM_TRUNCATED."""
    error = await fails(body, content_type)
    assert (error.code, error.category) == (ErrorCode.STREAM_TRUNCATED, ErrorCategory.NETWORK)
    assert "without a single event" in str(error)


@pytest.mark.parametrize(
    "body",
    [
        sse(ROLE),
        sse(ROLE, chunk({"content": "x"})),
        chat("x", finish=None),
        sse(ROLE, chunk({"content": "x"}), usage_chunk(1, 1), DONE),
        sse(ROLE, chunk({"content": "x"}), STOP)[:-20],
        sse(ROLE, chunk({"content": "x"}), STOP).rstrip(b"\n"),
        sse(ROLE, chunk({"content": "x"}, finish=""), DONE),
    ],
)
async def test_a_quiet_end_without_a_finish_reason_is_a_failure(body: bytes) -> None:
    """A clean end before the finish reason, terminator or not, is STREAM_TRUNCATED."""
    error = await fails(body)
    assert (error.code, error.category) == (ErrorCode.STREAM_TRUNCATED, ErrorCategory.NETWORK)


@pytest.mark.parametrize(
    ("error", "code", "category"),
    [
        ({"code": "rate_limit_exceeded"}, ErrorCode.RATE_LIMITED, ErrorCategory.TRANSIENT),
        ({"code": "server_error"}, ErrorCode.PROVIDER_ERROR, ErrorCategory.TRANSIENT),
        ({"code": "who_knows"}, ErrorCode.PROVIDER_ERROR, ErrorCategory.MODEL),
    ],
)
async def test_a_flat_error_chunk_is_an_error(
    error: dict[str, str], code: ErrorCode, category: ErrorCategory
) -> None:
    """`{"type": "error"}`, which the SDK yields as an odd chunk, is raised by its code, first or later."""
    flat = {"type": "error", "message": "no", **error}
    for body in (sse(flat, DONE), sse(ROLE, chunk({"content": "x"}), flat, DONE)):
        raised = await fails(body)
        assert (raised.code, raised.category) == (code, category)


def test_an_error_object_is_an_error() -> None:
    """`{"error": {...}}`, where the SDK does not see to it, is raised by its code."""
    with pytest.raises(L0Error) as failed:
        ChatDecoder().feed(thing(error=thing(code="rate_limit_exceeded", message="no")))
    assert failed.value.code is ErrorCode.RATE_LIMITED


@pytest.mark.parametrize(
    "item",
    [
        None,
        [],
        {},
        3,
        {"object": "chat.completion.chunk", "model": MODEL},
        chunk(index=0) | {"choices": [{"index": 0, "text": "of a legacy completion"}]},
        chunk(index=0) | {"choices": [{"index": 0, "message": {"content": "of a whole answer"}}]},
        chunk(index=0) | {"choices": [None]},
        chunk(index=0) | {"choices": 3},
        chunk(index=0) | {"choices": "text"},
        chunk({"content": 42}),
        chunk({"content": ["x"]}),
        chunk({"content": False}),
        chunk({"refusal": 42}),
        chunk({"reasoning_content": 42}),
        chunk({"tool_calls": 42}),
        chunk({"tool_calls": [{"id": "c"}]}),
        chunk({"tool_calls": [{"index": 0, "id": 3, "function": {"name": "x"}}]}),
        chunk({"tool_calls": [{"index": 0, "id": "c", "function": {"name": "x", "arguments": 3}}]}),
        chunk(index=None),
        chunk(index="0"),
        chunk(finish=3),  # type: ignore[arg-type]
        chunk() | {"choices": [{"index": 0, "delta": "text"}]},
    ],
)
async def test_a_malformed_item_is_a_failure(item: Any) -> None:
    """Null, lists, missing and wrong-typed fields, which the SDK does not check, are the model's failure."""
    for body in (sse(item, chat("x")), sse(ROLE, chunk({"content": "x"}), item, STOP, DONE)):
        error = await fails(body)
        assert (error.code, error.category) == (ErrorCode.PROVIDER_ERROR, ErrorCategory.MODEL)
        assert str(error).startswith("malformed event: ")


@pytest.mark.parametrize(
    "item",
    [
        {**chunk(), "choices": []},
        {**chunk(), "choices": [], "prompt_filter_results": [{"prompt_index": 0}]},
        {"object": "chat.completion.novelty", "choices": []},
        {"type": "ping"},
        {"choices": [{"index": 0, "finish_reason": None, "content_filter_results": {}}]},
        chunk({}),
        chunk({"content": None}),
        chunk({"novelty": 1}),
    ],
)
async def test_harmless_items_are_ignored(item: Any) -> None:
    """Chunks without choices, unknown events and Azure's filter results change nothing, wherever they are."""
    for body in (sse(item, chat("x")), sse(ROLE, chunk({"content": "x"}), item, STOP, DONE)):
        assert (await read(await open_chat(body))).text == "x"


async def test_a_lost_first_chunk_is_no_failure() -> None:
    """A stream without the chunk that names the role is read: many servers never send it."""
    assert (await read(await open_chat(b"\xef\xbb\xbf" + chat("x", "y")))).text == "xy"


async def test_reasoning_is_progress() -> None:
    """`reasoning_content`, and `reasoning` as others call it, are PROGRESS and not text."""
    body = sse(chunk({"reasoning_content": "hm"}), chunk({"reasoning": "so"}), chat("x"))
    seen = await read(await open_chat(body))
    assert [data["text"] for data in seen.progress("reasoning")] == ["hm", "so"]
    assert seen.text == "x"


async def test_a_chunk_may_carry_everything_at_once() -> None:
    """Reasoning, text and the finish reason in one chunk are all kept."""
    seen = await read(await open_chat(sse(chunk({"reasoning_content": "hm", "content": "x"}, finish="stop"))))
    assert (seen.text, seen.decoder.finish_reason, len(seen.progress("reasoning"))) == ("x", "stop", 1)


async def test_a_refusal_is_not_hidden_behind_stop() -> None:
    """A refusal is PROGRESS, and its finish reason is `refusal` although the provider says `stop`."""
    seen = await read(
        await open_chat(sse(ROLE, chunk({"refusal": "I "}), chunk({"refusal": "won't"}), STOP, DONE))
    )
    assert "".join(data["text"] for data in seen.progress("refusal")) == "I won't"
    assert (seen.text, seen.decoder.finish_reason) == ("", "refusal")


async def test_logprobs_and_annotations_are_progress() -> None:
    """Logprobs and annotations are passed on as plain data."""
    logprobs = {
        "content": [{"token": "x", "logprob": -0.5, "bytes": [120], "top_logprobs": []}],
        "refusal": None,
    }
    note = {"type": "url_citation", "url_citation": {"url": "u"}}
    body = sse(chunk({"content": "x"}, logprobs=logprobs), chunk({"annotations": [note]}), STOP)
    seen = await read(await open_chat(body))
    assert seen.progress("logprobs")[0]["logprobs"]["content"][0]["logprob"] == -0.5
    assert seen.progress("annotations") == [{"kind": "annotations", "annotations": [note]}]
    assert seen.text == "x"


async def test_audio_is_data() -> None:
    """A piece of audio is DATA, also after the finish reason."""
    body = sse(chunk({"audio": {"id": "a", "data": "QQ=="}}), STOP, chunk({"audio": {"expires_at": 9}}), DONE)
    seen = await read(await open_chat(body))
    assert seen.data(EventType.DATA) == [
        {"kind": "audio", "id": "a", "data": "QQ=="},
        {"kind": "audio", "expires_at": 9},
    ]


# Tool calls.

TOOL_END = [chunk(finish="tool_calls"), DONE]


async def test_tool_calls_are_assembled() -> None:
    """Parallel calls come whole, at the end, with their fragments as progress before."""
    body = sse(
        chunk(call_delta(0, "", "c0", "get")),
        chunk(call_delta(0, '{"q": ')),
        chunk(call_delta(0, '"x"}')),
        chunk(call_delta(1, "{}", "c1", "now")),
        *TOOL_END,
    )
    seen = await read(await open_chat(body))
    assert seen.tool_calls == [
        {"id": "c0", "name": "get", "arguments": {"q": "x"}, "index": 0},
        {"id": "c1", "name": "now", "arguments": {}, "index": 1},
    ]
    assert [data["arguments"] for data in seen.progress("tool_call_delta")] == ["", '{"q": ', '"x"}', "{}"]
    assert [event.type for event in seen.events[-2:]] == [EventType.TOOL_CALL] * 2
    assert seen.decoder.finish_reason == "tool_calls"


async def test_a_call_may_repeat_its_id_and_name() -> None:
    """A server that names the call in every fragment is understood."""
    body = sse(chunk(call_delta(0, "{", "c", "get")), chunk(call_delta(0, "}", "c", "get")), *TOOL_END)
    assert (await read(await open_chat(body))).tool_calls[0]["arguments"] == {}


async def test_a_function_call_of_old_is_a_tool_call() -> None:
    """The deprecated `function_call` is read like a tool call without an id."""
    body = sse(
        chunk({"function_call": {"name": "get", "arguments": ""}}),
        chunk({"function_call": {"arguments": "{}"}}),
        chunk(finish="function_call"),
    )
    assert (await read(await open_chat(body))).tool_calls == [
        {"id": "", "name": "get", "arguments": {}, "index": 0}
    ]


async def test_a_cut_tool_call_is_never_a_call() -> None:
    """A stream that ends inside a call, or after it without a finish reason, is STREAM_TRUNCATED."""
    for arguments in ('{"q": ', "{}"):
        error = await fails(sse(chunk(call_delta(0, arguments, "c", "get")), DONE))
        assert error.code is ErrorCode.STREAM_TRUNCATED


@pytest.mark.parametrize("reason", ["length", "content_filter"])
@pytest.mark.parametrize("arguments", ["", '{"q": "x'])
async def test_a_call_that_hit_the_limit_is_never_a_call(reason: str, arguments: str) -> None:
    """A finish reason that means a cut fails an unfinished call, and is not retried as a network error."""
    error = await fails(sse(chunk(call_delta(0, arguments, "c", "get")), chunk(finish=reason), DONE))
    assert (error.code, error.category) == (ErrorCode.STREAM_TRUNCATED, ErrorCategory.MODEL)


async def test_invalid_arguments_are_the_models_failure() -> None:
    """Arguments that are no JSON object, in an answer that ended well, fail it."""
    error = await fails(sse(chunk(call_delta(0, "{'q': 1}", "c", "get")), *TOOL_END))
    assert (error.code, error.category) == (ErrorCode.PROVIDER_ERROR, ErrorCategory.MODEL)


async def test_two_calls_are_never_glued() -> None:
    """Two ids at one index are malformed."""
    body = sse(chunk(call_delta(0, "{}", "c0", "a")), chunk(call_delta(0, "{}", "c1", "a")), *TOOL_END)
    assert "two ids" in str(await fails(body))


async def test_a_fragment_after_the_finish_is_malformed() -> None:
    """A call does not grow after the answer was declared whole."""
    body = sse(chunk(call_delta(0, "{}", "c", "a")), chunk(finish="tool_calls"), chunk(call_delta(0, " ")))
    assert "is over" in str(await fails(body))


# Several choices.


def two_choices() -> bytes:
    """A stream of an answer with n = 2."""
    return sse(
        chunk({"content": "a0"}),
        chunk({"content": "b0"}, index=1),
        chunk({"content": "b1"}, index=1),
        chunk(finish="stop", index=1),
        chunk({"content": "a1"}),
        STOP,
        DONE,
    )


async def test_several_choices_need_to_be_told_apart() -> None:
    """An answer with n > 1 is refused, not glued, and the message says what to do."""
    error = await fails(two_choices())
    assert (error.code, error.category) == (ErrorCode.INVALID_STREAM, ErrorCategory.VALIDATION)
    assert "OpenAIAdapter(choice_index=0)" in str(error)


@pytest.mark.parametrize(("index", "text"), [(0, "a0a1"), (1, "b0b1")])
async def test_one_choice_can_be_chosen(index: int, text: str) -> None:
    """With `choice_index` only that choice is read, and only its end counts."""
    assert (await read(await open_chat(two_choices()), OpenAIAdapter(index))).text == text


async def test_another_choices_end_is_not_the_end() -> None:
    """The end of a choice that is not read does not make the answer whole."""
    with pytest.raises(L0Error) as failed:
        await read(
            await open_chat(sse(chunk({"content": "a"}), chunk(finish="stop", index=1), DONE)),
            OpenAIAdapter(0),
        )
    assert failed.value.code is ErrorCode.STREAM_TRUNCATED


@pytest.mark.parametrize("index", [-1, "0", 1.5])
def test_a_bad_choice_index_is_refused(index: Any) -> None:
    """`choice_index` is a whole number >= 0."""
    with pytest.raises(ValueError, match="choice_index"):
        OpenAIAdapter(index)


async def test_a_parsed_raw_response_is_a_stream_like_any_other() -> None:
    """What `with_raw_response` gives after `parse()` is read as usual."""
    raw = await openai_client(chat("Hi")).chat.completions.with_raw_response.create(
        model=MODEL, messages=[], stream=True
    )
    assert (await read(raw.parse())).text == "Hi"
