"""Files of a workspace: what an agent may reach, and that it reaches nothing else."""

from __future__ import annotations

import ctypes
import os
import stat
import sys
import threading

import pytest
from greenroom.actors.errors import InvalidPathError, PathOutsideWorkspaceError, RequestError
from greenroom.transport.acp.outputs import ClientCallAsked
from greenroom.transport.agent import files
from greenroom.transport.agent.calls import perform, request_error
from greenroom.transport.agent.files import Workspace
from hypothesis import given, settings
from hypothesis import strategies as st

SECRET = "outside, do not show"
RACE_ROUNDS = 2_000
AT_FDCWD = -100
RENAME_EXCHANGE = 2


@pytest.fixture
def place(tmp_path):
    """Two roots next to a directory that is none, with every kind of way out."""
    base = tmp_path.resolve()
    for name in ("ws", "ws-evil", "second", "outside", "ws/sub/deep"):
        (base / name).mkdir(parents=True)
    (base / "outside" / "secret").write_text(SECRET)
    (base / "ws-evil" / "secret").write_text(SECRET)
    (base / "second" / "there").write_text("second root")
    (base / "ws" / "plain").write_text("one\ntwo\nthree\n")
    (base / "ws" / "sub" / "inner").write_text("inner")
    links = {
        "ws/out_abs": base / "outside",
        "ws/out_rel": "../outside",
        "ws/out_file": base / "outside" / "secret",
        "ws/dangling_out": base / "outside" / "new",
        "ws/dangling_rel": "../outside/new",
        "ws/dangling_in": "sub/new",
        "ws/up": "..",
        "ws/root": "/",
        "ws/etc": "/etc",
        "ws/self": ".",
        "ws/loop": "loop",
        "ws/ping": "pong",
        "ws/pong": "ping",
        "ws/chain1": "chain2",
        "ws/chain2": "sub/../out_rel",
        "ws/evil": "../ws-evil",
        "ws/proc": "/proc/self/root",
        "ws/fd": "/proc/self/fd",
        "ws/inner_link": "sub/inner",
        "ws/sub/back": "..",
        "ws/sub/home": base / "ws",
        "ws/second_link": "../second",
        "outside/into": base / "ws",
    }
    for name, target in links.items():
        os.symlink(target, base / name)
    os.mkfifo(base / "ws" / "fifo")
    return base


def workspace(place):
    return Workspace((str(place / "ws"), str(place / "second")))


OUTSIDE = [
    "../outside/secret",
    "../../etc/passwd",
    "/etc/passwd",
    "/",
    "..",
    "../ws-evil/secret",
    "sub/../../outside/secret",
    "./sub/./../../outside/secret",
    "out_abs/secret",
    "out_rel/secret",
    "out_file",
    "out_abs/new",
    "out_abs/new/er/file",
    "dangling_out",
    "dangling_rel",
    "dangling_out/x",
    "up/outside/secret",
    "up/up/up/etc/passwd",
    "up/ws-evil/secret",
    "root/etc/passwd",
    "etc/passwd",
    "chain1/secret",
    "chain2/secret",
    "evil/secret",
    "proc/etc/passwd",
    "sub/back/up/outside/secret",
    "sub/home/out_rel/secret",
    "self/self/out_rel/secret",
    "second_link/../../outside/secret",
    "/proc/self/root/etc/passwd",
    "/proc/self/environ",
    "/proc/1/root/etc/passwd",
    "/dev/null",
    "/dev/stdin",
    "//etc//passwd",
    "/./etc/passwd",
    "{base}/outside/secret",
    "{base}/ws/../outside/secret",
    "{base}/ws-evil/secret",
    "{base}/wsx",
    "{base}/ws/../ws-evil/secret",
    "{base}//ws//..//outside//secret",
    "{base}/second/../outside/secret",
    "{base}/outside/into/../secret",
    "{base}/outside/into/out_abs/secret",
    "{base}",
    "{base}/ws/out_abs",
]
INVALID = [
    "",
    "   ",
    "\t\n",
    "plain\0",
    "\0/etc/passwd",
    "a\0b",
    ".",
    "../ws",
    "sub",
    "{base}/ws",
    "loop",
    "ping",
    "loop/x",
    "fifo",
    "self",
    "sub/",
    "second_link",
]


def everything_outside(place):
    return {
        str(path): (path.is_symlink(), path.read_bytes() if path.is_file() else None)
        for name in ("outside", "ws-evil")
        for path in sorted((place / name).rglob("*"))
        if not str(path).startswith(str(place / "outside" / "into"))
    }


def test_there_are_enough_hostile_paths():
    assert len(OUTSIDE) + len(INVALID) > 50


