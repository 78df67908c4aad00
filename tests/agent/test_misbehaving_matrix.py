"""P2: every row of the table of misbehaving agents (04 11) x {handshake, idle, mid-turn}.

A row is one piece of script that an otherwise decent agent runs in one of three phases; its three
cells say what has to come of it, or why there is no such cell. Every stop is timed, and nothing of
any agent is left.
"""

from __future__ import annotations

import os
import textwrap
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import gevent
import pytest
from greenroom.actors.errors import AgentExitedError, AgentStartError, OperationUnavailableError
from greenroom.actors.model.failure import FailureKind
from greenroom.transport.agent.driver import ACPDriver

from .conftest import children, fds, in_pipe, is_running, soon, until

STOP_S = 7.0
"""No stop takes longer, whatever the agent does (P2)."""
PHASES = ("handshake", "idle", "mid-turn")

AGENT = """
PHASE = "{phase}"
notes, pending = [], []

def message(want=None):
    # The next message; answers to requests of ours are kept for `answers`.
    while True:
        got = read()
        if "method" not in got:
            pending.append(got)
        elif want in (None, got["method"]):
            return got

def answers(count):
    while len(pending) < count:
        got = plain_read()
        if "method" not in got:
            pending.append(got)
        else:
            later.append(got)
    taken, pending[:count] = pending[:count], []
    return taken

later = []
plain_read = read

def read():
    return later.pop(0) if later and later[0].get("method") else plain_read()

def outcome(answer):
    return str(answer["error"]["code"] if "error" in answer else "ok")

def call(method, **params):
    send(id=f"a{{len(notes)}}{{method}}", method=method, params={{"sessionId": "s-1", **params}})

def update(**members):
    send(method="session/update", params={{"sessionId": "s-1", "update": members}})

def answer_initialize(id):
    send(id=id, result={{"protocolVersion": 1}})

def answer_new(id):
    send(id=id, result={{"sessionId": "s-1"}})

def answer_prompt(id):
    say(" ".join([*notes, "served"]))
    end(id)

def misbehave(request_id=None):
{body}

started = message("initialize")["id"]
if PHASE == "handshake":
    misbehave(started)
answer_initialize(started)
answer_new(message("session/new")["id"])
if PHASE == "idle":
    misbehave()
    open("misbehaved", "w").close()
while True:
    turn = message("session/prompt")["id"]
    if PHASE == "mid-turn":
        PHASE = ""
        misbehave(turn)
    answer_prompt(turn)
"""


class Scene:
    """One cell: an agent that misbehaves in one phase."""

    def __init__(self, stage, phase, body):
        self.stage = stage
        self.phase = phase
        text = AGENT.format(phase=phase, body=textwrap.indent(textwrap.dedent(body), "    "))
        self.command = stage.script(text)
        self.driver = ACPDriver(stop_timeout=0.3, cancel_grace=0.2, initialize_timeout=2.0)
        self.process = None

    def start(self, **opts):
        self.process = self.stage.start(self.command, driver=self.driver, **opts)
        return self.process

    def let_it_misbehave(self):
        """Between turns: what belongs to no turn must have been read before there is one."""
        if self.phase == "idle":
            until((self.stage.cwd / "misbehaved").exists)
            until(lambda: not in_pipe(self.process))

    def play(self, text="x"):
        return self.stage.play(self.process, text)

    def stop(self):
        """End the agent within the bound; nothing of it is left."""
        began = time.monotonic()
        self.driver.stop(soon(), self.process)
        assert time.monotonic() - began < STOP_S
        assert self.process.done.is_set()


Outcome = Callable[[Scene], None]


def said(events):
    return "".join(event.text for event in events if event.type == "agent_message")


def serves(text="served"):
    """Start, turn and a second turn work; the first says this."""

    def check(scene):
        scene.start()
        scene.let_it_misbehave()
        events = scene.play()
        assert said(events) == text
        assert events[-1].type == "done"
        assert said(scene.play()).endswith("served")
        scene.stop()
        assert scene.process.wait() is None

    return check


def start_fails(kind, text=""):
    """The start raises its own kind of failure, and leaves no process."""

    def check(scene):
        before = children()
        began = time.monotonic()
        with pytest.raises(AgentStartError) as caught:
            scene.start()
        assert time.monotonic() - began < STOP_S
        assert caught.value.failure.kind is kind
        assert text in caught.value.failure.summary
        assert children() == before

    return check


