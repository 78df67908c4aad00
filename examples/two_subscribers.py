"""Two subscribers of one runtime: one from the beginning, one that comes late and catches up.

Both end with exactly the stored events, in order, once.

python examples/two_subscribers.py
"""

import tempfile
import threading

from greenroom.actors import SessionManager
from greenroom.transport import Subscriber


def follow(endpoints: object, seen: list[tuple[int, str]]) -> None:
    """Read until the session stopped."""
    with Subscriber(endpoints) as subscriber:
        for row in subscriber:
            seen.append((row.sequence, row.type))
            if row.type == "session_stopped":
                break
        # What the stop leaves in the transcript comes right behind it.
        seen += [(row.sequence, row.type) for row in subscriber.read(timeout=1)]


def main() -> None:
    with tempfile.TemporaryDirectory() as home, SessionManager(home=home) as manager:
        early: list[tuple[int, str]] = []
        late: list[tuple[int, str]] = []
        first = threading.Thread(target=follow, args=(manager.endpoints, early))
        first.start()

        session = manager.create(agent_name="demo", workspace_path=home)
        session.prompt("@@say hello to both of you").result(timeout=30)

        second = threading.Thread(target=follow, args=(manager.endpoints, late))
        second.start()
        session.stop()
        first.join(30)
        second.join(30)

        stored = [(row.sequence, row.type) for row in manager.events(session.id)]
        for name, seen in (("early", early), ("late", late)):
            print(f"{name}: {len(seen)} events, as stored: {seen == stored}")
        if not early == late == stored:
            raise SystemExit("a subscriber missed something")


if __name__ == "__main__":
    main()
