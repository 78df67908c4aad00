"""P4: 0 bytes outside: hostile paths x every operation that takes a path, and races of links (D20).

Outside lie files with a secret, and a snapshot of all of it is compared after every operation.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
import sys

import gevent
import pytest
from greenroom.actors.errors import (
    InvalidPathError,
    PathOutsideWorkspaceError,
    RequestError,
)
from greenroom.transport.agent.files import Workspace
from greenroom.transport.agent.process_store import MemoryProcessStore
from greenroom.transport.agent.terminals import TerminalRequest, Terminals
from greenroom.transport.agent.tool_processes import ToolProcesses

SECRET = "the secret outside"
REFUSED = (InvalidPathError, PathOutsideWorkspaceError, RequestError, OSError)


class Place:
    """A workspace full of ways out, and what lies outside."""

    def __init__(self, top):
        self.top = top
        self.ws = top / "ws"
        self.out = top / "out"
        for path in (self.ws / "sub" / "deep", self.out / "dir", top / "ws-evil"):
            path.mkdir(parents=True)
        (self.ws / "inside.txt").write_text("inside")
        (self.ws / "sub" / "here.txt").write_text("here")
        for path in (self.out / "secret", self.out / "dir" / "secret", top / "ws-evil" / "secret"):
            path.write_text(SECRET)
        (top / "secret").write_text(SECRET)
        self.links = {
            "to_out": "../out",
            "to_out_absolute": str(self.out),
            "to_secret": "../out/secret",
            "to_secret_absolute": str(self.out / "secret"),
            "to_top": "..",
            "to_root": "/",
            "to_evil": "../ws-evil",
            "dangling": "../out/made",
            "dangling_absolute": str(self.out / "made"),
            "dangling_deep": "../nowhere/deep/made",
            "chain": "chain2",
            "chain2": "sub/chain3",
            "loop": "loop2",
            "loop2": "loop",
            "itself": "itself",
            "proc": "/proc/self/root",
            "cwd": "/proc/self/cwd",
            "back": "../ws/../out",
            "dots": "sub/../../out",
            "slashes": "..//out///dir",
        }
        for name, target in self.links.items():
            (self.ws / name).symlink_to(target)
        (self.ws / "sub" / "chain3").symlink_to("../../out")
        (self.ws / "sub" / "up").symlink_to("../..")
        os.mkfifo(self.ws / "fifo")
        self.workspace = Workspace((str(self.ws),))
        self.before = self.outside()

    def outside(self):
        """Everything that is not in the workspace: names, content, modes, link targets."""
        found = {}
        for directory, names, files in os.walk(self.top):
            if directory == str(self.top):
                names.remove("ws")
            for name in (*names, *files):
                path = os.path.join(directory, name)
                status = os.lstat(path)
                content = b""
                if os.path.isfile(path):
                    with open(path, "rb") as file:
                        content = file.read()
                found[path] = (status.st_mode, status.st_mtime_ns, content)
        return found

    def check(self):
        assert self.outside() == self.before


def hostile_paths(place):
    """At least 200 ways to name something outside, or nothing at all."""
    ends = ("secret", "dir/secret", "made", "dir", "")
    ways = [
        *place.links,
        "..",
        "../out",
        "sub/../../out",
        "sub/up/out",
        "sub/deep/../../../out",
        "./.././out",
        "inside.txt/../../out",
        "missing/../../out",
        "to_top/out",
        "to_root" + str(place.out),
        "proc" + str(place.out),
        "sub/chain3",
        "to_top/ws/to_out",
        "../ws-evil",
        str(place.ws) + "-evil",
        str(place.ws) + "/../out",
        str(place.ws) + "/to_out",
        str(place.ws) + "/sub/up/out",
        str(place.out),
        "//" + str(place.out).lstrip("/"),
        "/../../" + str(place.out),
        "/proc/self/cwd/../out",
        "/proc/self/root" + str(place.out),
        f"/proc/{os.getpid()}/root{place.out}",
        "/dev/fd/0/../../out",
        "\n../out",
        " ../out",
        "..\\out",
    ]
    paths = [f"{way}/{end}" if end else way for way, end in itertools.product(ways, ends)]
    paths += ["", " ", "\0", "a\0b", "../\0/secret", "/", "//", ".", "./", "..", "../..", "/etc"]
    paths += ["/etc/passwd", "/dev/null", "/dev/zero", "/dev/tty", "fifo", "inside.txt/", "~"]
    paths += ["~/x", "$HOME/x", "file:///etc/passwd", "../" * 60 + "etc/passwd", "a/" * 3000]
    paths += [
        "x" * 300,
        "x" * 5000,
        "../out/secret\0.txt",
        "sub/\x7f/../../../secret",
        "\N{FULLWIDTH FULL STOP}" * 2 + "/out",
    ]
    return paths


def read(place, path):
    text = place.workspace.read_text(path, None, None)
    assert SECRET not in text
    assert "root:" not in text


def write(place, path):
    place.workspace.write_text(path, "written by an agent")


def locate(place, path):
    found = place.workspace.locate(path)
    assert found == str(place.ws) or found.startswith(f"{place.ws}/")


def open_directory(place, path):
    fd, name = place.workspace.open_directory(path)
    try:
        real = os.readlink(f"/proc/self/fd/{fd}")
        assert name == str(place.ws) or name.startswith(f"{place.ws}/")
        assert real == str(place.ws) or real.startswith(f"{place.ws}/")
    finally:
        os.close(fd)


OPERATIONS = (read, write, locate, open_directory)


@pytest.fixture
def place(tmp_path):
    yield Place(tmp_path.resolve())
    # Deeper than what removes old test directories can go.
    subprocess.run(["rm", "-rf", str(tmp_path / "ws")], check=True)


def test_there_are_enough_ways(place):
    assert len(set(hostile_paths(place))) >= 200


@pytest.mark.parametrize("operation", OPERATIONS)
def test_no_path_leads_outside(place, operation):
    allowed = []
    for path in hostile_paths(place):
        try:
            operation(place, path)
        except REFUSED:
            pass
        else:
            allowed.append(path)
        place.check()
    # Whatever was let through is a name for something inside.
    assert not [path for path in allowed if path.startswith(("/etc", "/dev", "../out", "to_out"))]


def desk(place):
    def offload(call, *args):
        return gevent.get_hub().threadpool.apply(call, args)

    registry = ToolProcesses(MemoryProcessStore())
    return Terminals(place.workspace, offload, registry, token="token-of-hostile-paths")


def test_no_terminal_starts_outside(place):
    """Every hostile path as the directory of a command that would leave a trace there."""
    terminals = desk(place)
    for path in hostile_paths(place):
        with contextlib.suppress(*REFUSED):
            request = TerminalRequest("sh", ("-c", "pwd; echo x > trace"), cwd=path)
            made = terminals.create(request, "t")
            terminals.exit_of(made).get(timeout=10)
            where = terminals.output(made)["output"].splitlines()[0]
            assert where == str(place.ws) or where.startswith(f"{place.ws}/")
            terminals.release(made)
    place.check()
    terminals.close()
    assert terminals.wait(10)


@pytest.mark.parametrize(
    "command", ["./to_out/tool", "../out/tool", "to_top/out/tool", "./sub/up/out/tool"]
)
def test_the_directory_is_confined_and_not_the_command(place, command):
    """A command is whatever the policy let pass; what matters is where it starts."""
    (place.out / "tool").write_text("#!/bin/sh\npwd\n")
    (place.out / "tool").chmod(0o755)
    terminals = desk(place)
    made = terminals.create(TerminalRequest(command), "t")
    terminals.exit_of(made).get(timeout=10)
    assert terminals.output(made)["output"] == f"{place.ws}\n"


SWAPPER = """
import os, shutil, sys
os.chdir(sys.argv[1])
def clear(name):
    try:
        os.unlink(name)
    except OSError:  # nothing there, or a write has just made a directory of that name
        shutil.rmtree(name, ignore_errors=True)
