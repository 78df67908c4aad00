"""Which tool a call is for the gateway, and which calls it has looked at already (04 5.6, 6.2).

A call that was looked at is announced by the agent too; that announcement is marked, once.
"""

from __future__ import annotations

import json
from itertools import count
from typing import Any

from . import methods
from .inputs import ToolChanged
from .options import PRECHECKS_MAX
from .outbox import Outbox
from .permission import given_tool, text

TIMER = "precheck:"
VALID_S = 60.0
"""How long the announcement of a call may take (04 1.3)."""
READ, WRITE, BASH = "Read", "Write", "Bash"
TOOLS = {
    methods.READ_FILE: READ,
    methods.WRITE_FILE: WRITE,
    methods.TERMINAL_CREATE: BASH,
}
TOOL_OF_KIND = {"read": READ, "edit": WRITE}
ALIASES = {"read file": READ, "write file": WRITE, "create terminal": BASH}


def tool_id(kind: str, named: str, title: str) -> str:
    """The tool behind a call (04 6.2); blank when nothing tells.

    :param named: the name a vendor's ``_meta`` gives, or blank.
    """
    if kind in TOOL_OF_KIND:
        return TOOL_OF_KIND[kind]
    name = (named or title).strip()
    return ALIASES.get(name.lower(), name)


class Prechecks:
    """The calls the gateway has looked at, until they are announced; of too many the latest.

    :param outbox: takes the timers that end them.
    """

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._numbers = count(1)
        self._records: dict[int, tuple[str, str, str]] = {}

    def record(self, turn_id: str, tool: str, value: Any) -> None:
        """A call was looked at.

        :param value: its input as it came, or ``None``.
        """
        number = next(self._numbers)
        self._records[number] = turn_id, tool, canonical(value)
        self._outbox.arm(f"{TIMER}{number}", VALID_S)
        if len(self._records) > PRECHECKS_MAX:
            self._forget(next(iter(self._records)))

    def consume(self, turn_id: str, update: ToolChanged) -> bool:
        """Whether the announced call was looked at; only one announcement is told so."""
        if not self._records:
            return False
        body = update.raw.value
        kind, value = text(body.get("kind")), canonical(body.get("rawInput"))
        tool = tool_id(kind, given_tool(body.get("_meta")), update.title)
        for number, (turn, name, seen) in self._records.items():
            if (turn, name) == (turn_id, tool) and (seen == value or not seen or not value):
                self._forget(number)
                return True
        return False

    def timer_fired(self, name: str) -> None:
        """The announcement did not come."""
        del self._records[int(name.removeprefix(TIMER))]

    def _forget(self, number: int) -> None:
        del self._records[number]
        self._outbox.disarm(f"{TIMER}{number}")


def canonical(value: Any) -> str:
    """JSON text that is equal for equal values; blank for nothing."""
    if value is None:
        return ""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
