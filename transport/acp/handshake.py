"""From a fresh pipe to a session that takes prompts (04 2.5, 2.6; 07 1, 2, 8).

::

    initialize -> [login] -> session/new -------------------------> settings
                          -> [session/list] -> session/resume|load ->
    settings: mode -> [model] -> [effort]

Written as one generator: it yields what to ask, is sent the answer, and raises the classified
error of the step that failed. Every step has its own time limit (D2).
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from ...actors.errors import (
    AgentDoesNotSupportSessionError,
    AgentError,
    AgentStartError,
    LoadSessionFailedError,
    RequestError,
)
from ...actors.model.agent import Caps, SessionConfigOption
from ...actors.model.failure import FailureKind, failure
from . import codec, codec_v1, config_options, jsonrpc, methods, versions
from .codec import Codec, Offer
from .config_options import NotOffered, Setting
from .failures import step_error
from .jsonrpc import rpc_error
from .options import LIST_PAGES_MAX, ClientOpts

INITIALIZE_FAILED = "ACP initialize handshake failed"
AUTHENTICATE_FAILED = "ACP authenticate failed"
NEW_FAILED = "ACP session/new failed"
LOAD_FAILED = "ACP session/load failed"
LOAD_UNSUPPORTED = "ACP session/load is not supported"
NO_SESSIONS = "the agent serves no sessions"
MODE_FAILED = "ACP session mode negotiation failed"
MODEL_FAILED = "ACP session model negotiation failed"
EFFORT_FAILED = "ACP session reasoning negotiation failed"


@dataclass(frozen=True, slots=True)
class Ask:
    """Send this request and come back with its answer."""

    method: str
    params: dict[str, Any]
    limit_s: float


@dataclass(frozen=True, slots=True)
class AwaitSilence:
    """Come back when the agent has been silent for a while: its replay is over.

    An error instead of silence: the pipe was lost.
    """


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; ``error`` also where the limit passed or the pipe was lost."""

    result: Any = None
    error: RequestError | None = None


Steps: TypeAlias = Generator[Ask | AwaitSilence, Answer, None]


