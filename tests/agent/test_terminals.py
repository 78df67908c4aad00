"""Terminals by themselves (04 5.5, D19, D22): what an agent may run through us, and its end."""

from __future__ import annotations

import itertools
import os
import signal
import sys
import textwrap
import time

import gevent
import pytest
from greenroom.actors.errors import InvalidPathError, PathOutsideWorkspaceError, RequestError
from greenroom.transport.agent import terminal_process, terminals
from greenroom.transport.agent.files import Workspace
from greenroom.transport.agent.groups import group_lives
from greenroom.transport.agent.launcher import START_VARIABLE
from greenroom.transport.agent.output_ring import OUTPUT_BYTES_DEFAULT
from greenroom.transport.agent.process_store import MemoryProcessStore, ProcessQuery
from greenroom.transport.agent.terminals import TERMINALS_MAX, TerminalRequest, Terminals
from greenroom.transport.agent.tool_processes import ToolProcesses
from greenroom.transport.agent.tool_records import ProcessOwner, ProcessSource, ProcessState

from .conftest import children, fds, is_running, until

TOKEN = "token-of-these-tests"


def offload(call, *args):
    return gevent.get_hub().threadpool.apply(call, args)


class Desk:
    """Terminals in one workspace, with what they are registered in."""

    def __init__(self, cwd, *, pidfd=True, registry=None):
        self.cwd = cwd
        self.store = MemoryProcessStore()
        self.registry = registry if registry is not None else ToolProcesses(self.store)
        self.terminals = Terminals(
            Workspace((str(cwd),)), offload, self.registry, token=TOKEN, pidfd=pidfd
        )

    def create(self, command, *args, turn="t-1", **more):
        return self.terminals.create(TerminalRequest(command, args, **more), turn)

    def python(self, text, **more):
        return self.create(sys.executable, "-S", "-c", textwrap.dedent(text), **more)

    def exit_of(self, terminal_id):
        return self.terminals.exit_of(terminal_id).get(timeout=20)

    def run(self, command, *args, **more):
        """What a command wrote, after its end."""
        made = self.create(command, *args, **more)
        self.exit_of(made)
        return self.terminals.output(made)["output"]

    def process(self, terminal_id):
        return self.terminals._open[terminal_id]

    def records(self):
        return self.store.list(ProcessQuery())


@pytest.fixture
def desk(tmp_path):
    (tmp_path / "ws").mkdir()
    made = Desk((tmp_path / "ws").resolve())
    yield made
    made.terminals.close()
    assert made.terminals.wait(10)
    assert children() == []


# ---- create


def test_ids_count_and_the_command_runs_in_the_workspace(desk):
    first = desk.create("pwd")
    second = desk.create("sh", "-c", "pwd; echo $PWD")
    assert (first, second) == ("term-1", "term-2")
    assert desk.exit_of(first) == {"exitCode": 0}
    assert desk.terminals.output(first) == {
        "output": f"{desk.cwd}\n",
        "truncated": False,
        "exitStatus": {"exitCode": 0},
    }
    desk.exit_of(second)
    assert desk.terminals.output(second)["output"] == f"{desk.cwd}\n" * 2


def test_the_command_is_split_like_a_shell_does_and_args_come_after(desk):
    said = desk.run("""printf '%s|' "a b" $HOME""", "c d", "*")
    assert said == "a b|$HOME|c d|*|"


@pytest.mark.parametrize(
    ("line", "output"),
    [
        ("echo shell-$((40+2)) && echo more", "shell-42\nmore\n"),
        ("echo a | tr a b", "b\n"),
        ("echo 'a > b'", "a > b\n"),
        ("for n in 1 2; do echo $n; done", "1\n2\n"),
        ("echo plain words", "plain words\n"),
    ],
)
def test_a_line_without_arguments_is_for_a_shell(desk, line, output):
    assert desk.run(line) == output


def test_what_was_allowed_as_words_is_never_a_line(tmp_path):
    desk = Desk(tmp_path.resolve())
    desk.terminals._network_command = ("echo", "network")
    assert desk.run("echo network send; touch made") == "network send; touch made\n"
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("command", ["", "   ", "''", "echo 'open", "no-such-command-anywhere"])
def test_commands_that_are_none(desk, command):
    with pytest.raises(RequestError) as caught:
        desk.create(command)
    assert caught.value.code == -32602
    assert desk.records() == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"args": ("a\0b",)},
        {"env": (("A", "b\0"),)},
        {"env": (("A=B", "c"),)},
        {"env": (("", "c"),)},
    ],
)
def test_arguments_no_system_takes(desk, wrong):
    with pytest.raises(RequestError) as caught:
        desk.terminals.create(TerminalRequest("true", **wrong), "t-1")
    assert caught.value.code == -32602


