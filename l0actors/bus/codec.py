"""Messages as JSON and as MessagePack: strict, bounded, with one error for whatever is wrong.

`encode_json` and its three companions are for the library's own messages. For your own types as
well, make a codec of them: `Codec(AnyMessage | Mine)`.
"""

from collections.abc import Callable
from typing import Any, NoReturn

import msgspec

from l0actors.bus.messages import AnyMessage, Message
from l0actors.bus.selection import check_tags, members

MAX_BYTES = 16 * 1024 * 1024
"""How long an encoded message may be by default, in bytes."""

# Besides its own errors msgspec lets through: nesting too deep, text that is no UTF-8, ints of more
# than 64 bits, map keys that cannot be hashed, objects that have no encoding.
_ERRORS = (msgspec.MsgspecError, RecursionError, ValueError, OverflowError, TypeError)


class CodecError(ValueError):
    """A message cannot be encoded, or bytes are not a message."""


class Codec:
    """Encodes and decodes a union of message types."""

    def __init__(self, types: Any = AnyMessage) -> None:
        """Make a codec.

        Args:
            types: a message type or a union of them, each with a tag of its own.

        Raises:
            TypeError: something in it is not a message type.
            ValueError: two types share a tag.
        """
        kinds = members(types)
        check_tags(kinds, {})
        self._kinds = frozenset(kinds)
        self._to_json = msgspec.json.Encoder()
        self._from_json = msgspec.json.Decoder(types)
        self._to_msgpack = msgspec.msgpack.Encoder()
        self._from_msgpack = msgspec.msgpack.Decoder(types, ext_hook=_refuse_extension)

    def encode_json(self, message: Message) -> bytes:
        """Return `message` as JSON.

        Raises:
            CodecError: it is of none of the codec's types, or holds what JSON has no form for.
        """
        return self._encode(self._to_json.encode, message)

    def encode_msgpack(self, message: Message) -> bytes:
        """Return `message` as MessagePack.

        Raises:
            CodecError: it is of none of the codec's types, or holds what MessagePack has no form for.
        """
        return self._encode(self._to_msgpack.encode, message)

    def decode_json(self, data: bytes | bytearray | memoryview, *, max_bytes: int = MAX_BYTES) -> Message:
        """Return the message that `data` is, no longer than `max_bytes`.

        Raises:
            CodecError: it is not exactly one valid message.
        """
        return _decode(self._from_json.decode, data, max_bytes)

    def decode_msgpack(self, data: bytes | bytearray | memoryview, *, max_bytes: int = MAX_BYTES) -> Message:
        """Return the message that `data` is, no longer than `max_bytes`.

        Raises:
            CodecError: it is not exactly one valid message.
        """
        return _decode(self._from_msgpack.decode, data, max_bytes)

    def _encode(self, encode: Callable[[Any], bytes], message: Message) -> bytes:
        if type(message) not in self._kinds:
            raise CodecError(
                f"{type(message).__name__} is unknown to this codec: use Codec(AnyMessage | YourMessage)"
            )
        try:
            return encode(message)
        except _ERRORS as error:
            raise CodecError(f"cannot encode {type(message).__name__}: {_said(error)}") from None


def _decode(decode: Callable[[Any], Any], data: bytes | bytearray | memoryview, max_bytes: int) -> Message:
    if (length := memoryview(data).nbytes) > max_bytes:
        raise CodecError(f"not a message: {length} bytes are more than max_bytes={max_bytes}")
    try:
        message: Message = decode(data)
    except _ERRORS as error:
        raise CodecError(f"not a message: {_said(error)}") from None
    return message


def _said(error: Exception) -> str:
    return "nested too deep" if isinstance(error, RecursionError) else str(error)


def _refuse_extension(code: int, data: memoryview) -> NoReturn:
    raise ValueError(f"a MessagePack extension of type {code}")


_DEFAULT = Codec()
encode_json = _DEFAULT.encode_json
encode_msgpack = _DEFAULT.encode_msgpack
decode_json = _DEFAULT.decode_json
decode_msgpack = _DEFAULT.decode_msgpack