@pytest.mark.parametrize("path", OUTSIDE)
def test_a_path_that_leads_outside_is_neither_read_nor_written(place, path):
    before = everything_outside(place)
    named = path.format(base=place)
    with pytest.raises((PathOutsideWorkspaceError, RequestError, InvalidPathError)) as read:
        workspace(place).read_text(named, None, None)
    assert SECRET not in str(read.value)
    with pytest.raises((PathOutsideWorkspaceError, InvalidPathError)):
        workspace(place).write_text(named, "written by the agent")
    assert everything_outside(place) == before


@pytest.mark.parametrize("path", INVALID)
def test_d21_a_path_that_is_no_file_is_invalid(place, path):
    for attempt in (
        lambda p: workspace(place).read_text(p, None, None),
        lambda p: workspace(place).write_text(p, "x"),
    ):
        with pytest.raises(InvalidPathError):
            attempt(path.format(base=place))
    assert stat.S_ISFIFO((place / "ws" / "fifo").lstat().st_mode)


@pytest.mark.parametrize(
    "path",
    [
        "plain",
        "./plain",
        " plain ",
        "sub/../plain",
        "self/self/plain",
        "sub/back/plain",
        "sub/home/plain",
        "up/ws/plain",
        "{base}/ws/plain",
        "{base}//ws/./plain",
        "{base}/outside/../ws/plain",
        "{base}/outside/into/plain",
        "root/{base}/ws/plain",
    ],
)
def test_every_honest_name_of_a_file_reads_it(place, path):
    assert workspace(place).read_text(path.format(base=place), None, None) == "one\ntwo\nthree\n"


def test_the_other_roots_belong_to_the_workspace(place):
    assert workspace(place).read_text(f"{place}/second/there", None, None) == "second root"
    assert workspace(place).read_text("second_link/there", None, None) == "second root"
    assert workspace(place).read_text("../second/there", None, None) == "second root"


def test_d20_the_root_of_everything_contains_everything(place):
    assert Workspace(("/",)).read_text(f"{place}/outside/secret", None, None) == SECRET
    assert Workspace(("/",)).read_text("../../etc/hostname", None, None)


def test_r26_a_missing_file_is_not_found_by_its_name(place):
    for path in ("nowhere", "sub/nowhere/x", "plain/x", "dangling_in"):
        with pytest.raises(RequestError) as caught:
            workspace(place).read_text(path, None, None)
        assert caught.value.code == -32002
        assert str(caught.value) == f"Resource not found: {path}"


LINES = "one\ntwo\nthree\n"


@pytest.mark.parametrize(
    ("line", "limit", "expected"),
    [
        (None, None, LINES),
        (0, None, LINES),
        (-5, -1, LINES),
        (1, None, LINES),
        (2, None, "two\nthree\n"),
        (4, None, ""),
        (5, None, ""),
        (99, 1, ""),
        (1, 0, ""),
        (None, 1, "one"),
        (2, 1, "two"),
        (2, 2, "two\nthree"),
        (2, 3, "two\nthree\n"),
        (2, 99, "two\nthree\n"),
    ],
)
def test_lines_are_counted_from_one(place, line, limit, expected):
    assert workspace(place).read_text("plain", line, limit) == expected


@settings(max_examples=60, deadline=None)
@given(
    text=st.text(alphabet="ab\n", max_size=30),
    line=st.integers(1, 12),
    limit=st.integers(0, 12),
    chunk=st.integers(1, 4),
)
def test_a_slice_is_that_of_the_split_text(tmp_path_factory, text, line, limit, chunk):
    root = tmp_path_factory.mktemp("slice").resolve()
    (root / "f").write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "READ_BYTES", chunk)
        found = Workspace((str(root),)).read_text("f", line, limit)
    assert found == "\n".join(text.split("\n")[line - 1 :][:limit])


def test_invalid_text_is_replaced(place):
    (place / "ws" / "binary").write_bytes(b"a\xff\xfeb")
    assert workspace(place).read_text("binary", None, None) == "a��b"


def test_d21_an_answer_has_a_largest_size_and_a_search_an_end(place, monkeypatch):
    monkeypatch.setattr(files, "ANSWER_BYTES_MAX", 10)
    (place / "ws" / "big").write_text("0123456789\nx\ny")
    with pytest.raises(RequestError) as caught:
        workspace(place).read_text("big", None, None)
    assert caught.value.code == -32602
    assert workspace(place).read_text("big", 2, None) == "x\ny"
    monkeypatch.setattr(files, "SCANNED_BYTES_MAX", 5)
    with pytest.raises(RequestError):
        workspace(place).read_text("big", 2, 1)


def test_a_new_file_is_private_and_its_directories_are_not(place):
    old = os.umask(0o022)
    try:
        workspace(place).write_text("new/dir/file", "text")
    finally:
        os.umask(old)
    assert stat.S_IMODE((place / "ws/new/dir/file").stat().st_mode) == 0o600
    assert stat.S_IMODE((place / "ws/new/dir").stat().st_mode) == 0o755
    assert (place / "ws/new/dir/file").read_text() == "text"


