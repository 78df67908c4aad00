"""Rules of the driver that no other module is about, each by its name, with real processes.

04: D7, D10, D21, D29, D31, D35. 07: R15, R16, R29-R32, R34, R36.
"""

from __future__ import annotations

import os
import signal
import sys
import textwrap
import time

import pytest
from greenroom.actors import SessionManager, State
from greenroom.actors.errors import AgentExitedError, AgentStartError
from greenroom.actors.model.failure import FAILURE_SUMMARY_BYTES_MAX, FailureKind
from greenroom.actors.model.restart import RestartPolicy
from greenroom.transport.agent.context import CallContext
from greenroom.transport.agent.driver import ACPDriver
from greenroom.transport.agent.ending import STDERR_SEARCHED_CHARS_MAX, shown_stderr
from greenroom.transport.agent.process_store import MemoryProcessStore, ProcessQuery
from greenroom.transport.agent.process_table import observe
from greenroom.transport.agent.tool_processes import ToolProcesses

from .conftest import PRELUDE, children, is_running, soon, until

SECRET = "sk-0123456789abcdef"


# ---- D7: what the agent wrote to stderr goes with a failed start, without secrets


@pytest.mark.parametrize("step", ["initialize", "session/new"])
def test_d7_a_start_that_fails_shows_the_end_of_stderr_without_secrets(stage, step):
    command = stage.script(
        f"""
        sys.stderr.write("x" * 200_000 + "\\n")
        sys.stderr.write("api_key={SECRET}\\nAuthorization: Bearer {SECRET}\\nno model found\\n")
        sys.stderr.flush()
        while True:
            message = read()
            if message["method"] == "{step}":
                raise SystemExit(9)
            send(id=message["id"], result={{"protocolVersion": 1}})
        """
    )
    with pytest.raises(AgentStartError) as caught:
        stage.start(command)
    failed = caught.value.failure
    assert failed.summary.endswith("no model found")
    assert "; stderr=" in failed.summary
    assert "[REDACTED]" in failed.summary
    assert SECRET not in failed.summary + str(caught.value)
    assert len(failed.summary.encode()) <= FAILURE_SUMMARY_BYTES_MAX
    assert failed.kind in (FailureKind.HANDSHAKE, FailureKind.PROTOCOL)


def test_d7_the_answer_of_a_failed_start_is_redacted_too(stage):
    command = stage.script(
        f"""
        error = {{"code": -32603, "message": "refused: token={SECRET}"}}
        send(id=read()["id"], error=error)
        serve()
        """
    )
    with pytest.raises(AgentStartError) as caught:
        stage.start(command)
    assert "refused" in caught.value.failure.summary
    assert SECRET not in caught.value.failure.summary + str(caught.value)


def test_d7_a_secret_is_never_cut_in_half():
    line = f"token={SECRET * 3}"
    long = "y" * STDERR_SEARCHED_CHARS_MAX + "\n"
    for size in range(1, 80):
        assert SECRET[:6] not in shown_stderr(long + line, size)
    assert shown_stderr("a" * 10, 4) == "aaaa"
    assert shown_stderr("\N{EURO SIGN}" * 4, 4) == "\N{EURO SIGN}"
    assert len(shown_stderr(long.strip() * 2, 100)) == 100


def test_a_crash_shows_the_end_of_stderr_without_secrets(stage):
    process = stage.start(
        stage.script(
            f"""
            handshake()
            sys.stderr.write("password={SECRET} then it broke\\n")
            sys.stderr.flush()
            os._exit(4)
            """
        )
    )
    error = process.wait()
    assert isinstance(error, AgentExitedError)
    assert "exited with status 4" in str(error)
    assert SECRET not in str(error)


# ---- D10: every connection that is lost is lost in the same way