def turn_fails(kind, text="", is_crash=None):
    """The turn ends with one error of this kind; the process with what its exit means."""

    def check(scene):
        scene.start()
        events = scene.play()
        assert [event.type for event in events].count("error") == 1
        assert events[-1].failure.kind is kind
        assert text in events[-1].failure.summary
        with pytest.raises(OperationUnavailableError):
            scene.play()
        scene.stop()
        if is_crash is not None:
            assert isinstance(scene.process.wait(), AgentExitedError) is is_crash

    return check


def goes_away(is_crash=None):
    """Between turns: the loss is seen, a prompt is refused, and the stop is short."""

    def check(scene):
        scene.start()
        until(lambda: not scene.process.link._connected)
        with pytest.raises(OperationUnavailableError):
            scene.play()
        scene.stop()
        if is_crash is not None:
            assert isinstance(scene.process.wait(), AgentExitedError) is is_crash

    return check


def is_killed(scene):
    """A stop ends it, and is no crash."""
    scene.start()
    stream = scene.stage.prompt(scene.process, "x") if scene.phase == "mid-turn" else None
    if stream is not None:
        stream.take()
    scene.stop()
    assert scene.process.wait() is None
    assert stream is None or [e.type for e in stream if e.type == "error"] == []


def leaves_nobody(scene):
    """What it forked is gone after the stop."""
    scene.start()
    scene.play()
    scene.stop()
    pids = [int(line) for line in (scene.stage.cwd / "pids").read_text().split()]
    assert pids
    until(lambda: not any(is_running(pid) for pid in pids))


def is_deaf(scene):
    """It takes nothing: a prompt waits, others do not, and a stop is not held up (D8).

    In a turn the prompt is the last it took.
    """
    scene.start()
    stream = scene.stage.prompt(scene.process, "x" * 2_000_000)
    waits = scene.phase == "idle"
    until(lambda: (scene.process.link.waiting_bytes > 0) is waits)
    scene.stop()
    assert [event.type for event in stream if event.type == "error"] == []


def cancel_gives_up(scene):
    """No answer: no limit of the driver; after a cancel its grace (D27)."""
    scene.start()
    stream = scene.stage.prompt(scene.process, "x")
    stream.take()
    scene.driver.cancel(soon(), scene.process)
    last = list(stream)[-1]
    assert last.failure.kind is FailureKind.CANCELLATION
    assert scene.process.suspect
    scene.stop()


def cancel_settles(scene):
    """What comes after a cancel belongs to the turn until the agent answers (D27)."""
    scene.start()
    stream = scene.stage.prompt(scene.process, "x")
    events = list(stream.take())
    scene.driver.cancel(soon(), scene.process)
    events += list(stream)
    assert said(events) == "before after"
    assert events[-1].stop_reason == "cancelled"
    scene.stop()


def keeps_stderr(scene):
    serves()(scene)
    assert len(scene.process.stderr()) <= 128 * 1024
    assert scene.process.stderr().endswith("the end\n")


def late_updates(scene):
    """Accepted for 100 ms at most after the answer, then dropped."""
    scene.start()
    events = scene.play()
    assert said(events) == "early"
    assert events[-1].type == "done"
    heard = scene.process.link.heard_at
    until(lambda: scene.process.link.heard_at != heard)
    assert said(scene.play()) == "served"
    scene.stop()


@dataclass(frozen=True)
class Row:
    """One behaviour; a cell that is a text is none, and the text says why."""

    body: str
    handshake: Outcome | str
    idle: Outcome | str
    mid_turn: Outcome | str

    def cell(self, phase):
        return getattr(self, phase.replace("-", "_"))


def everywhere(body, outcome):
    return Row(body, outcome, outcome, outcome)


LOST = FailureKind.PROCESS_EXIT
HANDSHAKE = FailureKind.HANDSHAKE
ONE_ANSWER_AT_A_TIME = "no request of ours is open between turns"
ONLY_A_START = "only the answers of a start have this shape"
ONLY_A_TURN = "there is no prompt to answer"
EXIT = """
if PHASE == "": say("last words")
sys.stderr.write("something broke\\n"); sys.stderr.flush()
os._exit({status})
"""
ASK_TWICE = """
for _ in range(2):
    call("fs/read_text_file", path="README.md")
notes.append("/".join(sorted(outcome(a) for a in answers(2))))
"""

