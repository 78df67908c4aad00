"""Probing agents and commands (04 10), and what is known of the well-known ones (07 R27, R35)."""

from __future__ import annotations

import os
import sys
import textwrap

import gevent
import pytest
from greenroom.actors.errors import SessionValueError
from greenroom.actors.model.agent import AgentDef
from greenroom.transport.agent import probe, quirks
from greenroom.transport.agent.context import CallContext
from greenroom.transport.agent.driver import ACPDriver
from greenroom.transport.agent.presets import PRESETS
from greenroom.transport.agent.probe import probe_agent, probe_target
from greenroom.transport.agent.protocol import StartOpts
from greenroom.transport.agent.quirks import QUIRKS, Quirks, quirks_of, with_quirks

from .conftest import PRELUDE, children, soon

AUTH = """
read_one = read()
send(id=read_one["id"], result={"protocolVersion": 1, "authMethods": [
    {"id": "login", "name": "Log in"}, {"id": "key", "name": "Key"}]})
send(id=read()["id"], error={"code": -32000, "message": "Authentication required"})
read()
"""


@pytest.fixture
def agent(tmp_path):
    """Makes the definition of an agent that runs this text, as a preset would."""

    def make(text, version="", **more):
        path = tmp_path / "agent"
        shown = f"if '--version' in sys.argv: {version or 'pass'}\n"
        body = f"#!{sys.executable} -S\nimport sys\n{shown}{PRELUDE}{textwrap.dedent(text)}"
        path.write_text(body)
        path.chmod(0o755)
        return AgentDef("tested", (str(path), "--acp"), **more)

    return make


@pytest.fixture
def with_version(monkeypatch, agent):
    """As ``agent``, but a preset whose version is asked for."""

    def make(text, version):
        made = agent(text, version)
        monkeypatch.setitem(probe.quirks_of.__globals__["PRESETS"], "tested", made)
        monkeypatch.setitem(QUIRKS, "tested", Quirks(auth_hint="run `tested login`"))
        return made

    return make


def test_the_demo_agent():
    report = probe_agent(PRESETS["demo"], soon())
    assert report.installed
    assert os.path.isabs(report.command)
    assert report.handshake_ok
    assert report.protocol_version == 1
    assert report.failure is None
    assert report.advice == ""
    assert children() == []


def test_one_that_is_not_installed():
    missing = AgentDef("x", ("no-such-agent-anywhere",), install_hint="npm install -g x")
    report = probe_agent(missing, soon())
    assert not report.installed
    assert report.advice == "install it: npm install -g x"
    assert "not found" in probe_agent(AgentDef("x", ("no-such-agent-anywhere",)), soon()).advice
    assert not probe_agent(AgentDef("x", ()), soon()).installed


def test_the_version_is_the_first_line_it_prints(with_version):
    made = with_version("handshake()\nserve()", "print('\\n tested 1.2.3 \\nmore'); sys.exit(0)")
    report = probe_agent(made, soon())
    assert report.version == "tested 1.2.3"
    assert report.handshake_ok


@pytest.mark.parametrize("version", ["sys.exit(3)", "import time; time.sleep(300)"])
def test_a_version_nobody_tells_is_blank(with_version, monkeypatch, version):
    monkeypatch.setattr(probe, "VERSION_TIMEOUT_S", 0.2)
    report = probe_agent(with_version("handshake()\nserve()", version), soon())
    assert report.version == ""
    assert report.handshake_ok
    assert children() == []


def test_one_that_wants_a_login(with_version):
    report = probe_agent(with_version(AUTH, "sys.exit(1)"), soon())
    assert report.installed
    assert not report.handshake_ok
    assert "log in" in report.advice
    assert "run `tested login`" in report.advice
    assert children() == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sys.stderr.write('no licence')\nsys.exit(3)", "no licence"),
        ("while True: read()", "in time"),
        ("read()\nos.write(1, b'x')\nos._exit(0)", "opens no session"),
    ],
)
def test_one_that_opens_no_session(agent, text, said):
    report = probe_agent(agent(text), CallContext.after(1.0))
    assert not report.handshake_ok
    assert report.failure is not None
    assert said in report.advice
    assert children() == []


