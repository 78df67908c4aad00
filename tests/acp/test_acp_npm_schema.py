"""What we write is valid by the JSON schemas of the official SDK, and what they allow we read.

By hand: ``pytest -m agents``. Needs npm and its registry, once: the schemas are kept below the
virtual environment. Needs the package ``jsonschema`` too.
"""

import io
import itertools
import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from greenroom.actors.model.agent import ApproveRequest, PermissionMode
from greenroom.transport.acp import codec_v1, codec_v2
from greenroom.transport.acp.inputs import Unreadable
from greenroom.transport.acp.options import McpServer
from greenroom.transport.acp.outputs import ClientCallAsked, ElicitationAsked

pytestmark = [pytest.mark.agents, pytest.mark.timeout(600)]

SESSION = "acp-1"
PACKAGE = "@agentclientprotocol/sdk@2.4.0"
CACHE = Path(sys.prefix) / "share" / "acp-schemas" / "2.4.0"
EXTENSIONS = {"_session/steering"}
LEGACY = {"session/set_model"}
"""Of agents older than the schema."""
SERVERS = (
    McpServer("db", "/bin/db", ("-v",), (("A", "1"),)),
    McpServer("web", type="http", url="https://example.org", headers=(("H", "1"),)),
    McpServer("old", type="sse", url="https://example.org"),
)
CALLS = [
    ("fs/read_text_file", {"path": "/ws/a"}, {"content": "x"}),
    ("fs/write_text_file", {"path": "/ws/a", "content": "x"}, {}),
    ("terminal/create", {"command": "ls"}, {"terminalId": "x"}),
    ("terminal/output", {"terminalId": "x"}, {"output": "", "truncated": False}),
    ("terminal/wait_for_exit", {"terminalId": "x"}, {"exitCode": 0}),
    ("terminal/kill", {"terminalId": "x"}, {}),
    ("terminal/release", {"terminalId": "x"}, {}),
]


def download():
    CACHE.mkdir(parents=True, exist_ok=True)
    packed = subprocess.run(
        ["npm", "pack", PACKAGE, "--silent", "--pack-destination", str(CACHE)],
        check=True,
        capture_output=True,
        text=True,
        timeout=300,
    )
    archive = CACHE / packed.stdout.strip().splitlines()[-1]
    with tarfile.open(fileobj=io.BytesIO(archive.read_bytes())) as package:
        for version, name in itertools.product(("v1", "v2"), ("schema", "schema.unstable")):
            member = package.extractfile(f"package/schema/{version}/{name}.json")
            (CACHE / f"{version}-{name}.json").write_bytes(member.read())
    archive.unlink()


@pytest.fixture(scope="module")
def schemas(request):
    """The stable and the unstable schema of each version."""
    if "agents" not in request.config.option.markexpr:
        pytest.skip("compares with a package from npm; ask for it by: pytest -m agents")
    pytest.importorskip("jsonschema", reason="install jsonschema to compare with the schemas")
    if not (CACHE / "v2-schema.unstable.json").exists():
        download()
    return {path.stem: json.loads(path.read_text()) for path in CACHE.glob("*.json")}


class Schema:
    """Validates by the definitions of one schema file."""

    def __init__(self, document):
        self.document = document
        self.definitions = document["$defs"]

    def of(self, method, *endings):
        """The names of the definitions of a method that end so."""
        found = [
            name
            for name, definition in self.definitions.items()
            if definition.get("x-method") == method and name.endswith(endings)
        ]
        assert found, f"{method} is not in the schema"
        return found

    def errors(self, name, value):
        from jsonschema import Draft202012Validator

        schema = {"$ref": f"#/$defs/{name}", "$defs": self.definitions}
        return [error.message for error in Draft202012Validator(schema).iter_errors(value)]

    def check(self, method, value, *endings):
        errors = {name: self.errors(name, value) for name in self.of(method, *endings)}
        assert any(found == [] for found in errors.values()), (method, value, errors)


def check_sent(schema, peer, asked):
    """Every message the client wrote; the methods of its requests."""
    seen = set()
    for message in peer.sent:
        method = message.get("method")
        if method is None:
            if "result" in message:
                schema.check(asked[message["id"]], message["result"], "Response")
        elif method not in EXTENSIONS | LEGACY:
            schema.check(method, message["params"], "Request", "Notification")
            seen.add(method)
    return seen


