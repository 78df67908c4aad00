"""What every group of verbs has: the runtime it works on."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..core.inputs import Input
from ..errors import SessionValueError
from ..runtime.future import GreenFuture
from ..runtime.mailbox import Lane

if TYPE_CHECKING:
    from ..session.live import LiveSession
    from .runtime import Runtime


def check_texts(operation: str, session_id: str, **texts: object) -> None:
    """Refuse arguments that are no text, before a session hears of them.

    :raises SessionValueError: the first one. Field: ``field``.
    """
    for name, value in texts.items():
        if not isinstance(value, str):
            raise SessionValueError(
                f"{operation}: {name} must be text",
                session_id=session_id if isinstance(session_id, str) else "",
                operation=operation,
                field=name,
            )


class VerbGroup:
    """Verbs run in a greenlet of the hub; the surfaces bring the calls there.

    :param request_id: the name of the request that is carried out, for one that may come again;
        it is stored with what the request changes.
    """

    def __init__(self, runtime: Runtime, request_id: str = "") -> None:
        self._runtime = runtime
        self._request_id = request_id

    def _ask(
        self, live: LiveSession, make: Callable[[int], Input], lane: Lane = Lane.CONTROL
    ) -> GreenFuture[Any]:
        """Ask a session in the name of the request."""
        return live.ask(make, lane, self._request_id)
