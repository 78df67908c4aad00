"""Agents that misbehave: what the driver makes of each, and that nothing outlives a stop."""

from __future__ import annotations

import os
import resource
import signal
import stat
import time

import gevent
import pytest
from greenroom.actors.errors import (
    AgentError,
    AgentExitedError,
    AgentNotAvailableError,
    AgentStartError,
    OperationUnavailableError,
    WorkspaceRootMissingError,
    error_is,
)
from greenroom.actors.model.failure import FailureKind
from greenroom.transport.agent import driver as driver_module
from greenroom.transport.agent import ending as ending_module
from greenroom.transport.agent import link as link_module
from greenroom.transport.agent import stop as stop_module
from greenroom.transport.agent.context import CallContext
from greenroom.transport.agent.driver import ACPDriver
from greenroom.transport.agent.groups import group_lives
from greenroom.transport.agent.presets import resolve_agent
from greenroom.transport.agent.stop import stop_process

from .conftest import children, fds, in_pipe, is_running, until

STOP_S = 7.0
"""No stop takes longer, whatever the agent does."""
STUBBORN = """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    handshake()
    while True:
        if not sys.stdin.readline():
            time.sleep(0.05)
"""


# ---- starts


def test_a_command_that_is_not_there(stage):
    with pytest.raises(AgentNotAvailableError, match="not found on PATH; install it") as caught:
        stage.start(("no-such-agent-anywhere", "--acp"))
    assert caught.value.agent_name == "tested"


def test_a_workspace_that_is_not_there(stage):
    stage.cwd = stage.cwd / "gone"
    with pytest.raises(WorkspaceRootMissingError):
        stage.start()
    stage.cwd = stage.cwd.parent
    with pytest.raises(WorkspaceRootMissingError):
        stage.start(additional_dirs=("/no/such/place",))


def test_a_command_that_is_no_program(stage):
    path = stage.cwd / "agent"
    path.write_bytes(b"\x7fELF, but not really")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    before = fds()
    with pytest.raises(AgentStartError) as caught:
        stage.start((str(path),))
    assert caught.value.failure.kind is FailureKind.STARTUP
    assert isinstance(caught.value.__cause__, OSError)
    assert fds() <= before


@pytest.mark.parametrize(
    "wrong", [{"permissions": "do-what-you-like"}, {"additional_dirs": ("relative",)}]
)
def test_options_that_are_wrong(stage, wrong):
    with pytest.raises(AgentStartError, match="invalid ACP start options") as caught:
        stage.start(**wrong)
    assert caught.value.failure.kind is FailureKind.STARTUP


@pytest.mark.parametrize("status", [0, 3])
def test_d7_an_agent_that_exits_at_once(stage, status):
    command = stage.script(f"sys.stderr.write('no licence found\\n'); sys.exit({status})")
    before = children()
    with pytest.raises(AgentStartError) as caught:
        stage.start(command)
    assert caught.value.failure.kind is FailureKind.HANDSHAKE
    assert f"exited with status {status}" in caught.value.failure.summary
    assert caught.value.failure.summary.endswith("; stderr=no licence found")
    assert children() == before


def test_an_agent_that_never_answers_is_killed_when_the_caller_gives_up(stage):
    command = stage.script("print('started', file=sys.stderr)\nwhile True: read()")
    with pytest.raises(TimeoutError):
        stage.start(command, ctx=CallContext.after(0.3))
    assert children() == []


def test_d2_r17_an_agent_that_never_answers_meets_the_steps_own_limit(stage):
    command = stage.script("while True: read()")
    with pytest.raises(AgentStartError, match="timed out") as caught:
        stage.start(command, driver=ACPDriver(initialize_timeout=0.1))
    assert caught.value.failure.kind is FailureKind.HANDSHAKE
    assert children() == []


def test_a_caller_that_leaves_during_the_start(stage):
    command = stage.script("while True: read()")
    ctx = CallContext()
    starting = gevent.spawn(stage.start, command, ctx=ctx)
    until(lambda: children() != [])
    ctx.cancel(InterruptedError("left"))
    with pytest.raises(InterruptedError):
        starting.get(timeout=10)
    assert children() == []


