"""bootstrap/python.sh, run in a virtual environment with wheels built here."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "bootstrap" / "python.sh"


def build_wheel(folder: Path, version: str, code: str = "") -> None:
    info = f"emrctl_demo-{version}.dist-info"
    meta = f"Metadata-Version: 2.1\nName: emrctl-demo\nVersion: {version}\n"
    tags = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    name = f"emrctl_demo-{version}-py3-none-any.whl"
    with zipfile.ZipFile(folder / name, "w") as archive:
        archive.writestr("emrctl_demo/__init__.py", code)
        archive.writestr(f"{info}/METADATA", meta)
        archive.writestr(f"{info}/WHEEL", tags)
        archive.writestr(f"{info}/RECORD", "")


def run(*arguments: str, home: Path) -> "subprocess.CompletedProcess[str]":
    env = {"HOME": str(home), "PATH": os.environ["PATH"], "PYTHON_SH_PAUSE_S": "0"}
    command = ["bash", str(SCRIPT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=env, check=False)


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("node") / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, capture_output=True)
    return str(folder / "bin" / "python3")


@pytest.mark.parametrize("script", sorted((ROOT / "bootstrap").glob("*.sh")), ids=lambda p: p.name)
def test_script_passes_shellcheck(script: Path) -> None:
    process = subprocess.run(
        [str(Path(sys.executable).parent / "shellcheck"), str(script)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stdout
    assert os.access(script, os.X_OK)


def test_second_run_changes_nothing_until_version_differs(python: str, tmp_path: Path) -> None:
    build_wheel(tmp_path, "1.0")
    source = ("--no-index", f"--find-links={tmp_path}")
    first = run(python, *source, "emrctl-demo==1.0", home=tmp_path)
    assert first.returncode == 0, first.stdout + first.stderr
    assert "emrctl-demo 1.0" in first.stdout
    again = run(python, "emrctl-demo>=1,<2", home=tmp_path)  # needs no package index
    assert again.returncode == 0, again.stdout + again.stderr
    assert "all requirements are satisfied" in again.stdout
    assert "pip" not in again.stdout

    build_wheel(tmp_path, "2.0")
    newer = run(python, *source, "emrctl-demo==2.0", home=tmp_path)
    assert "emrctl-demo==2.0: is 1.0" in newer.stdout
    assert newer.returncode == 0, newer.stdout + newer.stderr
    assert "emrctl-demo 2.0" in newer.stdout


def test_wheel_path_is_installed(python: str, tmp_path: Path) -> None:
    build_wheel(tmp_path, "3.0")
    path = str(tmp_path / "emrctl_demo-3.0-py3-none-any.whl")
    done = run(python, "--no-index", path, home=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_package_that_cannot_be_imported_fails(python: str, tmp_path: Path) -> None:
    build_wheel(tmp_path, "4.0", code="raise OSError('libdemo.so is missing')")
    source = ("--no-index", f"--find-links={tmp_path}")
    done = run(python, *source, "emrctl-demo==4.0", home=tmp_path)
    assert done.returncode == 1
    assert "cannot be imported: OSError: libdemo.so is missing" in done.stdout
    assert "emrctl-demo==4.0" in done.stderr


def test_unknown_package_fails(python: str, tmp_path: Path) -> None:
    done = run(python, "--no-index", "emrctl-nowhere", home=tmp_path)
    assert done.returncode == 1
    assert "pip failed to install: emrctl-nowhere" in done.stderr


def test_installed_package_needs_no_installation(tmp_path: Path) -> None:
    done = run(sys.executable, "boto3", home=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all requirements are satisfied" in done.stdout


def test_missing_arguments_print_usage(tmp_path: Path) -> None:
    done = run("python3.11", home=tmp_path)
    assert done.returncode == 1
    assert "usage: python.sh [PYTHON] PACKAGE" in done.stderr


def test_missing_python_fails_with_its_name(tmp_path: Path) -> None:
    done = run(str(tmp_path / "python3.99"), "boto3", home=tmp_path)
    assert done.returncode == 1
    assert "python3.99" in done.stderr


def test_python_without_pip_gets_pip(tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    command = [sys.executable, "-m", "venv", "--without-pip", str(bare)]
    subprocess.run(command, check=True, capture_output=True)
    build_wheel(tmp_path, "1.0")
    source = ("--no-index", f"--find-links={tmp_path}")
    done = run(str(bare / "bin" / "python3"), *source, "emrctl-demo", home=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "installing pip for" in done.stdout
