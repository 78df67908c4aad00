"""``RemoteSessionManager``: the same verbs, for a process beside the runtime's.

Everything is a call over the runtime's control connection; errors arrive as the classes they were
raised as. Handles hold no state: what they show is asked for each time.
"""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

from ...storage.format.transcript import UIMessage, to_ui_messages
from ...transport.bus.control_client import ControlClient
from ...transport.bus.control_pending import PendingStream
from ...transport.bus.credentials import Credentials
from ...transport.bus.endpoints import Endpoints
from ..errors import SessionNotFoundError
from ..model.agent import Caps
from ..model.prompt_meta import PromptMeta, PromptNetworkMeta, PromptSyntheticMeta
from ..model.restart import RestartPolicy
from ..model.session import SessionInfo, SessionMeta, State
from ..model.turn import SendPromptResult
from ..session.live import LiveSession
from ..session.stream import PromptStream
from .daemon import RESULTS, SNAPSHOT, error_table
from .options import default_home
from .recall import RETRIED
from .remote_stream import RemotePromptStream
from .surfaces import OPERATIONS, Verbs
from .values import SENT, from_plain, to_plain

ANSWER_MARGIN = 5.0
"""Seconds an answer may take beyond the timeout of the verb itself."""

P = ParamSpec("P")
R = TypeVar("R")


def _plain(value: Any) -> Any:
    if isinstance(value, PromptMeta | PromptNetworkMeta | PromptSyntheticMeta):
        return value.as_json()
    if isinstance(value, tuple):
        return [_plain(member) for member in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, RestartPolicy):
        return to_plain(value)
    return value.isoformat() if isinstance(value, datetime) else value


def _arguments(verb: Callable[..., Any], args: Any, kwargs: Any) -> dict[str, Any]:
    bound = inspect.signature(verb).bind(None, *args, **kwargs).arguments
    return {name: _plain(value) for name, value in bound.items() if name != "self"}


def remote(
    verb: Callable[Concatenate[Verbs, P], R],
) -> Callable[Concatenate[RemoteSessionManager, P], R]:
    """The verb as a call."""
    name = verb.__name__

    @functools.wraps(verb)
    def call(self: RemoteSessionManager, /, *args: P.args, **kwargs: P.kwargs) -> R:
        given = _arguments(verb, args, kwargs)
        return cast("R", RESULTS[name].decode(self._call(name, given)))

    return call


def remote_session(
    verb: Callable[Concatenate[Verbs, P], LiveSession],
) -> Callable[Concatenate[RemoteSessionManager, P], RemoteSession]:
    """A verb that yields a session: the caller gets its handle."""
    name = verb.__name__

    @functools.wraps(verb)
    def call(self: RemoteSessionManager, /, *args: P.args, **kwargs: P.kwargs) -> RemoteSession:
        return RemoteSession(self, self._call(name, _arguments(verb, args, kwargs)))

    return call


def remote_prompt(
    verb: Callable[Concatenate[Verbs, P], PromptStream],
) -> Callable[Concatenate[RemoteSessionManager, P], RemotePromptStream]:
    """A verb that starts a turn: the caller gets its stream."""
    name = verb.__name__

    @functools.wraps(verb)
    def call(
        self: RemoteSessionManager, /, *args: P.args, **kwargs: P.kwargs
    ) -> RemotePromptStream:
        items, told = self._stream(name, _arguments(verb, args, kwargs))
        return RemotePromptStream(self._client, items, told["turn_id"])

    return call