def test_a_starter_that_is_killed_leaves_no_agent(stage):
    starting = gevent.spawn(stage.start, stage.script("while True: read()"))
    until(lambda: children() != [])
    starting.kill(timeout=10)
    assert children() == []


def test_garbage_before_and_between_the_frames_is_skipped(stage):
    process = stage.start(
        stage.script(
            """
            os.write(1, b"Welcome to my agent!\\n\\xff\\xfe\\n[1,2]\\n\\n42\\r\\n")
            handshake()
            request_id = await_prompt()
            os.write(1, b"debug: thinking\\n")
            say("answer")
            end(request_id)
            serve()
            """
        )
    )
    events = stage.play(process, "x")
    assert [event.type for event in events] == ["agent_message", "done"]


def test_a_failed_clean_up_does_not_hide_the_failed_start(stage, monkeypatch):
    def refuse(ctx, process, stop_timeout):
        stop_process(ctx, process, stop_timeout)
        raise AgentError("it outlived SIGKILL")

    monkeypatch.setattr(driver_module, "stop_process", refuse)
    with pytest.raises(BaseExceptionGroup) as caught:
        stage.start(stage.script("sys.exit(3)"))
    assert error_is(caught.value, AgentStartError)
    assert "SIGKILL" in str(caught.value.exceptions[1])
    with pytest.raises(BaseExceptionGroup) as caught:
        stage.start(stage.script("while True: read()"), ctx=CallContext.after(0.2))
    assert error_is(caught.value, TimeoutError)


def test_the_workspace_does_not_choose_what_the_demo_agent_imports(stage):
    for name in ("json.py", "threading.py", "greenroom.py"):
        (stage.cwd / name).write_text("raise SystemExit('from the workspace')")
    process = stage.start(resolve_agent("demo", {}).command)
    assert stage.play(process, "@@say mine")[0].text == "mine"


# ---- exits


@pytest.mark.parametrize(
    ("ending", "status", "is_crash"),
    [
        ("sys.exit(3)", 3, True),
        ("sys.exit(0)", 0, False),
        ("os.kill(os.getpid(), 9)", -9, True),
        ("os.abort()", -signal.SIGABRT, True),
    ],
)
def test_an_exit_in_the_middle_of_a_turn(stage, ending, status, is_crash):
    process = stage.start(
        stage.script(
            f"""
            handshake()
            await_prompt()
            say("last words")
            print("something broke", file=sys.stderr, flush=True)
            {ending}
            """
        )
    )
    events = stage.play(process, "x")
    assert [event.type for event in events] == ["agent_message", "error"]
    assert events[-1].failure.kind is FailureKind.PROCESS_EXIT
    error = process.wait()
    assert isinstance(error, AgentExitedError) is is_crash
    if is_crash:
        assert error.exit_status == status
        assert error.stderr == "something broke\n"
    with pytest.raises(OperationUnavailableError):
        stage.prompt(process, "again")


def test_d31_everything_written_before_an_exit_is_read(stage):
    process = stage.start(
        stage.script(
            """
            handshake()
            request_id = await_prompt()
            for number in range(200):
                say(f"{number} ")
            end(request_id)
            os._exit(1)
            """
        )
    )
    events = stage.play(process, "x")
    said = "".join(event.text for event in events if event.type == "agent_message")
    assert said.split() == [str(number) for number in range(200)]
    assert events[-1].type == "done"


@pytest.mark.parametrize("holds", ["stderr=2", "stdout=1", "stdout=1, stderr=2, stdin=0"])
def test_d31_a_grandchild_that_holds_a_pipe_hides_no_crash(stage, holds):
    process = stage.start(
        stage.script(
            f"""
            handshake()
            await_prompt()
            child = subprocess.Popen(["sleep", "300"], {holds})
            say(str(child.pid))
            sys.exit(5)
            """
        )
    )
    began = time.monotonic()
    events = stage.play(process, "x")
    assert process.wait().exit_status == 5
    assert time.monotonic() - began < 5
    assert not is_running(int(events[0].text))


