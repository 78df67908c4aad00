"""Launching a child, learning of its end, signalling its group; names that become commands."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys

import gevent
import pytest
from gevent.event import AsyncResult, Event
from greenroom.actors.errors import (
    AgentNotAvailableError,
    SessionValueError,
    WorkspaceRootMissingError,
)
from greenroom.actors.model.agent import AgentDef
from greenroom.transport.agent import ending, process_table, strays
from greenroom.transport.agent.context import CallContext
from greenroom.transport.agent.exits import UNKNOWN_STATUS, ExitWatch
from greenroom.transport.agent.groups import group_lives, signal_group
from greenroom.transport.agent.launcher import (
    PROGRAM_VARIABLE,
    START_VARIABLE,
    child_environment,
    find_command,
    launch,
    running_program,
)
from greenroom.transport.agent.presets import PRESETS, installed, resolve_agent
from greenroom.transport.agent.stderr_tail import STDERR_TAIL_BYTES_MAX, StderrTail
from greenroom.transport.agent.strays import kill_strays
from greenroom.transport.agent.sweep import Sweep

from .conftest import until

CLEAN = {"PATH": os.environ["PATH"]}


class Launched:
    """A launched child whose descriptors are closed and which is reaped at the end."""

    def __init__(self, handle):
        self.handle = handle
        self._open = [handle.stdin, handle.stdout, handle.stderr]

    def output(self):
        """All of stdout, as text."""
        os.set_blocking(self.handle.stdout, True)
        with os.fdopen(os.dup(self.handle.stdout), "rb") as file:
            return file.read().decode()

    def end_input(self):
        os.close(self._open.pop(0))

    def close(self):
        signal_group(self.handle.pid, signal.SIGKILL)
        for fd in self._open:
            os.close(fd)
        self.handle.popen.wait()


@pytest.fixture
def launched(tmp_path):
    started = []

    def start(*argv, env=None):
        child = Launched(launch(argv, cwd=str(tmp_path), env=env or CLEAN))
        started.append(child)
        return child

    yield start
    for child in started:
        child.close()


def test_a_child_leads_a_group_and_runs_in_its_directory(launched, tmp_path):
    child = launched("sh", "-c", "pwd; echo $PPID; ls /proc/self/fd; cat")
    assert os.getpgid(child.handle.pid) == child.handle.pid
    child.end_input()
    lines = child.output().split()
    assert lines[0] == str(tmp_path)
    assert lines[1] == str(os.getpid())
    # 3 is the directory that ls itself has open: nothing else was inherited.
    assert lines[2:] == ["0", "1", "2", "3"]


def test_an_inheritable_descriptor_of_ours_is_not_inherited(launched):
    fd = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(fd, True)
    try:
        assert launched("sh", "-c", f"[ -e /proc/self/fd/{fd} ] || echo none").output() == "none\n"
    finally:
        os.close(fd)


def test_three_pipes_in_both_directions(launched):
    child = launched("sh", "-c", "cat; echo oops >&2")
    os.write(child.handle.stdin, b"through\n")
    child.end_input()
    assert child.output() == "through\n"
    os.set_blocking(child.handle.stderr, True)
    assert os.read(child.handle.stderr, 100) == b"oops\n"


@pytest.mark.parametrize("argv", [(), ("",), ("  ",)])
def test_no_command(argv, tmp_path):
    with pytest.raises(SessionValueError):
        launch(argv, cwd=str(tmp_path))


def test_no_directory(tmp_path):
    for missing in (tmp_path / "gone", __file__):
        with pytest.raises(WorkspaceRootMissingError):
            launch(("true",), cwd=str(missing))


def test_a_failed_launch_keeps_no_descriptor(tmp_path):
    (tmp_path / "x").write_text("no program")
    (tmp_path / "x").chmod(0o755)
    before = sorted(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match="Exec format"):
        launch((str(tmp_path / "x"),), cwd=str(tmp_path))
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_the_environment_names_the_program_and_its_directory_first(launched):
    child = launched("sh", "-c", f"echo $PATH; echo ${PROGRAM_VARIABLE}; echo ${START_VARIABLE}")
    path, program, token = child.output().split()
    assert path.split(":")[0] == os.path.dirname(running_program())
    assert program == running_program()
    assert token == child.handle.start_token


def test_two_starts_have_different_tokens(launched):
    assert launched("true").handle.start_token != launched("true").handle.start_token


def test_our_own_environment_is_the_default(tmp_path, monkeypatch):
    monkeypatch.setenv("GREENROOM_TEST_SEEN", "yes")
    child = Launched(launch(("sh", "-c", "echo $GREENROOM_TEST_SEEN"), cwd=str(tmp_path), env={}))
    assert child.output() == "yes\n"
    child.close()


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/usr/bin:/bin", "/opt/it:/usr/bin:/bin"),
        ("", "/opt/it"),
        (":/usr/bin::/opt/it:", "/opt/it:/usr/bin"),
        ("/b:/opt/it:/a", "/opt/it:/b:/a"),
    ],
)
def test_path_has_the_programs_directory_once_and_first(path, expected):
    made = child_environment({"PATH": path, "KEEP": "1"}, "/opt/it/greenroom", "t")
    assert made == {
        "PATH": expected,
        "KEEP": "1",
        PROGRAM_VARIABLE: "/opt/it/greenroom",
        START_VARIABLE: "t",
    }


@pytest.fixture
def program(tmp_path, monkeypatch):
    """An executable ``agent`` in a directory that is the current one."""
    directory = tmp_path / "bin"
    directory.mkdir()
    path = directory / "agent"
    path.write_text("#!/bin/sh\n")
    path.chmod(stat.S_IRWXU)
    (directory / "data").write_text("")
    monkeypatch.chdir(directory)
    return path


def test_a_command_is_found_on_the_path(program):
    assert find_command("agent", f"/no/such:{program.parent}:/usr/bin") == str(program)


def test_a_path_is_taken_as_one(program):
    assert find_command("./agent", "") == str(program)
    assert find_command(str(program), "") == str(program)


@pytest.mark.parametrize("path", [".", "", "/no/such:.", "::"])
def test_a_hit_only_in_the_current_directory_is_refused(program, path):
    with pytest.raises(AgentNotAvailableError, match="only in the current directory"):
        find_command("agent", path)


@pytest.mark.parametrize("command", ["no-such-agent", "./data", "/", "./no-such", "data"])
def test_what_can_not_be_run_is_not_available(program, command):
    with pytest.raises(AgentNotAvailableError, match=r"install it|check the path"):
        find_command(command, str(program.parent))


# ---- exits


@pytest.mark.parametrize("pidfd", [True, False])
@pytest.mark.parametrize(
    ("command", "status"), [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", -9), ("kill $$", -15)]
)
def test_an_exit_is_learned_and_reaped_once(pidfd, command, status):
    child = subprocess.Popen(["sh", "-c", command])
    ended = Event()
    watch = ExitWatch(child.pid, gevent.get_hub().loop, ended.set, pidfd=pidfd)
    assert ended.wait(10)
    # Still a zombie here, so that its group can be signalled under its own id.
    os.killpg(os.getpgid(child.pid), 0)
    assert watch.reap() == status
    assert watch.reap() == status
    child.returncode = status
    watch.close()
    watch.close()


def test_an_exit_before_the_watch_is_learned_too():
    child = subprocess.Popen(["true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    ended = Event()
    watch = ExitWatch(child.pid, gevent.get_hub().loop, ended.set)
    assert ended.wait(10)
    assert watch.reap() == 0
    child.returncode = 0
    watch.close()


def test_a_status_somebody_else_took_is_unknown():
    child = subprocess.Popen(["true"])
    child.wait()
    ended = Event()
    watch = ExitWatch(child.pid, gevent.get_hub().loop, ended.set)
    assert watch.reap() == UNKNOWN_STATUS
    watch.close()


@pytest.mark.parametrize("pidfd", [True, False])
def test_a_closed_watch_calls_nobody(pidfd):
    child = subprocess.Popen(["sleep", "300"])
    called, other = [], Event()
    watch = ExitWatch(child.pid, gevent.get_hub().loop, lambda: called.append(1), pidfd=pidfd)
    second = ExitWatch(child.pid, gevent.get_hub().loop, other.set, pidfd=pidfd)
    watch.close()
    child.kill()
    assert other.wait(10)
    gevent.sleep(0)
    assert called == []
    child.wait()
    second.close()


# ---- groups


def test_a_group_lives_as_long_as_one_member(launched):
    child = launched("sh", "-c", "sleep 300 & echo; wait")
    os.set_blocking(child.handle.stdout, True)
    os.read(child.handle.stdout, 1)
    assert group_lives(child.handle.pid)
    os.kill(child.handle.pid, signal.SIGKILL)
    assert group_lives(child.handle.pid)
    assert signal_group(child.handle.pid, signal.SIGKILL)
    until(lambda: not group_lives(child.handle.pid))


def test_a_group_that_is_not_there_is_no_error():
    child = subprocess.Popen(["true"], process_group=0)
    child.wait()
    assert not signal_group(child.pid, signal.SIGKILL)
    assert not group_lives(child.pid)


def test_strays_are_found_by_their_token_alone():
    token = "t" + os.urandom(8).hex()
    env = {**CLEAN, START_VARIABLE: token}
    stray = subprocess.Popen(["sleep", "300"], env=env, start_new_session=True)
    other = subprocess.Popen(["sleep", "300"], env={**CLEAN, START_VARIABLE: token + "x"})
    try:
        assert kill_strays({token, "another"}) == {token: [stray.pid]}
        assert stray.wait(10) == -signal.SIGKILL
        assert other.poll() is None
        assert kill_strays({token}) == {}
    finally:
        other.kill()
        other.wait()


EXEC_FOR_EVER = "import os, sys; os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])"


def test_r33_a_stray_that_always_starts_a_program_is_found():
    """While a program is loaded its process has no environment to be known by."""
    token = "t" + os.urandom(8).hex()
    argv = [sys.executable, "-S", "-E", "-c", EXEC_FOR_EVER]
    for _ in range(30):
        stray = subprocess.Popen(argv, env={**CLEAN, START_VARIABLE: token})
        try:
            assert kill_strays({token}) == {token: [stray.pid]}
        finally:
            stray.kill()
            stray.wait()


@pytest.mark.parametrize("blind", [{1, 2, 3}, {2}, {2, 3, 5}])
def test_r33_a_stray_nothing_can_be_told_of_yet_is_looked_at_again(monkeypatch, blind):
    token = "t" + os.urandom(8).hex()
    stray = subprocess.Popen(["sleep", "300"], env={**CLEAN, START_VARIABLE: token})
    read, seen = strays._token_of, []

    def blind_at_times(pid):
        if pid == stray.pid:
            seen.append(pid)
            if len(seen) in blind:
                return strays.Look.UNREAD
        return read(pid)

    monkeypatch.setattr(strays, "_token_of", blind_at_times)
    try:
        assert kill_strays({token}) == {token: [stray.pid]}
        assert len(seen) > max(blind)
    finally:
        stray.kill()
        stray.wait()


@pytest.mark.parametrize("ends_by", ["our kill", "itself"])
def test_r33_what_a_stray_forked_before_it_ended_is_killed_too(monkeypatch, ends_by):
    """Its children may come after the table was read, and it may be gone before it is looked at."""
    token = "t" + os.urandom(8).hex()
    env = {**CLEAN, START_VARIABLE: token}
    started = [subprocess.Popen(["sleep", "300"], env=env, start_new_session=True)]
    kill = strays._kill

    def fork_first(pid, tokens):
        if pid == started[-1].pid and len(started) < 4:
            parent = started[-1]
            started.append(subprocess.Popen(["sleep", "300"], env=env, start_new_session=True))
            if ends_by == "itself":
                parent.kill()
                parent.wait()
        return kill(pid, tokens)

    monkeypatch.setattr(strays, "_kill", fork_first)
    try:
        found = kill_strays({token})
        assert len(started) == 4
        by_us = started if ends_by == "our kill" else started[-1:]
        assert found == {token: [stray.pid for stray in by_us]}
    finally:
        for stray in started:
            stray.kill()
            stray.wait()


def test_a_process_without_any_environment_and_a_zombie_are_not_waited_for(monkeypatch):
    monkeypatch.setattr(strays.natives, "sleep", pytest.fail)
    bare = subprocess.Popen(["/bin/sleep", "300"], env={})
    zombie = subprocess.Popen(["/bin/true"], env={})
    try:
        os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
        monkeypatch.setattr(strays.process_table, "pids", lambda: iter([bare.pid, zombie.pid, 2]))
        assert kill_strays({"t-nobody"}) == {}
        assert bare.poll() is None
        assert strays._token_of(bare.pid) is strays.Look.FOREIGN
        assert strays._token_of(zombie.pid) is strays.Look.GONE
        assert strays._token_of(1 << 22) is strays.Look.GONE
    finally:
        bare.kill()
        bare.wait()
        zombie.wait()


def test_looks_at_strays_have_an_end(monkeypatch):
    pauses = []
    monkeypatch.setattr(strays.natives, "sleep", pauses.append)
    monkeypatch.setattr(strays.process_table, "pids", lambda: iter([7]))
    monkeypatch.setattr(strays, "_token_of", lambda pid: strays.Look.UNREAD)
    assert kill_strays({"t"}) == {}
    assert len(pauses) == strays.UNREAD_LOOKS_MAX
    tables = iter(range(10_000))
    monkeypatch.setattr(strays.process_table, "pids", lambda: iter([next(tables)]))
    monkeypatch.setattr(strays, "_token_of", lambda pid: strays.Look.GONE)
    assert kill_strays({"t"}) == {}
    assert next(tables) == strays.TABLE_LOOKS_MAX


def test_many_agents_that_end_together_are_one_look_or_two(caplog):
    looks = []

    def offload(call, tokens):
        looks.append(tokens)
        gevent.sleep(0)
        if "bad" in tokens:
            raise OSError("the process table can not be read")
        return {token: [7] for token in tokens if token == "t3"}

    sweep = Sweep(offload)
    asked = [gevent.spawn(sweep.kill, f"t{number}") for number in range(50)]
    gevent.joinall(asked, timeout=10, raise_error=True)
    assert [found.value for found in asked] == [[7] if n == 3 else [] for n in range(50)]
    assert len(looks) <= 2
    with pytest.raises(OSError, match="process table"):
        sweep.kill("bad")
    ending.kill_strays_of("bad", sweep, "an agent")  # its end goes on all the same
    assert "could not be looked for: the process table" in caplog.text
    assert sweep.kill("t3") == [7]


def test_without_a_process_table_nothing_is_found(monkeypatch, tmp_path):
    monkeypatch.setattr(process_table, "PROC", str(tmp_path / "none"))
    assert kill_strays({"anything"}) == {}
    child = subprocess.Popen(["sleep", "300"], process_group=0)
    try:
        assert group_lives(child.pid)
    finally:
        child.kill()
        child.wait()
    assert not group_lives(child.pid)


# ---- stderr


def test_the_tail_keeps_the_last_bytes():
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    tail = StderrTail(reading, gevent.get_hub().loop)
    assert tail.text() == ""
    total = 5 * STDERR_TAIL_BYTES_MAX
    flood = gevent.get_hub().threadpool.spawn(write_all, writing, b"x" * total + b"the \xff end")
    flood.get(timeout=10)
    tail.close()
    tail.close()
    assert len(tail.text()) == STDERR_TAIL_BYTES_MAX
    assert tail.text().endswith("the � end")
    with pytest.raises(BrokenPipeError):
        os.write(writing, b"late")
    os.close(writing)


def write_all(fd, data):
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


# ---- contexts


def test_a_context_without_a_limit():
    ctx = CallContext.after(None)
    assert ctx.remaining() is None
    assert ctx.error() is None
    ctx.check()
    done = Event()
    gevent.spawn(done.set)
    assert ctx.wait(done)


def test_a_context_ends_at_its_deadline():
    ctx = CallContext.after(0.01)
    assert not ctx.wait(Event())
    assert ctx.remaining() == 0
    with pytest.raises(TimeoutError):
        ctx.check()


def test_a_wait_has_a_limit_of_its_own():
    ctx = CallContext.after(100)
    assert not ctx.wait(Event(), 0.01)
    ctx.check()


def test_cancelling_wakes_every_wait_and_keeps_the_first_cause():
    ctx = CallContext.after(100)
    waits = [gevent.spawn(ctx.wait, event) for event in (Event(), AsyncResult())]
    gevent.sleep(0)
    ctx.cancel(KeyError("first"))
    ctx.cancel(ValueError("second"))
    gevent.joinall(waits, timeout=10)
    assert [wait.value for wait in waits] == [False, False]
    with pytest.raises(KeyError, match="first"):
        ctx.check()


def test_a_context_can_share_a_cancellation():
    cancelled = Event()
    cancelled.set()
    with pytest.raises(TimeoutError):
        CallContext(cancelled=cancelled).check()


# ---- presets


def test_the_demo_agent_is_always_there():
    demo = resolve_agent("demo", {})
    assert demo.command == (sys.executable, "-P", "-m", "greenroom.transport.demo")
    assert installed(demo)


def test_every_preset_says_what_it_is_and_how_to_get_it():
    for name, agent in PRESETS.items():
        assert agent.name == name
        assert agent.description
        assert agent.install_hint or name == "demo"


def test_the_hosts_own_agents_come_first():
    own = AgentDef("codex", ("my-codex",), env=(("KEY", "1"),))
    agents = {"codex": own, "mine": ["./agent.py", "--acp"]}
    assert resolve_agent("codex", agents) is own
    assert resolve_agent("mine", agents) == AgentDef("mine", ("./agent.py", "--acp"))


def test_a_name_nobody_knows():
    with pytest.raises(AgentNotAvailableError) as caught:
        resolve_agent("clod", {"mine": ["x"]})
    assert caught.value.agent_name == "clod"
    assert {"mine", "demo", "claude"} <= set(caught.value.known)
    assert "claude" in str(caught.value)


def test_what_is_not_on_the_path_is_not_installed():
    assert not installed(AgentDef("x", ("no-such-agent-anywhere",)))
    assert not installed(AgentDef("x", ()))
