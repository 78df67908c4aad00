"""03 6, 9: usage, permission log and hook runs of real sessions, here and from beside."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from greenroom.actors import HookRunRecord, StoreValidationError

METERED = """
    turns = 0
    while True:
        asked = read()
        if asked.get("method") == "initialize":
            send(id=asked["id"], result={"protocolVersion": 1,
                  "agentCapabilities": {"loadSession": True}})
        elif asked.get("method") == "session/load":
            send(id=asked["id"], result={})
        elif asked.get("method") == "session/new":
            send(id=asked["id"], result={"sessionId": "acp-1"})
        elif asked.get("method") == "session/prompt":
            turns += 1
            update = {"sessionUpdate": "usage_update", "used": 10 * turns, "size": 1000}
            send(method="session/update", params={"sessionId": "acp-1", "update": update})
            usage = {"inputTokens": 100, "outputTokens": turns, "totalTokens": 100 + turns}
            send(id=asked["id"], result={"stopReason": "end_turn", "usage": usage})
"""


@pytest.fixture
def metered(home, script):
    from greenroom.actors import SessionManager

    with SessionManager(home=home, agents={"metered": script(METERED)}) as manager:
        yield manager


def test_9_usage_of_each_turn_and_of_the_session(metered, home, workspace):
    from greenroom.actors.manager.remote import RemoteSessionManager

    session = metered.create(agent_name="metered", workspace_path=workspace)
    turns = []
    for _ in range(3):
        stream = session.prompt("go")
        stream.result(timeout=20)
        turns.append(stream.turn_id)
    found = session.usage()
    assert [turn.turn_id for turn in found.turns] == turns
    assert [turn.output_tokens for turn in found.turns] == [1, 2, 3]
    assert [turn.context_used for turn in found.turns] == [10, 20, 30]
    assert (found.stats.turn_count, found.stats.input_tokens) == (3, 300)
    assert (found.stats.output_tokens, found.stats.cost_amount) == (6, None)
    with RemoteSessionManager(home) as remote:
        assert remote.usage(session.id) == found
    session.stop()
    assert metered.usage(session.id) == found
    # The next incarnation goes on counting; a clear keeps the statistics only.
    metered.resume(session.id).prompt("go").result(timeout=20)
    assert metered.usage(session.id).stats.turn_count == 4
    metered.clear_conversation(session.id).prompt("go").result(timeout=20)
    after = metered.usage(session.id)
    assert (len(after.turns), after.stats.turn_count) == (1, 5)


def test_9_every_ask_and_its_one_decision(manager, session, read_turn):
    for decision in ("allow-once", "reject-once"):
        read_turn(session, session.prompt("@@run true"), decision)
    log = manager.permission_log(session.id)
    asks = [r for r in manager.events(session.id, type="permission") if not r.event.decision]
    assert [record.request_id for record in log] == [row.event.request_id for row in asks]
    assert [record.decision for record in log] == ["allow-once", "reject-once"]
    for record in log:
        assert record.asked_at <= record.decided_at
        assert record.policy_used == "approve-reads"
        assert record.options
        assert record.resource
    with pytest.raises(StoreValidationError):
        manager.hook_runs(session.id, outcome="bogus")


def test_9_a_secret_in_a_request_is_not_kept(manager, session, read_turn):
    read_turn(session, session.prompt("@@run echo password=hunter2hunter2"), "reject-once")
    (record,) = manager.permission_log(session.id)
    assert "hunter2" not in repr(record)


def test_6_a_hook_run_is_recorded_by_the_session(manager, session):
    run = HookRunRecord("lint", "turn.end", datetime.now(UTC), outcome="denied", duration=5)
    live = manager._verbs.get(session.id)
    manager._hub.call(live.record_hook_run, run)
    session.stop()
    assert manager.hook_runs(session.id, outcome="denied") == (run,)
    assert manager.hook_runs(session.id, outcome="failed") == ()