@pytest.mark.parametrize(
    "last_words",
    [
        "",
        "say('nearly')",
        'say(\'nearly\'); os.write(1, b\'{"jsonrpc": "2.0", "id": 99\')',
        "send(method='_vendor/notice'); say('nearly')",
    ],
    ids=["silent", "after an update", "in the middle of a line", "after a notice"],
)
def test_d10_a_lost_connection_ends_the_turn_alike_whatever_came_before(stage, last_words):
    process = stage.start(stage.script(f"handshake()\nawait_prompt()\n{last_words}\nos._exit(7)\n"))
    *said, last = stage.play(process, "x")
    assert [event.text for event in said] == (["nearly"] if last_words else [])
    assert (last.type, last.failure.kind) == ("error", FailureKind.PROCESS_EXIT)
    assert "peer disconnected before response" in last.raw.data.decode()


# ---- D21: files do not hold the session up


def test_d21_a_fifo_in_the_workspace_holds_nobody_up(stage):
    os.mkfifo(stage.cwd / "pipe")
    process = stage.start(
        stage.script(
            """
            handshake()
            turn = await_prompt()
            for method, more in (("read", {}), ("write", {"content": "x"})):
                send(id=method, method=f"fs/{method}_text_file",
                     params={"sessionId": "s-1", "path": "pipe", **more})
                say(str(read()["error"]["code"]))
            end(turn)
            serve()
            """
        ),
        permissions="approve-all",
    )
    events = stage.play(process, "x")
    assert [event.text for event in events[:-1]] == ["-32602", "-32602"]


# ---- D29, R34: stops


@pytest.mark.parametrize("deadline", [1.6, 3.0])
def test_d29_r34_an_agent_that_ignores_eof_is_killed_within_the_callers_deadline(stage, deadline):
    process = stage.start(
        stage.script("signal.signal(signal.SIGTERM, signal.SIG_IGN)\nhandshake()\ntime.sleep(600)")
    )
    patient = ACPDriver()  # would wait 5 s for the end by itself
    began = time.monotonic()
    patient.stop(CallContext.after(deadline), process)
    assert process.done.is_set()
    assert process.wait() is None  # it was asked for: no crash, and no failure of the stop
    assert time.monotonic() - began < 7.0


# ---- D31, R32: the group is the unit


LAUNCHER = """
import os, subprocess, sys
worker = subprocess.Popen([sys.executable, "-S", "-u", sys.argv[1]])
sys.exit(worker.wait())
"""


@pytest.fixture
def launcher(stage, tmp_path):
    """A shell that starts a runtime that starts the agent: three processes deep."""

    def command(script):
        worker = stage.script(script)[-1]
        runtime = tmp_path / "scripts" / "runtime.py"
        runtime.write_text(LAUNCHER)
        return ("/bin/sh", "-c", f"{sys.executable} -S {runtime} {worker}; exit $?")

    return command


WORKER = """
handshake()
turn = await_prompt()
say(str(os.getpid()))
end(turn)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
while True:
    time.sleep(600)
"""


def test_r32_a_launcher_is_a_tree_and_all_of_it_is_stopped(stage, launcher):
    process = stage.start(launcher(WORKER))
    worker = int(stage.play(process, "who are you?")[0].text)
    assert worker != process.pid
    assert os.getpgid(worker) == process.pid
    ACPDriver(stop_timeout=0.2).stop(soon(), process)
    until(lambda: not is_running(worker))
    assert children() == []


def test_d31_r32_a_launcher_that_dies_takes_its_worker_along(stage, launcher):
    process = stage.start(launcher(WORKER))
    worker = int(stage.play(process, "who are you?")[0].text)
    os.kill(process.pid, signal.SIGKILL)
    assert isinstance(process.wait(), AgentExitedError)
    until(lambda: not is_running(worker))


def test_r32_an_agent_that_replaces_itself_is_the_same_process(stage):
    process = stage.start(
        stage.script(
            """
            if len(sys.argv) == 1:
                os.execv(sys.executable, [sys.executable, "-S", "-u", __file__, "again"])
            handshake()
            turn = await_prompt()
            say(str(os.getpid()))
            end(turn)
            serve()
            """
        )
    )
    assert int(stage.play(process, "x")[0].text) == process.pid


# ---- D35: a record is verified by the kernel's own start time


