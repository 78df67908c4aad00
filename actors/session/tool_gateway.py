"""The host's tool hooks between an agent and what it does through us (02 14.4; 04 5.6; 06 1.6)."""

from __future__ import annotations

from typing import Any

from ...transport.agent.context import CallContext
from ...transport.agent.deciders import ToolRequest
from ..core.hooking import session_fields
from ..errors import HookFailedError, PermissionDeniedError
from ..model.hooks import HookEvent, ToolPayload
from .live import LiveSession

TOOL_EVENTS = (HookEvent.TOOL_PRE_CALL, HookEvent.TOOL_POST_CALL, HookEvent.TOOL_POST_ERROR)


class ToolGateway:
    """Shows each tool call of one session to the hooks, and what came of it.

    :param live: the session.
    """

    def __init__(self, live: LiveSession) -> None:
        self._live = live

    @classmethod
    def of(cls, live: LiveSession) -> ToolGateway | None:
        """The gateway of a session; ``None`` when no hook is about tools."""
        hears = live.ports.hooks.hears
        return cls(live) if any(hears(event) for event in TOOL_EVENTS) else None

    def intercept(self, ctx: CallContext, request: ToolRequest) -> ToolRequest:
        """The request as ``tool.pre_call`` leaves it.

        :raises PermissionDeniedError: the hook said no, or failed.
        """
        payload = self._payload(HookEvent.TOOL_PRE_CALL, request)
        try:
            seen = self._live.ports.hooks.dispatch(payload)
        except HookFailedError as error:
            raise PermissionDeniedError(str(error), operation="tool.pre_call") from error
        return ToolRequest(seen.tool_id, seen.read_only, seen.tool_input, request.turn_id)

    def served(self, request: ToolRequest, result: Any, error: Exception | None) -> None:
        """Tell what came of a call; nobody waits for it."""
        if error is None:
            told = self._payload(HookEvent.TOOL_POST_CALL, request, tool_result=result)
        else:
            told = self._payload(HookEvent.TOOL_POST_ERROR, request, error=str(error))
        self._live.ports.hooks.post(told)

    def _payload(self, event: HookEvent, request: ToolRequest, **more: Any) -> ToolPayload:
        state = self._live.state
        turn_id = request.turn_id or (state.turn.turn_id if state.turn is not None else "")
        return ToolPayload(
            event=event,
            timestamp=self._live.ports.clock.now(),
            turn_id=turn_id,
            tool_id=request.tool_id,
            read_only=request.read_only,
            tool_input=request.input,
            **session_fields(state.meta, state.workspace),
            **more,
        )
