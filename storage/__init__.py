"""Storage: journals, the commit log, and the session store on TinyDB."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..actors.exports import lazy_names

if TYPE_CHECKING:
    from .format.transcript import (
        UIMessage as UIMessage,
    )
    from .format.transcript import (
        UIMessagePart as UIMessagePart,
    )
    from .format.transcript import (
        join_ui_message_text as join_ui_message_text,
    )
    from .format.transcript import (
        to_json as to_json,
    )
    from .format.transcript import (
        to_ui_messages as to_ui_messages,
    )
    from .format.transcript import (
        ui_message_text as ui_message_text,
    )
    from .home import (
        HomeStore as HomeStore,
    )
    from .meta import (
        read_meta as read_meta,
    )
    from .meta import (
        write_meta as write_meta,
    )
    from .readonly import (
        ReadOnlySessionStore as ReadOnlySessionStore,
    )
    from .session_store import (
        SessionStore as SessionStore,
    )
    from .session_store import (
        StateOp as StateOp,
    )
    from .session_store import (
        StoredRow as StoredRow,
    )
    from .tables import (
        JournalDB as JournalDB,
    )
    from .tables import (
        JournalStorage as JournalStorage,
    )
    from .tables import (
        JournalTable as JournalTable,
    )

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
__all__ = sorted(_HOME)
