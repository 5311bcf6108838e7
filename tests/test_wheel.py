"""The built wheel in empty environments: every command works or names the extra that it needs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from emrctl.cli.__main__ import COMMANDS
from tests.event_logs import SAMPLE

# Five environments are created: more than the usual limit on a busy machine.
pytestmark = pytest.mark.timeout(1500)
ROOT = Path(__file__).resolve().parents[1]
UV = Path(sys.executable).with_name("uv")
# `features` takes 2 GB, and no command imports it.
EXTRAS = ("", "analysis", "jobs", "local", "mlflow")
# Arguments that reach each command's own imports without AWS and without a running emulator.
ARGUMENTS: dict[str, tuple[str, ...]] = {
    "data": ("digits", "--per-class", "1"),
    "runs": ("query", "select count(*) from runs"),
    "metrics": (str(SAMPLE),),
    "compare": ("one", "two"),
    "experiment": ("none.yaml",),
    "submit": ("wordcount",),
    "wait": ("one",),
    "cancel": ("one",),
    "top": ("one",),
    "logs": ("one",),
    "pull": ("one",),
    "exec": ("true",),
    "copy": ("emrctl.yaml", "work"),
    "ui": ("yarn",),
    "ssh": ("true",),
    "local": ("status",),
    "engine": ("show",),
    "import": ("bucket",),
    "certificates": ("--help",),
}
NEEDS = {"data": "jobs", "runs": "analysis", "local": "local"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([UV, "build", "--quiet", "--wheel", "--out-dir", folder, ROOT], check=True)
    [path] = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module", params=EXTRAS, ids=lambda extra: extra or "no extra")
def emrctl(
    request: pytest.FixtureRequest, wheel: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path]:
    """Install the wheel with one extra; return the extra and the path of the command."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([UV, "venv", "--quiet", "--python", sys.executable, folder], check=True)
    wanted = f"emrctl[{request.param}] @ {wheel.as_uri()}" if request.param else str(wheel)
    environment = os.environ | {"VIRTUAL_ENV": str(folder)}
    subprocess.run([UV, "pip", "install", "--quiet", wanted], env=environment, check=True)
    return request.param, folder / "bin" / "emrctl"


def test_every_command_works_or_names_its_extra(emrctl: tuple[str, Path], tmp_path: Path) -> None:
    extra, program = emrctl
    (tmp_path / "emrctl.yaml").write_text("project: pets\n")
    # An extra changes nothing for the commands that need none.
    for name in NEEDS if extra else COMMANDS:
        done = run(program, tmp_path, name, *ARGUMENTS.get(name, ()))
        label = f"{name}: {done.returncode}\n{done.stderr}"
        assert "Traceback" not in done.stderr, label
        assert done.returncode != 1 or name == "doctor", label
        needed = NEEDS.get(name, extra)
        assert (f"pip install 'emrctl[{needed}]'" in done.stderr) == (needed != extra), label


def test_logs_are_read_and_compared_without_extras(
    emrctl: tuple[str, Path], tmp_path: Path
) -> None:
    _, program = emrctl
    (tmp_path / "emrctl.yaml").write_text("project: pets\n")
    first = run(program, tmp_path, "runs", "import", str(SAMPLE), "--json")
    assert first.returncode == 0, first.stderr
    shown = run(program, tmp_path, "runs", "show", "latest")
    assert (shown.returncode, "No findings." in shown.stdout) == (0, True), shown.stderr
    compared = run(program, tmp_path, "compare", "latest", "latest", "--json")
    assert compared.returncode in (0, 2), compared.stderr


def run(program: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "EMRCTL_"))}
    home = {"EMRCTL_HOME": str(folder / "home"), "HOME": str(folder)}
    return subprocess.run(
        [program, *arguments],
        cwd=folder,
        env=inherited | home | {"AWS_EC2_METADATA_DISABLED": "true"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
