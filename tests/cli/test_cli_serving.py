"""`greenroom keys`, `audit`, `top`, and how `serve` ends: real processes."""

from __future__ import annotations

import io
import json
import logging
import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from greenroom.actors import SessionManager, State
from greenroom.actors.cli.logs import JSONLines
from greenroom.actors.cli.top import View, render, watch
from greenroom.actors.core.badge import Badge
from greenroom.actors.manager.metrics import RuntimeMetrics, SessionGauges
from greenroom.actors.manager.remote import RemoteSessionManager
from rich.console import Console

GREENROOM = (sys.executable, "-m", "greenroom.actors.cli")
WAIT = 60.0


@pytest.fixture
def environment(tmp_path):
    return {
        **os.environ,
        "GREENROOM_HOME": str(tmp_path / "home"),
        "GREENROOM_DEMO_PACE": "0",
        "GREENROOM_DEMO_STATE": str(tmp_path / "demo-state"),
    }


@pytest.fixture
def greenroom(environment, tmp_path):
    def run(*args, code=0):
        ran = subprocess.run(
            [*GREENROOM, *args],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=WAIT,
            check=False,
        )
        assert ran.returncode == code, (ran.stdout, ran.stderr)
        return ran.stdout.strip() if code == 0 else ran.stderr.strip()

    return run


@pytest.fixture
def serve(environment, tmp_path):
    started = []

    def start(*args):
        process = subprocess.Popen(
            [*GREENROOM, "serve", *args],
            env=environment,
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout.readline() == "ready\n", process.stderr.read()
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=WAIT)


def end(process, number=signal.SIGTERM):
    process.send_signal(number)
    _, told = process.communicate(timeout=WAIT)
    return told


def test_keys_are_made_listed_allowed_and_revoked(greenroom, tmp_path):
    made = json.loads(greenroom("keys", "generate", "laptop", "--role", "operate", "--json"))
    path = tmp_path / "home" / "keys" / "laptop.key"
    assert made["file"] == str(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert json.loads(path.read_text())["secret"] not in json.dumps(made)
    public = made["server"]  # any public key will do
    greenroom("keys", "allow", "ci", public)
    listed = [json.loads(line) for line in greenroom("keys", "list", "--json").splitlines()]
    assert [(key["name"], key["role"]) for key in listed] == [("laptop", "operate"), ("ci", "read")]
    assert greenroom("keys", "list").splitlines()[1].split() == ["ci", "read", public]
    assert "allowed already" in greenroom("keys", "generate", "laptop", code=1)
    assert "40 characters" in greenroom("keys", "allow", "x", "nonsense", code=1)
    greenroom("keys", "allow", "dashed", "-" + public[1:])
    assert "dashed" in greenroom("keys", "list")
    greenroom("keys", "revoke", "dashed")
    greenroom("keys", "revoke", "laptop")
    assert not path.exists()
    assert "no key" in greenroom("keys", "revoke", "laptop", code=1)
    assert json.loads(greenroom("keys", "list", "--json"))["name"] == "ci"


def test_a_daemon_logs_json_and_records_calls(serve, greenroom):
    process = serve("--log-json", "--listen", "127.0.0.1:*")
    session = greenroom("new")
    greenroom("stop", session)
    line = json.loads(greenroom("audit", "--json", "--last", "1"))
    assert (line["verb"], line["session_id"], line["outcome"]) == ("stop", session, "ok")
    assert session in greenroom("audit")
    told = end(process).splitlines()
    assert process.returncode == 0
    assert any(text.startswith("listening: tcp://127.0.0.1:") for text in told)
    logged = [json.loads(text) for text in told if text.startswith("{")]
    assert all(entry["logger"].startswith("greenroom") for entry in logged)


def test_a_signal_stops_the_sessions(serve, greenroom):
    process = serve()
    session = greenroom("new")
    end(process, signal.SIGINT)
    assert process.returncode == 0
    listed = json.loads(greenroom("ls", "--json"))
    assert (listed["id"], listed["state"], listed["stop_reason"]) == (
        session,
        "stopped",
        "shutdown",
    )


def test_sessions_that_are_kept_live_again(serve, greenroom, tmp_path):
    process = serve("--keep")
    session = greenroom("new")
    stopped = greenroom("new")
    greenroom("stop", stopped)
    end(process)
    serve("--keep")
    with RemoteSessionManager(tmp_path / "home") as manager:
        while not (live := manager.list()) or live[0].state is not State.ACTIVE:
            pass
        assert [info.id for info in live] == [session]


def test_a_second_signal_hurries(serve, greenroom, tmp_path):
    process = serve()
    session = greenroom("new")
    with RemoteSessionManager(tmp_path / "home") as manager:
        pid = manager.get(session).agent_pid
    os.kill(pid, signal.SIGSTOP)  # it hears nothing: only SIGKILL ends it
    process.send_signal(signal.SIGTERM)
    while "once more" not in process.stderr.readline():
        pass
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=WAIT)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


