"""spec 01 7.5, 7.8, 11.3: provider, model, effort, secrets and crash bundles of a session."""

from __future__ import annotations

import json
import stat

import pytest
from greenroom.actors import (
    AgentDef,
    AgentError,
    AgentStartError,
    CredentialSlot,
    EnvironmentSecrets,
    FailureKind,
    InvalidRuntimeOverrideError,
    MissingSecretError,
    ProviderUnavailableError,
    SessionManager,
    SessionNotFoundError,
    SessionType,
    State,
    StopReason,
    UnsupportedSecretRefError,
    error_is,
)
from greenroom.actors.core.provider_env import (
    SUPPORTED_REASONING_EFFORTS,
    check_overrides,
    is_supported_reasoning_effort,
    validate_reasoning_effort,
)
from greenroom.actors.testing.driver import ScriptedDriver

SECRET = "tq8-0Vn2-mmQ4-zz91"
AGENTS = {
    "reviewer": AgentDef("reviewer", ("reviewer",), model="own", prompt="be strict"),
    "other": AgentDef("other", ("other", "--acp"), model="big", env=(("OTHER", "1"),)),
    "keyed": AgentDef(
        "keyed",
        ("keyed",),
        credentials=(
            CredentialSlot("key", "THE_KEY", "vault:key"),
            CredentialSlot("extra", "EXTRA", "vault:extra", required=False),
            CredentialSlot("blank", "", "vault:blank"),
        ),
    ),
}


class Vault:
    def __init__(self, **known):
        self.known = known

    def resolve_ref(self, ref):
        if not ref.startswith("vault:"):
            raise UnsupportedSecretRefError("no", secret_ref=ref)
        try:
            return self.known[ref.removeprefix("vault:")]
        except KeyError:
            raise MissingSecretError("no", secret_ref=ref) from None


@pytest.fixture
def start(tmp_path):
    """Makes managers; returns one, its driver and what was started."""
    opened = []

    def make(story=lambda turn: None, **options):
        driver, started = ScriptedDriver(story), []
        driver.on_start = started.append
        manager = SessionManager(
            home=tmp_path / f"home{len(opened)}", driver=driver, agents=AGENTS, **options
        )
        opened.append(manager)
        return manager, driver, started

    yield make
    for manager in opened:
        manager.close()


def test_7_5_the_agent_as_it_is(start, tmp_path):
    manager, _, started = start()
    session = manager.create(agent_name="reviewer", workspace_path=str(tmp_path))
    (opts,) = started
    assert (opts.command, opts.preferred_model, opts.reasoning_effort) == (("reviewer",), "own", "")
    assert opts.system_prompt == "be strict"
    info = session.info()
    assert (info.provider, info.model) == ("reviewer", "own")


def test_7_5_its_own_provider_with_another_model_and_effort(start, tmp_path):
    manager, _, started = start()
    session = manager.create(
        agent_name="reviewer",
        workspace_path=str(tmp_path),
        provider=" Reviewer ",
        model="small",
        reasoning_effort="high",
        prompt_overlay="and kind",
        channel="ops",
        type="system",
    )
    (opts,) = started
    assert (opts.command, opts.preferred_model, opts.reasoning_effort) == (
        ("reviewer",),
        "small",
        "high",
    )
    assert opts.system_prompt == "be strict\n\nand kind"
    env = dict(opts.env)
    assert env["GREENROOM_PROVIDER"] == "reviewer"
    assert env["GREENROOM_MODEL"] == "small"
    assert env["GREENROOM_REASONING_EFFORT"] == "high"
    assert env["GREENROOM_SESSION_CHANNEL"] == "ops"
    assert env["GREENROOM_SESSION_ID"] == session.id
    assert session.info().type is SessionType.SYSTEM
    session.stop()
    manager.resume(session.id)
    assert started[1].command == opts.command
    assert started[1].preferred_model == "small"
    assert started[1].reasoning_effort == "high"
    assert started[1].system_prompt == opts.system_prompt
    assert started[1].resume_session_id == session.acp_session_id


