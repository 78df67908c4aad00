"""The standard library as it was before any monkey patching, where that matters (DESIGN G3).

In a patched host ``subprocess`` forks in Python and steals exit codes, new threads are greenlets,
and even ``os.close`` waits for the loop: a pipe whose end decides something would stay open, and in
a native thread it would make a hub. The built-in functions of ``posix`` are never patched. In a
host that is not patched all of this is the plain original.
"""

from __future__ import annotations

import importlib.util
import os
import posix
import subprocess
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from types import BuiltinFunctionType, ModuleType
from typing import Any

import gevent.monkey

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


def run(argv: Sequence[str], env: Mapping[str, str]) -> str:
    """The output of a short command; blank when it fails. Blocks."""
    popen = native_popen()
    try:
        ran = popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=dict(env),
        )
    except OSError:
        return ""
    output, _ = ran.communicate()
    return str(output.decode("utf-8", "replace"))


def start_thread(call: Callable[..., object], *args: Any) -> None:
    """Run ``call`` in a thread of the system, never in a greenlet; it does not hold the exit."""
    gevent.monkey.get_original("_thread", "start_new_thread")(call, args)
