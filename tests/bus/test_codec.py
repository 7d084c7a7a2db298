"""Messages survive their encoding, and nothing else is taken for a message."""

import contextlib
import enum
import types
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from l0actors.bus import (
    Codec,
    CodecError,
    Message,
    decode_json,
    decode_msgpack,
    encode_json,
    encode_msgpack,
)
from l0actors.bus.messages import AnyMessage, DataReceived, Heartbeat, SessionFailed, Tokens

MEMBERS: tuple[type[Message], ...] = get_args(AnyMessage)
PAIRS = [(encode_json, decode_json), (encode_msgpack, decode_msgpack)]
DECODERS = [decode_json, decode_msgpack]
NAMES = ["json", "msgpack"]

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
INTS = st.integers(-(2**63), 2**63 - 1)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | INTS | FLOATS | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
SIMPLE: dict[Any, st.SearchStrategy[Any]] = {
    str: TEXT,
    int: INTS,
    float: FLOATS,
    bool: st.booleans(),
    type(None): st.none(),
    Any: JSON,
}


def values(hint: Any) -> st.SearchStrategy[Any]:
    """Return a strategy for what a message's field may hold."""
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return st.one_of(*map(values, args))
    if origin is tuple:
        return st.lists(values(args[0]), max_size=3).map(tuple)
    if origin is dict:
        return st.dictionaries(values(args[0]), values(args[1]), max_size=3)
    if origin is Literal or (isinstance(hint, type) and issubclass(hint, enum.Enum)):
        return st.sampled_from(args or list(hint))
    return SIMPLE[hint] if hint in SIMPLE else structs(hint)


def structs(kind: Any) -> st.SearchStrategy[Any]:
    """Return a strategy for instances of a struct type."""
    hints = get_type_hints(kind)
    return st.fixed_dictionaries({name: values(hints[name]) for name in kind.__struct_fields__}).map(
        lambda fields: kind(**fields)
    )


any_message = st.sampled_from(MEMBERS).flatmap(structs)


@pytest.mark.parametrize("kind", MEMBERS)
@given(data=st.data())
@settings(deadline=None, max_examples=25)
def test_every_message_survives_both_encodings(kind: type[Message], data: st.DataObject) -> None:
    """What is decoded equals what was encoded, for every type of message."""
    message = data.draw(structs(kind))
    assert decode_json(encode_json(message)) == message
    assert decode_msgpack(encode_msgpack(message)) == message


@pytest.mark.parametrize("decode", DECODERS, ids=NAMES)
@given(data=st.binary(max_size=60))
@settings(deadline=None, max_examples=500)
def test_arbitrary_bytes_are_a_message_or_a_codec_error(decode: Any, data: bytes) -> None:
    """Whatever the input, nothing but `CodecError` is raised."""
    with contextlib.suppress(CodecError):
        assert isinstance(decode(data), Message)


@pytest.mark.parametrize(("encode", "decode"), PAIRS, ids=NAMES)
@given(message=any_message, data=st.data())
@settings(deadline=None, max_examples=300)
def test_a_damaged_message_is_a_message_or_a_codec_error(
    encode: Any, decode: Any, message: Message, data: st.DataObject
) -> None:
    """A message with bytes replaced, removed or inserted raises nothing but `CodecError`."""
    encoded = bytearray(encode(message))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(encoded)))
        end = data.draw(st.integers(place, min(len(encoded), place + 2)))
        encoded[place:end] = data.draw(st.binary(max_size=2))
    with contextlib.suppress(CodecError):
        assert isinstance(decode(bytes(encoded)), Message)


@pytest.mark.parametrize(("encode", "decode"), PAIRS, ids=NAMES)
@given(message=any_message, data=st.data())
@settings(deadline=None)
def test_a_truncated_or_lengthened_message_is_refused(
    encode: Any, decode: Any, message: Message, data: st.DataObject
) -> None:
    """No prefix of a message is one, and nothing may follow it."""
    encoded = encode(message)
    for wrong in (encoded[: data.draw(st.integers(0, len(encoded) - 1))], encoded + b"\x00"):
        with pytest.raises(CodecError):
            decode(wrong)


def plain(message: Message) -> dict[str, Any]:
    """Return the message as plain data."""
    data: dict[str, Any] = msgspec.to_builtins(message)
    return data


WRONG: list[tuple[Any, str]] = [
    ({}, "missing required field `type`"),
    ([], "Expected `object`, got `array`"),
    ({"type": "Nope"}, "Invalid value 'Nope'"),
    ({"type": 5}, "Expected `str`"),
    (plain(Heartbeat(attempt=1)) | {"surprise": 1}, "unknown field `surprise`"),
    (plain(Heartbeat(attempt=1)) | {"attempt": "1"}, "Expected `int`, got `str`"),
    (plain(Heartbeat(attempt=1)) | {"attempt": True}, "Expected `int`, got `bool`"),
    (plain(Heartbeat(attempt=1)) | {"attempt": None}, "Expected `int`, got"),
    (plain(Heartbeat(attempt=1)) | {"ts": "now"}, "Expected `float`, got `str`"),
    ({"type": "Tokens", "attempt": 1, "start": 0}, "missing required field `texts`"),
    ({"type": "Tokens", "attempt": 1, "start": 0, "texts": [1]}, r"\.texts\["),
    ({"type": "SessionFailed", "error": {"code": "NOPE", "category": "internal", "message": ""}}, "NOPE"),
]


