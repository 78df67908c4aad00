"""Three ways to talk to an agent that is working: steer it, queue behind it, interrupt it.

python examples/steer_and_interrupt.py
"""

from __future__ import annotations

import tempfile
import threading

from greenroom.actors import EventType, Session, SessionManager
from greenroom.transport import Subscriber


class Printed:
    """Reads everything a session says, from the bus of its runtime, in a thread of its own."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._told = threading.Condition()
        self._seen: list[str] = []

    def follow(self, home: str) -> None:
        for row in Subscriber(home, session_id=self._session.id):
            event = row.event
            told = event.text or event.title or event.stop_reason
            line = f"{row.type}: {' '.join(told.split())}"
            print(f"  {line}", flush=True)
            with self._told:
                self._seen.append(line)
                self._told.notify_all()

    def wait_for(self, line: str, count: int = 1) -> None:
        """Wait until a line like this was printed so often."""
        with self._told:
            came = self._told.wait_for(
                lambda: sum(line in seen for seen in self._seen) >= count, timeout=30
            )
        if not came:
            raise SystemExit(f'no "{line}" came')


def main() -> None:
    with tempfile.TemporaryDirectory() as home, SessionManager(home=home) as manager:
        session = manager.create(agent_name="demo", workspace_path=".")
        printed = Printed(session)
        threading.Thread(target=printed.follow, args=(home,), daemon=True).start()

        print("A turn that talks, then uses tools; a steering text arrives between two of them:")
        session.prompt("@@slow 5 0.2\n@@tools 3")
        printed.wait_for("1 of 5")
        print(f"> {session.steer('@@say Steered: I look left now.').status}")
        printed.wait_for("Steered")

        print("\nA turn that takes for ever; two inputs wait behind it:")
        printed.wait_for(EventType.DONE)
        session.prompt("@@say working\n@@hang")
        printed.wait_for("agent_message: working")
        for text in ("@@say first in the queue", "@@say second in the queue"):
            result = session.send_prompt(text, mode="queue")
            print(f"> {result.status} at position {result.queue_position}")

        print("\nAn interrupt ends the turn and drops what waits:")
        result = session.interrupt()
        print(f"> {result.status}, {result.canceled_queued_entries} dropped")
        printed.wait_for("done: cancelled")

        print("\nAnd one that brings its own input, while the next turn hangs:")
        session.prompt("@@say working again\n@@hang")
        printed.wait_for("agent_message: working again")
        session.send_prompt("@@say instead of all that", mode="interrupt")
        printed.wait_for("user_message: @@say instead of all that")
        printed.wait_for("done: end_turn", count=2)
        session.stop()
        printed.wait_for(EventType.SESSION_STOPPED)


if __name__ == "__main__":
    main()
