"""Which version of ACP is spoken with an agent (07 1).

``auto`` asks for v1; v2, a draft, only where the agent answers in its shape or refuses v1. ``1``
and ``2`` ask for that one and take no other.
"""

from __future__ import annotations

from ...actors.errors import RequestError
from . import codec_v1, codec_v2, jsonrpc
from .codec import Codec, Offer, as_list, as_object, is_version

AUTO = "auto"
CODECS: dict[str, Codec] = {"1": codec_v1, "2": codec_v2}
FIRST: dict[str, Codec] = {AUTO: codec_v1, **CODECS}
"""What is asked for first, by the setting."""


def agreed(setting: str, offer: Offer) -> Codec | None:
    """The version an answer settles on; ``None`` for what we do not speak, or may not.

    The number alone does not say it: many agents repeat whatever they are asked.
    """
    spoken: Codec | None = None
    if is_version(offer.version, codec_v1.VERSION):
        spoken = codec_v1
    elif is_version(offer.version, codec_v2.VERSION) and offer.has_info:
        spoken = codec_v2
    return spoken if setting in (AUTO, str(spoken.VERSION if spoken else "")) else None


def after_refusal(setting: str, asked: Codec, error: RequestError) -> Codec | None:
    """What to ask for once more when the agent knows no version at or below the one asked for."""
    if setting != AUTO or error.code != jsonrpc.NO_COMMON_VERSION:
        return None
    supported = as_list(as_object(error.data).get("supported"))
    others = [codec for codec in CODECS.values() if codec is not asked]
    common = [c for c in others if any(is_version(number, c.VERSION) for number in supported)]
    return max(common, key=lambda codec: codec.VERSION, default=None)


def spoken_by(setting: str) -> str:
    """The versions we would take, for people."""
    return " or ".join(CODECS) if setting == AUTO else setting
