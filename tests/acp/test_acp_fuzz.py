"""Whatever an agent writes: only what is documented happens, in bounded memory.

``make test`` feeds 100,000 messages, ``make chaos`` 1,000,000. Both print the seed; set it in
``SEEDS`` to run one again.
"""

import json
import random
import resource
import sys
import tracemalloc

import pytest
from greenroom.actors.errors import AgentError
from greenroom.actors.model.agent import PermissionMode
from greenroom.transport.acp.options import FRAME_BYTES_MAX
from greenroom.transport.acp.outputs import (
    Disconnected,
    EventsEmitted,
    Logged,
    Ready,
    StartFailed,
    TurnClosed,
)

SESSION = "acp-1"
READ_BYTES = 64 * 1024
SEEDS = (20_261_123,)
FAST_MESSAGES = 100_000
CHAOS_MESSAGES = 1_000_000
ROUND = 40
"""Messages one client gets."""
POOL = 2_000
"""Messages kept to be said again, elsewhere and in another company: a new one costs as much as
what happens to it."""
GROWTH_MAX_KIB = 64 * 1024

# fmt: off
KINDS = [
    "user_message_chunk", "agent_message_chunk", "agent_thought_chunk", "user_message",
    "agent_message", "agent_thought", "tool_call", "tool_call_update", "tool_call_content_chunk",
    "terminal_update", "terminal_output_chunk", "state_update", "plan", "plan_update",
    "available_commands_update", "current_mode_update", "config_option_update",
    "session_info_update", "usage_update", "notice", "compaction_update", "subagent_update",
    "invented",
]
METHODS = [
    "session/request_permission", "fs/read_text_file", "fs/write_text_file", "terminal/create",
    "terminal/output", "terminal/release", "elicitation/create", "session/update", "vendor/thing",
]
WORDS = ["", "a", "hello", "t1", "t2", "m-1", "/ws/a", "/etc/passwd", "\0", "\ud800", "Zm9v", "!"]
NUMBERS = [0, 1, -1, 2**53, 2**64, -(2**63), 10**400, 1.5, 1e308, -0.0]
TOKENS = [
    "completed", "failed", "cancelled", "pending", "idle", "running", "requires_action",
    "end_turn", "error", "read", "edit", "allow_once", "reject_once", "text", "resource_link",
    "select", "boolean", "form", "url", "tool_call", "command", "terminal",
]
MEMBERS = [
    "sessionId", "update", "sessionUpdate", "messageId", "content", "toolCallId", "terminalId",
    "title", "status", "kind", "state", "stopReason", "background", "capabilities", "output",
    "exitStatus", "data", "usage", "used", "size", "cost", "amount", "configOptions", "configId",
    "id", "type", "options", "optionId", "toolCall", "subject", "locations", "path", "rawInput",
    "requestId", "error", "code", "message", "inputTokens", "_meta", "mode", "requestedSchema",
    "properties", "elicitationId", "command", "args", "env",
]
# fmt: on


