"""F8 beside acpx, the headless client of npm: a flood through each, by the CPU of the whole client.

Each client is started once for a short turn and once for a long one; the difference is the events'.
Ours stores and publishes them, the peer prints their text. The agent's own share, the same in both,
is a child's of either and is not told apart.
"""

from __future__ import annotations

import os
import resource
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.bench_npm, pytest.mark.timeout(900)]

PACKAGE = "acpx@0.19.1"
CACHE = Path(sys.prefix, "greenroom-test-cache", "acpx")
HERE = Path(__file__).parent
FLOOD = (sys.executable, "-S", str(HERE / "flood_agent.py"))
UPDATES, ROUNDS = 20_000, 7
GREENROOM = """
import sys
from greenroom.actors import SessionManager
home, prompt, *agent = sys.argv[1:]
with SessionManager(home=home, agents={"flood": agent}) as manager:
    session = manager.create(agent_name="flood", workspace_path=home)
    assert session.prompt(prompt).result().type == "done"
"""


def acpx():
    """The command, installed on first use."""
    command = CACHE / "node_modules" / ".bin" / "acpx"
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed")
    if not command.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        asked = [npm, "install", "--prefix", str(CACHE), "--no-audit", "--no-fund", PACKAGE]
        subprocess.run(asked, check=True, capture_output=True, timeout=300)
    return str(command)


def cpu_of(command, home):
    """CPU seconds of a command and its children, whose output is dropped."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "HOME": str(home)}
    subprocess.run(
        command, check=True, timeout=300, env=environment, stdout=subprocess.DEVNULL, cwd=home
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def of_events(make, home):
    """Microseconds per event of a client, without its start."""
    return (cpu_of(make(UPDATES), home) - cpu_of(make(1), home)) / UPDATES * 1e6


def test_f8_beside_acpx(tmp_path):
    command = acpx()
    peer_home = tmp_path / "peer"
    peer_home.mkdir()

    def peer(updates):
        agent = ["--agent", " ".join(FLOOD), "--format", "quiet", "--cwd", str(peer_home)]
        return [command, *agent, "exec", str(updates)]

    def ours(updates):
        home = tmp_path / f"h{next(numbers)}"
        home.mkdir()
        return [sys.executable, "-c", GREENROOM, str(home), str(updates), *FLOOD]

    numbers = iter(range(4 * ROUNDS))
    rounds = [(of_events(ours, tmp_path), of_events(peer, peer_home)) for _ in range(ROUNDS)]
    ratio = statistics.median(theirs / own for own, theirs in rounds)
    own, theirs = (statistics.median(column) for column in zip(*rounds, strict=True))
    print(f"\nF8  CPU per event, {PACKAGE} / ours: {ratio:.2f} ({theirs:.1f} / {own:.1f} us)")
    assert ratio > 1