def test_d35_an_agent_is_recorded_with_its_start_in_ticks(stage):
    store = MemoryProcessStore()
    driver = ACPDriver(process_registry=ToolProcesses(store))
    process = stage.start(driver=driver)
    [record] = store.list(ProcessQuery(active_only=True))
    assert (record.pid, record.start_mark) == (process.pid, observe(process.pid).mark)
    assert record.start_mark


# ---- R15: a kill -9 can lose the agent's session


FORGETFUL = """
while True:
    message = read()
    method = message.get("method")
    if method == "initialize":
        send(id=message["id"], result={"protocolVersion": 1,
                                       "agentCapabilities": {"loadSession": True}})
    elif method == "session/load":
        send(id=message["id"], error={"code": -32002, "message": "Session not found"})
    elif method == "session/new":
        send(id=message["id"], result={"sessionId": "s-" + str(os.getpid())})
        break
session = "s-" + str(os.getpid())
while True:
    turn = await_prompt()
    say("from " + str(os.getpid()), session)
    end(turn)
"""


def test_r15_a_session_lost_by_kill_9_goes_on_afresh(tmp_path):
    path = tmp_path / "agent.py"
    path.write_text(PRELUDE + textwrap.dedent(FORGETFUL))
    policy = RestartPolicy("transient", backoff_s=0.01, backoff_max_s=0.01)
    with SessionManager(
        home=tmp_path / "home",
        agents={"forgetful": [sys.executable, "-S", "-u", str(path)]},
        restart=policy,
    ) as manager:
        session = manager.create(agent_name="forgetful", workspace_path=str(tmp_path))
        first = session.info().acp_session_id
        assert session.prompt("hello").result(timeout=20).type == "done"
        live = session._live
        os.kill(live.ports.process.pid, signal.SIGKILL)
        manager._hub.call(
            lambda: live.when(
                lambda s: s.meta.state is State.ACTIVE and bool(s.restart_moments)
            ).get(timeout=20)
        )
        assert session.info().acp_session_id != first
        assert session.prompt("and now?").result(timeout=20).type == "done"
        titles = [row.event.title for row in manager.events(session.id)]
        assert "transcript_marker.session_recovered" in titles
        [told] = manager.events(session.id, type="runtime_warning")
        assert "no longer has this conversation" in told.event.text
        session.stop()
        again = manager.resume(session.id)  # 07 8: a fresh session says so, whoever opened it
        assert again.prompt("still?").result(timeout=20).type == "done"
        assert len(manager.events(session.id, type="runtime_warning")) == 2


# ---- R16, R29, R30, R36: what an agent may say


def test_r16_r29_r30_r36_an_odd_but_legal_agent_is_served(stage):
    process = stage.start(
        stage.script(
            """
            message = read()
            send(id=message["id"], result={"protocolVersion": 1, "authMethods": None})
            message = read()
            send(id=message["id"], result={"sessionId": "s-1", "modes": None})
            turn = await_prompt()
            send(id=None, error={"code": -32700, "message": "parse error"})  # matches nothing
            send(id=turn, method="vendor/question", params={})  # the id of our own prompt
            say(str(read()["error"]["code"]))
            send(id=0, method="_vendor/other")
            say(str(read()["error"]["code"]))
            update = {"sessionUpdate": "dance", "style": "tango"}
            send(method="session/update", params={"sessionId": "s-1", "update": update})
            send(method="vendor/notice", params={"any": "thing"})
            end(turn, "a_reason_of_its_own")
            serve()
            """
        )
    )
    first, second, dance, done = stage.play(process, "x")
    assert (first.text, second.text) == ("-32601", "-32601")
    assert (dance.type, dance.title, dance.raw.value["style"]) == ("system", "dance", "tango")
    assert done.stop_reason == "a_reason_of_its_own"


def test_r31_a_turn_is_not_held_up_by_a_flood_of_stderr(stage):
    process = stage.start(
        stage.script(
            """
            handshake()
            turn = await_prompt()
            for number in range(2800):
                sys.stderr.write(f"line {number} of a talkative runtime " + "." * 300 + "\\n")
            sys.stderr.flush()
            say("through")
            end(turn)
            serve()
            """
        )
    )
    assert stage.play(process, "x")[0].text == "through"
    until(lambda: "line 2799 of" in process.stderr())
