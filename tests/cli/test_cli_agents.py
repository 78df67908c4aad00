"""``greenroom agents --probe`` and ``greenroom doctor --agent``, on agents found by their names."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap

import pytest

GREENROOM = (sys.executable, "-m", "greenroom.actors.cli")

AGENT = """#!{python} -S
import json, os, sys

if "--version" in sys.argv:
    print("{name} 1.2.3")
    raise SystemExit(0)

def send(**message):
    os.write(1, json.dumps({{"jsonrpc": "2.0", **message}}).encode() + b"\\n")

for line in sys.stdin:
    message = json.loads(line)
    if message.get("method") == "initialize":
        login = {{"id": "oauth", "name": "Log in"}}
        send(id=message["id"], result={{"protocolVersion": 1, "authMethods": [login]}})
    elif message.get("method") == "session/new":
{answer}
"""
OPENS = 'send(id=message["id"], result={"sessionId": "s-1"})'
WANTS_LOGIN = 'send(id=message["id"], error={"code": -32000, "message": "log in first"})'
DIES = 'sys.stderr.write("no model configured\\n"); raise SystemExit(3)'


@pytest.fixture
def greenroom(tmp_path):
    """Runs one command with nothing on PATH but what was put there."""
    commands = tmp_path / "bin"
    commands.mkdir()

    def run(*args):
        return subprocess.run(
            [*GREENROOM, *args],
            env={**os.environ, "PATH": str(commands), "GREENROOM_HOME": str(tmp_path / "home")},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def install(name, answer):
        path = commands / name
        indented = textwrap.indent(answer, " " * 8)
        path.write_text(AGENT.format(python=sys.executable, name=name, answer=indented))
        path.chmod(0o755)

    run.install = install
    return run


def test_doctor_tells_of_an_agent_that_works(greenroom):
    greenroom.install("gemini", OPENS)
    ran = greenroom("doctor", "--agent", "gemini")
    assert ran.returncode == 0, ran.stderr
    assert "gemini 1.2.3" in ran.stdout
    assert "opens, ACP v1" in ran.stdout
    assert "oauth" in ran.stdout
    assert "->" not in ran.stdout
    told = json.loads(greenroom("doctor", "--agent", "gemini", "--json").stdout)
    assert (told["installed"], told["handshake_ok"], told["version"]) == (
        True,
        True,
        "gemini 1.2.3",
    )


def test_doctor_tells_how_to_log_in(greenroom):
    greenroom.install("gemini", WANTS_LOGIN)
    ran = greenroom("doctor", "--agent", "gemini")
    assert ran.returncode == 1
    assert "-> log in: run `gemini` once" in ran.stdout
    assert "Traceback" not in ran.stderr


def test_doctor_tells_why_no_session_opens(greenroom):
    greenroom.install("gemini", DIES)
    ran = greenroom("doctor", "--agent", "gemini")
    assert ran.returncode == 1
    assert "no model configured" in ran.stdout  # what it wrote to stderr
    assert "->" in ran.stdout


def test_doctor_tells_how_to_install(greenroom):
    ran = greenroom("doctor", "--agent", "gemini")
    assert ran.returncode == 1
    assert "-> install it: npm install -g @google/gemini-cli" in ran.stdout


def test_doctor_knows_no_stranger(greenroom):
    ran = greenroom("doctor", "--agent", "stranger")
    assert (ran.returncode, ran.stdout) == (3, "")
    assert "gemini" in ran.stderr


def test_agents_may_be_tried(greenroom):
    greenroom.install("gemini", OPENS)
    greenroom.install("qwen", WANTS_LOGIN)
    lines = greenroom("agents", "--probe").stdout.splitlines()
    status = {line.split()[0]: line.split()[1] for line in lines}
    assert (status["demo"], status["gemini"], status["qwen"], status["goose"]) == (
        "ready",
        "ready",
        "fails",
        "missing",
    )
    told = [
        json.loads(line)
        for line in greenroom("agents", "--probe", "--json").stdout.split("\n")
        if line
    ]
    assert {
        agent["name"]: agent["probe"]["handshake_ok"] for agent in told if "probe" in agent
    } == {
        "demo": True,
        "gemini": True,
        "qwen": False,
    }
