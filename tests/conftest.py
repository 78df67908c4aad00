"""What several test folders share: agents made by others."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile

import pytest

PIP_DOWNLOAD = (
    *("-m", "pip", "--quiet", "--disable-pip-version-check", "download"),
    *("--no-deps", "--no-binary", "agent-client-protocol"),
)
SDK_SOURCE = "agent-client-protocol==0.12.1"


@pytest.fixture(scope="session")
def sdk_echo_agent() -> tuple[str, ...]:
    """Argv of the echo agent that the ACP SDK ships as an example in its source package."""
    cache = os.path.join(sys.prefix, "greenroom-test-cache")
    agent = os.path.join(cache, "echo_agent.py")
    if not os.path.exists(agent):
        os.makedirs(cache, exist_ok=True)
        fetched = subprocess.run(
            [sys.executable, *PIP_DOWNLOAD, "--dest", cache, SDK_SOURCE],
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        if fetched.returncode != 0:
            pytest.skip(f"the package registry was not reachable: {fetched.stderr[-200:]}")
        (name,) = (name for name in os.listdir(cache) if name.endswith(".tar.gz"))
        with tarfile.open(os.path.join(cache, name)) as archive:
            (member,) = (m for m in archive if m.name.endswith("/examples/echo_agent.py"))
            source = archive.extractfile(member)
            assert source is not None
            with open(agent + ".new", "wb") as file:
                file.write(source.read())
        os.replace(agent + ".new", agent)
    return (sys.executable, agent)