def test_r33_what_left_the_group_is_found_and_killed(stage, caplog):
    process = stage.start(
        stage.script(
            """
            handshake()
            await_prompt()
            child = subprocess.Popen(
                ["sleep", "300"], start_new_session=True, stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )
            say(str(child.pid))
            serve()
            """
        )
    )
    stray = int(stage.prompt(process, "x").take()[0].text)
    assert os.getpgid(stray) != process.pid
    stage.stop(process)
    until(lambda: not is_running(stray))
    assert f"[{stray}]" in caplog.text


def test_d34_an_agent_that_closes_its_output_but_lives(stage):
    process = stage.start(
        stage.script("handshake()\nawait_prompt()\nsay('x')\nos.close(1)\ntime.sleep(300)")
    )
    events = stage.play(process, "x")
    assert events[-1].type == "error"
    assert events[-1].failure.kind is FailureKind.PROCESS_EXIT
    assert "closed its output" in events[-1].failure.summary
    assert not process.done.is_set()


def test_r31_stderr_is_drained_for_ever_and_its_end_is_kept(stage):
    process = stage.start(
        stage.script(
            """
            handshake()
            request_id = await_prompt()
            for number in range(20000):
                sys.stderr.write(f"line {number} of a chatty agent, to be read or not\\n")
            say("through")
            end(request_id)
            serve()
            """
        )
    )
    assert stage.play(process, "x")[0].text == "through"
    stage.stop(process)
    tail = process.stderr()
    assert tail.endswith("line 19999 of a chatty agent, to be read or not\n")
    assert len(tail) == 128 * 1024


# ---- stops


def test_a_stop_of_a_well_behaved_agent_is_short_and_no_crash(stage):
    process = stage.start()
    began = time.monotonic()
    stage.stop(process)
    assert time.monotonic() - began < 2
    assert process.wait() is None
    stage.stop(process)


def test_a_stop_in_the_middle_of_a_turn_is_silent(stage):
    process = stage.start()
    stream = stage.prompt(process, "@@say begun\n@@hang")
    stream.take()
    stage.stop(process)
    assert [event.type for event in stream if event.type in ("error", "done")] in ([], ["done"])
    assert process.wait() is None


@pytest.mark.parametrize(
    "text",
    [
        STUBBORN,
        "handshake()\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "while True: say('noise ' * 100)",
        "handshake()\nos.kill(os.getpid(), signal.SIGSTOP)\ntime.sleep(300)",
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nhandshake()\n"
        "subprocess.Popen(['sleep', '300'])\nos.close(0)\ntime.sleep(300)",
    ],
    ids=["ignores everything", "endless output", "stopped by a signal", "has a child"],
)
def test_r34_a_stubborn_agent_is_killed_with_its_group(stage, text):
    process = stage.start(stage.script(text), driver=ACPDriver())
    driver = ACPDriver(stop_timeout=0.2)
    began = time.monotonic()
    driver.stop(CallContext.after(20), process)
    assert time.monotonic() - began < 3
    assert process.wait() is None
    assert not group_lives(process.pid)
    assert children() == []


def test_d29_the_whole_stop_fits_the_deadline_and_has_succeeded(stage):
    process = stage.start(stage.script(STUBBORN))
    began = time.monotonic()
    stage.stop(process, seconds=2.0)
    assert time.monotonic() - began < 2.0
    assert process.wait() is None


def test_a_stop_with_the_defaults_keeps_its_bound(stage):
    process = stage.start(stage.script(STUBBORN))
    began = time.monotonic()
    stage.driver.stop(CallContext(), process)
    assert 5.0 < time.monotonic() - began < STOP_S


