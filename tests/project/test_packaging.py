"""The distribution: the editable install these tests run in, and a wheel in an empty place."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOP = ("actors", "transport", "storage")


def test_the_editable_install_is_this_tree():
    import greenroom.actors
    import greenroom.storage
    import greenroom.transport

    for package in (greenroom.actors, greenroom.storage, greenroom.transport):
        assert Path(package.__file__).is_relative_to(ROOT)
    assert metadata.version("greenroom")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel built from this tree, from a copy so that the tree stays clean."""
    place = tmp_path_factory.mktemp("wheel")
    source = place / "source"
    files = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    for name in files:
        if (ROOT / name).is_file():
            target = source / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((ROOT / name).read_bytes())
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--quiet",
            "--no-deps",
            "--wheel-dir",
            place,
            source,
        ],
        check=True,
        timeout=100,
    )
    (built,) = place.glob("greenroom-*.whl")
    return built


def test_the_wheel_holds_every_module_and_the_type_marker(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    for top in TOP:
        assert f"greenroom/{top}/py.typed" in names
        for path in (ROOT / top).rglob("*.py"):
            assert f"greenroom/{path.relative_to(ROOT)}" in names
    assert not any(name.startswith(("tests/", "examples/")) for name in names)


def test_a_session_runs_from_the_wheel_alone(wheel, tmp_path):
    """Installed beside the dependencies, away from the tree."""
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    script = tmp_path / "main.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(site)!r})\n"
        "sys.meta_path = [f for f in sys.meta_path if 'editable' not in str(f).lower()]\n"
        "import greenroom.actors\n"
        "from greenroom.actors import SessionManager\n"
        f"assert greenroom.actors.__file__.startswith({str(site)!r}), greenroom.actors.__file__\n"
        f"agent = [sys.executable, {str(tmp_path / 'agent.py')!r}]\n"
        f"with SessionManager(home={str(tmp_path / 'home')!r}, agents={{'d': agent}}) as m:\n"
        f"    s = m.create(agent_name='d', workspace_path={str(tmp_path)!r})\n"
        "    print(s.prompt('@@say from the wheel').result(20).type)\n"
    )
    (tmp_path / "agent.py").write_text(
        f"import sys; sys.path.insert(0, {str(site)!r})\n"
        "sys.meta_path = [f for f in sys.meta_path if 'editable' not in str(f).lower()]\n"
        "import runpy; runpy.run_module('greenroom.transport.demo', run_name='__main__')\n"
    )
    environment = {**os.environ, "GREENROOM_DEMO_PACE": "0", "GREENROOM_DEMO_STATE": str(tmp_path)}
    ran = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.stdout.strip() == "done", ran.stderr