@pytest.mark.parametrize(("data", "what"), WRONG)
def test_p22_wrong_data_is_refused_with_what_is_wrong(data: Any, what: str) -> None:
    """Unknown tags, unknown fields, missing fields and wrong types are named in the error."""
    with pytest.raises(CodecError, match=what):
        decode_json(msgspec.json.encode(data))
    with pytest.raises(CodecError, match=what):
        decode_msgpack(msgspec.msgpack.encode(data))


DEEP = 200_000
_PREFIX = b"\x83\xa4type\xacDataReceived\xa7attempt\x01\xa4data\x81\xa1a"


@pytest.mark.parametrize(
    ("decode", "data"),
    [
        (decode_json, b'{"type":"DataReceived","attempt":1,"data":{"a":' + b"[" * DEEP),
        (decode_json, b'{"type":"DataReceived","attempt":1,"data":' + b'{"a":' * DEEP),
        (decode_json, b'{"surprise":' + b"[" * DEEP),
        (decode_msgpack, _PREFIX + b"\x91" * DEEP),
        (decode_msgpack, _PREFIX + b"\x81\xa1a" * DEEP),
    ],
    ids=["json-lists", "json-objects", "json-skipped", "msgpack-lists", "msgpack-maps"],
)
def test_nesting_too_deep_is_a_codec_error(decode: Any, data: bytes) -> None:
    """No depth of nesting crashes the decoder or raises something else."""
    with pytest.raises(CodecError, match="nested too deep"):
        decode(data)


@pytest.mark.parametrize(("encode", "decode"), PAIRS, ids=NAMES)
def test_input_is_bounded(encode: Any, decode: Any) -> None:
    """What is longer than `max_bytes` is refused unread; the bound itself is allowed."""
    encoded = encode(Heartbeat(attempt=1))
    assert decode(encoded, max_bytes=len(encoded)) == Heartbeat(attempt=1)
    with pytest.raises(CodecError, match=f"{len(encoded)} bytes are more than max_bytes={len(encoded) - 1}"):
        decode(encoded, max_bytes=len(encoded) - 1)
    assert decode(memoryview(bytearray(encoded))) == Heartbeat(attempt=1)


def test_extensions_of_messagepack_are_refused() -> None:
    """Types that only MessagePack has do not come in."""
    data = msgspec.msgpack.encode(DataReceived(attempt=1, data={"a": msgspec.msgpack.Ext(5, b"x")}))
    with pytest.raises(CodecError, match="extension of type 5"):
        decode_msgpack(data)


CANNOT: list[DataReceived] = [
    DataReceived(attempt=1, data={"a": object()}),
    DataReceived(attempt=1, data={"a": "\ud800"}),
]


@pytest.mark.parametrize("message", CANNOT)
@pytest.mark.parametrize("encode", [encode_json, encode_msgpack], ids=NAMES)
def test_what_has_no_encoding_is_a_codec_error(encode: Any, message: Message) -> None:
    """Objects and lone surrogates are refused when encoding."""
    with pytest.raises(CodecError, match="cannot encode DataReceived"):
        encode(message)


class CodecMine(Message, frozen=True, kw_only=True):
    value: int


def test_your_own_types_have_a_codec_of_their_own() -> None:
    """`Codec` takes a union of the library's messages and yours; the default knows only the library's."""
    codec = Codec(AnyMessage | CodecMine)
    message = CodecMine(session="s", value=3)
    assert codec.decode_json(codec.encode_json(message)) == message
    assert codec.decode_msgpack(codec.encode_msgpack(message)) == message
    assert codec.decode_json(codec.encode_json(Heartbeat(attempt=1))) == Heartbeat(attempt=1)
    with pytest.raises(CodecError, match="CodecMine is unknown"):
        encode_json(message)
    with pytest.raises(CodecError, match="CodecMine"):
        decode_json(codec.encode_json(message))
    with pytest.raises(CodecError, match="Tokens is unknown"):
        Codec(CodecMine).encode_json(Tokens(attempt=1, start=0, texts=()))


def test_p22_a_codec_refuses_two_types_with_one_tag() -> None:
    """An explicit tag is inherited verbatim; a codec of both types could not tell them apart."""

    class CodecTagged(Message, frozen=True, kw_only=True, tag="codec-tagged"):
        pass

    class CodecInherits(CodecTagged, frozen=True, kw_only=True):
        pass

    with pytest.raises(ValueError, match="share the tag 'codec-tagged'"):
        Codec(CodecTagged | CodecInherits)


def test_a_codec_is_of_messages_only() -> None:
    """Another type is refused with its value."""
    with pytest.raises(TypeError, match="int"):
        Codec(int)


def test_errors_are_encoded_as_data() -> None:
    """A failure's error comes back as the enums that it was made of."""
    failed = decode_json(
        b'{"type":"SessionFailed","error":{"code":"INTERNAL","category":"internal","message":"m"}}'
    )
    assert isinstance(failed, SessionFailed)
    assert failed.error.code.name == "INTERNAL"