def test_a_file_that_is_no_program(desk):
    (desk.cwd / "data").write_bytes(b"\x7fELF, but not really")
    (desk.cwd / "data").chmod(0o755)
    before = fds()
    with pytest.raises(OSError):  # noqa: PT011
        desk.create("./data")
    assert fds() <= before
    assert desk.records() == []


def test_a_command_with_a_slash_is_taken_from_its_directory(desk):
    (desk.cwd / "sub").mkdir()
    tool = desk.cwd / "sub" / "tool"
    tool.write_text("#!/bin/sh\necho from the tool\n")
    tool.chmod(0o755)
    assert desk.run("./tool", cwd="sub") == "from the tool\n"


def test_only_absolute_entries_of_the_requests_own_path_are_searched(desk):
    bin_ = desk.cwd / "bin"
    bin_.mkdir()
    (bin_ / "mine").write_text("#!/bin/sh\necho mine\n")
    (bin_ / "mine").chmod(0o755)
    env = (("PATH", f"{bin_}:/usr/bin:/bin"),)
    assert desk.run("mine", env=env) == "mine\n"
    for path in ("bin", ".", ""):
        with pytest.raises(RequestError):
            desk.create("mine", env=(("PATH", path),))


def test_secrets_of_ours_are_not_passed_on_and_the_request_wins(desk, monkeypatch):
    monkeypatch.setenv("SOME_API_KEY", "hidden-value")
    monkeypatch.setenv("PLAIN", "ours")
    said = desk.run("env", env=(("PLAIN", "theirs"), ("MY_TOKEN", "given")))
    lines = said.splitlines()
    assert "PLAIN=theirs" in lines
    assert "MY_TOKEN=given" in lines
    assert f"{START_VARIABLE}={TOKEN}" in lines
    assert "hidden-value" not in said


def test_it_reads_nothing_and_inherits_nothing(desk):
    fd = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(fd, True)
    try:
        said = desk.run("sh", "-c", "cat; ls /proc/self/fd; readlink /proc/self/fd/0")
    finally:
        os.close(fd)
    assert said.split() == ["0", "1", "2", "3", "/dev/null"]


def test_it_leads_a_group_of_its_own(desk):
    made = desk.create("sleep", "300")
    pid = desk.process(made).pid
    assert os.getpgid(pid) == pid


@pytest.mark.parametrize("cwd", ["..", "/", "/etc", "link", "link/deeper", "sub/../.."])
def test_a_directory_outside_is_refused(desk, cwd):
    (desk.cwd / "sub").mkdir()
    (desk.cwd / "link").symlink_to(desk.cwd.parent)
    (desk.cwd.parent / "deeper").mkdir()
    with pytest.raises(PathOutsideWorkspaceError):
        desk.create("touch", "made", cwd=cwd)
    assert not list(desk.cwd.parent.rglob("made"))


@pytest.mark.parametrize("cwd", ["missing", "file", "a\0b"])
def test_a_directory_that_is_none(desk, cwd):
    (desk.cwd / "file").touch()
    with pytest.raises(InvalidPathError):
        desk.create("true", cwd=cwd)


def test_a_link_inside_may_be_followed(desk):
    (desk.cwd / "sub").mkdir()
    (desk.cwd / "way").symlink_to("sub")
    assert desk.run("pwd", cwd="way") == f"{desk.cwd}/sub\n"
    assert desk.run("pwd", cwd=str(desk.cwd)) == f"{desk.cwd}\n"


def test_an_agent_that_releases_nothing_meets_a_limit(desk, monkeypatch):
    monkeypatch.setattr(terminals, "TERMINALS_MAX", 3)
    made = [desk.create("true") for _ in range(3)]
    with pytest.raises(RequestError, match="release some") as caught:
        desk.create("true")
    assert caught.value.code == -32603
    desk.terminals.release(made[0])
    desk.create("true")
    assert TERMINALS_MAX == 64


# ---- output


