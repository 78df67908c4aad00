"""The standard library as it was before any monkey patching, where that matters.

In a patched host ``subprocess`` forks in Python and steals exit codes, new threads are greenlets,
and even ``os.close`` waits for the loop: a pipe whose end decides something would stay open, and in
a native thread it would make a hub. The built-in functions of ``posix`` are never patched. In a
host that is not patched all of this is the plain original.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import posix
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from types import BuiltinFunctionType, ModuleType
from typing import Any

import gevent.monkey

RUN_OUTPUT_BYTES_MAX = 64 * 1024
RUN_POLL_S = 0.005
Offload = Callable[..., Any]
"""``offload(fn, *args)`` runs ``fn`` in a native thread and waits for it in this greenlet."""


def sleep(seconds: float) -> None:
    """Let a native thread wait; never for the hub."""
    gevent.monkey.get_original("time", "sleep")(seconds)


close = posix.close
waitpid = posix.waitpid


def native_popen() -> Any:
    """``subprocess.Popen`` of the standard library.

    gevent replaces not only the class but also the functions its module calls, so in a patched
    host the saved class does not work: a fresh copy of the module does, over a native ``os``.
    """
    patched = gevent.monkey.is_module_patched("subprocess")
    return (_fresh_subprocess() if patched else subprocess).Popen


@cache
def _fresh_subprocess() -> ModuleType:
    spec = importlib.util.find_spec("subprocess")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.__dict__["os"] = _native_os()
    return module


def _native_os() -> ModuleType:
    module = ModuleType("os")
    module.__dict__.update(vars(os))
    module.__dict__.update(
        (name, value)
        for name, value in vars(posix).items()
        if name in vars(os) and isinstance(value, BuiltinFunctionType)
    )
    return module


def run(argv: Sequence[str], env: Mapping[str, str], seconds: float = 5.0) -> str:
    """The output of a short command; blank when it fails or takes too long. Blocks.

    In a native thread, or on systems where nothing else tells what is asked for.
    """
    with tempfile.TemporaryFile() as output:
        try:
            ran = native_popen()(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.DEVNULL,
                env=dict(env),
                process_group=0,
            )
        except OSError:
            return ""
        status = _await_end(ran.pid, seconds)
        ran.returncode = status
        output.seek(0)
        text = output.read(RUN_OUTPUT_BYTES_MAX).decode("utf-8", "replace")
    return "" if status else text


def _await_end(pid: int, seconds: float) -> int:
    """The exit status of a command; one that takes too long is killed with its group."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found, status = waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        sleep(RUN_POLL_S)
    with contextlib.suppress(OSError):
        os.killpg(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(waitpid(pid, 0)[1])


def start_thread(call: Callable[..., object], *args: Any) -> None:
    """Run ``call`` in a thread of the system, never in a greenlet; it does not hold the exit."""
    gevent.monkey.get_original("_thread", "start_new_thread")(call, args)
