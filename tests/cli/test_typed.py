"""Lines typed into an attached session, and what its events tell."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from greenroom.actors.cli.typed import COMMANDS, Typed, Verb, help_lines, understand
from greenroom.actors.cli.watched import Watched, fold
from greenroom.actors.model.event import AgentEvent, SessionEvent

LINES = {
    "": Typed(Verb.NOTHING),
    "  \t": Typed(Verb.NOTHING),
    " hello ": Typed(Verb.SEND, "hello", "queue"),
    "/init the project": Typed(Verb.SEND, "/init the project", "queue"),
    "::wq": Typed(Verb.SEND, ":wq", "queue"),
    "y": Typed(Verb.SEND, "y", "queue"),
    ":queue later": Typed(Verb.SEND, "later", "queue"),
    ":q later": Typed(Verb.SEND, "later", "queue"),
    ":steer  left ": Typed(Verb.STEER, "left"),
    ":interrupt": Typed(Verb.INTERRUPT, "", "interrupt"),
    ":int do this": Typed(Verb.INTERRUPT, "do this", "interrupt"),
    ":cancel": Typed(Verb.CANCEL),
    ":status": Typed(Verb.STATUS),
    ":stop": Typed(Verb.STOP),
    ":d": Typed(Verb.DETACH),
    ":help": Typed(Verb.HELP),
    ":": Typed(Verb.MISTAKE, 'no command ":"; see :help'),
    ":x": Typed(Verb.MISTAKE, 'no command ":x"; see :help'),
    ":st": Typed(Verb.MISTAKE, 'no command ":st": steer, status, stop?; see :help'),
    ":stop it": Typed(Verb.MISTAKE, '":stop" takes no text; see :help'),
    ":queue": Typed(Verb.MISTAKE, '":queue" needs a text: :queue TEXT'),
    ":steer": Typed(Verb.MISTAKE, '":steer" needs a text: :steer TEXT'),
}


@pytest.mark.parametrize(("line", "typed"), LINES.items())
def test_a_line_means(line, typed):
    assert understand(line) == typed


@pytest.mark.parametrize(
    ("key", "decision"),
    {"y": "allow-once", "a": "allow-always", "n": "reject-once", "r": "reject-always"}.items(),
)
def test_a_key_answers_what_the_agent_asks(key, decision):
    answer = Typed(Verb.ANSWER, request_id="p1", decision=decision)
    assert understand(f" {key}\n", asked="p1") == answer


def test_other_lines_mean_the_same_while_the_agent_asks():
    for line, typed in LINES.items():
        if line != "y":
            assert understand(line, asked="p1") == typed


def test_help_names_every_command():
    told = "\n".join(help_lines())
    assert all(f":{name}" in told and command.told in told for name, command in COMMANDS.items())


def row(sequence, kind, turn="t1", **fields):
    event = AgentEvent(type=kind, turn_id=turn, **fields)
    return SessionEvent(
        id=f"e{sequence}",
        session_id="s",
        epoch=1,
        sequence=sequence,
        turn_id=turn,
        type=kind,
        agent_name="demo",
        timestamp=datetime(2026, 1, 1, tzinfo=UTC),
        event=event,
    )


def test_a_session_as_its_events_tell():
    seen, told = Watched(), []
    for event in (
        row(1, "user_message"),
        row(2, "permission", request_id="p1", title="run touch made"),
        row(3, "permission", request_id="p2", resource="/etc/passwd"),
        row(4, "permission", request_id="p1", decision="allow-once"),
        row(5, "permission", request_id="p3"),
        row(6, "permission", request_id="p3", decision="cancelled"),
        row(7, "done", turn="another"),
        row(8, "agent_message"),
        row(9, "done"),
        row(10, "session_stopped", turn=""),
    ):
        seen = fold(seen, event)
        told.append((seen.asked, seen.status))
        assert seen.shown == (1, event.sequence)
    passwd = "/etc/passwd: allow? y / a / n / r"
    assert told == [
        ("", "working"),
        ("p1", "run touch made: allow? y / a / n / r"),
        ("p1", "run touch made: allow? y / a / n / r (and 1 more)"),
        ("p2", passwd),
        ("p2", f"{passwd} (and 1 more)"),
        ("p2", passwd),
        ("p2", passwd),
        ("p2", passwd),
        ("", "idle"),
        ("", "stopped"),
    ]
    assert fold(Watched(), row(1, "synthetic_reentry")).status == "working"
    assert fold(Watched(), row(1, "permission", request_id="p")).asks == (("p", "the agent"),)
    assert not fold(seen, row(11, "session_recovered")).stopped