def test_stdout_and_stderr_are_one_stream_in_order(desk):
    assert desk.run("sh", "-c", "echo a; echo b >&2; echo c") == "a\nb\nc\n"


def test_output_can_be_read_while_it_runs(desk):
    made = desk.create("sh", "-c", "echo begun; while [ ! -e go ]; do sleep 0.01; done; echo end")
    until(lambda: desk.terminals.output(made)["output"] == "begun\n")
    assert "exitStatus" not in desk.terminals.output(made)
    (desk.cwd / "go").touch()
    desk.exit_of(made)
    assert desk.terminals.output(made)["output"] == "begun\nend\n"


@pytest.mark.parametrize(
    ("limit", "kept"), [(None, OUTPUT_BYTES_DEFAULT), (10, 10), (0, 0), (-5, 0)]
)
def test_the_window_keeps_the_end(desk, limit, kept):
    made = desk.create("sh", "-c", "seq 100000", output_byte_limit=limit)
    desk.exit_of(made)
    answer = desk.terminals.output(made)
    assert answer["truncated"]
    assert len(answer["output"]) == kept
    assert answer["output"] == "".join(f"{n}\n" for n in range(1, 100001))[-kept or 10**9 :]


def test_d22_binary_output_is_still_text(desk):
    made = desk.create("head", "-c", "5000", "/dev/urandom", output_byte_limit=1000)
    desk.exit_of(made)
    answer = desk.terminals.output(made)
    assert answer["truncated"]
    assert len(answer["output"].encode()) <= 1000


def test_an_endless_writer_is_slowed_down_and_kept_small(desk):
    made = desk.create("yes")
    process = desk.process(made)
    reads = []
    read = process._read
    process._read = lambda: reads.append(time.monotonic()) or read()
    until(lambda: len(reads) > 20)
    pauses = [later - earlier for earlier, later in itertools.pairwise(reads)]
    assert min(pauses) >= terminal_process.READ_PACE_S / 2
    assert len(process._ring._kept) <= 2 * OUTPUT_BYTES_DEFAULT + terminal_process.READ_BYTES + 4
    desk.terminals.kill(made)
    assert desk.exit_of(made) == {"signal": "signal: killed"}


# ---- the end


@pytest.mark.parametrize(
    ("command", "status"),
    [
        ("exit 0", {"exitCode": 0}),
        ("exit 7", {"exitCode": 7}),
        ("kill -9 $$", {"signal": "signal: killed"}),
        ("kill -15 $$", {"signal": "signal: terminated"}),
    ],
)
@pytest.mark.parametrize("pidfd", [True, False])
def test_how_it_ended(tmp_path, command, status, pidfd):
    desk = Desk(tmp_path.resolve(), pidfd=pidfd)
    made = desk.create("sh", "-c", command)
    assert desk.exit_of(made) == status
    assert desk.terminals.output(made)["exitStatus"] == status


def test_an_unnamed_signal_has_its_number():
    assert terminal_process.exit_status(-60) == {"signal": "signal: real-time signal 26"}
    assert terminal_process.exit_status(-4242) == {"signal": "signal: 4242"}


def test_what_it_leaves_in_its_group_dies_with_it(desk):
    made = desk.create("sh", "-c", "sleep 300 & echo $!")
    assert desk.exit_of(made) == {"exitCode": 0}
    child = int(desk.terminals.output(made)["output"])
    assert not is_running(child)


def test_who_leaves_the_group_does_not_hold_the_end(desk):
    made = desk.python(
        """
        import subprocess
        child = subprocess.Popen(["sleep", "300"], start_new_session=True)
        print(child.pid, flush=True)
        """
    )
    assert desk.exit_of(made) == {"exitCode": 0}
    os.kill(int(desk.terminals.output(made)["output"]), signal.SIGKILL)


def test_a_kill_ends_the_group_and_keeps_the_terminal(desk):
    made = desk.create("sh", "-c", "trap '' TERM; sleep 300 & echo up; wait")
    until(lambda: desk.terminals.output(made)["output"] == "up\n")
    group = desk.process(made).pid
    desk.terminals.kill(made)
    assert desk.exit_of(made) == {"signal": "signal: killed"}
    assert not group_lives(group)
    desk.terminals.kill(made)
    assert desk.terminals.output(made)["output"] == "up\n"