ROWS = {
    "garbage line, array, scalar": everywhere(
        r"""os.write(1, b'Welcome!\n\xff\xfe\n[1,2]\n"text"\n42\nnull\n{"jsonrpc":\n')""",
        serves(),
    ),
    "line of more than 10 MiB": Row(
        "while True: os.write(1, b'x' * 65536)",
        start_fails(HANDSHAKE, "10485760"),
        goes_away(),
        turn_fails(LOST, "10485760"),
    ),
    "blank lines and CRLF": everywhere(
        r"""
        os.write(1, b'\n\r\n  \n')
        os.write(1, b'{"jsonrpc": "2.0", "method": "_vendor/note", "params": {}}\r\n')
        """,
        serves(),
    ),
    "answers with unknown, repeated and wrong-typed ids": everywhere(
        """
        for id in (4711, "1", "x", None, True, 1.5, [1], {"a": 1}):
            if id != request_id:
                send(id=id, result={"stopReason": "refusal", "protocolVersion": 7})
        """,
        serves(),
    ),
    "a repeated answer": Row(
        """
        def answer_initialize(id):
            for version in (1, 9):
                send(id=id, result={"protocolVersion": version})
        def answer_prompt(id):
            say("served"); end(id); end(id, "refusal")
        globals().update(locals())
        """,
        serves(),
        serves(),
        serves(),
    ),
    "an answer with both result and error": Row(
        """
        send(id=request_id, result={"protocolVersion": 1, "stopReason": "end_turn"},
             error={"code": -32603, "message": "it broke"})
        message("never")
        """,
        start_fails(HANDSHAKE, "it broke"),
        ONE_ANSWER_AT_A_TIME,
        lambda scene: error_wins(scene),
    ),
    "an answer with neither": Row(
        "send(id=request_id)\nif PHASE == 'handshake': message('never')",
        start_fails(HANDSHAKE, "version"),
        ONE_ANSWER_AT_A_TIME,
        lambda scene: empty_result(scene),
    ),
    "a wrong-shaped session/new result": Row(
        "global answer_new\ndef answer_new(id): send(id=id, result={'sessionId': 5})",
        start_fails(FailureKind.PROTOCOL, "session/new"),
        ONLY_A_START,
        ONLY_A_START,
    ),
    "an unknown request": everywhere(
        "call('vendor/invent', x=1)\nnotes.append(outcome(answers(1)[0]))",
        serves("-32601 served"),
    ),
    "an unknown notification": everywhere(
        "send(method='vendor/news', params={'x': 1}); send(method='_news')", serves()
    ),
    "malformed params": everywhere(
        """
        for params in ({"path": 5}, [], "x", {}):
            send(id="m", method="fs/read_text_file", params=params)
            notes.append(outcome(answers(1)[0]))
        """,
        serves("-32602 -32602 -32602 -32602 served"),
    ),
    "a request id that is in use": everywhere(
        """
        one = json.dumps({"jsonrpc": "2.0", "id": "same", "method": "fs/read_text_file",
                          "params": {"sessionId": "s-1", "path": "README.md"}}) + "\\n"
        os.write(1, (one + one).encode())
        notes.append("/".join(sorted(outcome(a) for a in answers(2))))
        """,
        serves("-32600/ok served"),
    ),
    "a flood of requests": everywhere(
        """
        lines = [json.dumps({"jsonrpc": "2.0", "id": n, "method": "fs/read_text_file",
                 "params": {"sessionId": "s-1", "path": "README.md"}}) for n in range(200)]
        os.write(1, ("\\n".join(lines) + "\\n").encode())
        got = [outcome(a) for a in answers(200)]
        notes.append("all" if len(got) == 200 and set(got) <= {"ok", "-32603"} else str(got))
        notes.append("capped" if got.count("ok") >= 64 else "too few")
        """,
        serves("all capped served"),
    ),
    "a flood of updates": everywhere(
        "for n in range(5000): update(sessionUpdate='plan', entries=[])", serves()
    ),
    "a tool result before its call": Row(
        """
        for status in ("completed", "completed"):
            update(sessionUpdate="tool_call_update", toolCallId="c-1", status=status)
        update(sessionUpdate="tool_call", toolCallId="c-1", title="t")
        """,
        serves(),
        serves(),
        lambda scene: ordered_tools(scene),
    ),
    "updates outside a turn or for another session": everywhere(
        """
        send(method="session/update", params={"sessionId": "other", "update": {
            "sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": "no"}}})
        if PHASE != "": say("no")
        """,
        serves(),
    ),
    "updates after the prompt's answer": Row(
        """
        say("early"); end(request_id)
        time.sleep(0.4)
        say("too late")
        def answer_prompt(id):
            if id != request_id: say("served"); end(id)
        globals().update(answer_prompt=answer_prompt)
        """,
        "there is no prompt to have been answered",
        "content between turns is the row above",
        late_updates,
    ),
    "updates after a cancel": Row(
        """
        say("before ")
        message("session/cancel")
        say("after")
        end(request_id, "cancelled")
        message("never")
        """,
        ONLY_A_TURN,
        ONLY_A_TURN,
        cancel_settles,
    ),
    "no answer to initialize": Row(
        "message('never')",
        start_fails(HANDSHAKE, "timed out"),
        ONLY_A_START,
        ONLY_A_START,
    ),
    "no answer to session/new": Row(
        "global answer_new\ndef answer_new(id): message('never')",
        lambda scene: never_new(scene),
        ONLY_A_START,
        ONLY_A_START,
    ),
    "no answer to a prompt": Row(
        "say('working')\nmessage('never')", ONLY_A_TURN, ONLY_A_TURN, cancel_gives_up
    ),
    "ignores cancel, end of input and SIGTERM": Row(
        """
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if PHASE == "": say("working")
        while True:
            if not sys.stdin.readline(): time.sleep(0.05)
        """,
        start_fails(HANDSHAKE, "timed out"),
        is_killed,
        is_killed,
    ),
    "stopped by a signal": Row(
        "if PHASE == '': say('working')\nos.kill(os.getpid(), signal.SIGSTOP)",
        start_fails(HANDSHAKE, "timed out"),
        is_killed,
        is_killed,
    ),
    "endless output": Row(
        "while True: say('noise ' * 100)",
        start_fails(HANDSHAKE, "timed out"),
        is_killed,
        is_killed,
    ),
    "stops reading its input": Row(
        "time.sleep(300)", start_fails(HANDSHAKE, "timed out"), is_deaf, is_deaf
    ),
    "exits with an error": Row(
        EXIT.format(status=3),
        start_fails(HANDSHAKE, "something broke"),
        goes_away(is_crash=True),
        turn_fails(LOST, "exited with status 3", is_crash=True),
    ),
    "exits with 0": Row(
        EXIT.format(status=0),
        start_fails(HANDSHAKE, "something broke"),
        goes_away(is_crash=False),
        turn_fails(LOST, "exited with status 0", is_crash=False),
    ),
    "is killed": Row(
        "os.kill(os.getpid(), 9)",
        start_fails(HANDSHAKE, "killed by signal 9"),
        goes_away(is_crash=True),
        turn_fails(LOST, "killed by signal 9", is_crash=True),
    ),
    "exits while a child holds its pipes": Row(
        "subprocess.Popen(['sleep', '300'])\nos._exit(5)",
        start_fails(HANDSHAKE, "exited with status 5"),
        goes_away(is_crash=True),
        turn_fails(LOST, "exited with status 5", is_crash=True),
    ),
    "leaves children, in its group and out of it": everywhere(
        """
        quiet = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
        made = [subprocess.Popen(["sleep", "300"], start_new_session=new, **quiet)
                for new in (False, True)]
        with open("pids", "w") as file:
            file.write(" ".join(str(child.pid) for child in made))
        """,
        leaves_nobody,
    ),
    "closes stdout but lives": Row(
        "os.close(1); time.sleep(300)",
        start_fails(HANDSHAKE, "closed its output"),
        goes_away(),
        turn_fails(LOST, "closed its output"),
    ),
    "floods stderr": everywhere(
        """
        for n in range(5000): sys.stderr.write(f"line {n} of a very chatty agent indeed\\n")
        sys.stderr.write("the end\\n"); sys.stderr.flush()
        """,
        keeps_stderr,
    ),
    "tricks with paths": everywhere(
        """
        os.symlink("/etc", "way"); os.symlink("/nowhere/at/all", "dangling")
        here = os.getcwd()
        for path in ("../secret", "/etc/passwd", "way/passwd", "dangling", "a\\0b", here + "-evil",
                     "", "way/../../secret"):
            call("fs/read_text_file", path=path)
            notes.append(outcome(answers(1)[0]))
        """,
        serves(" ".join(["-32602"] * 8 + ["served"])),
    ),
    "permission options that say nothing": everywhere(
        """
        for options in ([], [{"optionId": "a", "name": "A", "kind": "maybe"}], [{"x": 1}], None):
            call("session/request_permission", toolCall={"toolCallId": "c"}, options=options)
            got = answers(1)[0]
            notes.append(got["result"]["outcome"]["outcome"] if "result" in got else outcome(got))
        """,
        serves("cancelled cancelled cancelled cancelled served"),
    ),
}


