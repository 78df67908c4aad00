"""How real agents are installed and told to use the stub model. Data, and one function each."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

CACHE = Path(sys.prefix, "greenroom-test-cache", "agents")
INSTALL_TIMEOUT_S = 300


@dataclass(frozen=True)
class Recipe:
    """One agent.

    :param package: its pinned npm package.
    :param command: in ``node_modules/.bin``.
    :param args: after the command.
    :param configure: writes its configuration into a home, returns its variables.
    :param shell_tool: name and arguments of its tool that runs a command line.
    :param auth_method: named right after initialize.
    """

    package: str
    command: str
    configure: Callable[[Path, Path, str], dict[str, str]]
    shell_tool: Callable[[str, Path], list]
    args: tuple[str, ...] = ()
    auth_method: str = ""


def qwen(home, workspace, url):
    folder = home / ".qwen"
    folder.mkdir()
    settings = {
        "security": {"auth": {"selectedType": "openai"}},
        "model": {"name": "stub"},
        "general": {"disableAutoUpdate": True},
        "privacy": {"usageStatisticsEnabled": False},
        "telemetry": {"enabled": False},
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    return {"OPENAI_API_KEY": "x", "OPENAI_BASE_URL": url, "OPENAI_MODEL": "stub"}


def codex(home, workspace, url):
    folder = home / ".codex"
    folder.mkdir()
    (folder / "config.toml").write_text(
        f"""
model = "gpt-5-codex"
model_provider = "stub"
approval_policy = "untrusted"
sandbox_mode = "workspace-write"
check_for_update_on_startup = false
[analytics]
enabled = false
[model_providers.stub]
name = "stub"
base_url = "{url}"
env_key = "STUB_API_KEY"
wire_api = "responses"
request_max_retries = 1
stream_max_retries = 1
[projects."{workspace}"]
trust_level = "trusted"
"""
    )
    return {"CODEX_HOME": str(folder), "STUB_API_KEY": "x", "OPENAI_API_KEY": "x"}


def qwen_shell(line, workspace):
    return ["run_shell_command", {"command": line, "description": "d", "is_background": False}]


def codex_shell(line, workspace):
    return ["shell_command", {"command": line, "workdir": str(workspace), "timeout_ms": 60000}]


RECIPES = {
    "qwen": Recipe(
        "@qwen-code/qwen-code@0.15.10",
        "qwen",
        qwen,
        qwen_shell,
        ("--acp", "--auth-type", "openai"),
    ),
    "codex": Recipe(
        "@zed-industries/codex-acp@0.16.0",
        "codex-acp",
        codex,
        codex_shell,
        auth_method="openai-api-key",
    ),
}


def installed(name):
    """Path of an agent's command, installed on first use; ``None`` and a reason otherwise."""
    recipe = RECIPES[name]
    place = CACHE / name
    command = place / "node_modules" / ".bin" / recipe.command
    if command.exists():
        return str(command), ""
    npm = shutil.which("npm")
    if npm is None:
        return None, "npm is not installed"
    place.mkdir(parents=True, exist_ok=True)
    asked = [npm, "install", "--prefix", str(place), "--no-audit", "--no-fund", recipe.package]
    ran = subprocess.run(
        asked, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S, check=False
    )
    if ran.returncode or not command.exists():
        return None, f"{recipe.package} could not be installed: {ran.stderr[-300:]}"
    return str(command), ""


def environment(name, home, workspace, url):
    """All variables of an agent: nothing of the user's own configuration or keys."""
    passed = {key: os.environ[key] for key in ("PATH", "LANG") if key in os.environ}
    own = RECIPES[name].configure(home, workspace, url)
    private = {"HOME": str(home), "TMPDIR": str(home), "NO_COLOR": "1", "TERM": "dumb"}
    return {**passed, **private, **own}
