"""Ask the host about one agent: its gateway about tool calls, its answerer about questions.

How many may be open is bounded by the client (D11, ``ELICITATIONS_MAX``).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import gevent

from ...actors.errors import PermissionDeniedError, RequestError, SessionError
from ..acp.options import ELICITATIONS_MAX
from ..acp.outputs import ElicitationAsked, ElicitationDone, InterceptAsked, Output
from .context import CallContext
from .deciders import ElicitationAnswerer, ToolCallObserver, ToolExecutionGateway, ToolRequest
from .link import Link

REQUEST_CANCELLED = -32800

logger = logging.getLogger(__name__)


class HostCalls:
    """The open requests to the host. In the hub.

    :param link: answers go through it.
    :param gateway: ``None``: the client does not ask.
    :param answerer: the same.
    """

    def __init__(
        self,
        link: Link,
        gateway: ToolExecutionGateway | None,
        answerer: ElicitationAnswerer | None,
    ) -> None:
        self._link = link
        self._gateway = gateway
        self._answerer = answerer
        self._contexts: dict[int, CallContext] = {}
        self._questions: dict[int, ElicitationAsked] = {}
        self._let_through: dict[int, ToolRequest] = {}
        self._serving: dict[int, ToolRequest] = {}

    def intercept(self, asked: InterceptAsked) -> None:
        """Show a tool call to the gateway."""
        self._begin(asked.key, self._intercepted, asked)

    def question(self, asked: ElicitationAsked) -> None:
        """Put a question to the answerer."""
        self._questions[asked.key] = asked
        if len(self._questions) > 2 * ELICITATIONS_MAX:
            # A link that was accepted; its end may never be told.
            del self._questions[next(iter(self._questions))]
        self._begin(asked.key, self._answered, asked)

    def handed_on(self, key: int) -> None:
        """A call that was looked at is served now; permission requests never are."""
        request = self._let_through.pop(key, None)
        if request is not None:
            self._serving[key] = request

    def served(self, key: int, result: Any, error: Exception | None = None) -> None:
        """A file or terminal call was answered: whoever looked at it before is told."""
        request = self._serving.pop(key, None)
        gateway: object = self._gateway
        if request is None or not isinstance(gateway, ToolCallObserver):
            return
        try:
            gateway.served(request, result, error)
        except Exception:
            logger.exception("the gateway of tool calls failed")

    def withdraw(self, key: int) -> None:
        """The answer is not wanted any more; one that comes is ignored."""
        self._serving.pop(key, None)
        context = self._contexts.pop(key, None)
        if context is not None:
            context.cancel(RequestError("the agent does not wait for it", code=REQUEST_CANCELLED))

    def question_ended(self, done: ElicitationDone) -> None:
        """Tell the answerer."""
        self.withdraw(done.key)
        asked = self._questions.pop(done.key, None)
        if asked is None or self._answerer is None:
            return
        try:
            self._answerer.ended(asked, done.why)
        except Exception:
            logger.exception("the answerer of questions failed")

    # ---- in a greenlet each

    def _begin(self, key: int, ask: Callable[[CallContext, Any], list[Output]], asked: Any) -> None:
        context = self._contexts[key] = CallContext()
        gevent.spawn(self._run, key, ask, context, asked)

    def _run(
        self,
        key: int,
        ask: Callable[[CallContext, Any], list[Output]],
        context: CallContext,
        asked: Any,
    ) -> None:
        outputs = ask(context, asked)
        self._contexts.pop(key, None)
        self._link.act(outputs)
        self._let_through.pop(key, None)

    def _intercepted(self, context: CallContext, asked: InterceptAsked) -> list[Output]:
        assert self._gateway is not None, "the client asks only where there is one"
        shown = ToolRequest(asked.tool_id, asked.read_only, asked.input, asked.turn_id)
        try:
            served = self._gateway.intercept(context, shown) or shown
            if served.tool_id != shown.tool_id:
                raise PermissionDeniedError("a tool call can not be made another tool's")
        except Exception as error:
            if not isinstance(error, (SessionError, TimeoutError)):
                logger.exception("the gateway of tool calls failed")
            return self._link.client.intercepted(asked.key, error=error)
        self._let_through[asked.key] = served
        return self._link.client.intercepted(asked.key, served.input)

    def _answered(self, context: CallContext, asked: ElicitationAsked) -> list[Output]:
        assert self._answerer is not None, "the client asks only where there is one"
        try:
            answer = self._answerer.answer(context, asked)
            outputs = self._link.client.answer_elicitation(
                asked.key, answer.action, dict(answer.content)
            )
        except Exception as error:
            if not context.cancelled.is_set():
                logger.warning("a question of the agent was not answered: %s", error)
            self._questions.pop(asked.key, None)
            return self._link.client.answer_elicitation(asked.key, "cancel")
        if asked.mode != "url" or answer.action != "accept":
            self._questions.pop(asked.key, None)
        return outputs
