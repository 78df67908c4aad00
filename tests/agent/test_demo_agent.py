"""The demo agent as any ACP client meets it: over its own stdin and stdout, byte by byte."""

from __future__ import annotations

import json
import os
import re
import resource
import select
import signal
import subprocess
import sys
import time

import pytest
from greenroom.transport.demo.directives import COUNT_MAX, USAGE, Directive, parse

DEADLINE_S = 20.0
ANSWERS = {"once": "once", "always": "always", "no": "no", "never": "never"}


class Client:
    """A client of a few lines: it answers file requests, and permissions as it is told."""

    def __init__(self, cwd, state, *, pace="0", files=("readTextFile", "writeTextFile")):
        environment = {
            **os.environ,
            "GREENROOM_DEMO_STATE": str(state),
            "GREENROOM_DEMO_PACE": pace,
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "greenroom.transport.demo"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=cwd,
            env=environment,
        )
        self.cwd = str(cwd)
        self.files = files
        self.allow = "once"
        self.updates = []
        self.asked = []
        self.stray = []
        self.session = ""
        self._last_id = 0
        self._buffer = b""

    def send(self, **message):
        self.process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
        self.process.stdin.flush()

    def request(self, method, **params):
        self._last_id += 1
        self.send(id=self._last_id, method=method, params=params)
        return self._last_id

    def next_message(self):
        """The next frame; lines that are none are kept aside. ``None`` at the end."""
        end = time.monotonic() + DEADLINE_S
        while True:
            line, found, rest = self._buffer.partition(b"\n")
            if found:
                self._buffer = rest
                try:
                    return json.loads(line)
                except ValueError:
                    self.stray.append(line)
                    continue
            ready, _, _ = select.select([self.process.stdout], [], [], end - time.monotonic())
            assert ready, f"nothing came; last updates: {self.updates[-3:]}"
            data = os.read(self.process.stdout.fileno(), 65536)
            if not data:
                return None
            self._buffer += data

    def serve(self, message):
        """React to what is not an answer."""
        params = message["params"]
        match message["method"]:
            case "session/update":
                self.updates.append(params["update"])
            case "fs/read_text_file":
                try:
                    with open(params["path"]) as file:
                        self.send(id=message["id"], result={"content": file.read()})
                except OSError as error:
                    self.send(id=message["id"], error={"code": -32002, "message": str(error)})
            case "fs/write_text_file":
                with open(params["path"], "w") as file:
                    file.write(params["content"])
                self.send(id=message["id"], result={})
            case "session/request_permission":
                self.asked.append(params)
                if self.allow in ANSWERS:
                    outcome = {"outcome": "selected", "optionId": self.allow}
                    self.send(id=message["id"], result={"outcome": outcome})

    def until(self, done):
        """Serve messages until ``done(message)``; returns that one."""
        while (message := self.next_message()) is not None:
            if "method" in message:
                self.serve(message)
            if done(message):
                return message
        return None

    def answer(self, request_id):
        return self.until(
            lambda message: message.get("id") == request_id and "method" not in message
        )

    def answers(self, *request_ids):
        """The answers to several requests, in whatever order they come."""
        found = {}
        while len(found) < len(request_ids):
            message = self.until(lambda m: m.get("id") in request_ids and "method" not in m)
            found[message["id"]] = message
        return found

    def ask(self, method, **params):
        return self.answer(self.request(method, **params))

    def open(self):
        fs = dict.fromkeys(self.files, True)
        shaken = self.ask("initialize", protocolVersion=1, clientCapabilities={"fs": fs})
        opened = self.ask("session/new", cwd=self.cwd, mcpServers=[])
        self.session = opened["result"]["sessionId"]
        return shaken["result"]

    def prompt(self, text):
        return self.request(
            "session/prompt", sessionId=self.session, prompt=[{"type": "text", "text": text}]
        )

    def turn(self, text):
        """One whole turn; returns the stop reason."""
        return self.answer(self.prompt(text))["result"]["stopReason"]

    def until_text(self, text):
        """Serve until the agent has said ``text``."""
        return self.until(lambda _: text in self.said())

    def said(self):
        return "".join(
            update["content"]["text"]
            for update in self.updates
            if update["sessionUpdate"] == "agent_message_chunk"
        )

    def kinds(self):
        return [update["sessionUpdate"] for update in self.updates]

    def close(self):
        self.process.kill()
        self.process.stdin.close()
        self.process.wait(DEADLINE_S)
        self.process.stdout.close()


@pytest.fixture
def workspace(tmp_path):
    path = tmp_path / "ws"
    path.mkdir()
    (path / "README.md").write_text("# A tiny project\nsecond line\n")
    return path