class Handshake:
    """The steps of one start, and what they found out.

    :param opts: what the session asks for.
    """

    def __init__(self, opts: ClientOpts) -> None:
        self._opts = opts
        self.codec: Codec = versions.FIRST.get(opts.acp_version, codec_v1)
        """Of the version asked for, later of the one agreed on."""
        self.offer = Offer(Caps(), None)
        self.caps = Caps()
        self.acp_session_id = ""
        self.restored = False
        self.opening = False
        """Whether the answer that names a new session is awaited (07 R13)."""

    def replace_options(self, options: tuple[SessionConfigOption, ...]) -> None:
        """The agent changed its settings."""
        self.caps = replace(self.caps, config_options=options)

    def apply_options(self, result: Any) -> None:
        """The answer to a setting that was made: it counts from here on (07 R18)."""
        self.caps = self.codec.apply_options(self.caps, result)

    def steps(self) -> Steps:
        """The start, step by step.

        :raises AgentStartError: a step failed; ``failure`` says how.
        :raises LoadSessionFailedError: the session could not be restored.
        :raises AgentDoesNotSupportSessionError: this agent restores none.
        """
        yield from self._initialize()
        method = self._opts.auth_method
        if method and method in self.offer.login_methods:
            yield from self._authenticate(method)
        if self._opts.resume_session_id:
            yield from self._restore()
        else:
            yield from self._open()
        yield from self._mode()
        yield from self._model()
        yield from self._effort()

    def _initialize(self) -> Steps:
        setting = self._opts.acp_version
        if setting not in versions.FIRST:
            raise self._no_version(f"acp_version is {setting!r}")
        answer = yield from self._ask_version()
        if answer.error is not None:
            other = versions.after_refusal(setting, self.codec, answer.error)
            if other is not None:
                self.codec = other
                answer = yield from self._ask_version()
        if answer.error is not None:
            raise step_error(FailureKind.HANDSHAKE, INITIALIZE_FAILED, answer.error)
        offer = self.codec.decode_initialize(answer.result)
        agreed = versions.agreed(setting, offer)
        if agreed is None:
            raise self._no_version(f"the agent answered {jsonrpc.excerpt(repr(offer.version))}")
        self.codec = agreed
        self.offer = agreed.decode_initialize(answer.result)
        self.caps = self.offer.caps
        if not self.offer.has_sessions:
            settled = failure(FailureKind.HANDSHAKE, f"{INITIALIZE_FAILED}: {NO_SESSIONS}")
            raise AgentStartError(settled.summary, failure=settled)

    def _ask_version(self) -> Generator[Ask | AwaitSilence, Answer, Answer]:
        params = self.codec.initialize_params(self._opts)
        return (yield Ask(methods.INITIALIZE, params, self._opts.initialize_timeout_s))

    def _no_version(self, why: str) -> AgentError:
        spoken = versions.spoken_by(self._opts.acp_version)
        settled = failure(
            FailureKind.HANDSHAKE,
            f"{INITIALIZE_FAILED}: greenroom speaks ACP version {spoken}, {why}",
        )
        return AgentStartError(settled.summary, failure=settled)

    def _authenticate(self, method: str) -> Steps:
        params = {"methodId": method}
        answer = yield Ask(self.codec.LOGIN, params, self._opts.session_timeout_s)
        if answer.error is not None:
            raise step_error(FailureKind.PROVIDER_AUTH, AUTHENTICATE_FAILED, answer.error)

    # ---- a session

    def _open(self) -> Steps:
        answer = yield from self._new()
        method = self._opts.auth_method
        if _wants_login(answer) and method in self.offer.login_methods:
            yield from self._authenticate(method)
            answer = yield from self._new()
        if _wants_login(answer):
            raise self._login_needed(answer)
        if answer.error is not None:
            raise step_error(FailureKind.PROTOCOL, NEW_FAILED, answer.error)
        self.acp_session_id = codec.decode_session_id(answer.result)
        if not self.acp_session_id:
            settled = failure(FailureKind.PROTOCOL, f"{NEW_FAILED}: the result has no sessionId")
            raise AgentStartError(settled.summary, failure=settled)
        self.caps = self.codec.apply_session(self.caps, answer.result)

    def _new(self) -> Generator[Ask | AwaitSilence, Answer, Answer]:
        params = self.codec.session_params(self._opts, self.offer)
        self.opening = True
        answer = yield Ask(methods.SESSION_NEW, params, self._opts.session_timeout_s)
        self.opening = False
        return answer

    def _login_needed(self, answer: Answer) -> AgentError:
        methods = ", ".join(self.caps.auth_methods) or "none"
        step = f"{NEW_FAILED}: the agent wants a login first (methods offered: {methods})"
        assert answer.error is not None
        return step_error(FailureKind.PROVIDER_AUTH, step, answer.error)

    def _restore(self) -> Steps:
        wanted = self._opts.resume_session_id
        served = self.codec.restoring_methods(self.caps)
        if not served:
            settled = failure(FailureKind.LOAD_SESSION, LOAD_UNSUPPORTED)
            raise AgentDoesNotSupportSessionError(settled.summary, failure=settled)
        # From here on updates of that session are a replay, or facts about it.
        self.acp_session_id = wanted
        self.restored = True
        if self.caps.supports_list_sessions:
            yield from self._look_up(wanted)
        answer = yield from self._attach(wanted, served)
        if answer.error is not None:
            raise step_error(
                FailureKind.LOAD_SESSION, LOAD_FAILED, answer.error, LoadSessionFailedError
            )
        self.caps = self.codec.apply_session(self.caps, answer.result)

    def _attach(
        self, wanted: str, served: tuple[str, ...]
    ) -> Generator[Ask | AwaitSilence, Answer, Answer]:
        params = self.codec.session_params(self._opts, self.offer, wanted)
        answer = Answer()
        for method in served:
            answer = yield Ask(method, params, self._opts.session_timeout_s)
            # Advertised and not served: seen in the wild.
            if answer.error is None or answer.error.code != jsonrpc.METHOD_NOT_FOUND:
                break
        if answer.error is None and method == methods.SESSION_LOAD:
            silence = yield AwaitSilence()
            return answer if silence.error is None else silence
        return answer

    def _look_up(self, wanted: str) -> Steps:
        """Agents that list sessions may still accept an id they do not have (07 8)."""
        cursor = ""
        for _ in range(LIST_PAGES_MAX):
            params = codec.list_params(self._opts, cursor)
            answer = yield Ask(methods.SESSION_LIST, params, self._opts.set_timeout_s)
            page = codec.decode_list(answer.result)
            # A list that can not be read says nothing; neither does one without an end.
            if answer.error is not None or page is None or wanted in page[0]:
                return
            cursor = page[1]
            if not cursor:
                missing = rpc_error(jsonrpc.RESOURCE_NOT_FOUND, "session not found in session/list")
                raise step_error(
                    FailureKind.LOAD_SESSION, LOAD_FAILED, missing, LoadSessionFailedError
                )

    # ---- settings

    def _mode(self) -> Steps:
        opts = self._opts
        setting = config_options.choose_mode(self.caps, opts.permissions, opts.prefer_gateway_modes)
        if setting is not None:
            yield from self._set(setting, methods.SET_MODE, MODE_FAILED)

    def _model(self) -> Steps:
        if not self._opts.model:
            return
        try:
            setting = config_options.choose_model(self.caps, self._opts.model)
        except NotOffered as error:
            raise step_error(FailureKind.PROTOCOL, MODEL_FAILED, error) from error
        yield from self._set(setting, methods.SET_MODEL, MODEL_FAILED)

    def _effort(self) -> Steps:
        if not self._opts.reasoning_effort:
            return
        try:
            setting = config_options.choose_effort(self.caps, self._opts.reasoning_effort)
        except NotOffered as error:
            raise step_error(FailureKind.PROTOCOL, EFFORT_FAILED, error) from error
        if setting is not None:
            yield from self._set(setting, methods.SET_OPTION, EFFORT_FAILED)

    def _set(self, setting: Setting, method: str, step: str) -> Steps:
        method, params = self.codec.setting_call(self.acp_session_id, setting, method)
        answer = yield Ask(method, params, self._opts.set_timeout_s)
        if answer.error is not None:
            raise step_error(FailureKind.PROTOCOL, step, answer.error)
        self.apply_options(answer.result)


def _wants_login(answer: Answer) -> bool:
    return answer.error is not None and answer.error.code == jsonrpc.AUTH_REQUIRED