def test_a_file_that_is_no_program(tmp_path):
    path = tmp_path / "agent"
    path.write_bytes(b"\x7fELF, but not really")
    path.chmod(0o755)
    report = probe_agent(AgentDef("x", (str(path),)), soon())
    assert report.installed
    assert "install it again" in report.advice


# ---- commands


def test_a_command_that_is_there():
    report = probe_target(CallContext(), agent_name=" a ", provider="p", command="sh -c 'x y'")
    assert (report.status, report.agent_name, report.provider) == ("ok", "a", "p")
    assert os.path.isabs(report.executable)
    assert report.duration_ms >= 0
    assert report.error == ""


@pytest.mark.parametrize(
    ("command", "status"),
    [("no-such-command-anywhere", "missing"), ("echo 'open", "invalid"), ("  ", "invalid")],
)
def test_commands_that_are_not(command, status):
    report = probe_target(CallContext(), command=command)
    assert report.status == status
    assert report.error
    assert report.executable == ""


def test_secrets_of_a_command_are_not_told():
    report = probe_target(CallContext(), command="no-such-command-anywhere token=abc")
    assert "abc" not in f"{report.command} {report.error}"


def test_a_probe_that_is_cancelled_or_slow(monkeypatch):
    over = CallContext()
    over.cancel(InterruptedError("left"))
    assert probe_target(over, command="sh").status == "canceled"
    slow = gevent.event.Event()
    monkeypatch.setattr(probe, "find_command", lambda *args: slow.wait(0.2))
    assert probe_target(CallContext(), command="sh", timeout=0.01).status == "timeout"
    ctx = CallContext()
    gevent.spawn(ctx.cancel, InterruptedError("left"))
    assert probe_target(ctx, command="sh", timeout=5).status == "canceled"
    with pytest.raises(SessionValueError):
        probe_target(CallContext(), command="sh", timeout=0)


# ---- quirks


def test_every_preset_has_its_quirks_and_a_way_to_log_in():
    assert set(QUIRKS) == set(PRESETS)
    for name, found in QUIRKS.items():
        assert found.auth_hint or name == "demo"


def test_quirks_belong_to_the_command_and_not_to_the_name():
    assert quirks_of("codex", PRESETS["codex"].command) is QUIRKS["codex"]
    assert quirks_of("codex", ("my-own-codex",)) is quirks.NONE
    assert quirks_of("mine", ("x",)) is quirks.NONE


def opts_of(name, **more):
    return StartOpts(name, PRESETS[name].command, "/", inherit_env=False, **more)


def test_a_key_in_the_environment_names_the_method():
    assert with_quirks(opts_of("codex")).auth_method == ""
    keyed = opts_of("codex", env=(("OPENAI_API_KEY", "k"),))
    assert with_quirks(keyed).auth_method == "openai-api-key"
    asked = opts_of("codex", env=(("OPENAI_API_KEY", "k"),), auth_method="chatgpt")
    assert with_quirks(asked).auth_method == "chatgpt"


def test_what_was_asked_for_wins(monkeypatch):
    monkeypatch.setitem(QUIRKS, "qwen", Quirks(acp_version="1", advertise_fs=False, settle_s=0.0))
    filled = with_quirks(opts_of("qwen"))
    assert (filled.acp_version, filled.advertise_fs, filled.settle_s) == ("1", False, 0.0)
    asked = with_quirks(opts_of("qwen", acp_version="2", settle_s=0.1))
    assert (asked.acp_version, asked.settle_s) == ("2", 0.1)


def test_the_demo_agent_answers_last(stage):
    """Its turns need no wait for what comes after the answer."""
    preset = PRESETS["demo"]
    assert with_quirks(StartOpts("demo", preset.command, "/")).settle_s == 0.0
    process = stage.start(preset.command, driver=ACPDriver())
    assert stage.play(process, "@@say x")[-1].type == "done"


@pytest.mark.parametrize("name", ["demo", "codex", "kimi"])
def test_4_2_an_agent_known_to_answer_last_is_not_waited_for(name):
    assert with_quirks(opts_of(name)).settle_s == 0.0
    assert with_quirks(opts_of(name, settle_s=0.05)).settle_s == 0.05


def test_4_2_others_get_the_specified_wait():
    unknown = [name for name, quirk in QUIRKS.items() if quirk.settle_s is None]
    assert {"claude", "vibe", "fast-agent", "opencode"} <= set(unknown)
