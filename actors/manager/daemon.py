"""The verbs of a runtime for other processes: one handler per operation.

A stream's first item says what became of the prompt; the others are the events of its turn. A
caller that leaves a stream never disturbs the turn.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ...transport.bus.control_call import Call, Verb
from ...transport.bus.error_table import ErrorTable
from ...transport.bus.roles import Role
from .. import errors
from ..model.restart import RestartPolicy
from ..session.stream import PromptStream
from .values import (
    AGENT_EVENT,
    EVENTS,
    HEALTH,
    HEALTH_RECOVERY,
    HEALTHS,
    HISTORY,
    HOME_STATUS,
    HOOK_RUNS,
    INFO,
    INFOS,
    METRICS,
    NOTHING,
    PERMISSIONS,
    PLAIN,
    QUEUE,
    REPAIR,
    SENT,
    SESSION_ID,
    USAGE,
    Codec,
    from_plain,
    to_plain,
)

if TYPE_CHECKING:
    from .surfaces import Verbs

ROLES = {"read": Role.READ, "operate": Role.OPERATE, "admin": Role.ADMIN}
VerbsFor = Callable[[str], "Verbs"]
SNAPSHOT = "snapshot"
"""What a remote handle shows; not an operation of its own."""

RESULTS: dict[str, Codec] = {
    "create": SESSION_ID,
    "resume": SESSION_ID,
    "stop": NOTHING,
    "stop_with_cause": NOTHING,
    "request_stop_with_cause": NOTHING,
    "delete": NOTHING,
    "clear_conversation": SESSION_ID,
    "repair_session": REPAIR,
    "wait_for_finalizations": NOTHING,
    "wait_for_prompt_drains": NOTHING,
    "steer_prompt": SENT,
    "interrupt_prompt": SENT,
    "cancel_prompt": NOTHING,
    "cancel_queued_prompt": SENT,
    "approve_permission": NOTHING,
    "request_permission": PLAIN,
    "is_prompting": PLAIN,
    "input_queue_summary": QUEUE,
    "list": INFOS,
    "list_all": INFOS,
    "status": INFO,
    "events": EVENTS,
    "history": HISTORY,
    "usage": USAGE,
    "permission_log": PERMISSIONS,
    "hook_runs": HOOK_RUNS,
    "crash_bundle": PLAIN,
    "home_status": HOME_STATUS,
    "get_session_health": HEALTH,
    "list_session_health": HEALTHS,
    "touch_session_presence": HEALTH,
    "recover_session_health": HEALTH_RECOVERY,
    "metrics": METRICS,
}
"""How the result of each unary operation travels. ``get`` is a snapshot, ``transcript`` is folded
by the caller from the events, and the prompts are streams."""
PROMPTS = ("prompt", "prompt_with_opts", "prompt_network", "prompt_synthetic")
"""Operations whose result is the stream of a turn."""


AT_ONCE = frozenset({"is_prompting", "list", "metrics"})
"""Operations that only look at what is in memory."""


def error_table() -> ErrorTable:
    """The exceptions of a runtime that reach its callers as what they are."""
    classes = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.SessionError)
    ]
    return ErrorTable(classes)


def remote_verbs(verbs_for: VerbsFor) -> dict[str, Verb]:
    """The table of a control server.

    :param verbs_for: the verbs of the runtime in the name of a request.
    """
    from .surfaces import OPERATIONS

    table = {
        name: Verb(
            _unary(verbs_for, name, codec), ROLES[OPERATIONS[name].role], waits=name not in AT_ONCE
        )
        for name, codec in RESULTS.items()
    }
    for name in PROMPTS:
        table[name] = Verb(_prompt(verbs_for, name), Role.OPERATE, streams=True)
    table["send_prompt"] = Verb(lambda call: _send(verbs_for, call), Role.OPERATE, streams=True)
    table[SNAPSHOT] = Verb(lambda call: _snapshot(verbs_for, call), Role.READ, waits=False)
    return table


def _unary(verbs_for: VerbsFor, name: str, codec: Codec) -> Any:
    def handle(call: Call) -> Any:
        verb = getattr(verbs_for(call.request_id), name)
        args = dict(call.args)
        if args.get("since") is not None:
            args["since"] = datetime.fromisoformat(args["since"])
        if isinstance(args.get("restart"), dict):
            args["restart"] = from_plain(args["restart"], RestartPolicy)
        return codec.encode(verb(**args))

    return handle


def _prompt(verbs_for: VerbsFor, name: str) -> Callable[[Call], Iterable[Any]]:
    def handle(call: Call) -> Iterable[Any]:
        args = dict(call.args)
        verb = getattr(verbs_for(call.request_id), name)
        if name == "prompt_network":
            verb = functools.partial(
                verb, args.pop("session_id"), args.pop("message"), *args.pop("meta", ())
            )
        stream = verb(**args)
        return _follow({"turn_id": stream.turn_id}, stream)

    return handle


def _send(verbs_for: VerbsFor, call: Call) -> Iterable[Any]:
    result = verbs_for(call.request_id).send_prompt(**call.args)
    return _follow(SENT.encode(result), result.events)


def _follow(told: Any, stream: PromptStream | None) -> Iterator[Any]:
    yield told
    if stream is None:
        return
    with stream:
        while (event := stream.next()) is not None:
            yield AGENT_EVENT.encode(event)


def _snapshot(verbs_for: VerbsFor, call: Call) -> Any:
    live = verbs_for(call.request_id).get(str(call.args.get("session_id", "")))
    if live is None:
        return None
    state = live.state
    liveness = state.meta.liveness
    return {
        "info": INFO.encode(live.info()),
        "meta": to_plain(state.meta),
        "turn_id": state.turn.turn_id if state.turn else "",
        "prompt_meta": state.turn.meta.as_json() if state.turn else {},
        "turn_source": state.turn.source if state.turn else "",
        "agent_pid": liveness.subprocess_pid if liveness else 0,
        "db_path": str(live.ports.store.path),
    }
