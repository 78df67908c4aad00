"""An agent that says what a test tells it to, on the other end of an :class:`AcpClient`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest
from greenroom.actors.errors import AgentError
from greenroom.actors.model.event import AgentEvent
from greenroom.actors.model.failure import FailureKind
from greenroom.transport.acp.client import AcpClient
from greenroom.transport.acp.options import ClientOpts
from greenroom.transport.acp.outputs import (
    EventsEmitted,
    Output,
    Ready,
    StartFailed,
    TimerArmed,
    TimerCancelled,
    TurnClosed,
)

SESSION = "acp-1"
V1 = {"protocolVersion": 1, "agentCapabilities": {}}
OPTIONS = [
    {"optionId": "o-always", "name": "Always", "kind": "allow_always"},
    {"optionId": "o-once", "name": "Once", "kind": "allow_once"},
    {"optionId": "o-no", "name": "No", "kind": "reject_once"},
]


def pytest_configure(config: pytest.Config) -> None:
    """The marker of tests that need third-party agents or their packages."""
    config.addinivalue_line("markers", "agents: needs npm and a network, only by hand")


class Peer:
    """A client and the agent's side of its pipe.

    ``outputs`` holds everything the client said, ``sent`` every message it wrote, ``timers`` the
    timers that run.
    """

    def __init__(self, cwd: str = "/ws", **opts: Any) -> None:
        self.client = AcpClient(ClientOpts(cwd=cwd, **opts))
        self.outputs: list[Output] = []
        self.sent: list[dict[str, Any]] = []
        self.timers: dict[str, float] = {}

    def do(self, outputs: Iterable[Output]) -> list[Output]:
        """Take note of outputs and of what was written."""
        new = list(outputs)
        self.outputs += new
        for output in new:
            match output:
                case TimerArmed(name, seconds):
                    self.timers[name] = seconds
                case TimerCancelled(name):
                    assert self.timers.pop(name, None) is not None, f"{name} does not run"
        data = self.client.data_to_send()
        assert data == b"" or data.endswith(b"\n")
        self.sent += [json.loads(line) for line in data.splitlines()]
        return new

    def fire(self, name: str) -> list[Output]:
        """A timer runs out; ``name`` may be the part before the number."""
        [found] = [timer for timer in self.timers if timer.split(":")[0] == name]
        del self.timers[found]
        return self.do(self.client.timer_fired(found))

    def raw(self, data: bytes) -> list[Output]:
        """The agent writes bytes."""
        return self.do(self.client.receive_data(data))

    def say(self, **message: Any) -> list[Output]:
        """The agent writes a message."""
        return self.raw(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")

    def reply(self, result: Any = None, error: Any = None, to: str = "") -> list[Output]:
        """The agent answers the last request written, or the last of method ``to``."""
        request = [m for m in self.sent if "id" in m and "method" in m and to in m["method"]][-1]
        if error is not None:
            return self.say(id=request["id"], error=error)
        return self.say(id=request["id"], result=result)

    def update(self, kind: str, /, session: str = SESSION, **members: Any) -> list[Output]:
        """The agent reports something."""
        params = {"sessionId": session, "update": {"sessionUpdate": kind, **members}}
        return self.say(method="session/update", params=params)

    def chunk(self, text: str, kind: str = "agent_message_chunk") -> list[Output]:
        """The agent says a piece of a message."""
        return self.update(kind, content={"type": "text", "text": text})

    def ask(self, request_id: Any = 900, **members: Any) -> list[Output]:
        """The agent asks for permission."""
        tool = {"toolCallId": "call-1", "title": "Write a", "kind": "edit", **members}
        options = tool.pop("options", OPTIONS)
        params = {"sessionId": SESSION, "toolCall": tool, "options": options}
        return self.say(id=request_id, method="session/request_permission", params=params)

    def begun(self, initialize: dict[str, Any] | None = None) -> Peer:
        """As far as the answer to initialize."""
        self.do(self.client.start())
        self.reply({"protocolVersion": 1, **(initialize or {})})
        return self

    def started(
        self, initialize: dict[str, Any] | None = None, session: dict[str, Any] | None = None
    ) -> Peer:
        """Through the handshake, every setting accepted."""
        self.do(self.client.start())
        self.reply({**V1, **(initialize or {})})
        while not self.client._parts.starting.ready:
            method = self.sent[-1]["method"]
            if method == "session/new":
                self.reply({"sessionId": SESSION, **(session or {})})
            else:
                self.reply({})
        self.outputs.clear()
        self.sent.clear()
        return self

    def prompted(self, turn_id: str = "turn-1", text: str = "hello") -> Peer:
        """With an open turn."""
        self.do(self.client.prompt(turn_id, text, {}))
        return self

    def ended(self, stop_reason: str = "end_turn") -> Peer:
        """The agent answers the prompt, and the turn settles."""
        self.reply({"stopReason": stop_reason}, to="session/prompt")
        self.fire("settle")
        return self

    @property
    def methods(self) -> list[str]:
        """The methods of all requests and notifications written."""
        return [message["method"] for message in self.sent if "method" in message]

    @property
    def outcome(self) -> Ready | StartFailed:
        """How the start ended."""
        [found] = [output for output in self.outputs if isinstance(output, Ready | StartFailed)]
        return found

    def failed(self, kind: FailureKind, *words: str) -> AgentError:
        """The error of a start that failed as said; nothing runs any more."""
        found = self.outcome
        assert isinstance(found, StartFailed), found
        assert found.failure.kind is kind
        assert all(word in found.failure.summary for word in words), found.failure.summary
        assert found.error.fields["failure"] == found.failure
        assert not self.timers
        return found.error

    @property
    def events(self) -> list[AgentEvent]:
        """All events so far."""
        emitted = [output for output in self.outputs if isinstance(output, EventsEmitted)]
        return [event for output in emitted for event in output.events]

    @property
    def types(self) -> list[str]:
        """The types of all events so far."""
        return [event.type for event in self.events]

    @property
    def closed(self) -> list[TurnClosed]:
        """The turns that were closed."""
        return [output for output in self.outputs if isinstance(output, TurnClosed)]

    def answer_to(self, request_id: Any) -> dict[str, Any]:
        """The one answer we gave to a request of the agent."""
        [answer] = [m for m in self.sent if "method" not in m and m["id"] == request_id]
        return answer


INFO = {"name": "agent", "version": "2"}
SESSIONS: dict[str, Any] = {"session": {"mcp": {"stdio": {}, "http": {}}}}


class PeerV2(Peer):
    """An agent that speaks ACP v2."""

    def __init__(self, cwd: str = "/ws", **opts: Any) -> None:
        super().__init__(cwd, **{"acp_version": "2", **opts})

    def begun(self, initialize: dict[str, Any] | None = None) -> PeerV2:
        """As far as the answer to initialize."""
        self.do(self.client.start())
        answer = {"protocolVersion": 2, "info": INFO, "capabilities": SESSIONS}
        self.reply({**answer, **(initialize or {})})
        return self

    def started(
        self, initialize: dict[str, Any] | None = None, session: dict[str, Any] | None = None
    ) -> PeerV2:
        """Through the handshake, every setting accepted."""
        self.begun(initialize)
        while not self.client._parts.starting.ready:
            if self.sent[-1]["method"] == "session/new":
                self.reply({"sessionId": SESSION, **(session or {})})
            elif self.sent[-1]["method"] == "session/list":
                self.reply({"sessions": [{"sessionId": SESSION, "cwd": "/ws"}]})
            else:
                self.reply(session or {})
        self.outputs.clear()
        self.sent.clear()
        return self

    def state(self, state: str, **members: Any) -> list[Output]:
        """The agent says what it does."""
        return self.update("state_update", state=state, **members)

    def idle(self, stop_reason: str | None = "end_turn", **members: Any) -> list[Output]:
        """The agent says that its work is over."""
        reason = {} if stop_reason is None else {"stopReason": stop_reason}
        return self.state("idle", **reason, **members)

    def insert(self, message_id: str = "m-1") -> list[Output]:
        """The agent answers the prompt."""
        return self.reply({"messageId": message_id}, to="session/prompt")

    def say_text(
        self, text: str, message_id: str = "a-1", kind: str = "agent_message_chunk"
    ) -> list[Output]:
        """The agent says a piece of a message."""
        return self.update(kind, messageId=message_id, content={"type": "text", "text": text})

    def running(self, turn_id: str = "turn-1", text: str = "hello") -> PeerV2:
        """With an open turn whose prompt was taken."""
        self.prompted(turn_id, text)
        self.insert(f"m-{turn_id}")
        self.state("running")
        return self

    def ended(self, stop_reason: str = "end_turn") -> PeerV2:
        """The agent is idle again, and the turn settles."""
        self.idle(stop_reason)
        self.fire("settle")
        return self


@pytest.fixture(scope="session")
def make_v2_peer() -> type[PeerV2]:
    """Makes a :class:`PeerV2` with the client options given."""
    return PeerV2


@pytest.fixture
def v2() -> PeerV2:
    """A peer of version 2 whose session is ready."""
    return PeerV2().started()


@pytest.fixture(scope="session")
def make_peer() -> type[Peer]:
    """Makes a :class:`Peer` with the client options given."""
    return Peer


@pytest.fixture
def peer() -> Peer:
    """A peer whose session is ready."""
    return Peer().started()
