"""One runtime per home, with real second processes."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from greenroom.actors.errors import HomeInUseError, StorageError
from greenroom.storage.lockfile import HomeLock, is_locked

HOLDER = """
import sys
from pathlib import Path
from greenroom.storage.lockfile import HomeLock
lock = HomeLock.acquire(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
lock.release()
print("released", flush=True)
sys.stdin.close()
"""


def holder(path: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_another_process_is_refused_and_told_the_pid(tmp_path: Path) -> None:
    path = tmp_path / "runtime.lock"
    with holder(path) as process:
        with pytest.raises(HomeInUseError) as caught:
            HomeLock.acquire(path)
        assert (caught.value.home, caught.value.pid) == (str(tmp_path), process.pid)
        process.communicate(timeout=20)
    HomeLock.acquire(path).release()


def test_kill_9_releases_it(tmp_path: Path) -> None:
    path = tmp_path / "runtime.lock"
    for _ in range(3):
        with holder(path) as process:
            process.send_signal(signal.SIGKILL)
            process.wait(20)
        lock = HomeLock.acquire(path)
        assert path.read_text().strip() == str(os.getpid())
        lock.release()


def test_the_same_process_can_not_hold_it_twice(tmp_path: Path) -> None:
    path = tmp_path / "runtime.lock"
    lock = HomeLock.acquire(path)
    with pytest.raises(HomeInUseError) as caught:
        HomeLock.acquire(path)
    assert caught.value.pid == os.getpid()
    assert lock.held
    lock.release()
    lock.release()
    assert not lock.held
    again = HomeLock.acquire(path)
    lock.release()
    assert again.held
    again.release()


def test_a_child_that_was_executed_does_not_keep_it(tmp_path: Path) -> None:
    path = tmp_path / "runtime.lock"
    lock = HomeLock.acquire(path)
    child = subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read()"],
        stdin=subprocess.PIPE,
        close_fds=False,
    )
    lock.release()
    HomeLock.acquire(path).release()
    child.communicate(timeout=20)


def test_a_child_that_outlives_a_killed_owner_does_not_keep_it(tmp_path: Path) -> None:
    script = (
        "import subprocess, sys, os; from pathlib import Path\n"
        "from greenroom.storage.lockfile import HomeLock\n"
        "lock = HomeLock.acquire(Path(sys.argv[1]))\n"
        "child = subprocess.Popen(['sleep', '60'], close_fds=False, stdout=subprocess.DEVNULL)\n"
        "print(child.pid, flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    path = tmp_path / "runtime.lock"
    owner = subprocess.run(
        [sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, timeout=20, check=False
    )
    try:
        HomeLock.acquire(path).release()
    finally:
        os.kill(int(owner.stdout), signal.SIGKILL)


def test_a_forked_child_can_not_release_it_for_its_parent(tmp_path: Path) -> None:
    path = tmp_path / "runtime.lock"
    script = (
        "import os, sys; from pathlib import Path\n"
        "from greenroom.storage.lockfile import HomeLock\n"
        "lock = HomeLock.acquire(Path(sys.argv[1]))\n"
        "pid = os.fork()\n"
        "if pid == 0:\n"
        "    held = lock.held\n"
        "    lock.release()\n"
        "    os._exit(3 if held else 0)\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)\n"
        "sys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", script, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "0\n"
        with pytest.raises(HomeInUseError):
            HomeLock.acquire(path)
        process.communicate(timeout=20)


def test_the_file_is_private_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "runtime.lock"
    HomeLock.acquire(path).release()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_bytes() == b""


def test_no_directory_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError) as caught:
        HomeLock.acquire(tmp_path / "none" / "runtime.lock")
    assert caught.value.fields["path"] == str(tmp_path / "none" / "runtime.lock")


@pytest.mark.parametrize("call", ["ftruncate", "pwrite"])
def test_a_full_disk_is_a_storage_error_and_holds_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def fail(*args: object) -> None:
        raise OSError(errno.ENOSPC, "no space")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(StorageError):
            HomeLock.acquire(tmp_path / "runtime.lock")
    HomeLock.acquire(tmp_path / "runtime.lock").release()


def test_an_unreadable_pid_is_zero(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "runtime.lock"
    lock = HomeLock.acquire(path)
    path.write_text("not a pid")
    with pytest.raises(HomeInUseError) as caught:
        HomeLock.acquire(path)
    assert caught.value.pid == 0

    def fail(*args: object) -> None:
        raise OSError(errno.EIO, "no")

    monkeypatch.setattr(os, "pread", fail)
    with pytest.raises(HomeInUseError) as caught:
        HomeLock.acquire(path)
    assert caught.value.pid == 0
    lock.release()


def test_released_by_somebody_else_it_is_only_closed(tmp_path: Path) -> None:
    lock = HomeLock.acquire(tmp_path / "runtime.lock")
    lock._owner = 0
    assert not lock.held
    lock.release()
    assert (tmp_path / "runtime.lock").read_text().strip() == str(os.getpid())


def test_looking_whether_a_lock_is_held_changes_nothing(tmp_path):
    path = tmp_path / "runtime.lock"
    assert not is_locked(path)
    assert not path.exists()
    lock = HomeLock.acquire(path)
    before = path.read_bytes()
    assert is_locked(path)
    lock.release()
    path.write_bytes(before)
    assert not is_locked(path)
    assert path.read_bytes() == before
    with pytest.raises(StorageError):
        is_locked(tmp_path / "runtime.lock" / "below")