def error_wins(scene):
    scene.start()
    last = scene.play()[-1]
    assert (last.type, last.failure.kind) == ("error", FailureKind.PROMPT)
    assert "it broke" in last.failure.summary
    scene.stop()


def empty_result(scene):
    scene.start()
    last = scene.play()[-1]
    assert (last.type, last.stop_reason) == ("done", "")
    assert said(scene.play()) == "served"
    scene.stop()


def ordered_tools(scene):
    scene.start()
    types = [e.type for e in scene.play() if e.tool_call_id == "c-1"]
    assert types[0] == "tool_call"
    assert types.count("tool_result") == 1
    scene.stop()


def never_new(scene):
    scene.driver = ACPDriver(stop_timeout=0.3, session_timeout=0.3)
    start_fails(FailureKind.PROTOCOL, "timed out")(scene)


CELLS = [
    pytest.param(phase, name, id=f"{name}-{phase}")
    for name, row in ROWS.items()
    for phase in PHASES
    if not isinstance(row.cell(phase), str)
]


@pytest.mark.parametrize(("phase", "name"), CELLS)
def test_cell(stage, phase, name):
    row = ROWS[name]
    scene = Scene(stage, phase, row.body)
    outcome = row.cell(phase)
    if name.startswith(("ignores", "stopped by", "endless", "stops reading", "no answer to i")):
        scene.driver = ACPDriver(stop_timeout=0.3, cancel_grace=0.2, initialize_timeout=0.5)
    outcome(scene)
    assert children() == []


