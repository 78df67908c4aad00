"""Storage: journals, the commit log, and the session store on TinyDB."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..actors.exports import lazy_names

if TYPE_CHECKING:
    from .format.transcript import (
        UIMessage,
        UIMessagePart,
        join_ui_message_text,
        to_json,
        to_ui_messages,
        ui_message_text,
    )
    from .home import HomeStore
    from .meta import read_meta, write_meta
    from .readonly import ReadOnlySessionStore
    from .session_store import SessionStore, StateOp, StoredRow
    from .tables import JournalDB, JournalStorage, JournalTable

_HOME: dict[str, str] = {
    **dict.fromkeys(
        (
            "UIMessage",
            "UIMessagePart",
            "join_ui_message_text",
            "to_json",
            "to_ui_messages",
            "ui_message_text",
        ),
        "format.transcript",
    ),
    "HomeStore": "home",
    **dict.fromkeys(("read_meta", "write_meta"), "meta"),
    "ReadOnlySessionStore": "readonly",
    **dict.fromkeys(("SessionStore", "StateOp", "StoredRow"), "session_store"),
    **dict.fromkeys(("JournalDB", "JournalStorage", "JournalTable"), "tables"),
}
"""Where each public name lives."""

__getattr__, __dir__ = lazy_names(__name__, _HOME)
__all__ = sorted(_HOME)  # noqa: PLE0605
