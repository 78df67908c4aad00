"""Where an event's time goes, stage by stage: each alone, in one thread, on 64 KiB of the flood.

Prints nothing by itself; :func:`stages` gives microseconds per event, the best of many rounds.
"""

import json
import time
from datetime import UTC, datetime

from greenroom.actors.core import pump
from greenroom.actors.core.inputs import AgentEventsArrived
from greenroom.actors.core.redaction import Redactor, redact_events
from greenroom.actors.core.state import SessionState, Turn, TurnPhase
from greenroom.actors.model.runs import runs_of
from greenroom.actors.model.session import SessionMeta, State
from greenroom.actors.model.settings import SessionBusyInputConfig, SessionSupervisionConfig
from greenroom.actors.model.turn import TurnSource
from greenroom.storage.format.operations import append_item, appended_places, join_payload
from greenroom.storage.format.row_encoder import RowEncoder
from greenroom.storage.format.row_index import RowIndex, RowKey
from greenroom.storage.sources import event_ids
from greenroom.transport.acp.client import AcpClient
from greenroom.transport.acp.lines import LineSplitter
from greenroom.transport.acp.options import ClientOpts
from greenroom.transport.bus.frames import encode_frames

ROUNDS = 50
READ_BYTES = 64 * 1024
AGENT, SESSION, TURN = "flood", "sess-0123456789abcdef", "turn-1"


def in_a_turn():
    """A client that was prompted."""
    client = AcpClient(ClientOpts(cwd="/w"))
    client.start()
    for result in ({"protocolVersion": 1}, {"sessionId": "s-1"}):
        asked = json.loads(client.data_to_send())
        client.receive_data(json.dumps({"id": asked["id"], "result": result}).encode() + b"\n")
    client.prompt(TURN, "go", {})
    client.data_to_send()
    return client


def best(call, count):
    """Microseconds per event of the best round, and what the call gave."""
    least, result = float("inf"), None
    for _ in range(ROUNDS):
        began = time.perf_counter()
        result = call()
        least = min(least, time.perf_counter() - began)
    return least / count * 1e6, result


def stages(line):
    """``(stage, microseconds per event)`` of a line the agent repeats."""
    count = READ_BYTES // len(line)
    data, client = line * count, in_a_turn()
    splitter, encoder, new_id = LineSplitter(), RowEncoder(SESSION, 1), event_ids()
    table = []

    def stage(name, call):
        cost, result = best(call, count)
        table.append((name, cost))
        return result

    stage("cut lines", lambda: splitter.feed(data))
    [output] = stage("cut and read lines, turn machine", lambda: client.receive_data(data))
    now = datetime.now(UTC)
    meta = SessionMeta(
        id=SESSION,
        agent_name=AGENT,
        workspace_id="w",
        state=State.ACTIVE,
        acp_session_id="s-1",
        created_at=now,
        updated_at=now,
    )
    turn = Turn(turn_id=TURN, source=TurnSource.USER, message="go", phase=TurnPhase.STREAMING)
    state = SessionState(
        meta=meta,
        workspace="/w",
        id_seed="0",
        busy_input=SessionBusyInputConfig(),
        supervision=SessionSupervisionConfig(),
        turn=turn,
    )
    arrived = AgentEventsArrived(TURN, output.events, 0.0)
    _, effects = stage("step", lambda: pump.events_arrived(state, arrived, now))
    events = effects[0].events
    shown = stage("redact", lambda: redact_events(events, Redactor()))
    ids = stage("ids", lambda: [new_id() for _ in range(count)])
    [run] = runs_of(shown)
    rows = stage("encode rows", lambda: encoder.encode_run(1, ids, AGENT, now, run))
    payload = stage("payload", lambda: join_payload(1, 1, [append_item(row) for row in rows]))
    sizes = [len(row) for row in rows]
    keys = [RowKey("agent_message", TURN, AGENT)] * count
    stage(
        "index",
        lambda: RowIndex().extend_with(appended_places(payload, sizes), sizes, keys),
    )
    stage("frames", lambda: encode_frames(SESSION, rows))
    return table