def test_a_context_that_is_over_stops_nothing(stage):
    process = stage.start()
    over = CallContext()
    over.cancel(InterruptedError("left"))
    with pytest.raises(InterruptedError):
        stage.driver.stop(over, process)
    assert not process.done.is_set()
    stage.stop(process)
    assert process.wait() is None


def test_a_cancelled_stop_goes_on_at_once_and_then_says_so(stage):
    process = stage.start(stage.script(STUBBORN))
    ctx = CallContext()
    stopping = gevent.spawn(stage.driver.stop, ctx, process)
    until(lambda: process.stopping is not None)
    began = time.monotonic()
    ctx.cancel(InterruptedError("left"))
    with pytest.raises(InterruptedError):
        stopping.get(timeout=10)
    assert time.monotonic() - began < 3
    assert process.done.is_set() is (not group_lives(process.pid))


def test_several_stops_at_once_are_one(stage):
    process = stage.start(stage.script(STUBBORN))
    driver = ACPDriver(stop_timeout=0.3)
    stops = [gevent.spawn(driver.stop, CallContext.after(20), process) for _ in range(5)]
    gevent.joinall(stops, timeout=20, raise_error=True)
    assert process.done.is_set()


def test_a_stop_does_not_turn_an_earlier_crash_into_a_success(stage):
    process = stage.start(stage.script("handshake()\nawait_prompt()\nsys.exit(9)"))
    stage.play(process, "x")
    stage.stop(process)
    assert process.wait().exit_status == 9


def test_d30_an_agent_that_offers_close_gets_the_time_for_it(stage):
    process = stage.start(
        stage.script(
            """
            handshake(sessionCapabilities={"close": {}})
            while True:
                message = read()
                if message["method"] == "session/close":
                    time.sleep(0.2)
                    open("closed", "w").close()
                    send(id=message["id"], result={})
            """
        )
    )
    stage.stop(process)
    assert (stage.cwd / "closed").exists()


# ---- floods and silences


FLOOD = """
    handshake()
    request_id = await_prompt()
    line = "x" * 1000
    number = 0
    while number < %d:
        say(f"{number} {line}")
        number += 1
    end(request_id)
    serve()
"""


def test_d9_an_agent_is_slowed_down_to_the_pace_of_its_reader(stage):
    process = stage.start(stage.script(FLOOD % 30000))
    stream = stage.prompt(process, "x")
    until(lambda: process.link.is_paused)
    held = stream.waiting
    assert 128 <= held < 128 + 100
    until(lambda: in_pipe(process) > 40_000)
    assert stream.waiting == held
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    most, count = 0, 0
    while events := stream.take():
        count += len(events)
        most = max(most, len(events))
    assert count == 30001
    assert most < 128 + 100
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 16 * 1024


def test_d9_a_reader_that_never_comes_back_loses_the_agent(stage):
    process = stage.start(stage.script(FLOOD % 10**9), driver=ACPDriver(read_stall=0.1))
    stream = stage.prompt(process, "x")
    until(process.link.ended.is_set)
    events = list(stream)
    assert len(events) < 500
    assert events[-1].failure.kind is FailureKind.PROCESS_EXIT
    assert "not taken for 0.1 s" in events[-1].failure.summary


def test_a_stop_does_not_wait_for_a_reader(stage):
    process = stage.start(stage.script(FLOOD % 10**9))
    stage.prompt(process, "x")
    until(lambda: process.link.is_paused)
    ACPDriver(stop_timeout=0.1).stop(CallContext.after(20), process)
    assert process.wait() is None