def test_an_existing_file_keeps_its_mode_but_no_special_rights(place):
    target = place / "ws" / "plain"
    target.chmod(0o4755)
    workspace(place).write_text("plain", "new")
    assert stat.S_IMODE(target.stat().st_mode) == 0o755
    assert target.read_text() == "new"
    assert [p.name for p in (place / "ws").iterdir() if p.name.startswith(".greenroom")] == []


def test_d21_a_link_inside_is_written_through_and_stays_a_link(place):
    workspace(place).write_text("inner_link", "through")
    workspace(place).write_text("dangling_in", "made")
    assert (place / "ws/inner_link").is_symlink()
    assert (place / "ws/sub/inner").read_text() == "through"
    assert (place / "ws/sub/new").read_text() == "made"


def test_d21_a_failed_write_leaves_the_old_file_and_no_rest(place, monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "rename", refuse)
    with pytest.raises(OSError, match="No space"):
        workspace(place).write_text("plain", "new")
    assert (place / "ws/plain").read_text() == "one\ntwo\nthree\n"
    assert [p.name for p in (place / "ws").iterdir() if p.name.startswith(".greenroom")] == []


def test_no_descriptor_is_kept(place):
    before = sorted(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else []
    for path in [*OUTSIDE, *INVALID, "plain", "sub/inner"]:
        for attempt in (
            lambda p: workspace(place).read_text(p, None, None),
            lambda p: workspace(place).write_text(p, "x"),
        ):
            try:
                attempt(path.format(base=place))
            except (RequestError, InvalidPathError, PathOutsideWorkspaceError):
                continue
    assert len(os.listdir("/proc/self/fd")) == len(before)


def exchange(first, second):
    """Swap two names at once: at every moment both exist."""
    renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    if renameat2(AT_FDCWD, bytes(first), AT_FDCWD, bytes(second), RENAME_EXCHANGE) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def swap_directory(root, outside):
    exchange(root / "victim", root / "bad")


def swap_file(root, outside):
    os.symlink(outside / "secret", root / "next")
    os.replace(root / "next", root / "target")
    (root / "next").write_text("inside")
    os.replace(root / "next", root / "target")


@pytest.mark.skipif(sys.platform != "linux", reason="needs renameat2")
@pytest.mark.parametrize(
    ("swap", "path"), [(swap_directory, "victim/secret"), (swap_file, "target")]
)
def test_d20_a_component_swapped_for_a_link_never_leads_outside(place, swap, path):
    """One thread swaps a component for a link to the outside and back, as fast as it can."""
    root, outside = place / "ws", place / "outside"
    (root / "victim").mkdir()
    (root / "victim" / "secret").write_text("inside")
    (root / "target").write_text("inside")
    os.symlink(outside, root / "bad")
    stop = threading.Event()

    def swap_on():
        while not stop.is_set():
            swap(root, outside)

    before = everything_outside(place)
    swapper = threading.Thread(target=swap_on)
    swapper.start()
    seen = {"inside": 0, "refused": 0}
    space = Workspace((str(root),))
    try:
        for number in range(RACE_ROUNDS):
            try:
                if number % 2:
                    space.write_text(path, "inside")
                else:
                    assert space.read_text(path, None, None) == "inside"
                seen["inside"] += 1
            except (PathOutsideWorkspaceError, InvalidPathError):
                seen["refused"] += 1
    finally:
        stop.set()
        swapper.join()
    assert everything_outside(place) == before
    assert seen["inside"] > 0, "the honest side never won"
    assert seen["refused"] > 0, "the race was never run"


def test_what_an_agent_is_told():
    assert request_error(InvalidPathError("bad")).code == -32602
    assert request_error(PathOutsideWorkspaceError("out")).code == -32602
    assert request_error(OSError(13, "denied")).code == -32603
    told = RequestError("gone", code=-32002)
    assert request_error(told) is told


def test_the_calls_an_agent_makes(place):
    read = ClientCallAsked(
        1, "fs/read_text_file", {"sessionId": "s", "path": "plain", "line": 2, "limit": 1}
    )
    assert perform(workspace(place), read) == {"content": "two"}
    write = ClientCallAsked(
        2, "fs/write_text_file", {"sessionId": "s", "path": "made", "content": "é"}
    )
    assert perform(workspace(place), write) == {}
    assert (place / "ws" / "made").read_bytes() == "é".encode()
    with pytest.raises(RequestError) as caught:
        perform(workspace(place), ClientCallAsked(3, "fs/format_disk", {}))
    assert caught.value.code == -32601


def test_a_path_is_judged_where_it_leads(place):
    space = workspace(place)
    assert space.locate("sub/home/plain") == f"{place}/ws/plain"
    assert space.locate("not/there/yet") == f"{place}/ws/not/there/yet"
    for path in OUTSIDE:
        with pytest.raises(PathOutsideWorkspaceError):
            space.locate(path.format(base=place))
    for path in ("", "a\0b"):
        with pytest.raises(InvalidPathError):
            space.locate(path)
