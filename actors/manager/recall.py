"""Requests that came before: what they were answered, from what is stored with their effect.

===============  ==============================================================================
``create``       the new session's id is made of the request's name: the session is the record
``delete``       a session that is not there any more was deleted
with a record    ``RECORDED``: the answer stands in the session's store, beside the effect
all others       change nothing when they run again, or are not sent again: a caller whose
                 runtime was killed meanwhile gets ``BusLostError``
===============  ==============================================================================

A prompt's stream begins again from the stored events of its turn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ...transport.bus.control_call import Call
from ...transport.bus.errors import RequestExpiredError
from ..core.recorded_calls import CALLS_TABLE, FORGOTTEN_KEY, may_be_forgotten
from ..errors import AgentStartError, SessionNotFoundError
from ..model.event import INPUT_TYPES, MARKER_TYPES
from ..model.ids import normalize_stored_session_id
from ..model.query import EventQuery
from .group import VerbGroup
from .planning import session_id_for
from .values import AGENT_EVENT

RECORDED = frozenset(
    {
        "stop",
        "stop_with_cause",
        "prompt",
        "prompt_with_opts",
        "prompt_network",
        "send_prompt",
        "steer_prompt",
        "interrupt_prompt",
        "cancel_queued_prompt",
        "approve_permission",
    }
)
"""Operations whose answer is stored with their effect."""
RETRIED = RECORDED | {"create", "delete"}
"""Operations that may be sent again although they are not idempotent."""
_NOT_DELIVERED = INPUT_TYPES | MARKER_TYPES

Recalled = tuple[Any] | None


class Recall(VerbGroup):
    """Answers requests that took effect in an earlier life of the runtime."""

    def __call__(self, call: Call) -> Recalled:
        """What the handler returned then, in a tuple; ``None``: it did not take effect.

        :raises RequestExpiredError: that can not be told any more.
        """
        if call.verb in RECORDED:
            return self._recorded(call)
        rule = _RULES.get(call.verb)
        return None if rule is None else rule(self, call)

    def created(self, call: Call) -> Recalled:
        """The session that was made; one whose agent did not start says why."""
        if self._runtime.options.session_id_generator is not None:
            raise _expired(call)
        session_id = session_id_for(call.request_id)
        try:
            meta = self._runtime.read_meta(session_id, "create")
        except SessionNotFoundError:
            return None
        if not meta.acp_session_id and self._runtime.registry.get(session_id) is None:
            raise AgentStartError(
                f'create: session "{session_id}": {meta.stop_detail or "the start was cut off"}',
                session_id=session_id,
                operation="create",
            )
        return (session_id,)

    def deleted(self, call: Call) -> Recalled:
        """Gone is gone."""
        session_id = normalize_stored_session_id(_session_id(call), "delete")
        directory = self._runtime.options.home / "sessions" / session_id
        return None if self._runtime.off_hub(directory.is_dir) else (None,)

    def _recorded(self, call: Call) -> Recalled:
        session_id = _session_id(call)
        began_at = self._runtime.clock.now().timestamp() - call.age_s
        try:
            store = self._runtime.home.reader(session_id)
        except SessionNotFoundError:
            return None
        try:
            document = store.state_document(CALLS_TABLE, call.request_id)
            forgotten = store.state_document(CALLS_TABLE, FORGOTTEN_KEY)
        finally:
            store.close()
        if document is not None:
            return (self._as_returned(call, document),)
        if may_be_forgotten(forgotten, began_at):
            raise _expired(call)
        return None

    def _as_returned(self, call: Call, document: dict[str, Any]) -> Any:
        match call.verb:
            case "prompt" | "prompt_with_opts" | "prompt_network":
                turn_id = str(document["turn_id"])
                return self._turn(call, {"turn_id": turn_id}, turn_id)
            case "send_prompt":
                return self._turn(call, document["result"], str(document["turn_id"]))
            case _:
                return document["result"]

    def _turn(self, call: Call, told: Any, turn_id: str) -> Iterator[Any]:
        yield told
        if not turn_id:
            return
        store = self._runtime.home.reader(_session_id(call))
        try:
            rows = self._runtime.off_hub(store.query, EventQuery(turn_id=turn_id))
        finally:
            store.close()
        for row in rows:
            if row.type not in _NOT_DELIVERED:
                yield AGENT_EVENT.encode(row.event)


_RULES: dict[str, Callable[[Recall, Call], Recalled]] = {
    "create": Recall.created,
    "delete": Recall.deleted,
}


def _session_id(call: Call) -> str:
    return str(call.args.get("session_id", ""))


def _expired(call: Call) -> RequestExpiredError:
    return RequestExpiredError(
        f"{call.verb}: it can not be told any more whether the request took effect",
        request_id=call.request_id,
    )