def put(source, name):
    while True:
        try:
            return os.rename(source, name)
        except OSError:
            clear(name)
def turn(name, target):
    put(name, name + "_real")
    os.symlink(target, name + "_link")
    put(name + "_link", name)
    clear(name)
    put(name + "_real", name)
sys.stdout.write("go\\n"); sys.stdout.flush()
while os.getppid() == int(sys.argv[2]):
    turn("x", "../out")
    turn("f", "../out/secret")
"""


@pytest.fixture
def swapped(place):
    """``x`` is now a directory, now a link to outside; so is the file ``f``."""
    (place.ws / "x").mkdir()
    (place.ws / "x" / "secret").write_text("harmless")
    (place.ws / "f").write_text("harmless")
    swapper = subprocess.Popen(
        [sys.executable, "-S", "-c", SWAPPER, str(place.ws), str(os.getpid())],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert swapper.stdout.readline() == "go\n"
    yield place
    assert swapper.poll() is None, "the race lasted to the end"
    swapper.kill()
    swapper.wait()
    swapper.stdout.close()


def race(place, rounds):
    """Every operation against the swapper; returns how often each was let through."""
    passed = dict.fromkeys(OPERATIONS, 0)
    targets = {read: ("x/secret", "f"), write: ("x/made", "f"), open_directory: ("x", "x/.")}
    for number in range(rounds):
        for operation, paths in targets.items():
            with contextlib.suppress(*REFUSED):
                operation(place, paths[number % 2])
                passed[operation] += 1
    place.check()
    return passed


def test_a_thousand_races_of_links(swapped):
    passed = race(swapped, 1000)
    assert passed[read] > 0
    assert passed[open_directory] > 0


@pytest.mark.chaos
def test_ten_thousand_races_of_links(swapped):
    race(swapped, 10_000)


def test_races_of_links_with_real_terminals(swapped):
    terminals = desk(swapped)
    places = set()
    for _ in range(60):
        with contextlib.suppress(*REFUSED):
            made = terminals.create(TerminalRequest("touch", ("trace",), cwd="x"), "t")
            terminals.exit_of(made).get(timeout=10)
            places.add(made)
            terminals.release(made)
    swapped.check()