def of_session(
    surface: Callable[Concatenate[RemoteSessionManager, str, P], R],
) -> Callable[Concatenate[RemoteSession, P], R]:
    """A manager's verb bound to one session."""

    @functools.wraps(surface)
    def call(self: RemoteSession, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return surface(self._manager, self.id, *args, **kwargs)

    return call


class RemoteSessionManager:
    """The sessions of a runtime that serves, for callers in any thread of another process.

    :param home: the home the runtime owns; absent: as for ``SessionManager``.
    :param endpoints: those of a runtime on another machine, instead of a home.
    :param keys: for a ``tcp://`` address, which is not spoken to without.
    :raises BusEndpointError: no runtime serves that home.
    """

    def __init__(
        self,
        home: str | Path | None = None,
        *,
        endpoints: Endpoints | None = None,
        keys: Credentials | None = None,
    ) -> None:
        self.home = default_home() if home is None else Path(home).expanduser().absolute()
        self.endpoints = endpoints or Endpoints.read(self.home).with_commands()
        self._client = ControlClient(self.endpoints.commands, errors=error_table(), keys=keys)

    create = remote_session(Verbs.create)
    resume = remote_session(Verbs.resume)
    clear_conversation = remote_session(Verbs.clear_conversation)
    stop = remote(Verbs.stop)
    stop_with_cause = remote(Verbs.stop_with_cause)
    request_stop_with_cause = remote(Verbs.request_stop_with_cause)
    delete = remote(Verbs.delete)
    repair_session = remote(Verbs.repair_session)
    wait_for_finalizations = remote(Verbs.wait_for_finalizations)
    wait_for_prompt_drains = remote(Verbs.wait_for_prompt_drains)
    steer_prompt = remote(Verbs.steer_prompt)
    interrupt_prompt = remote(Verbs.interrupt_prompt)
    cancel_prompt = remote(Verbs.cancel_prompt)
    cancel_queued_prompt = remote(Verbs.cancel_queued_prompt)
    approve_permission = remote(Verbs.approve_permission)
    request_permission = remote(Verbs.request_permission)
    is_prompting = remote(Verbs.is_prompting)
    input_queue_summary = remote(Verbs.input_queue_summary)
    list = remote(Verbs.list)
    list_all = remote(Verbs.list_all)
    status = remote(Verbs.status)
    events = remote(Verbs.events)
    history = remote(Verbs.history)
    usage = remote(Verbs.usage)
    permission_log = remote(Verbs.permission_log)
    hook_runs = remote(Verbs.hook_runs)
    crash_bundle = remote(Verbs.crash_bundle)
    home_status = remote(Verbs.home_status)
    get_session_health = remote(Verbs.get_session_health)
    list_session_health = remote(Verbs.list_session_health)
    touch_session_presence = remote(Verbs.touch_session_presence)
    recover_session_health = remote(Verbs.recover_session_health)
    metrics = remote(Verbs.metrics)

    prompt = remote_prompt(Verbs.prompt)
    prompt_with_opts = remote_prompt(Verbs.prompt_with_opts)
    prompt_network = remote_prompt(Verbs.prompt_network)
    prompt_synthetic = remote_prompt(Verbs.prompt_synthetic)

    def send_prompt(
        self, session_id: str, message: str, *, mode: str = "", timeout: float | None = None
    ) -> SendPromptResult:
        """See ``SessionManager.send_prompt``."""
        items, told = self._stream(
            "send_prompt",
            _arguments(
                Verbs.send_prompt, (session_id, message), {"mode": mode, "timeout": timeout}
            ),
        )
        result: SendPromptResult = SENT.decode(told)
        if not result.new_turn_id:
            items.close()
            return result
        stream = RemotePromptStream(self._client, items, result.new_turn_id)
        return replace(result, events=stream)

    def transcript(self, session_id: str) -> tuple[UIMessage, ...]:
        """See ``SessionManager.transcript``; folded here, from the events."""
        return tuple(to_ui_messages(self.events(session_id)))

    def get(self, session_id: str) -> RemoteSession | None:
        """The handle of a live session, ``None`` when there is none."""
        found = self._snapshot(session_id)
        return None if found is None else RemoteSession(self, found["info"]["id"])

    def close(self, timeout: float | None = None) -> None:
        """Close the connection; the runtime and its sessions go on."""
        self._client.close()

    def _call(self, name: str, args: dict[str, Any]) -> Any:
        limit = args.get("timeout")
        return self._client.call(
            name,
            args,
            timeout=None if limit is None else limit + ANSWER_MARGIN,
            resend=OPERATIONS[name].idempotent or name in RETRIED,
        )

    def _stream(self, name: str, args: dict[str, Any]) -> tuple[PendingStream, Any]:
        items = self._client.stream(name, args)
        return items, next(items)

    def _snapshot(self, session_id: str) -> Any:
        return self._client.call(SNAPSHOT, {"session_id": session_id})

    def __enter__(self) -> RemoteSessionManager:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class RemoteSession:
    """The handle of a session in another process; its verbs are the manager's."""

    def __init__(self, manager: RemoteSessionManager, session_id: str) -> None:
        self._manager = manager
        self.id = session_id

    stop = of_session(RemoteSessionManager.stop)
    prompt = of_session(RemoteSessionManager.prompt)
    send_prompt = of_session(RemoteSessionManager.send_prompt)
    steer = of_session(RemoteSessionManager.steer_prompt)
    interrupt = of_session(RemoteSessionManager.interrupt_prompt)
    cancel = of_session(RemoteSessionManager.cancel_prompt)
    cancel_queued = of_session(RemoteSessionManager.cancel_queued_prompt)
    approve = of_session(RemoteSessionManager.approve_permission)
    approve_permission = approve
    events = of_session(RemoteSessionManager.events)
    history = of_session(RemoteSessionManager.history)
    transcript = of_session(RemoteSessionManager.transcript)
    usage = of_session(RemoteSessionManager.usage)
    permission_log = of_session(RemoteSessionManager.permission_log)
    hook_runs = of_session(RemoteSessionManager.hook_runs)

    def info(self) -> SessionInfo:
        """The public snapshot, live or stored."""
        return self._manager.status(self.id)

    def meta(self) -> SessionMeta:
        """The document of the live session.

        :raises SessionNotFoundError: it is not live.
        """
        meta: SessionMeta = from_plain(self._live()["meta"], SessionMeta)
        return meta

    @property
    def state(self) -> State:
        """Where the session is in its life."""
        return self.info().state

    @property
    def agent_name(self) -> str:
        """The agent it runs."""
        return self.info().agent_name

    @property
    def workspace(self) -> str:
        """The directory the agent works in."""
        return self.info().workspace

    @property
    def acp_session_id(self) -> str:
        """The id the agent gave its own session."""
        return self.info().acp_session_id

    @property
    def acp_caps(self) -> Caps:
        """What the agent can do."""
        return self.info().acp_caps

    @property
    def agent_pid(self) -> int:
        """The process id of the agent, 0 when there is none."""
        found = self._manager._snapshot(self.id)
        return int(found["agent_pid"]) if found else 0

    @property
    def is_prompting(self) -> bool:
        """Whether a turn is being set up or running."""
        return self._manager.is_prompting(self.id)

    @property
    def current_turn_id(self) -> str:
        """The running turn, blank when idle."""
        found = self._manager._snapshot(self.id)
        return str(found["turn_id"]) if found else ""

    @property
    def current_turn_source(self) -> str:
        """Who started the running turn, blank when idle."""
        found = self._manager._snapshot(self.id)
        return str(found["turn_source"]) if found else ""

    @property
    def current_prompt_meta(self) -> PromptMeta:
        """What travels with the prompt of the running turn; blank when idle."""
        found = self._manager._snapshot(self.id)
        return PromptMeta.from_json(found["prompt_meta"]) if found else PromptMeta()

    @property
    def session_dir(self) -> Path:
        """Where everything about the session is stored."""
        return self._manager.home / "sessions" / self.id

    @property
    def meta_path(self) -> Path:
        """The session's ``meta.json``."""
        return self.session_dir / "meta.json"

    @property
    def db_path(self) -> Path:
        """The session's ``events.journal``."""
        return self.session_dir / "events.journal"

    def _live(self) -> Any:
        found = self._manager._snapshot(self.id)
        if found is None:
            raise SessionNotFoundError(f'session "{self.id}" is not live', session_id=self.id)
        return found

    def __repr__(self) -> str:
        return f"<RemoteSession {self.id}>"
