"""The message bus: typed messages, mailboxes, and who gets what."""

from l0actors.bus.bus import Bus
from l0actors.bus.codec import (
    MAX_BYTES,
    Codec,
    CodecError,
    decode_json,
    decode_msgpack,
    encode_json,
    encode_msgpack,
)
from l0actors.bus.mailbox import Mailbox
from l0actors.bus.messages import Message
from l0actors.bus.overflow import MailboxFull, Overflow
from l0actors.bus.subscription import SubscriberFailed, Subscription

__all__ = [
    "MAX_BYTES",
    "Bus",
    "Codec",
    "CodecError",
    "Mailbox",
    "MailboxFull",
    "Message",
    "Overflow",
    "SubscriberFailed",
    "Subscription",
    "decode_json",
    "decode_msgpack",
    "encode_json",
    "encode_msgpack",
]
