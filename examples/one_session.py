"""One session with the agent that ships with greenroom: prompt it, answer it, read the transcript.

python examples/one_session.py [WORKSPACE]
"""

import sys
import tempfile

from greenroom.actors import EventType, SessionManager
from greenroom.storage import ui_message_text


def main(workspace: str) -> None:
    with (
        tempfile.TemporaryDirectory() as home,
        SessionManager(home=home) as manager,
    ):
        session = manager.create(agent_name="demo", workspace_path=workspace)
        stream = session.prompt("What is in this directory?")
        for event in stream:
            if event.type == EventType.AGENT_MESSAGE:
                print(event.text, end="", flush=True)
            elif event.type == EventType.PERMISSION and not event.decision:
                print(f"\n[allowed: {event.title}]")
                session.approve(decision="allow-once", request_id=event.request_id)
        ended = stream.result()
        print(f"\n[{ended.type if ended else 'stopped'}]")
        session.stop()

        print("\nThe transcript, from the store:")
        for message in manager.transcript(session.id):
            print(f"{message.role}: {ui_message_text(message)}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else ".")
