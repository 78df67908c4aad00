"""Which metadata a prompt may carry, and what a synthetic turn adds to its events (02 2).

The first rule of ``RULES`` that is broken is raised.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from ..errors import SessionValueError
from ..model.event import AgentEvent
from ..model.prompt_meta import PromptDelivery, PromptMeta, PromptNetworkMeta
from ..model.turn import TurnSource
from .effects import Commit, Effects

USER, NETWORK, SYNTHETIC = TurnSource.USER, TurnSource.NETWORK, TurnSource.SYNTHETIC

CORRELATION = {
    "task_id": "task_id",
    "run_id": "task_run_id",
    "workflow_id": "workflow_id",
    "claim_token_hash": "claim_token_hash",
    "coordinator_session_id": "coordinator_session_id",
    "scheduler_reason": "reason",
}
"""Fields of an event and the members of the synthetic metadata that fill them when blank."""


def _delivery(meta: PromptMeta) -> str:
    return meta.system.prompt_delivery if meta.system else ""


def _reason(meta: PromptMeta) -> str:
    return meta.synthetic.reason if meta.synthetic else ""


RULES: tuple[tuple[Callable[[PromptMeta, bool], bool], str], ...] = (
    (
        lambda meta, dedicated: meta.turn_source == SYNTHETIC and not dedicated,
        "session: synthetic prompt turns require the dedicated synthetic submission path",
    ),
    (
        lambda meta, _: meta.turn_source == SYNTHETIC and meta.synthetic is None,
        "session: synthetic prompt turns require synthetic metadata",
    ),
    (
        lambda meta, _: meta.turn_source == USER and meta.network is not None,
        "session: user prompt metadata cannot include network fields",
    ),
    (
        lambda meta, _: _delivery(meta) not in {"", *PromptDelivery},
        'acp: invalid system prompt delivery "{delivery}"',
    ),
    (
        lambda meta, _: meta.turn_source == USER and meta.synthetic is not None,
        "acp: user prompt metadata cannot include network or synthetic fields",
    ),
    (
        lambda meta, _: meta.turn_source == NETWORK and meta.synthetic is not None,
        "acp: network prompt metadata cannot include synthetic fields",
    ),
    (
        lambda meta, _: meta.turn_source == SYNTHETIC and meta.network is not None,
        "acp: synthetic prompt metadata cannot include network fields",
    ),
    (
        lambda meta, _: meta.turn_source == SYNTHETIC and not _reason(meta),
        "acp: synthetic prompt metadata requires a reason",
    ),
    (
        lambda meta, _: meta.turn_source not in set(TurnSource),
        'acp: invalid prompt turn source "{source}"',
    ),
)
"""What is broken, and its text; the second argument of a rule is "the call is prompt_synthetic"."""


def validated_meta(
    meta: PromptMeta | None, source: str, *, session_id: str = "", dedicated: bool = False
) -> PromptMeta:
    """The normalised metadata of a prompt (02 2).

    :param source: of the call; blank is ``user``.
    :param dedicated: whether the call is ``prompt_synthetic``.
    :raises SessionValueError: the first rule that is broken.
    """
    called = source.strip() or USER
    normalized = (meta or PromptMeta()).normalized()
    told = normalized.turn_source or called
    if told != called:
        raise SessionValueError(
            f'session: prompt turn source "{called}" does not match metadata turn_source "{told}"',
            session_id=session_id,
        )
    normalized = replace(normalized, turn_source=told)
    for broken, text in RULES:
        if broken(normalized, dedicated):
            raise SessionValueError(
                text.format(delivery=_delivery(normalized), source=told), session_id=session_id
            )
    return normalized


def network_meta(given: Sequence[PromptNetworkMeta], *, session_id: str = "") -> PromptMeta:
    """The metadata of ``prompt_network``, which takes one group or none.

    :raises SessionValueError: more than one.
    """
    if len(given) > 1:
        raise SessionValueError(
            "session: network prompt accepts at most one metadata value", session_id=session_id
        )
    meta = PromptMeta(NETWORK, network=given[0] if given else None)
    return validated_meta(meta, NETWORK, session_id=session_id)


def correlated(effects: Effects, meta: PromptMeta) -> Effects:
    """The effects of a synthetic turn, every row of theirs enriched."""
    return tuple(
        replace(effect, events=tuple(enriched(event, meta) for event in effect.events))
        if isinstance(effect, Commit)
        else effect
        for effect in effects
    )


def enriched(event: AgentEvent, meta: PromptMeta | None) -> AgentEvent:
    """The event with the correlation of its synthetic turn; what it says itself wins (02 2)."""
    if meta is None or meta.synthetic is None:
        return event
    changes: dict[str, Any] = {}
    for field, member in CORRELATION.items():
        value = getattr(meta.synthetic, member)
        if value and not getattr(event, field).strip():
            changes[field] = value
    return msgspec.structs.replace(event, **changes) if changes else event
