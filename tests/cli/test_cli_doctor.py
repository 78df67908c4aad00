"""``greenroom doctor``: what it finds in a home, what ``--fix`` does, and its exit status."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from greenroom.actors.model.session import SessionLineage, SessionMeta, State
from greenroom.storage.checkup import ADVICE, Problem, Severity
from greenroom.storage.home import HomeStore
from greenroom.storage.meta import write_meta

NOON = datetime(2026, 4, 3, 12, tzinfo=UTC)
META = SessionMeta(
    id="s0",
    agent_name="demo",
    workspace_id="ws-1",
    state=State.STOPPED,
    created_at=NOON,
    updated_at=NOON,
    lineage=SessionLineage(root_session_id="s0"),
)

MAKE = """
import os, pathlib, queue, sys
from datetime import UTC, datetime
from greenroom.actors.model.event import AgentEvent
from greenroom.storage.home import HomeStore
from greenroom.storage.session_store import StateOp

posted = queue.SimpleQueue()
home = HomeStore.open(pathlib.Path(sys.argv[1]), post=posted.put)
done = []
store = home.open_session("s0", create=True)
for number in range(20):
    event = AgentEvent(type="agent_message", turn_id="t", timestamp=datetime.now(UTC), text="x")
    store.submit([event], agent_name="a", durable=True, done=done.append,
                 state_ops=[StateOp("t", "k", {"n": number})])
    # One after the other: what follows says that it was on the disk.
    while len(done) <= number:
        posted.get()()
if sys.argv[2] == "kill":
    os.kill(os.getpid(), 9)
home.close()
"""


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


@pytest.fixture
def make(home):
    """Makes a home with one session, closed or killed."""

    def run(how="close"):
        ran = subprocess.run([sys.executable, "-c", MAKE, str(home), how], check=False, timeout=60)
        assert ran.returncode == (-signal.SIGKILL if how == "kill" else 0)
        write_meta(home / "sessions" / "s0" / "meta.json", META)
        return home / "sessions" / "s0"

    return run


@pytest.fixture
def doctor(home):
    """Runs the command; returns its exit status and findings by problem."""

    def run(*args):
        ran = subprocess.run(
            [sys.executable, "-m", "greenroom.actors.cli", "doctor", "--json", *args],
            env={**os.environ, "GREENROOM_HOME": str(home)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert "Traceback" not in ran.stderr, ran.stderr
        findings = [json.loads(line) for line in ran.stdout.splitlines()]
        return ran.returncode, {finding["problem"]: finding for finding in findings}

    return run


def flip(path, offset):
    data = bytearray(path.read_bytes())
    data[offset] ^= 0xFF
    path.write_bytes(bytes(data))


def damage(session):
    flip(session / "events.journal", 300)


def tear(session):
    with (session / "state.journal").open("ab") as file:
        file.write(b"\x84 cut off")


def interrupt_a_clear(session):
    (session / "events.journal").rename(session / "events.journal.clear-backup")


def cut_off(session):
    write_meta(session / "meta.json", replace(META, state=State.ACTIVE))


CASES = {
    Problem.JOURNAL_DAMAGED: damage,
    Problem.JOURNAL_TORN: tear,
    Problem.QUARANTINE: lambda s: (
        s / "events.journal.corrupt.20260403T120000.000000000Z"
    ).write_bytes(b"x"),
    Problem.CLEAR_INTERRUPTED: interrupt_a_clear,
    Problem.META_MISSING: lambda s: (s / "meta.json").unlink(),
    Problem.META_UNREADABLE: lambda s: (s / "meta.json").write_text("{"),
    Problem.SESSION_CUT_OFF: cut_off,
    Problem.DIRECTORY_EMPTY: lambda s: (s.parent / "empty").mkdir(),
    Problem.TEMP_FILE: lambda s: (s / ".greenroom-atomic-x").write_text("half"),
    Problem.ENDPOINTS_STALE: lambda s: (s.parents[1] / "endpoints.json").write_text("{}"),
    Problem.LOCK_STALE: lambda s: (s.parents[1] / "runtime.lock").write_text("99999\n"),
}


def test_a_home_that_is_well(make, doctor):
    make()
    assert doctor() == (0, {})
    assert doctor("--fix") == (0, {})


@pytest.mark.parametrize("problem", CASES, ids=str)
def test_a_problem_is_found_and_what_can_be_is_put_right(home, make, doctor, problem):
    CASES[problem](make())
    bad = ADVICE[problem].severity is not Severity.INFO
    before = {p: p.read_bytes() for p in home.rglob("*") if p.is_file()}
    status, found = doctor()
    assert problem in found, found
    assert status == bad
    finding = found[problem]
    assert finding["next_step"]
    assert finding["outcome"] == ""
    now = {p: p.read_bytes() for p in before if p.exists()}
    assert now == before, "without --fix nothing is changed"
    status, found = doctor("--fix")
    assert found[problem]["outcome"] == ("fixed" if ADVICE[problem].fix else "")
    status, found = doctor()
    if ADVICE[problem].fix:
        assert problem not in found
    if problem is Problem.JOURNAL_DAMAGED:
        assert set(found) == {Problem.QUARANTINE}
    elif bad and not ADVICE[problem].fix:
        assert (status, problem in found) == (1, True)


def test_what_a_killed_runtime_left_is_taken_in(home, make, doctor):
    make("kill")
    status, found = doctor()
    assert set(found) == {Problem.LOG_WAITS, Problem.LOCK_STALE}
    assert status == 0
    status, found = doctor("--fix")
    assert found[Problem.LOG_WAITS]["outcome"] == "fixed"
    assert doctor() == (0, {})
    reader = HomeStore.open(home, post=lambda action: None).reader("s0")
    assert reader.last_sequence() == 20


def test_a_damaged_log_is_told_and_nothing_is_touched(home, make, doctor):
    make("kill")
    (segment,) = (home / "wal").iterdir()
    flip(segment, 200)
    before = segment.read_bytes()
    status, found = doctor()
    assert status == 1
    assert Problem.LOG_DAMAGED in found
    status, found = doctor("--fix")
    assert status == 1
    assert Problem.LOG_DAMAGED in found
    assert segment.read_bytes() == before


def test_catalog_drift_is_put_right(home, make, doctor):
    from greenroom.storage.catalog import SessionCatalog, view_catalog
    from greenroom.storage.table_storage import JournalStorage

    make()
    storage = JournalStorage(home / "catalog.journal")
    list(SessionCatalog(storage, home / "sessions").sessions())
    storage.close()
    assert doctor() == (0, {})
    write_meta(home / "sessions" / "s0" / "meta.json", replace(META, name="renamed"))
    status, found = doctor()
    assert (status, set(found)) == (0, {Problem.CATALOG_DRIFT})
    doctor("--fix")
    assert doctor() == (0, {})
    assert not [one for one in view_catalog(home).sessions() if one.read]


OWNER = """
import sys
from greenroom.actors import SessionManager
from greenroom.actors.errors import StoreSyncFailedError