def start(peer, initialize, opened):
    peer.do(peer.client.start())
    answers = {"initialize": initialize, "session/list": {"sessions": [{"sessionId": SESSION}]}}
    for method in ("session/new", "session/resume", "session/load"):
        answers[method] = {"sessionId": SESSION, **opened}
    while not peer.client._parts.starting.ready:
        if "replay" in peer.timers:
            peer.fire("replay")
        else:
            peer.reply(answers.get(peer.sent[-1]["method"], {}))


def converse(peer, asked):
    """Whatever a client may write in a session."""
    peer.do(peer.client.prompt("turn-1", "hello", {"turn_source": "user"}))
    yield
    peer.do(peer.client.steer("s-1", "left"))
    subject = {"type": "command", "command": "x", "cwd": "/ws"}
    options = [{"optionId": "y", "name": "Y", "kind": "allow_once"}]
    for number, offered in ((100, options), (101, [])):
        asked[number] = "session/request_permission"
        call = {"toolCallId": "c-1", "title": "T", "kind": "edit"}
        params = {"sessionId": SESSION, "toolCall": call, "title": "T", "subject": subject}
        peer.say(id=number, method=asked[number], params={**params, "options": offered})
    peer.do(peer.client.resolve_permission(ApproveRequest("allow-once", turn_id="turn-1")))
    form = {"mode": "form", "requestedSchema": {"type": "object", "properties": {}}}
    for number, action in enumerate(["accept", "decline", "cancel"], start=110):
        asked[number] = "elicitation/create"
        params = {"sessionId": SESSION, "message": "?", **form}
        peer.say(id=number, method=asked[number], params=params)
        [question] = [o for o in peer.outputs if isinstance(o, ElicitationAsked)][-1:]
        peer.do(peer.client.answer_elicitation(question.key, action, {"a": "b"}))
    for number, (method, params, result) in enumerate(CALLS, start=120):
        asked[number] = method
        peer.say(id=number, method=method, params={"sessionId": SESSION, **params})
        if isinstance(peer.outputs[-1], ClientCallAsked):
            peer.do(peer.client.answer(peer.outputs[-1].key, result))
    sessions = peer.client.about_sessions()
    sessions.list_sessions("cursor")
    sessions.delete_session("old")
    sessions.fork_session()
    sessions.set_title("T")
    sessions.log_in("key")
    sessions.log_out()
    sessions.set_option("deep", "true")
    peer.do(peer.client.drained())
    peer.do(peer.client.cancel())
    yield
    peer.do(peer.client.stop_requested())


def option(id_name):
    select = {"type": "select", "currentValue": "b", "options": [{"value": "b", "name": "B"}]}
    return [
        {id_name: "model", "name": "M", "category": "model", **select},
        {id_name: "deep", "name": "D", "type": "boolean", "currentValue": False},
    ]


OPTS = {
    "model": "b",
    "auth_method": "key",
    "additional_dirs": ("/more",),
    "mcp_servers": SERVERS,
    "terminal": True,
    "elicitation": True,
    "permissions": PermissionMode.APPROVE_READS,
    "system_prompt": "be nice",
    "provider_name": "claude",
    "provider_base_url": "https://api.anthropic.com",
}
STEERS = {"_meta": {"steering": {"supported": True}}}
OFFERED = ("list", "delete", "fork", "title", "resume", "close", "additionalDirectories")


def test_everything_we_write_in_v1_is_valid(schemas, make_peer):
    schema, seen = Schema(schemas["v1-schema.unstable"]), set()
    for resumed, offered in ((False, OFFERED), (True, OFFERED), (True, OFFERED[:4])):
        session = {name: {} for name in offered}
        agent = {
            "loadSession": True,
            "sessionCapabilities": {**session, "systemPrompt": {}},
            "mcpCapabilities": {"http": True, "sse": True},
            "auth": {"logout": {}},
        }
        logins = [{"id": "key", "name": "K"}]
        initialize = {"protocolVersion": 1, "agentCapabilities": agent, "authMethods": logins}
        opts = {**OPTS, "legacy_dirs": False, "permissions": PermissionMode.APPROVE_ALL}
        native = {} if resumed else {"system_prompt_delivery": "native"}
        resume = {"resume_session_id": SESSION} if resumed else {}
        peer = make_peer(**{**opts, **native, **resume, "native_system_prompt": True})
        modes = {"currentModeId": "ask", "availableModes": [{"id": "ask", "name": "A"}]}
        start(peer, {**initialize, **STEERS}, {"modes": modes, "configOptions": option("id")})
        asked = {}
        for _ in converse_allowed(peer, asked):
            pass
        seen |= check_sent(schema, peer, asked)
    assert {"session/new", "session/load", "session/resume", "session/set_mode"} <= seen
    assert len(seen) >= 15