@pytest.fixture
def connect(workspace, tmp_path):
    clients = []

    def make(**options):
        client = Client(workspace, tmp_path / "state", **options)
        clients.append(client)
        client.hello = client.open()
        return client

    yield make
    for client in clients:
        client.close()


def alive(pattern):
    """Processes whose command line holds the pattern."""
    found = subprocess.run(["pgrep", "-f", pattern], capture_output=True, text=True, check=False)
    return [int(pid) for pid in found.stdout.split() if int(pid) != os.getpid()]


def cpu_s(*command):
    """Processor seconds of one process, whatever else the machine does."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *command], stdin=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_it_starts_in_a_blink_and_says_what_it_can():
    spent = min(cpu_s("-m", "greenroom.transport.demo") for _ in range(3))
    # The budget is 100 ms over a bare interpreter; a busy machine gets twice that.
    assert spent - cpu_s("-c", "pass") < 0.2


def test_it_loads_no_other_package():
    code = (
        "import sys; import greenroom.transport.demo.agent;"
        "print([n for n in ('gevent', 'acp', 'msgspec', 'zmq', 'pykka') if n in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_initialize_offers_load_resume_close_and_steering(connect):
    hello = connect().hello
    assert hello["protocolVersion"] == 1
    assert hello["agentCapabilities"]["loadSession"] is True
    assert hello["agentCapabilities"]["sessionCapabilities"] == {"resume": {}, "close": {}}
    assert hello["_meta"] == {"steering": {"supported": True}}


def test_the_story_shows_every_part_of_a_turn(connect):
    client = connect()
    assert client.turn("please write a compiler") == "end_turn"
    kinds = client.kinds()
    assert {"agent_thought_chunk", "plan", "tool_call", "tool_call_update", "usage_update"} < set(
        kinds
    )
    said = client.said()
    assert "A tiny project" in said
    assert '"compiler"' in said
    assert "4 words" in said
    tools = [update for update in client.updates if update["sessionUpdate"] == "tool_call"]
    assert [tool["kind"] for tool in tools] == ["read", "execute"]
    assert [option["kind"] for option in client.asked[0]["options"]] == [
        "allow_once",
        "allow_always",
        "reject_once",
        "reject_always",
    ]
    assert client.asked[0]["toolCall"]["kind"] == "execute"
    last = [update for update in client.updates if update["sessionUpdate"] == "plan"][-1]
    assert {entry["status"] for entry in last["entries"]} == {"completed"}
    result = [update for update in client.updates if update["sessionUpdate"] == "tool_call_update"][
        -1
    ]
    assert result["status"] == "completed"
    assert "README.md" in result["content"][0]["content"]["text"]


def test_a_refusal_is_taken_with_good_grace(connect):
    client = connect()
    client.allow = "no"
    assert client.turn("hello") == "end_turn"
    failed = [update for update in client.updates if update.get("status") == "failed"]
    assert len(failed) == 1
    assert "left the command alone" in client.said()


@pytest.mark.parametrize(("answer", "asks", "made"), [("always", 1, True), ("never", 1, False)])
def test_a_standing_answer_is_not_asked_for_again(connect, workspace, answer, asks, made):
    client = connect()
    client.allow = answer
    client.turn("@@run touch one")
    client.turn("@@run touch two")
    assert len(client.asked) == asks
    assert (workspace / "two").exists() is made


def test_mode_auto_does_not_ask(connect, workspace):
    client = connect()
    assert client.ask("session/set_mode", sessionId=client.session, modeId="auto")["result"] == {}
    client.turn("@@run touch made")
    assert client.asked == []
    assert (workspace / "made").exists()
    wrong = client.ask("session/set_mode", sessionId=client.session, modeId="yolo")
    assert wrong["error"]["code"] == -32602


def test_directives_read_write_run_say_and_think(connect, workspace):
    client = connect()
    client.turn(
        "@@say first words\n@@think hm\n@@write sub.txt some text here\n@@read sub.txt\n"
        "@@run echo out; echo err >&2; exit 3\n@@tools 3\n@@garbage\n@@slow 2 0"
    )
    assert (workspace / "sub.txt").read_text() == "some text here"
    assert client.said() == "first words1 of 2\n2 of 2\n"
    shown = json.dumps(client.updates)
    assert '"hm"' in shown
    assert "out\\nerr" in shown
    titles = [
        update["title"] for update in client.updates if update["sessionUpdate"] == "tool_call"
    ]
    assert sum(title.startswith("Read") for title in titles) == 4
    run = [u for u in client.updates if u.get("status") == "failed"]
    assert len(run) == 1
    assert client.stray == [b"this line is not JSON {"]
    assert len(client.asked) == 2


def test_echo_gives_back_the_prompt_or_the_rest_of_the_line(connect):
    client = connect()
    client.turn("@@echo what I said")
    assert client.said() == "what I said"
    client.updates.clear()
    client.turn("above\n@@echo")
    assert client.said() == "above\n@@echo"


def test_a_missing_file_fails_its_tool_call_and_nothing_else(connect):
    client = connect()
    assert client.turn("@@read nowhere.txt\n@@say on") == "end_turn"
    assert client.updates[-2]["status"] == "failed"
    assert client.said() == "on"


def test_it_reads_files_itself_for_a_client_that_serves_none(connect, workspace):
    client = connect(files=())
    client.turn("@@read README.md\n@@write made.txt by itself")
    assert "A tiny project" in json.dumps(client.updates)
    assert (workspace / "made.txt").read_text() == "by itself"


def test_an_empty_workspace_has_its_own_story(connect, workspace):
    (workspace / "README.md").unlink()
    client = connect()
    client.turn("x")
    assert "nothing for me to read" in client.said()


def steer(client, text):
    return client.request(
        "_session/steering",
        sessionId=client.session,
        prompt=[{"type": "text", "text": text}],
        _meta={"steering": {"idleBehavior": "promptRequired"}},
    )


def test_steering_reaches_the_running_turn_after_its_step(connect):
    client = connect()
    turn = client.prompt("@@slow 1000 0.005")
    client.until_text("3 of 1000")
    assert client.answer(steer(client, "@@say new course"))["result"] == {"outcome": "injected"}
    client.until_text("new course")
    assert "You steered me: @@say new course" in client.said()
    client.send(method="session/cancel", params={"sessionId": client.session})
    assert client.answer(turn)["result"]["stopReason"] == "cancelled"


def test_steering_without_a_turn_takes_nothing(connect):
    client = connect()
    answer = client.answer(steer(client, "anyone?"))
    assert answer["result"] == {"outcome": "promptRequired", "reason": "noRunningTurn"}
    unknown = client.ask("_session/steering", sessionId="demo-0", prompt=[])
    assert unknown["error"]["code"] == -32002


def test_injected_means_that_the_turn_reacts_however_late_it_came(connect):
    client = connect()
    outcomes = set()
    for _ in range(50):
        client.updates.clear()
        turn, steering = client.prompt("@@say short"), steer(client, "@@say late")
        answers = client.answers(turn, steering)
        outcome = answers[steering]["result"]["outcome"]
        assert ("late" in client.said()) is (outcome == "injected")
        outcomes.add(outcome)
    assert outcomes <= {"injected", "promptRequired"}


@pytest.mark.parametrize(
    "prompt",
    [
        "@@hang",
        "@@slow 10000 0.01",
        "@@run sleep 300",
        "@@slow 1 300",
        "plain words",
        "@@run sh -c 'sleep 300' & wait",
    ],
)
def test_cancel_is_obeyed_wherever_it_waits(connect, prompt):
    client = connect(pace="0.01")
    turn = client.prompt(prompt)
    if prompt.startswith("@@run"):
        client.until(lambda _: any(u.get("status") == "in_progress" for u in client.updates))
    elif prompt != "@@hang":
        client.until(lambda message: message.get("method") == "session/update")
    client.send(method="session/cancel", params={"sessionId": client.session})
    assert client.answer(turn)["result"]["stopReason"] == "cancelled"


def test_cancel_while_a_permission_is_pending(connect):
    client = connect()
    client.allow = "nobody answers"
    turn = client.prompt("@@run touch never")
    client.until(lambda message: message.get("method") == "session/request_permission")
    client.send(method="session/cancel", params={"sessionId": client.session})
    assert client.answer(turn)["result"]["stopReason"] == "cancelled"
    assert client.turn("@@say alive") == "end_turn"


def test_a_cancelled_command_leaves_nothing_running(connect):
    mark = f"sleep 31{os.getpid()}"
    client = connect()
    turn = client.prompt(f"@@run {mark} & {mark} & wait")
    client.until(lambda _: any(u.get("status") == "in_progress" for u in client.updates))
    end = time.monotonic() + DEADLINE_S
    while len(alive(f"^{mark}")) < 2 and time.monotonic() < end:
        pass
    client.send(method="session/cancel", params={"sessionId": client.session})
    client.answer(turn)
    assert alive(f"^{mark}") == []


def test_a_second_prompt_in_the_same_session_is_refused(connect):
    client = connect()
    client.prompt("@@hang")
    assert client.answer(client.prompt("@@say too"))["error"]["code"] == -32600


def test_unknown_methods_and_bad_params(connect):
    client = connect()
    assert client.ask("session/fly")["error"]["code"] == -32601
    assert client.ask("session/new", cwd="not/absolute")["error"]["code"] == -32602
    assert client.ask("session/prompt", sessionId="demo-0", prompt=[])["error"]["code"] == -32002
    assert client.ask("session/prompt", sessionId=client.session)["error"]["code"] == -32602
    client.send(id=99, method="session/new", params=[1])
    assert client.answer(99)["error"]["code"] == -32602


def test_the_end_of_input_ends_it_and_its_command(connect):
    mark = f"sleep 32{os.getpid()}"
    client = connect()
    client.prompt(f"@@run {mark}")
    client.until(lambda _: any(u.get("status") == "in_progress" for u in client.updates))
    end = time.monotonic() + DEADLINE_S
    while not alive(f"^{mark}") and time.monotonic() < end:
        pass
    began = time.monotonic()
    client.process.stdin.close()
    assert client.process.wait(DEADLINE_S) == 0
    assert time.monotonic() - began < DEADLINE_S / 2
    assert alive(f"^{mark}") == []


def test_deaf_ignores_cancel_and_the_end_of_input(connect):
    client = connect()
    turn = client.prompt("@@deaf\n@@slow 20 0.01")
    client.send(method="session/cancel", params={"sessionId": client.session})
    assert client.answer(turn)["result"]["stopReason"] == "end_turn"
    client.process.stdin.close()
    with pytest.raises(subprocess.TimeoutExpired):
        client.process.wait(0.3)


def test_exit_exits_with_the_code(connect):
    client = connect()
    client.prompt("@@exit 7")
    assert client.until(lambda _: False) is None
    assert client.process.wait(DEADLINE_S) == 7


def test_load_after_a_kill_replays_and_resume_does_not(connect):
    first = connect()
    first.turn("@@say remember me")
    first.prompt("@@say cut off\n@@hang")
    first.until_text("cut off")
    os.kill(first.process.pid, signal.SIGKILL)
    second = connect()
    loaded = second.ask("session/load", sessionId=first.session, cwd=second.cwd, mcpServers=[])
    assert loaded["result"]["modes"]["currentModeId"] == "ask"
    shown = [(u["sessionUpdate"], u["content"]["text"]) for u in second.updates]
    assert shown == [
        ("user_message_chunk", "@@say remember me"),
        ("agent_message_chunk", "remember me"),
        ("user_message_chunk", "@@say cut off\n@@hang"),
    ]
    second.updates.clear()
    second.ask("session/resume", sessionId=first.session, cwd=second.cwd)
    assert second.updates == []
    second.session = first.session
    assert second.turn("plain") == "end_turn"
    assert "prompt number 3" in second.said()


@pytest.mark.parametrize("session_id", ["demo-0123456789abcdef", "../../etc/passwd", "", None])
def test_loading_an_unknown_session(connect, session_id):
    client = connect()
    answer = client.ask("session/load", sessionId=session_id, cwd=client.cwd, mcpServers=[])
    assert answer["error"]["code"] == -32002


def test_close_cancels_and_forgets(connect):
    client = connect()
    turn = client.prompt("@@hang")
    assert client.ask("session/close", sessionId=client.session)["result"] == {}
    assert client.answer(turn)["result"]["stopReason"] == "cancelled"
    assert client.answer(client.prompt("x"))["error"]["code"] == -32002


def test_every_documented_directive_parses_as_itself():
    for verb, usage in USAGE.items():
        text = re.sub(r"\b(N|CODE)\b", "2", usage).replace("SECONDS", "0.5")
        (found,) = parse(text)
        assert found.verb == verb


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("@@slow 3 0.5", Directive("slow", times=3, seconds=0.5)),
        ("@@slow 99999999", Directive("slow", times=COUNT_MAX, seconds=1.0)),
        ("@@tools", Directive("tools", times=1)),
        ("@@write a.txt b  c", Directive("write", path="a.txt", text="b  c")),
        ("@@write a.txt", Directive("write", path="a.txt")),
        ("@@exit", Directive("exit")),
    ],
)
def test_parsing(line, expected):
    assert parse(f"  {line} ") == [expected]


@pytest.mark.parametrize("line", ["@@slow x y", "@@read", "@@fly", "@@exit now", "@@"])
def test_a_directive_that_is_none_explains_itself(line):
    (found,) = parse(line)
    assert found.verb == "say"
    assert "@@" in found.text


def test_text_without_directives_has_none():
    assert parse("mail me@@home\nplease") == []
