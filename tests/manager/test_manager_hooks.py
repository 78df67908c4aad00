"""spec 02 14.4, 06 1.6: a host's say about what a real agent process does through us."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from greenroom.actors import HookSet, SessionManager


class Tools:
    """Answers ``tool.pre_call`` as a test wants; the others are no news."""

    def __init__(self, answer):
        self.asked = []
        self._answer = answer

    def dispatch_tool_pre_call(self, payload):
        self.asked.append((payload.tool_id, payload.read_only, bool(payload.turn_id)))
        return self._answer(payload)

    def dispatch_tool_post_call(self, payload):
        """Nothing."""

    def dispatch_tool_post_error(self, payload):
        """Nothing."""


@pytest.mark.parametrize("denies", [False, True])
def test_14_4_a_write_of_the_agent_is_seen_and_can_be_refused(home, workspace, denies, read_turn):
    tools = Tools(lambda payload: replace(payload, deny=denies, deny_reason="not here"))
    target = Path(workspace) / "made.txt"
    with SessionManager(home=home, hooks=HookSet(tools=tools)) as manager:
        session = manager.create(
            agent_name="demo", workspace_path=workspace, permissions="approve-all"
        )
        events = read_turn(session, session.prompt("@@write made.txt hello"))
        assert events[-1].type in ("done", "error")
    assert ("Write", False, True) in tools.asked
    assert target.exists() is not denies
