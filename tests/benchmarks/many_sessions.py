"""Many sessions on the scripted driver in one process; prints what they cost as one JSON object.

``load N RATE SECONDS``: N sessions, each in a turn that brings RATE events a second.
``interrupt N RATE``: the same, then every turn is interrupted.
"""

import json
import os
import random
import resource
import sys
import time
from pathlib import Path

import gevent
from gevent.event import Event
from gevent.pool import Pool
from greenroom.actors import SessionManager
from greenroom.actors.testing.driver import ScriptedDriver

CREATED_AT_ONCE = 64


class Latencies:
    """How long after the agent brought an event it was stored and told."""

    def __init__(self):
        self.seconds = []

    def on_session_created(self, session):
        pass

    def on_session_stopped(self, session):
        pass

    def on_agent_event(self, session_id, event):
        if event.type == "agent_message":
            self.seconds.append(time.monotonic() - float(event.text))


def resident_kb():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() // 1024


def percentile(values, share):
    return sorted(values)[min(int(len(values) * share), len(values) - 1)] if values else 0.0


def main():
    home, kind, count, rate = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
    seconds = float(sys.argv[5]) if len(sys.argv) > 5 else 3.0
    running, never = [True], Event()

    def story(turn):
        turn.cancelled.wait(random.random() / rate)
        while running[0] and not turn.cancelled.is_set():
            turn.emit("agent_message", text=repr(time.monotonic()))
            turn.cancelled.wait(1 / rate)

    latencies = Latencies()
    manager = SessionManager(
        home=home,
        hub="current",
        driver=ScriptedDriver(story),
        agents={"scripted": ["scripted"]},
        notifier=latencies,
    )
    before_kb = resident_kb()
    begun = time.monotonic()
    pool = Pool(CREATED_AT_ONCE)
    place = {"agent_name": "scripted", "workspace_path": str(home)}
    sessions = pool.map(lambda _: manager.create(**place), range(count))
    told = {"create_s": time.monotonic() - begun}
    told["kb_per_session"] = (resident_kb() - before_kb) / count
    Pool(CREATED_AT_ONCE).map(lambda session: session.prompt("go").close(), sessions)
    never.wait(2.0)
    latencies.seconds.clear()
    begun, cpu = time.monotonic(), time.process_time()
    never.wait(seconds)
    wall = time.monotonic() - begun
    told["cpu"] = (time.process_time() - cpu) / wall
    told["events_per_s"] = len(latencies.seconds) / wall
    told["p50_ms"] = 1000 * percentile(latencies.seconds, 0.5)
    told["p99_ms"] = 1000 * percentile(latencies.seconds, 0.99)
    if kind == "interrupt":
        idle = []
        Pool(16).map(lambda session: idle.append(interrupt(manager, session)), sessions)
        told["interrupt_p99_ms"] = 1000 * percentile(idle, 0.99)
        told["interrupted"] = len(idle)
    print(json.dumps(told), flush=True)
    running[0] = False
    os._exit(0)


def interrupt(manager, session):
    begun = time.monotonic()
    session.interrupt()
    while manager.is_prompting(session.id):
        gevent.sleep(0)
    return time.monotonic() - begun


main()
