"""The handle of one live session (01 3.1)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..model.agent import Caps
from ..model.prompt_meta import PromptMeta
from ..model.session import SessionInfo, SessionMeta, State
from .surfaces import Verbs, blocking, of_session

if TYPE_CHECKING:
    from ..session.live import LiveSession
    from .manager import SessionManager


class Session:
    """One live incarnation of a session, for callers in any thread.

    What it shows is the snapshot published after the last step; it never waits. The verbs are the
    manager's, with the id filled in. A handle outlives its session: it then shows how it ended.
    """

    def __init__(self, manager: SessionManager, live: LiveSession) -> None:
        self._manager = manager
        self._live = live

    @property
    def id(self) -> str:
        """greenroom's session id."""
        return self._live.id

    @property
    def state(self) -> State:
        """Where the session is in its life."""
        return self._live.state.meta.state

    @property
    def agent_name(self) -> str:
        """The agent it runs."""
        return self._live.state.meta.agent_name

    @property
    def workspace(self) -> str:
        """The directory the agent works in."""
        return self._live.state.workspace

    @property
    def acp_session_id(self) -> str:
        """The id the agent gave its own session."""
        return self._live.state.meta.acp_session_id

    @property
    def acp_caps(self) -> Caps:
        """What the agent can do."""
        return self.info().acp_caps

    @property
    def agent_pid(self) -> int:
        """The process id of the agent, 0 when there is none."""
        liveness = self._live.state.meta.liveness
        return liveness.subprocess_pid if liveness else 0

    @property
    def is_prompting(self) -> bool:
        """Whether a turn is being set up or running."""
        return self._live.state.is_prompting

    @property
    def current_turn_id(self) -> str:
        """The running turn, blank when idle."""
        turn = self._live.state.turn
        return turn.turn_id if turn else ""

    @property
    def current_turn_source(self) -> str:
        """Who started the running turn, blank when idle."""
        turn = self._live.state.turn
        return turn.source if turn else ""

    @property
    def current_prompt_meta(self) -> PromptMeta:
        """What travels with the prompt of the running turn; blank when idle (02 2)."""
        turn = self._live.state.turn
        return turn.meta if turn else PromptMeta()

    @property
    def session_dir(self) -> Path:
        """Where everything about the session is stored."""
        return self.db_path.parent

    @property
    def meta_path(self) -> Path:
        """The session's ``meta.json``."""
        return self.session_dir / "meta.json"

    @property
    def db_path(self) -> Path:
        """The session's ``events.journal``."""
        return Path(self._live.ports.store.path)

    def info(self) -> SessionInfo:
        """The public snapshot."""
        return self._live.info()

    def meta(self) -> SessionMeta:
        """The document as it is, or is about to be, on disk."""
        return self._live.state.meta

    stop = of_session(blocking(Verbs.stop))
    prompt = of_session(blocking(Verbs.prompt))
    send_prompt = of_session(blocking(Verbs.send_prompt))
    steer = of_session(blocking(Verbs.steer_prompt))
    interrupt = of_session(blocking(Verbs.interrupt_prompt))
    cancel = of_session(blocking(Verbs.cancel_prompt))
    cancel_queued = of_session(blocking(Verbs.cancel_queued_prompt))
    approve = of_session(blocking(Verbs.approve_permission))
    approve_permission = approve
    events = of_session(blocking(Verbs.events))
    history = of_session(blocking(Verbs.history))
    transcript = of_session(blocking(Verbs.transcript))
    usage = of_session(blocking(Verbs.usage))
    permission_log = of_session(blocking(Verbs.permission_log))
    hook_runs = of_session(blocking(Verbs.hook_runs))

    def __repr__(self) -> str:
        return f"<Session {self.id} {self.agent_name} {self.state}>"
