"""Callers of every kind at once: threads, asyncio, the caller's own gevent hub, patched hosts."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
import threading

import pytest
from greenroom.actors import PromptInProgressError

SESSIONS = 50


def test_50_sessions_prompting_at_once(manager, workspace, check_gap_free):
    sessions = [None] * SESSIONS

    def open_one(index):
        sessions[index] = manager.create(agent_name="demo", workspace_path=workspace)

    openers = [threading.Thread(target=open_one, args=(n,)) for n in range(SESSIONS)]
    for opener in openers:
        opener.start()
    for opener in openers:
        opener.join(60)
    streams = [(s, s.prompt(f"@@say I am {s.id}\n@@tools 2")) for s in sessions]
    for session, stream in streams:
        assert stream.result(timeout=60).stop_reason == "end_turn"
        rows = manager.events(session.id)
        check_gap_free(rows)
        said = "".join(row.event.text for row in rows if row.type == "agent_message")
        assert session.id in said.replace("\n", ""), "no text of another session"


def test_a_prompt_called_from_8_native_threads(manager, workspace):
    """Each thread runs its own session; all of them also race for one shared session."""
    shared = manager.create(agent_name="demo", workspace_path=workspace)
    outcomes: list[str] = []
    ready = threading.Barrier(8)

    def work():
        session = manager.create(agent_name="demo", workspace_path=workspace)
        ready.wait(30)
        try:
            shared.prompt("@@hang")
            outcomes.append("accepted")
        except PromptInProgressError:
            outcomes.append("refused")
        for turn in range(3):
            assert session.prompt(f"@@say turn {turn}").result(timeout=30).type == "done"
        outcomes.append("ran")

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert outcomes.count("ran") == 8
    assert (outcomes.count("accepted"), outcomes.count("refused")) == (1, 7)
    assert len(manager.events(shared.id, type="user_message")) == 1


def test_asyncio_callers_do_not_block_their_loop(manager, workspace):
    async def main():
        ticks = 0

        async def tick():
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0)

        ticker = asyncio.create_task(tick())
        first, second = await asyncio.gather(
            *(manager.aio.create(agent_name="demo", workspace_path=workspace) for _ in range(2))
        )
        before = ticks
        stream = await manager.aio.prompt(first.id, "@@say over asyncio")
        events = [event async for event in stream]
        assert ticks > before, "the loop went on meanwhile"
        assert events[-1].type == "done"
        assert (await stream.wait()).type == "done"
        queued = await manager.aio.send_prompt(second.id, "@@say idle", mode="queue")
        assert (await queued.events.wait()).type == "done"
        rows = await manager.aio.events(first.id)
        assert rows[-1].type == "done"
        with pytest.raises(ValueError, match="message is required"):
            await manager.aio.prompt(first.id, " ")
        await manager.aio.stop(first.id)
        assert await manager.aio.get(first.id) is None
        assert (await manager.aio.get(second.id)).id == second.id
        ticker.cancel()

    asyncio.run(main())


def run_script(text, tmp_path):
    script = tmp_path / "host.py"
    script.write_text(textwrap.dedent(text))
    ran = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "host-home"), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


WHOLE_LIFE = """
    session = manager.create(agent_name="demo", workspace_path=sys.argv[2])
    stream = session.prompt("@@say hello\\n@@run true")
    for event in stream:
        if event.type == "permission" and not event.decision:
            session.approve(decision="allow-once", request_id=event.request_id)
    print(stream.result().type)
    session.stop()
    print(manager.status(session.id).state)
"""


def test_inside_a_gevent_program(tmp_path):
    """`hub="current"`: other greenlets of the program go on while sessions work."""
    out = run_script(
        """
        import sys
        import gevent
        from greenroom.actors import SessionManager

        ticks = []
        def tick():
            while True:
                ticks.append(1)
                gevent.sleep(0.001)
        ticker = gevent.spawn(tick)
        with SessionManager(home=sys.argv[1], hub="current") as manager:
        """
        + textwrap.indent(WHOLE_LIFE, "        ")
        + """
        assert len(ticks) > 10
        """,
        tmp_path,
    )
    assert out.split() == ["done", "stopped"]


@pytest.mark.parametrize("hub", ["own", "current"])
def test_inside_a_monkey_patched_program(tmp_path, hub):
    out = run_script(
        f"""
        from gevent import monkey
        monkey.patch_all()
        import sys
        from greenroom.actors import SessionManager

        with SessionManager(home=sys.argv[1], hub="{hub}") as manager:
        """
        + textwrap.indent(WHOLE_LIFE, "        "),
        tmp_path,
    )
    assert out.split() == ["done", "stopped"]


def test_importing_greenroom_patches_nothing(tmp_path):
    out = run_script(
        """
        import socket, subprocess, threading, time
        before = (socket.socket, subprocess.Popen, threading.Thread, time.sleep)
        import greenroom.actors, greenroom.storage, greenroom.transport
        for package in (greenroom.actors, greenroom.storage, greenroom.transport):
            for name in package.__all__:
                getattr(package, name)
        from gevent import monkey
        print(before == (socket.socket, subprocess.Popen, threading.Thread, time.sleep))
        print(bool(monkey.saved))
        """,
        tmp_path,
    )
    assert out.split() == ["True", "False"]