def test_a_release_kills_and_forgets_and_a_wait_in_progress_completes(desk):
    made = desk.create("sleep", "300")
    waiting = desk.terminals.exit_of(made)
    desk.terminals.release(made)
    assert waiting.get(timeout=10) == {"signal": "signal: killed"}
    for call in (desk.terminals.output, desk.terminals.exit_of, desk.terminals.kill):
        with pytest.raises(RequestError) as caught:
            call(made)
        assert caught.value.code == -32002
    with pytest.raises(RequestError):
        desk.terminals.release(made)


def test_a_release_after_the_end(desk):
    made = desk.create("true")
    desk.exit_of(made)
    desk.terminals.release(made)
    assert len(desk.terminals) == 0


def test_d22_a_terminal_whose_leader_was_reaped_is_never_signalled(desk, monkeypatch):
    made = desk.create("true")
    desk.exit_of(made)
    signalled = []
    monkeypatch.setattr(terminal_process, "signal_group", lambda *args: signalled.append(args))
    desk.terminals.kill(made)
    desk.terminals.kill_turn("t-1")
    desk.terminals.close()
    assert signalled == []


def test_r5_a_turn_that_was_cut_takes_its_own_terminals(desk):
    old = desk.create("sleep", "300", turn="t-1")
    new = desk.create("sleep", "300", turn="t-2")
    desk.terminals.kill_turn("t-1")
    assert desk.exit_of(old) == {"signal": "signal: killed"}
    assert not desk.terminals.exit_of(new).ready()


def test_the_end_of_the_agent_takes_all_and_refuses_more(desk):
    made = [desk.create("sleep", "300") for _ in range(3)]
    pids = [desk.process(terminal_id).pid for terminal_id in made]
    desk.terminals.close()
    assert desk.terminals.wait(10)
    assert not any(is_running(pid) for pid in pids)
    with pytest.raises(RequestError, match="ending"):
        desk.create("true")


def test_a_terminal_that_is_made_while_the_agent_ends_dies_too(tmp_path):
    registry = ToolProcesses(MemoryProcessStore())
    desk = Desk(tmp_path.resolve(), registry=registry)
    register = registry.register

    def slow(ctx, config):
        desk.terminals.close()
        return register(ctx, config)

    registry.register = slow
    made = desk.create("sleep", "300")
    assert desk.exit_of(made) == {"signal": "signal: killed"}


def test_fifty_lives_give_every_descriptor_back(desk):
    desk.run("true")
    before = fds()
    for number in range(50):
        made = desk.create("sh", "-c", "echo x; sleep 300" if number % 2 else "echo x")
        if number % 2:
            desk.terminals.kill(made)
        desk.exit_of(made)
        desk.terminals.release(made)
    assert fds() <= before


# ---- the registry


def test_a_terminal_is_registered_for_its_turn_and_completed(desk):
    desk.terminals.owner = ProcessOwner("sess-1", "acp-1")
    made = desk.create("sh", "-c", "exit 3", turn="t-9")
    (record,) = desk.records()
    assert record.source is ProcessSource.ACP_TERMINAL
    assert record.owner == ProcessOwner("sess-1", "acp-1", "t-9", terminal_id=made)
    assert record.process_group_id == record.pid
    desk.exit_of(made)
    until(lambda: desk.records()[0].state is ProcessState.COMPLETED)
    assert desk.records()[0].exit_code == 3
    assert desk.registry.live_count == 0


def test_a_terminal_that_can_not_be_registered_is_killed(tmp_path):
    class Broken(MemoryProcessStore):
        def upsert(self, record):
            raise OSError("the disk is full")

    desk = Desk(tmp_path.resolve(), registry=ToolProcesses(Broken()))
    with pytest.raises(OSError, match="disk is full"):
        desk.create("sleep", "300")
    until(lambda: children() == [])
    assert len(desk.terminals) == 0


def test_d35_an_exit_before_it_is_registered_completes_the_record(tmp_path, monkeypatch):
    """D35: the end may come first, and is not lost."""
    registry = ToolProcesses(MemoryProcessStore())
    desk = Desk(tmp_path.resolve(), registry=registry)
    register = registry.register

    def late(ctx, config):
        record = register(ctx, config)
        (process,) = desk.terminals._open.values()
        process.exited.get(timeout=10)
        return record

    monkeypatch.setattr(registry, "register", late)
    desk.create("sh", "-c", "exit 5")
    assert registry.live_count == 0