# -- top --------------------------------------------------------------------------------------

NOW = datetime(2026, 4, 3, tzinfo=UTC)
ROW = SessionGauges("sess-1", "mine", "demo", State.ACTIVE, Badge.RUNNING, "turn-1", 40, 2, 77)
COUNTERS = {"subscribers": 3, "rows": 100}
FIRST = RuntimeMetrics(NOW, 42, (ROW,), COUNTERS, {"calls": 9, "running": 1})


def shown(view):
    console = Console(file=io.StringIO(), width=140)
    console.print(render(view))
    return console.file.getvalue()


def test_the_first_view_knows_no_rates():
    text = shown(View(FIRST))
    for word in ("pid 42", "subscribers 3", "sess-1", "running", "turn-1", "40", "77", "mine"):
        assert word in text
    assert "rows/s -" in text
    assert View(FIRST).rate(ROW) is None


def test_rates_are_what_grew_in_the_time_between():
    other = replace(ROW, id="sess-2", turn_id="", badge=Badge.IDLE)
    later = RuntimeMetrics(
        NOW + timedelta(seconds=2),
        42,
        (replace(ROW, events=50), other),
        {"subscribers": 3, "rows": 90},
        {},
    )
    view = View(later, FIRST)
    assert view.rate(later.sessions[0]) == 5.0
    assert view.rate(other) is None
    assert view.bus_rate("rows") == 0.0  # the counters began anew
    assert "5.0" in shown(view)
    assert View(FIRST, FIRST).bus_rate("rows") == 0.0


def test_top_shows_a_daemon_and_a_manager_of_this_process(serve, greenroom, tmp_path):
    assert "no runtime" in greenroom("top", "--json", code=1)
    serve()
    session = greenroom("new", "--name", "mine")
    snapshot = json.loads(greenroom("top", "--json"))
    assert [(row["id"], row["badge"]) for row in snapshot["sessions"]] == [(session, "idle")]
    assert snapshot["sessions"][0]["name"] == "mine"
    assert snapshot["calls"]["calls"] >= 2
    with SessionManager(home=tmp_path / "mine") as manager:
        ended = threading.Event()
        ended.set()
        console = Console(file=io.StringIO(), force_terminal=True, width=120)
        watch(manager, 1.0, ended, console)
        assert "sessions 0" in console.file.getvalue()


def test_an_error_is_logged_with_its_trace_on_one_line():
    try:
        raise ValueError("bad")
    except ValueError:
        record = logging.LogRecord("greenroom", 40, __file__, 1, "%s\n!", ("x",), sys.exc_info())
    line = JSONLines().format(record)
    assert "\n" not in line
    document = json.loads(line)
    assert (document["level"], document["message"]) == ("error", "x\n!")
    assert "ValueError: bad" in document["error"]
