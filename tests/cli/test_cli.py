"""The command line as a user meets it: real processes, one line per error, JSON for machines."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest
from greenroom.actors import SessionManager

GREENROOM = (sys.executable, "-m", "greenroom.actors.cli")


@pytest.fixture
def environment(tmp_path):
    """A user with an empty home and an agent that does not dawdle."""
    return {
        **os.environ,
        "GREENROOM_HOME": str(tmp_path / "home"),
        "GREENROOM_DEMO_PACE": "0",
        "GREENROOM_DEMO_STATE": str(tmp_path / "demo-state"),
    }


@pytest.fixture
def greenroom(environment, tmp_path):
    """Runs one command."""

    def run(*args, text=None):
        return subprocess.run(
            [*GREENROOM, *args],
            env=environment,
            cwd=tmp_path,
            input=text,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


def test_run_streams_the_answer_and_stores_the_session(greenroom):
    ran = greenroom("run", "@@say hello from the command line")
    assert ran.returncode == 0, ran.stderr
    assert "hello from the command line" in ran.stdout
    assert "done (end_turn)" in ran.stdout
    assert "--session sess-" in ran.stderr
    listed = greenroom("ls")
    assert "stopped (user_canceled)" in listed.stdout
    session_id = listed.stdout.split()[0]
    again = greenroom("run", "--session", session_id, "@@say and again")
    assert again.returncode == 0, again.stderr
    assert "and again" in again.stdout


def test_run_reads_its_prompt_from_standard_input(greenroom):
    ran = greenroom("run", "-", text="@@say piped in\n")
    assert "piped in" in ran.stdout


def test_run_without_a_terminal_rejects_what_it_was_not_told_to_allow(greenroom, tmp_path):
    refused = greenroom("run", "@@run touch made-by-agent")
    assert "rejected" in refused.stderr
    assert not (tmp_path / "made-by-agent").exists()
    allowed = greenroom("run", "--yes", "@@run touch made-by-agent")
    assert allowed.returncode == 0
    assert (tmp_path / "made-by-agent").exists()
    assert "allow-once" in allowed.stdout


def test_json_is_one_value_a_line(greenroom):
    ran = greenroom("run", "--json", "--yes", "@@say x\n@@run true")
    events = [json.loads(line) for line in ran.stdout.splitlines()]
    assert events[-1]["type"] == "done"
    assert any(event["type"] == "permission" and event["raw"] for event in events)
    listed = [json.loads(line) for line in greenroom("ls", "--json").stdout.splitlines()]
    assert [meta["state"] for meta in listed] == ["stopped"]
    agents = [json.loads(line) for line in greenroom("agents", "--json").stdout.splitlines()]
    assert {"name": "demo", "installed": True}.items() <= agents[0].items()


def test_agents_says_what_is_missing_and_how_to_get_it(greenroom):
    ran = greenroom("agents")
    assert ran.returncode == 0
    assert "demo       installed" in ran.stdout
    assert "npm install" in ran.stdout


def test_ls_of_an_empty_home_has_a_next_step(greenroom):
    ran = greenroom("ls")
    assert (ran.returncode, ran.stdout) == (0, "")
    assert "greenroom run" in ran.stderr


@pytest.mark.parametrize(
    ("args", "code", "told"),
    [
        (("run", "--agent", "nobody", "x"), 3, "known are"),
        (("run", "--workspace", "/no/such/place", "x"), 3, "create it"),
        (("run", "--session", "sess-unknown", "x"), 3, "greenroom ls"),
        (("run", "--session", "../x", "x"), 3, "not found"),
        (("run", "  "), 2, "message is required"),
        (("run", "--agent", "qwen", "x"), 3, "npm install"),
        (("tail",), 1, "greenroom"),
        (("run", "--permissions", "some", "x"), 2, "approve-reads"),
        (("dance",), 2, "No such command"),
    ],
)
def test_errors_are_one_line_with_the_next_step(greenroom, args, code, told):
    ran = greenroom(*args)
    assert ran.returncode == code, ran.stderr
    assert told in ran.stderr
    assert "Traceback" not in ran.stderr
    if "Usage:" not in ran.stderr:
        assert ran.stderr.startswith("greenroom: ")
        assert ran.stderr.count("\n") == 1


def test_an_agent_that_fails_is_one_line_too(greenroom, tmp_path):
    """An agent that exits at once, in the place of a known one."""
    place = tmp_path / "bin"
    place.mkdir()
    (place / "qwen").write_text("#!/bin/sh\necho no key given >&2\nexit 7\n")
    (place / "qwen").chmod(0o755)
    ran = subprocess.run(
        [*GREENROOM, "run", "--agent", "qwen", "x"],
        env={
            **os.environ,
            "GREENROOM_HOME": str(tmp_path / "home"),
            "PATH": f"{place}:{os.environ['PATH']}",
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 1
    assert "no key given" in ran.stderr
    assert ran.stderr.count("\n") == 1
    assert "failed" not in greenroom("ls").stderr


def test_a_second_runtime_on_the_home_and_a_tail_of_the_first(
    greenroom, environment, tmp_path, monkeypatch
):
    monkeypatch.setenv("GREENROOM_DEMO_PACE", "0")
    with SessionManager(home=environment["GREENROOM_HOME"]) as manager:
        second = greenroom("run", "x")
        assert (second.returncode, second.stderr.count("\n")) == (4, 1)
        assert str(os.getpid()) in second.stderr
        session = manager.create(agent_name="demo", workspace_path=str(tmp_path))
        assert "active" in greenroom("ls").stdout
        session.prompt("@@say followed").result(timeout=20)
        stored = manager.events(session.id)
        tail = subprocess.Popen(
            [*GREENROOM, "tail", "--from", "0", "--json", session.id],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        rows = [json.loads(tail.stdout.readline()) for _ in stored]
        assert [(r["sequence"], r["id"]) for r in rows] == [(r.sequence, r.id) for r in stored]
        tail.send_signal(signal.SIGINT)
        _, err = tail.communicate(timeout=20)
        cursor = err.split("--from ")[1].strip().strip("'")
        session.prompt("@@say more").result(timeout=20)
        tail = subprocess.Popen(
            [*GREENROOM, "tail", "--from", cursor, session.id],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        first = tail.stdout.readline()
        assert f"1:{len(stored) + 1} " in first, "it goes on where it stopped"
        tail.send_signal(signal.SIGINT)
        tail.communicate(timeout=20)


def test_the_permission_question_is_asked_at_a_terminal(environment, tmp_path):
    """On a real terminal: typing y allows the command."""
    import pty

    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(tmp_path)
        os.execve(sys.executable, [*GREENROOM, "run", "@@run touch made-by-agent"], environment)
    output = b""
    answered = False
    while True:
        try:
            chunk = os.read(terminal, 4096)
        except OSError:
            break
        if not chunk:
            break
        output += chunk
        if b"allow?" in output and not answered:
            os.write(terminal, b"y\n")
            answered = True
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, output.decode()
    assert (tmp_path / "made-by-agent").exists()


def test_completion_and_help(greenroom, environment):
    assert "Run AI coding agents" in greenroom("--help").stdout
    assert greenroom("--version").stdout.startswith("greenroom")
    completed = subprocess.run(
        [*GREENROOM],
        env={
            **environment,
            "_GREENROOM_COMPLETE": "bash_complete",
            "COMP_WORDS": "greenroom t",
            "COMP_CWORD": "1",
        },
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert "tail" in completed.stdout
