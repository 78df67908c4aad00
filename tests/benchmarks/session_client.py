"""Ours: a whole session driving the same agent, stored, published, with one subscriber.

Prints the same lines as ``sdk_client.py``. Arguments: home, prompts, updates, agent argv.
"""

import json
import subprocess
import sys
import time

from greenroom.actors import SessionManager

FOLLOW = """
import sys
from greenroom.transport import Subscriber
done = int(sys.argv[2])
with Subscriber(sys.argv[1]) as subscriber:
    print("ready", flush=True)
    while done:
        done -= sum(row.type == "done" for row in subscriber.read())
print("complete", flush=True)
"""


def main(home, prompts, updates, argv):
    with SessionManager(home=home, agents={"flood": argv}) as manager:
        follower = subprocess.Popen(
            [sys.executable, "-c", FOLLOW, home, str(prompts)], stdout=subprocess.PIPE, text=True
        )
        assert follower.stdout.readline() == "ready\n"
        began = time.perf_counter()
        session = manager.create(agent_name="flood", workspace_path=home)
        print(json.dumps({"create": time.perf_counter() - began}), flush=True)
        for _ in range(prompts):
            wall, cpu = time.perf_counter(), time.process_time()
            session.prompt(str(updates)).result()
            told = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
            print(json.dumps(told), flush=True)
        assert follower.stdout.readline() == "complete\n"


main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
