"""A line that adds text to a message, read in one look: nearly everything an agent writes.

Only what has exactly the form every agent uses is taken; of all else :mod:`.jsonrpc` and the codecs
make what they can. What is taken here means the same there.
"""

from __future__ import annotations

import msgspec

from ...actors.model.event import RawJSON
from .jsonrpc import UNREADABLE, UPDATE, UpdateSeen, decode

CHUNK = b'_chunk"'
"""What every such line holds, and few others: a cheap look before the decoder's."""


class _Block(msgspec.Struct, gc=False):
    type: str
    text: str


class _Update(msgspec.Struct, gc=False, rename="camel"):
    session_update: str
    content: _Block
    message_id: str | msgspec.UnsetType = msgspec.UNSET


class _Params(msgspec.Struct, gc=False, rename="camel"):
    session_id: str
    update: _Update


class _Line(msgspec.Struct, gc=False):
    method: str
    params: _Params
    id: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class TextLine(msgspec.Struct, frozen=True, gc=False):
    """One chunk of text.

    :param kind: the token of the update, ending with ``_chunk``.
    :param message_id: ``None`` where the chunk names no message.
    """

    session_id: str
    kind: str
    text: str
    message_id: str | None
    raw: RawJSON


_decode_line = msgspec.json.Decoder(_Line).decode


def decode_text_line(line: bytes) -> TextLine | None:
    """The chunk of a line that is one and nothing else, or ``None``. Never raises."""
    if CHUNK not in line:
        return None
    try:
        frame = _decode_line(line)
    except UNREADABLE:
        return None
    update = frame.params.update
    message_id = update.message_id
    if frame.method != UPDATE or frame.id is not msgspec.UNSET or update.content.type != "text":
        return None
    return TextLine(
        frame.params.session_id,
        update.session_update,
        update.content.text,
        None if message_id is msgspec.UNSET else message_id,
        RawJSON(None, _update_of, line),
    )


def _update_of(line: bytes) -> bytes:
    seen = decode(line)
    return seen.update if isinstance(seen, UpdateSeen) else b"null"