def test_every_cell_is_there_or_says_why_not():
    assert len(ROWS) >= 26
    for row in ROWS.values():
        cells = [row.cell(phase) for phase in PHASES]
        assert any(callable(cell) for cell in cells)
        assert all(callable(cell) or len(cell) > 10 for cell in cells)
    assert len(CELLS) >= 75


# ---- kills


def kill_many(stage, rounds):
    """Agents with children, killed at any moment; nothing may be left."""
    body = """
    quiet = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    subprocess.Popen(["sleep", "297"], **quiet)
    subprocess.Popen(["sleep", "297"], start_new_session=True, **quiet)
    """
    scene = Scene(stage, "idle", body)
    stage.stop(stage.start(scene.command))
    before, marks = fds(), set()

    def one(number):
        process = stage.start(scene.command, session_id=f"s-{number}")
        marks.add(process._child.start_token)
        stream = stage.prompt(process, "x") if number % 2 else None
        if number % 3 == 0 and stream is not None:
            stream.take()
        os.kill(process.pid, 9)
        assert isinstance(process.wait(), AgentExitedError)
        assert not is_running(process.pid)

    for start in range(0, rounds, 10):
        jobs = [gevent.spawn(one, start + number) for number in range(10)]
        gevent.joinall(jobs, timeout=60, raise_error=True)
    assert children() == []
    assert len(marks) == rounds
    # What was killed last may still be dying: it is gone soon, or it was not killed.
    until(lambda: not carriers(marks), in_the_way=lambda: carriers(marks))
    assert fds() <= before
    assert stage.driver.processes.live_count == 0


def carriers(marks):
    """Processes anywhere that still carry the token of one of these starts, and what they are."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            env, command, status = (
                Path(f"/proc/{pid}/{name}").read_text(errors="replace")
                for name in ("environ", "cmdline", "stat")
            )
        except OSError:
            continue
        if any(mark in env for mark in marks) and is_running(int(pid)):
            found.append((int(pid), command.replace("\0", " "), status, len(env)))
    return found


def test_thirty_kills_leave_nothing(stage):
    kill_many(stage, 30)


@pytest.mark.chaos
def test_two_hundred_kills_leave_nothing(stage):
    kill_many(stage, 200)