def test_7_5_another_provider_runs_the_agent_with_its_own_command_and_model(start, tmp_path):
    manager, _, started = start()
    options = {"agent_name": "reviewer", "workspace_path": str(tmp_path), "provider": "other"}
    session = manager.create(**options)
    manager.create(**options, model="tiny")
    assert [(opts.command, opts.preferred_model) for opts in started] == [
        (("other", "--acp"), "big"),
        (("other", "--acp"), "tiny"),
    ]
    assert dict(started[0].env)["OTHER"] == "1"
    info = session.info()
    assert (info.agent_name, info.provider, info.model) == ("reviewer", "other", "big")


def test_7_5_an_unknown_provider_and_overrides_without_one(start, tmp_path):
    manager, _, started = start()
    options = {"agent_name": "reviewer", "workspace_path": str(tmp_path)}
    with pytest.raises(ProviderUnavailableError) as raised:
        manager.create(**options, provider="nobody")
    assert raised.value.provider == "nobody"
    for bad in ({"model": "m"}, {"reasoning_effort": "high"}):
        with pytest.raises(InvalidRuntimeOverrideError):
            manager.create(**options, **bad)
    with pytest.raises(InvalidRuntimeOverrideError):
        manager.create(**options, provider="other", reasoning_effort="extreme")
    assert started == []
    assert manager.list_all() == ()


def test_7_5_efforts():
    assert SUPPORTED_REASONING_EFFORTS == ("minimal", "low", "medium", "high", "xhigh")
    assert is_supported_reasoning_effort(" high ")
    assert not is_supported_reasoning_effort("HIGH")
    assert not is_supported_reasoning_effort("")
    validate_reasoning_effort(" ")
    check_overrides("p", "m", "xhigh")
    with pytest.raises(InvalidRuntimeOverrideError):
        validate_reasoning_effort("most")


def test_7_5_a_dream_may_do_everything(start, tmp_path):
    manager, _, started = start()
    manager.create(
        agent_name="reviewer",
        workspace_path=str(tmp_path),
        type="dream",
        permissions="deny-all",
    )
    assert started[0].permissions == "approve-all"


def test_7_8_secrets_go_to_the_agent_and_nowhere_else(start, tmp_path):
    def story(turn):
        turn.say(f"my key is {SECRET}, keep it")

    manager, _, started = start(story, provider_secret_resolver=Vault(key=SECRET))
    session = manager.create(agent_name="keyed", workspace_path=str(tmp_path))
    env = started[0].env
    assert ("THE_KEY", SECRET) in env
    assert dict(env)["EXTRA"] == "", "a value of our own environment does not stand in"
    session.prompt("x").result(timeout=10)
    told = [row.event.text for row in manager.events(session.id, type="agent_message")]
    assert SECRET not in told[0]
    redactor = manager._runtime.redactor
    assert SECRET not in redactor.redact(f"a {SECRET} b")
    session.stop()
    assert SECRET in redactor.redact(f"a {SECRET} b"), "forgotten with the session"
    manager.close()
    for path in (tmp_path / "home0").rglob("*"):
        if path.is_file():
            assert SECRET.encode() not in path.read_bytes(), path


@pytest.mark.parametrize(
    ("vault", "cause"), [(Vault(), MissingSecretError), (Vault(key=" "), MissingSecretError)]
)
def test_7_8_a_required_secret_that_is_missing_fails_the_start(start, tmp_path, vault, cause):
    manager, _, started = start(provider_secret_resolver=vault)
    with pytest.raises(AgentStartError) as raised:
        manager.create(agent_name="keyed", workspace_path=str(tmp_path))
    assert error_is(raised.value, cause)
    assert started == []
    (info,) = manager.list_all()
    assert info.state is State.STOPPED
    assert info.failure.kind is FailureKind.STARTUP
    assert info.failure.summary.startswith("session provider startup failed")


def test_7_8_the_resolver_of_a_program_without_one(monkeypatch):
    secrets = EnvironmentSecrets({"A": "one", "B": " "})
    assert secrets.resolve_ref("env:A") == "one"
    for missing in ("env:B", "env:C"):
        with pytest.raises(MissingSecretError) as raised:
            secrets.resolve_ref(missing)
        assert raised.value.secret_ref == missing
    for unknown in ("vault:x", "A"):
        with pytest.raises(UnsupportedSecretRefError):
            secrets.resolve_ref(unknown)
    monkeypatch.setenv("GREENROOM_TEST_SECRET", "here")
    assert EnvironmentSecrets().resolve_ref("env:GREENROOM_TEST_SECRET") == "here"


