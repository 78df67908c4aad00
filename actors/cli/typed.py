"""What a line typed into an attached session means. Pure.

A line is sent to the agent as it is, slash commands of the agent included; lines that begin with
a colon are ours, and two colons stand for one. While the agent asks for permission, a line of a
single key answers it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from .keys import ANSWERS


class Verb(StrEnum):
    """What is to be done."""

    NOTHING = "nothing"
    SEND = "send"
    STEER = "steer"
    INTERRUPT = "interrupt"
    CANCEL = "cancel"
    ANSWER = "answer"
    STATUS = "status"
    STOP = "stop"
    DETACH = "detach"
    HELP = "help"
    MISTAKE = "mistake"


@dataclass(frozen=True, slots=True)
class Typed:
    """One line, understood.

    :param text: what is sent, or what is wrong with the line.
    :param mode: how a busy session takes it.
    :param request_id: the permission request that is answered.
    :param decision: the answer.
    """

    verb: Verb
    text: str = ""
    mode: str = ""
    request_id: str = ""
    decision: str = ""


@dataclass(frozen=True, slots=True)
class Command:
    """A command of ours: what it does, and whether it takes a text."""

    typed: Typed
    takes_text: bool
    told: str


COMMANDS: dict[str, Command] = {
    "queue": Command(Typed(Verb.SEND, mode="queue"), True, "send TEXT after the running turn"),
    "steer": Command(Typed(Verb.STEER), True, "give the running turn TEXT at its next tool"),
    "interrupt": Command(
        Typed(Verb.INTERRUPT, mode="interrupt"), True, "end the running turn; send TEXT, if any"
    ),
    "cancel": Command(Typed(Verb.CANCEL), False, "end the running turn, keep what is queued"),
    "status": Command(Typed(Verb.STATUS), False, "how the session is"),
    "stop": Command(Typed(Verb.STOP), False, "stop the session"),
    "detach": Command(Typed(Verb.DETACH), False, "leave; the session goes on"),
    "help": Command(Typed(Verb.HELP), False, "this list"),
}
"""The commands by name; any beginning that only one of them has will do."""

TEXTS = frozenset({"queue", "steer"})
"""Commands that are nothing without a text."""


def understand(line: str, asked: str = "") -> Typed:
    """What a line means.

    :param asked: the id of the permission request that waits for an answer, if one does.
    """
    text = line.strip()
    if not text:
        return Typed(Verb.NOTHING)
    if asked and text in ANSWERS:
        return Typed(Verb.ANSWER, request_id=asked, decision=ANSWERS[text])
    if text.startswith("::"):
        return Typed(Verb.SEND, text[1:], mode="queue")
    if text.startswith(":"):
        return _command(*text[1:].partition(" ")[::2])
    return Typed(Verb.SEND, text, mode="queue")


def _command(name: str, rest: str) -> Typed:
    rest = rest.strip()
    found = [full for full in COMMANDS if full == name] or [
        full for full in COMMANDS if name and full.startswith(name)
    ]
    if len(found) != 1:
        many = f": {', '.join(found)}?" if found else ""
        return Typed(Verb.MISTAKE, f'no command ":{name}"{many}; see :help')
    full = found[0]
    command = COMMANDS[full]
    if rest and not command.takes_text:
        return Typed(Verb.MISTAKE, f'":{full}" takes no text; see :help')
    if not rest and full in TEXTS:
        return Typed(Verb.MISTAKE, f'":{full}" needs a text: :{full} TEXT')
    typed = command.typed
    return Typed(typed.verb, rest, typed.mode)


def help_lines() -> list[str]:
    """The commands, for people."""
    written = {name: f":{name}{' TEXT' * row.takes_text}" for name, row in COMMANDS.items()}
    width = max(map(len, written.values()))
    lines = [f"{written[name]:<{width}}  {row.told}" for name, row in COMMANDS.items()]
    keys = ", ".join(f"{key} {decision}" for key, decision in ANSWERS.items())
    return [
        "a line is sent to the agent, after the running turn if there is one",
        *lines,
        f"{'::TEXT':<{width}}  send a line that begins with a colon",
        f"while the agent asks for permission: {keys}",
    ]