class Grammar:
    """Messages an agent might write, from a seed."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.pool = {}

    def value(self, depth=0):
        pick = self.random.random()
        if depth > 3 or pick < 0.55:
            return self.random.choice(
                [None, True, False, *WORDS, *TOKENS, self.random.choice(NUMBERS)]
            )
        if pick < 0.7:
            return [self.value(depth + 1) for _ in range(self.random.randrange(3))]
        names = self.random.sample(MEMBERS, self.random.randrange(4))
        return {name: self.value(depth + 1) for name in names}

    def members(self, **wanted):
        """Members that are mostly right, now and then missing or of another type."""
        kept = {}
        for name, value in wanted.items():
            pick = self.random.random()
            if pick < 0.9:
                kept[name] = value
            elif pick < 0.96:
                kept[name] = self.value()
        for name in self.random.sample(MEMBERS, self.random.randrange(3)):
            kept.setdefault(name, self.value())
        return kept

    def block(self):
        kind = self.random.choice(["text", "text", "image", "resource_link"])
        return self.members(type=kind, text=self.random.choice(WORDS), uri="u")

    def update(self):
        choice = self.random.choice
        body = self.members(
            sessionUpdate=choice(KINDS),
            messageId=choice(["m-1", "m-2"]),
            content=choice([self.block(), [self.block()], None]),
            toolCallId=choice(["t1", "t2"]),
            terminalId="x-1",
            status=choice(TOKENS[:4]),
            state=choice(TOKENS[4:7]),
            title=choice(WORDS),
            stopReason=choice(TOKENS[7:9]),
            data="Zm9v",
        )
        session = SESSION if self.random.random() < 0.95 else "other"
        return {"method": "session/update", "params": {"sessionId": session, "update": body}}

    def request(self):
        call = self.members(toolCallId="t1", kind=self.random.choice(["read", "edit"]))
        options = [self.members(optionId="y", name="Y", kind="allow_once")]
        params = self.members(
            sessionId=SESSION,
            toolCall=call,
            subject={"type": self.random.choice(TOKENS[-3:]), "toolCall": call},
            options=options,
            path="/ws/a",
            content="x",
            command="ls",
            terminalId="x-1",
            mode=self.random.choice(["form", "url"]),
            message="?",
        )
        method = self.random.choice(METHODS)
        return {"id": self.random.randrange(30), "method": method, "params": params}

    def answer(self):
        result = self.members(stopReason="end_turn", messageId="m-1", sessionId=SESSION)
        body = {"id": self.random.randrange(1, 8), "result": result}
        if self.random.random() < 0.2:
            body["error"] = self.members(code=-32603, message="no", data=self.value())
        return body

    def lines(self, count):
        """Lines: new ones and some said before; a few of them damaged."""
        chance, pool = self.random.random, self.pool
        said = []
        for _ in range(count):
            if len(pool) < POOL or chance() < 0.1:
                data = self.message()
                pool[len(pool) if len(pool) < POOL else self.random.randrange(POOL)] = data
            else:
                data = pool[int(chance() * POOL)]
            if chance() < 0.1:
                damaged = bytearray(data)
                for _ in range(self.random.randrange(1, 4)):
                    self.damage(damaged)
                data = bytes(damaged)
            said.append(data + b"\n")
        return said

    def message(self):
        """One message as JSON."""
        pick = self.random.random()
        if pick < 0.6:
            message = self.update()
        elif pick < 0.8:
            message = self.request()
        elif pick < 0.9:
            message = self.answer()
        elif pick < 0.95:
            message = {"method": "$/cancel_request", "params": {"requestId": self.value()}}
        else:
            message = self.value()
        return json.dumps(message).encode()

    def damage(self, data):
        where = self.random.randrange(len(data) + 1)
        match self.random.randrange(4):
            case 0:
                data[where:where] = bytes([self.random.randrange(256)])
            case 1:
                del data[where : where + self.random.randrange(1, 8)]
            case 2:
                data[where:where] = data[: self.random.randrange(20)]
            case 3:
                data[where:] = b""


STATES = ["starting", "idle", "turn", "cancelled", "loading"]


def at(make, state):
    """A peer in that state, whose policy lets everything pass."""
    opts = {"terminal": True, "elicitation": True, "permissions": PermissionMode.APPROVE_READS}
    if state == "loading":
        opts["resume_session_id"] = SESSION
    peer = make(**opts)
    match state:
        case "starting":
            peer.do(peer.client.start())
        case "loading":
            peer.begun({"agentCapabilities": {"loadSession": True}})
        case "idle":
            peer.started()
        case _:
            peer.started().prompted()
            if state == "cancelled":
                peer.do(peer.client.cancel())
    return peer


def fed(make, state, pieces):
    """What a peer in that state makes of bytes; runs of events joined."""
    peer = at(make, state)
    outputs = []
    for piece in pieces:
        outputs += peer.client.receive_data(piece)
        outputs.append(peer.client.data_to_send())
    outputs += peer.client.receive_eof("gone")
    events, written, others = [], b"", []
    for output in outputs:
        match output:
            case EventsEmitted(emitted):
                events += emitted
            case bytes():
                written += output
            case _:
                others.append(output)
    return events, written, [repr(other) for other in others], others


def check(state, events, others):
    assert [type(other) for other in others].count(Disconnected) == 1
    if state in ("starting", "loading"):
        assert sum(isinstance(other, Ready | StartFailed) for other in others) == 1
        assert all(
            isinstance(other.error, AgentError)
            for other in others
            if isinstance(other, StartFailed)
        )
    for other in others:
        assert not isinstance(other, Logged) or len(other.text) < 400
    for event in events:
        # What goes on to the store must be encodable as it is.
        event.text.encode()
        event.title.encode()
    ends = [event for event in events if event.is_terminal]
    closed = [other for other in others if isinstance(other, TurnClosed)]
    assert len(ends) == len(closed)


def fuzz(make, seed, messages):
    grammar = Grammar(seed)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(messages // ROUND):
        state = STATES[number % len(STATES)]
        data = b"".join(grammar.lines(ROUND))
        events, written, told, others = fed(make, state, [data])
        check(state, events, others)
        # Neighbouring rounds are in other states: each of them is cut now and then.
        if number % 9 == 0:
            cut = grammar.random.randrange(len(data))
            assert fed(make, state, [data[:cut], data[cut:]])[:3] == (events, written, told)
        if number % 99 == 0:
            single = [data[n : n + 1] for n in range(len(data))]
            assert fed(make, state, single)[:3] == (events, written, told)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown * (1 if sys.platform == "linux" else 1 / 1024) < GROWTH_MAX_KIB


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("version", [1, 2])
def test_p1_no_message_does_harm(make_peer, make_v2_peer, seed, version):
    print(f"seed {seed}")
    fuzz(make_peer if version == 1 else make_v2_peer, seed, FAST_MESSAGES // 2)


@pytest.mark.chaos
@pytest.mark.parametrize("version", [1, 2])
def test_p1_a_million_messages_do_no_harm(make_peer, make_v2_peer, version):
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    fuzz(make_peer if version == 1 else make_v2_peer, seed, CHAOS_MESSAGES // 2)


def test_p1_memory_is_bounded_by_one_line_and_one_read(make_peer):
    peer = make_peer().started().prompted()
    piece = b"x" * READ_BYTES
    tracemalloc.start()
    try:
        for _ in range(FRAME_BYTES_MAX // READ_BYTES + 4):
            peer.client.receive_data(piece)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= FRAME_BYTES_MAX + READ_BYTES + 64 * 1024
    assert isinstance(peer.client.receive_eof("gone"), list)


@pytest.mark.parametrize("version", [1, 2])
def test_p1_numbers_out_of_every_range_do_no_harm(make_peer, make_v2_peer, version):
    peer = (make_peer if version == 1 else make_v2_peer)().started().prompted()
    huge = "1" + "0" * 400
    for number in (huge, "1e999", "-1e999", "1e-999"):
        line = (
            '{"method":"session/update","params":{"sessionId":"acp-1","update":{"sessionUpdate":'
            f'"usage_update","used":{number},"size":1,"cost":{{"amount":{number}}}}}}}}}'
        )
        peer.raw(line.encode() + b"\n")
    peer.do(peer.client.receive_eof("gone"))
    usages = [event.usage for event in peer.events if event.usage]
    assert {usage.context_size for usage in usages} <= {1}
    assert {usage.context_used for usage in usages} <= {None, 0}


@pytest.mark.parametrize("where", ["rawInput", "data"])
def test_p1_huge_numbers_come_back_as_they_came(make_peer, where):
    peer = make_peer().started().prompted()
    huge = 10**400
    if where == "rawInput":
        peer.ask(7, rawInput={"n": huge})
        assert peer.events[-1].raw.value["tool_input"] == {"n": huge}
    else:
        peer.reply(error={"code": huge, "message": "no", "data": {"n": huge}})
        assert peer.events[-1].raw.value["data"] == {"n": huge}