def bundles(manager):
    return sorted((manager.home / "logs" / "crash-bundles").glob("*.json"))


def test_11_3_a_crash_in_a_turn_leaves_a_bundle_that_can_be_read(start, tmp_path):
    manager, driver, _ = start(lambda turn: turn.exit(9))
    session = manager.create(agent_name="reviewer", workspace_path=str(tmp_path))
    ended = session.prompt("x").result(timeout=10)
    manager.wait_for_finalizations(timeout=10)
    assert ended.failure.crash_bundle_path
    info = manager.status(session.id)
    assert info.stop_reason is StopReason.AGENT_CRASHED
    bundle = manager.crash_bundle(session.id)
    assert bundle["schema"] == "greenroom.crash_bundle.v1"
    assert bundle["session_id"] == session.id
    assert bundle["failure"]["kind"] == "process_exit"
    assert bundle["process"]["pid"] == driver.processes[0].pid
    paths = bundles(manager)
    assert str(info.failure.crash_bundle_path) in map(str, paths)
    assert json.loads(paths[0].read_text())["session_id"] == session.id
    assert stat.S_IMODE(paths[0].stat().st_mode) == 0o600
    assert stat.S_IMODE(paths[0].parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(paths[0].parent.parent.stat().st_mode) == 0o700


def test_11_3_a_failed_start_has_one_and_its_texts_are_redacted(start, tmp_path):
    manager, driver, _ = start(provider_secret_resolver=Vault(key=SECRET))

    def refuse(opts):
        raise AgentError(f"bad key {SECRET}")

    driver.on_start = refuse
    with pytest.raises(AgentError):
        manager.create(agent_name="keyed", workspace_path=str(tmp_path))
    (info,) = manager.list_all()
    bundle = manager.crash_bundle(info.id)
    assert bundle["failure"]["kind"] == "startup_failure"
    assert bundle["agent_name"] == "keyed"
    for path in (tmp_path / "home0").rglob("*"):
        if path.is_file():
            assert SECRET.encode() not in path.read_bytes(), path


def test_p4_a_turn_that_fails_has_one_too(start, tmp_path):
    manager, _, _ = start(lambda turn: turn.fail("no", FailureKind.PROMPT))
    session = manager.create(agent_name="reviewer", workspace_path=str(tmp_path))
    ended = session.prompt("x").result(timeout=10)
    assert ended.failure.crash_bundle_path
    assert session.state is State.ACTIVE


@pytest.mark.parametrize(
    "kind",
    [
        FailureKind.CANCELLATION,
        FailureKind.PERMISSION,
        FailureKind.PROVIDER_AUTH,
        FailureKind.TIMEOUT,
        FailureKind.UNKNOWN,
    ],
)
def test_11_3_five_kinds_have_none(start, tmp_path, kind):
    manager, _, _ = start(lambda turn: turn.fail("no", kind))
    session = manager.create(agent_name="reviewer", workspace_path=str(tmp_path))
    ended = session.prompt("x").result(timeout=10)
    assert ended.failure.crash_bundle_path == ""
    assert bundles(manager) == []
    session.stop()
    assert manager.crash_bundle(session.id) is None


def test_11_3_a_bundle_that_can_not_be_written_costs_its_path_only(start, tmp_path):
    manager, _, _ = start(lambda turn: turn.exit(9))
    session = manager.create(agent_name="reviewer", workspace_path=str(tmp_path))
    (manager.home / "logs").mkdir(exist_ok=True)
    (manager.home / "logs" / "crash-bundles").write_text("in the way")
    session.prompt("x").result(timeout=10)
    manager.wait_for_finalizations(timeout=10)
    info = manager.status(session.id)
    assert info.failure.kind is FailureKind.PROCESS_EXIT
    assert info.failure.crash_bundle_path == ""
    assert manager.crash_bundle(session.id) is None
    with pytest.raises(SessionNotFoundError):
        manager.crash_bundle("sess-unknown")