def converse_allowed(peer, asked):
    """As ``converse``, where the policy answers permissions itself."""
    peer.client.resolve_permission = lambda request: []
    return converse(peer, asked)


def test_everything_we_write_in_v2_is_valid(schemas, make_v2_peer):
    schema, seen = Schema(schemas["v2-schema.unstable"]), set()
    for resumed in (False, True):
        session = {name: {} for name in (*OFFERED[1:4], "additionalDirectories", "systemPrompt")}
        session["mcp"] = {"stdio": {}, "http": {}}
        info = {"name": "agent", "version": "2"}
        logins = [{"methodId": "key", "name": "K", "type": "agent"}]
        initialize = {
            "protocolVersion": 2,
            "info": info,
            "capabilities": {"session": session},
            "authMethods": logins,
        }
        opts = {**OPTS, "resume_session_id": SESSION if resumed else "", "replay": resumed}
        peer = make_v2_peer(
            **opts, native_system_prompt=True, system_prompt_delivery="native", client_version="1"
        )
        start(peer, {**initialize, **STEERS}, {"configOptions": option("configId")})
        asked = {}
        for step, _ in enumerate(converse(peer, asked)):
            if step == 0:
                peer.insert("m-1")
                can = {"capabilities": {"cancel": {}}}
                peer.update("tool_call_update", toolCallId="c-9", **can)
                peer.update("terminal_update", terminalId="x-9", **can)
            else:
                peer.idle("cancelled")
                peer.fire("settle")
        seen |= check_sent(schema, peer, asked)
    assert {"session/resume", "tool_call/cancel", "terminal/cancel", "auth/login"} <= seen
    assert len(seen) >= 15


# ---- what the schemas allow


class Examples:
    """Values that a schema allows: with the required members only, and with all."""

    def __init__(self, definitions):
        self.definitions = definitions

    def of(self, schema, is_full, depth=0):
        if "$ref" in schema:
            return self.of(self.definitions[schema["$ref"].split("/")[-1]], is_full, depth)
        for name in ("allOf", "anyOf", "oneOf"):
            if name in schema:
                choices = schema[name] if name == "allOf" else self.best(schema[name])
                found = [self.of(choice, is_full, depth) for choice in choices]
                if schema.get("properties") or any(isinstance(item, dict) for item in found):
                    merged = self.members(schema, is_full, depth)
                    for item in found:
                        merged = {**merged, **item} if isinstance(item, dict) else merged
                    return merged
                return found[0]
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return schema["enum"][0]
        kinds = schema.get("type", "object" if "properties" in schema else "string")
        kind = kinds[0] if isinstance(kinds, list) else kinds
        plain = {"string": "eA==", "integer": 1, "number": 1.0, "boolean": True, "null": None}
        if kind in plain:
            return plain[kind]
        if kind == "array":
            items = schema.get("items", {"type": "string"})
            return [self.of(items, is_full, depth + 1)] if is_full and depth < 4 else []
        return self.members(schema, is_full, depth)

    def best(self, choices):
        return [choice for choice in choices if choice.get("type") != "null"][:1] or choices[:1]

    def members(self, schema, is_full, depth):
        required = set(schema.get("required", ()))
        return {
            name: self.of(member, is_full, depth + 1)
            for name, member in schema.get("properties", {}).items()
            if member is not True and (name in required or (is_full and depth < 4))
        }


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("name", ["schema", "schema.unstable"])
@pytest.mark.parametrize("is_full", [False, True])
def test_every_update_of_the_schema_is_read(schemas, version, name, is_full):
    document = schemas[f"{version}-{name}"]
    schema, examples = Schema(document), Examples(document["$defs"])
    decode = (codec_v1 if version == "v1" else codec_v2).decode_update
    variants = document["$defs"]["SessionUpdate"]
    kinds = []
    for variant in variants.get("oneOf") or variants["anyOf"]:
        value = examples.of(variant, is_full)
        if schema.errors("SessionUpdate", value):
            continue  # a rule these examples do not know
        kinds.append(value["sessionUpdate"])
        update = decode(json.dumps(value).encode())
        assert not isinstance(update, Unreadable), (value, update)
    assert len(kinds) >= 11
