"""spec 03 10.5 and 01 8: an interrupted turn is closed, by hand and at the start of a resume."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap

import pytest
from greenroom.actors import SessionManager, SessionNotFoundError

CUT_SHORT = """
import os, sys
from greenroom.actors import SessionManager

manager = SessionManager(home=sys.argv[1])
session = manager.create(agent_name="demo", workspace_path=sys.argv[2])
print(session.id, flush=True)
for event in session.prompt("@@say before\\n@@run sleep 30"):
    if event.type == "permission":
        os.kill(os.getpid(), 9)
"""


@pytest.fixture
def cut_short(home, workspace, tmp_path):
    """A session whose runtime was killed in the middle of a tool call."""
    script = tmp_path / "cut.py"
    script.write_text(textwrap.dedent(CUT_SHORT))
    ran = subprocess.run(
        [sys.executable, str(script), str(home), workspace],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ.copy(),
    )
    assert ran.returncode == -signal.SIGKILL, ran.stderr
    return ran.stdout.strip()


def test_10_3_plan_then_repair_then_nothing(home, cut_short):
    with SessionManager(home=home) as manager:
        before = manager.events(cut_short)
        plan = manager.repair_session(cut_short, dry_run=True)
        assert [action.code for action in plan.actions] == [
            "append_interrupted_tool_result",
            "append_terminal_error",
        ]
        assert not plan.persisted
        assert manager.events(cut_short) == before
        done = manager.repair_session(cut_short)
        assert done.persisted
        rows = manager.events(cut_short)
        assert rows[: len(before)] == before
        assert [row.id for row in rows[len(before) :]] == [a.event_id for a in done.actions]
        assert [row.type for row in rows[len(before) :]] == ["tool_result", "error"]
        assert [row.sequence for row in rows] == list(range(1, len(rows) + 1))
        again = manager.repair_session(cut_short)
        assert again.actions == ()
        with pytest.raises(SessionNotFoundError):
            manager.repair_session("sess-unknown")


def test_01_8_a_resume_repairs_first(home, cut_short):
    with SessionManager(home=home) as manager:
        session = manager.resume(cut_short)
        rows = manager.events(cut_short)
        assert [row.type for row in rows[-2:]] == ["tool_result", "error"]
        assert session.prompt("@@say on").result(timeout=20).type == "done"
        live = manager.repair_session(cut_short)
        assert live.actions == ()
        assert "session_not_stopped" in [issue.code for issue in live.issues]
        session.stop()
        refused = manager.repair_session(cut_short)
        assert not refused.persisted
