"""The driver in other hosts: another thread's hub, no pidfd, and a monkey-patched process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading

import pytest
from greenroom.transport.agent.context import CallContext
from greenroom.transport.agent.driver import ACPDriver
from greenroom.transport.agent.protocol import PromptRequest, StartOpts

from .conftest import DEMO, soon


def one_life(cwd, driver, crash=False):
    """Start, one turn, end; returns what was said and how it ended."""
    env = (("GREENROOM_DEMO_PACE", "0"), ("GREENROOM_DEMO_STATE", os.path.join(cwd, "state")))
    process = driver.start(soon(), StartOpts("tested", DEMO, cwd, env=env))
    stream = driver.prompt(CallContext(), process, PromptRequest("t-1", "@@say alive"))
    said = [event.text for event in stream if event.type == "agent_message"]
    if crash:
        os.kill(process.pid, signal.SIGKILL)
        process.done.wait(10)
    driver.stop(soon(), process)
    return said, process.wait()


@pytest.mark.parametrize("pidfd", [True, False])
@pytest.mark.parametrize("crash", [True, False])
def test_a_hub_in_another_thread(tmp_path, pidfd, crash):
    found = []
    driver = ACPDriver(pidfd=pidfd)
    thread = threading.Thread(
        target=lambda: found.append(one_life(str(tmp_path), driver, crash)), daemon=True
    )
    thread.start()
    thread.join(30)
    said, end = found[0]
    assert said == ["alive"]
    assert (end.exit_status if crash else end) == (-signal.SIGKILL if crash else None)


def test_without_a_pidfd_in_this_thread(tmp_path):
    assert one_life(str(tmp_path), ACPDriver(pidfd=False)) == (["alive"], None)
    assert one_life(str(tmp_path), ACPDriver(pidfd=False), crash=True)[1].exit_status == -9


PATCHED = """
    from gevent import monkey
    monkey.patch_all()
    import os, signal, subprocess, sys, threading
    assert subprocess.Popen is not monkey.get_original("subprocess", "Popen")
    from greenroom.transport.agent.context import CallContext
    from greenroom.transport.agent.driver import ACPDriver
    from greenroom.transport.agent.protocol import PromptRequest, StartOpts

    command = (sys.executable, "-m", "greenroom.transport.demo")
    env = (("GREENROOM_DEMO_PACE", "0"), ("GREENROOM_DEMO_STATE", os.getcwd() + "/state"))
    for pidfd in (True, False):
        driver = ACPDriver(pidfd=pidfd)
        for crash in (False, True):
            process = driver.start(
                CallContext.after(20), StartOpts("patched", command, os.getcwd(), env=env)
            )
            assert not isinstance(process._child.popen, subprocess.Popen)
            stream = driver.prompt(CallContext(), process, PromptRequest("t", "@@read a.txt"))
            print([event.type for event in stream])
            if crash:
                os.kill(process.pid, signal.SIGKILL)
                process.done.wait(10)
            driver.stop(CallContext.after(20), process)
            print(getattr(process.wait(), "exit_status", None))
"""


def test_a_monkey_patched_host(tmp_path):
    (tmp_path / "a.txt").write_text("text")
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PATCHED)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    turn = "['tool_call', 'tool_call', 'tool_result', 'done']"
    assert done.stdout.split("\n") == [turn, "None", turn, "-9", turn, "None", turn, "-9", ""]
    assert done.stderr == ""


def test_importing_the_driver_patches_nothing():
    code = (
        "import subprocess, threading, socket, os; before = [subprocess.Popen, threading.Thread,"
        " threading.Lock, socket.socket, os.fork, os.waitpid]; import greenroom.transport.agent"
        ".driver; assert before == [subprocess.Popen, threading.Thread, threading.Lock,"
        " socket.socket, os.fork, os.waitpid]; from gevent import monkey;"
        " assert not monkey.is_anything_patched()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
