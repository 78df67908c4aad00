"""Callers of a simulated runtime: a few at once, each doing what the seed says.

Every call must be answered, with a result or with an error of the tree; what was promised is kept
in a :class:`Promise` for the final checks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import gevent

from ...errors import PromptStreamLaggedError, SessionError
from ...manager.surfaces import Verbs
from ...model.agent import PermissionDecision
from ...model.restart import RestartMode, RestartPolicy
from ...model.session import StopCause
from ...model.turn import SendPromptResult
from ..clock import VirtualClock
from ..driver import ScriptedDriver

__all__ = ["Callers", "Promise"]

CALLERS = 3
CALLS_MAX = 7
"""Calls one caller makes, at most."""
PAUSE_S = 1.2
"""Longest pause between two calls of a caller."""


@dataclass(frozen=True, slots=True)
class Promise:
    """What a caller was answered, to be found in the history."""

    session_id: str
    result: SendPromptResult
    text: str


@dataclass(slots=True)
class Callers:
    """The callers of one life of a runtime.

    :param draw: numbers of the seed.
    :param told: writes a line into the trace.
    """

    verbs: Verbs
    driver: ScriptedDriver
    clock: VirtualClock
    draw: Callable[[], float]
    told: Callable[[str, str, object], None]
    resume_timeout_s: float | None
    promises: list[Promise] = field(default_factory=list)
    surprises: list[BaseException] = field(default_factory=list)
    """Errors that no call documents."""
    open_calls: dict[int, str] = field(default_factory=dict)
    sessions: list[str] = field(default_factory=list)
    entries: list[str] = field(default_factory=list)
    prompts: int = 0
    _calls: int = 0
    _running: list[Any] = field(default_factory=list)

    def start(self) -> None:
        """Create, or resume, a session, and let everybody loose on it."""
        self._spawn(self._begin)

    def vanish(self) -> None:
        """The power is gone, and with it everybody who called."""
        gevent.killall(self._running, block=False)
        self.open_calls.clear()

    def _begin(self) -> None:
        if self.sessions:
            self._resume(self.sessions[0])
        else:
            self._create()
        for _ in range(CALLERS):
            self._spawn(self._live)

    def _create(self) -> None:
        mode = tuple(RestartMode)[int(self.draw() * 3)]
        policy = RestartPolicy(
            mode, max_restarts=2, window_s=60, replay_interrupted=self.draw() < 0.3
        )
        live = self._call(
            "create",
            lambda: self.verbs.create(
                agent_name="simulated", workspace_path="/work", restart=policy
            ),
        )
        self.sessions = [info.id for info in self.verbs.list_all()] if live is None else [live.id]

    def _live(self) -> None:
        for _ in range(int(self.draw() * (CALLS_MAX + 1))):
            self.clock.sleep(self.draw() * PAUSE_S)
            if self.sessions:
                self._do_something(self.sessions[0])

    def _do_something(self, name: str) -> None:
        drawn, verbs = self.draw(), self.verbs
        if verbs.get(name) is None and drawn < 0.7:
            self._resume(name)
        elif drawn < 0.22:
            self._prompt(name)
        elif drawn < 0.62:
            self._send(name, ("queue", "queue", "interrupt", "steer")[int(self.draw() * 4)])
        elif drawn < 0.68:
            self._call("cancel", lambda: verbs.cancel_prompt(name))
        elif drawn < 0.74:
            self._keep(name, "", self._call("interrupt", lambda: verbs.interrupt_prompt(name)))
        elif drawn < 0.79:
            self._cancel_queued(name)
        elif drawn < 0.87:
            self._approve(name)
        elif drawn < 0.92:
            cause = (StopCause.USER_REQUESTED, StopCause.TIMEOUT, StopCause.FAILED)
            chosen = cause[int(self.draw() * 3)]
            self._call("stop", lambda: verbs.stop_with_cause(name, chosen, "simulated"))
        elif drawn < 0.96:
            self._resume(name)
        else:
            self._call("status", lambda: verbs.status(name))

    def _resume(self, name: str) -> None:
        self._call("resume", lambda: self.verbs.resume(name, timeout=self.resume_timeout_s))

    def _prompt(self, name: str) -> None:
        text = self._text()
        stream = self._call("prompt", lambda: self.verbs.prompt(name, text))
        if stream is not None:
            self._read(stream)

    def _send(self, name: str, mode: str) -> None:
        text = self._text()
        result = self._call(mode, lambda: self.verbs.send_prompt(name, text, mode=mode))
        self._keep(name, text, result)
        if result is not None and result.events is not None:
            self._read(result.events)

    def _keep(self, name: str, text: str, result: SendPromptResult | None) -> None:
        if result is not None:
            self.promises.append(Promise(name, result, text))
            if result.queue_entry_id:
                self.entries.append(result.queue_entry_id)

    def _cancel_queued(self, name: str) -> None:
        if self.entries:
            entry = self.entries[int(self.draw() * len(self.entries))]
            self._keep(
                name,
                "",
                self._call("take back", lambda: self.verbs.cancel_queued_prompt(name, entry)),
            )

    def _approve(self, name: str) -> None:
        waiting = [one for process in self.driver.processes for one in process.pending]
        if waiting:
            allow = self.draw() < 0.7
            decision = PermissionDecision.ALLOW_ONCE if allow else PermissionDecision.REJECT_ONCE
            self._call(
                "approve",
                lambda: self.verbs.approve_permission(
                    name, decision=decision, request_id=waiting[0]
                ),
            )

    def _read(self, stream: Any) -> None:
        """Read it to its end, or leave it, or never look at it."""
        drawn = self.draw()
        if drawn < 0.5:
            self._spawn(self._read_all, stream)
        elif drawn < 0.75:
            stream.close()

    def _read_all(self, stream: Any) -> None:
        self._calls += 1
        number = self._calls
        self.open_calls[number] = f"stream of {stream.turn_id}"
        try:
            for _ in stream:
                pass
        except PromptStreamLaggedError:
            pass
        del self.open_calls[number]

    def _call(self, what: str, call: Callable[[], Any]) -> Any:
        """Make one call; returns its result, or ``None`` after an error of the tree."""
        self._calls += 1
        number = self._calls
        self.open_calls[number] = what
        self.told("caller", what, "calls")
        try:
            result = call()
        except (SessionError, TimeoutError) as error:
            self.told("caller", what, type(error).__name__)
            if what == "resume" and getattr(error, "state", "") in ("starting", "active"):
                self.surprises.append(error)  # it is to be waited for (01 8)
            result = None
        except ExceptionGroup as group:
            self._check_group(group)
            self.told("caller", what, type(group).__name__)
            result = None
        else:
            self.told("caller", what, "answered")
        del self.open_calls[number]
        return result

    def _check_group(self, group: ExceptionGroup[Exception]) -> None:
        _, rest = group.split((SessionError, TimeoutError))
        if rest is not None:
            self.surprises.append(rest)

    def _spawn(self, work: Callable[..., None], *args: Any) -> None:
        def run() -> None:
            try:
                work(*args)
            except Exception as error:
                self.surprises.append(error)

        self._running.append(gevent.spawn(run))

    def _text(self) -> str:
        self.prompts += 1
        return f"prompt-{self.prompts}"