def test_a_flood_of_tiny_lines_leaves_the_hub_to_others(stage):
    process = stage.start(stage.script("handshake()\nos.execvp('yes', ['yes'])"))
    until(lambda: process.link.read_bytes <= link_module.READ_BYTES_MAX // 8)


def test_a_line_without_an_end_closes_the_connection(stage):
    process = stage.start(
        stage.script("handshake()\nawait_prompt()\nwhile True: os.write(1, b'x' * 65536)")
    )
    events = stage.play(process, "x")
    assert events[-1].failure.kind is FailureKind.PROCESS_EXIT
    assert "10485760" in events[-1].failure.summary


DEAF = "handshake()\ntime.sleep(300)"


def test_d8_a_stop_never_waits_for_a_deaf_agent(stage):
    process = stage.start(stage.script(DEAF))
    stream = stage.prompt(process, "x" * 4_000_000)
    assert process.link.write_stalled_s >= 0
    began = time.monotonic()
    ACPDriver(stop_timeout=0.2).stop(CallContext.after(20), process)
    assert time.monotonic() - began < 3
    assert list(stream) == []


def test_d8_a_deaf_agent_is_given_up_before_memory_is(stage, monkeypatch):
    monkeypatch.setattr(link_module, "OUTGOING_BYTES_MAX", 1_000_000)
    process = stage.start(stage.script(DEAF))
    events = stage.play(process, "x" * 2_000_000)
    assert events[-1].failure.kind is FailureKind.PROCESS_EXIT
    assert "does not read its input" in events[-1].failure.summary


def test_a_large_prompt_reaches_an_agent_that_reads_slowly(stage):
    process = stage.start(
        stage.script(
            """
            handshake()
            got = b""
            while not got.endswith(b"\\n"):
                got += os.read(0, 50000)
                time.sleep(0.0005)
            text = json.loads(got)["params"]["prompt"][0]["text"]
            say(f"{len(text)} {text[:3]} {text[-3:]}")
            end(json.loads(got)["id"])
            """
        )
    )
    assert stage.play(process, "a" + "€" * 2_000_000 + "z")[0].text == "2000002 a€€ €€z"


def test_many_large_answers_wait_their_turn(stage):
    """An agent asks for 60 files of 1 MB and takes nothing until all were asked for."""
    (stage.cwd / "big").write_text("x" * 1_000_000)
    process = stage.start(
        stage.script(
            """
            handshake()
            request_id = await_prompt()
            for number in range(60):
                params = {"sessionId": "s-1", "path": "big"}
                send(id=f"r{number}", method="fs/read_text_file", params=params)
            while not os.path.exists("go"):
                time.sleep(0.005)
            answers = [read() for _ in range(60)]
            say(str(sum(len(answer["result"]["content"]) for answer in answers)))
            end(request_id)
            """
        )
    )
    stream = stage.prompt(process, "x")
    # Each answer is 1 MB: beyond the mark no further file is read, whatever was asked for.
    until(lambda: not process.link.drained.is_set())
    for _ in range(10):  # rounds in which further files would be read
        gevent.get_hub().threadpool.apply((stage.cwd / "big").read_bytes)
    assert process.link.waiting_bytes < 3 * link_module.OUTGOING_BYTES_MARK
    (stage.cwd / "go").touch()
    assert "60000000" in [event.text for event in stream]


def test_twenty_lives_leave_nothing_behind(stage):
    stage.stop(stage.start())  # what is made once and kept is made here
    before = fds(), children(), len(os.listdir(f"/proc/{os.getpid()}/task"))
    for number in range(20):
        process = stage.start()
        if number % 2:
            stage.play(process, "@@say x")
        if number % 5 == 0:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
        stage.stop(process)
    assert fds() <= before[0]
    assert children() == before[1]
    assert len(os.listdir(f"/proc/{os.getpid()}/task")) <= before[2] + 10  # the pool's threads


def test_an_update_flood_between_turns_is_bounded(stage):
    process = stage.start(
        stage.script(
            """
            handshake()
            for number in range(2000):
                update = {"sessionUpdate": "session_info_update", "title": f"t{number}"}
                send(method="session/update", params={"sessionId": "s-1", "update": update})
            serve()
            """
        )
    )
    stage.play(process, "x")
    seen = []
    process.on_event = seen.extend
    assert len(seen) <= 256


# ---- the rare ends


def test_a_defect_of_ours_ends_the_turn_and_does_not_leave_it_open(stage, capsys):
    process = stage.start()

    def fail(data):
        raise ZeroDivisionError("a defect")

    stream = stage.prompt(process, "@@say x")
    process.link.client.receive_data = fail
    events = list(stream)
    assert events[-1].failure.kind is FailureKind.PROCESS_EXIT
    assert "internal error" in events[-1].failure.summary
    assert "ZeroDivisionError: a defect" in capsys.readouterr().err


def test_a_flood_from_outside_the_group_does_not_hold_the_end(stage, monkeypatch):
    monkeypatch.setattr(link_module, "FINAL_BYTES_MAX", 100_000)
    monkeypatch.setattr(ending_module, "FINAL_READ_S", 30.0)
    process = stage.start(
        stage.script(
            """
            handshake()
            await_prompt()
            subprocess.Popen(["yes"], start_new_session=True)
            say("left")
            os._exit(4)
            """
        )
    )
    began = time.monotonic()
    stage.play(process, "x")
    assert process.wait().exit_status == 4
    assert time.monotonic() - began < 5


def test_what_can_not_be_killed_is_reported(stage, monkeypatch):
    process = stage.start()
    monkeypatch.setattr(ending_module, "group_lives", lambda group: True)
    monkeypatch.setattr(ending_module, "GROUP_EMPTY_S", 0.05)
    with pytest.raises(AgentError, match="outlived SIGKILL"):
        stage.stop(process)
    assert "could not be emptied" in str(process.wait())


def test_an_exit_that_never_shows_is_reported(stage, monkeypatch):
    process = stage.start(stage.script(STUBBORN))
    for name in ("KILLED_S", "FINISHED_S", "TERMINATED_S"):
        monkeypatch.setattr(stop_module, name, 0.01)
    monkeypatch.setattr(stop_module, "signal_group", lambda group, number: False)
    with pytest.raises(AgentError, match="outlived SIGKILL"):
        ACPDriver(stop_timeout=0.01).stop(CallContext.after(20), process)
    assert not process.done.is_set()


def test_a_stop_that_waits_for_another_has_its_own_limit(stage):
    process = stage.start(stage.script(STUBBORN))
    first = gevent.spawn(ACPDriver(stop_timeout=1.0).stop, CallContext.after(20), process)
    until(lambda: process.stopping is not None)
    with pytest.raises(TimeoutError):
        stage.driver.stop(CallContext.after(0.05), process)
    first.get(timeout=20)
    assert process.wait() is None


def test_a_withdrawn_file_request_is_not_served(stage):
    (stage.cwd / "big").write_text("x" * 3_000_000)
    process = stage.start(
        stage.script(
            """
            handshake()
            request_id = await_prompt()
            for name in ("first", "second", "third"):
                params = {"sessionId": "s-1", "path": "big"}
                send(id=name, method="fs/read_text_file", params=params)
            send(method="$/cancel_request", params={"requestId": "third"})
            while not os.path.exists("go"):
                time.sleep(0.005)
            answers = {answer["id"]: answer for answer in (read(), read(), read())}
            say(" ".join(sorted(name for name in answers if "result" in answers[name])))
            say(str(answers["third"]["error"]["code"]))
            end(request_id)
            serve()
            """
        )
    )
    stream = stage.prompt(process, "x")
    until(lambda: not process.link.drained.is_set())
    (stage.cwd / "go").touch()
    said = [event.text for event in stream if event.type == "agent_message"]
    assert said == ["first second", "-32800"]


def test_a_sink_may_call_the_driver(stage):
    """What an output causes comes after what was there before it, and nothing is lost."""
    process = stage.start(
        stage.script(
            """
            handshake()
            def fact():
                update = {"sessionUpdate": "session_info_update", "title": "ready"}
                send(method="session/update", params={"sessionId": "s-1", "update": update})
            fact()
            fact()
            serve()
            """
        )
    )
    streams = []

    def prompt(facts):
        for _ in facts:
            if not streams:
                streams.append(stage.prompt(process, "x"))

    process.on_event = prompt
    until(lambda: streams)
    assert [event.text for event in streams[0] if event.text] == ["served"]
