"""bootstrap/keras.sh beside a python.sh that records its arguments."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "bootstrap" / "keras.sh"


def _run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    shutil.copy(SCRIPT, folder)
    (folder / "python.sh").write_text('printf "%s\\n" "$@"\n')
    command = ["bash", str(folder / "keras.sh"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("arguments", "python", "backend"),
    [
        ((), "python3.11", "tensorflow-cpu>=2.18"),
        (("torch",), "python3.11", "torch>=2.5"),
        (
            ("python3.12", "tensorflow[and-cuda]", "--no-index"),
            "python3.12",
            "tensorflow[and-cuda]>=2.18",
        ),
    ],
)
def test_keras_is_installed_with_one_backend(
    tmp_path: Path, arguments: tuple[str, ...], python: str, backend: str
) -> None:
    words = _run(tmp_path, *arguments).stdout.splitlines()
    assert words[0] == python
    assert [word for word in words if word.startswith(("tensorflow", "torch"))] == [backend]
    assert "keras>=3.6" in words
    assert ("--no-index" in words) == ("--no-index" in arguments)


def test_unknown_backend_is_an_error(tmp_path: Path) -> None:
    done = _run(tmp_path, "jax")
    assert done.returncode == 1
    assert "'jax' is neither a Python, a backend nor a pip option" in done.stderr