with SessionManager(home=sys.argv[1]) as manager:
    if sys.argv[2] == "broken":
        manager._runtime.home.log.error = StoreSyncFailedError("the disk said no")
    print("ready", flush=True)
    sys.stdin.read()
    manager._runtime.home.log.error = None
"""


@pytest.fixture
def owner(home, tmp_path):
    program = tmp_path / "owner.py"
    program.write_text(textwrap.dedent(OWNER))
    running = []

    def run(how):
        process = subprocess.Popen(
            [sys.executable, str(program), str(home), how],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        running.append(process)
        assert process.stdout.readline() == b"ready\n"

    yield run
    for process in running:
        process.communicate(timeout=60)


def test_a_home_in_use_is_looked_at_and_not_changed(make, doctor, owner):
    session = make()
    tear(session)
    cut_off(session)
    owner("well")
    assert doctor() == (0, {}), "what may be in motion is not judged"
    status, found = doctor("--fix")
    assert (status, found) == (4, {})


def test_a_runtime_that_takes_no_more_writes_says_so(make, doctor, owner):
    make()
    owner("broken")
    status, found = doctor()
    assert (status, set(found)) == (1, {Problem.READ_ONLY})
    assert found[Problem.READ_ONLY]["detail"] == "the disk said no"


LEFT = """
import os, sys
from greenroom.actors import SessionManager

manager = SessionManager(home=sys.argv[1], agents={"stubborn": sys.argv[3:]})
session = manager.create(agent_name="stubborn", workspace_path=sys.argv[2])
os.kill(os.getpid(), 9)
"""

STUBBORN = """
import json, os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for _ in range(2):
    asked = json.loads(sys.stdin.readline())
    result = {"protocolVersion": 1, "agentCapabilities": {}, "sessionId": "acp-1"}
    answer = {"jsonrpc": "2.0", "id": asked["id"], "result": result}
    os.write(1, json.dumps(answer).encode() + b"\\n")
while True:
    time.sleep(60)
"""


def test_a_process_that_was_left_behind_is_found_and_ended(home, doctor, tmp_path):
    agent, program = tmp_path / "agent.py", tmp_path / "left.py"
    agent.write_text(STUBBORN)
    program.write_text(LEFT)
    ran = subprocess.run(
        [sys.executable, program, home, tmp_path, sys.executable, "-S", agent],
        check=False,
        timeout=60,
    )
    assert ran.returncode == -signal.SIGKILL
    status, found = doctor()
    assert status == 1
    assert Problem.PROCESS_LEFT in found
    _, found = doctor("--fix")
    assert found[Problem.PROCESS_LEFT]["outcome"] == "fixed"
    assert Problem.PROCESS_LEFT not in doctor()[1]


def test_every_problem_has_its_advice_and_a_test():
    assert set(ADVICE) == set(Problem)
    tested = {
        Problem.LOG_DAMAGED,
        Problem.LOG_WAITS,
        Problem.CATALOG_DRIFT,
        Problem.READ_ONLY,
        Problem.PROCESS_LEFT,
    }
    assert set(CASES) | tested == set(Problem)


def test_people_get_a_next_step_and_no_home_is_one_line(home, make):
    def run(place):
        return subprocess.run(
            [sys.executable, "-m", "greenroom.actors.cli", "doctor", "--home", str(place)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    ran = run(home / "nowhere")
    assert (ran.returncode, len(ran.stderr.splitlines())) == (3, 1)
    session = make()
    assert "nothing found" in run(home).stdout
    interrupt_a_clear(session)
    told = run(home).stdout
    assert "clear_interrupted" in told
    assert "greenroom doctor --fix" in told
