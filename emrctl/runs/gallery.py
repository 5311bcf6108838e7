"""The gallery: the jobs in `jobs/` that come with emrctl, their arguments, and copies of them."""

from __future__ import annotations

import ast
import difflib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from emrctl import bundled
from emrctl.errors import NotFoundError, UsageError


@dataclass(frozen=True, kw_only=True)
class Argument:
    """An argument of a job: its flag (or name), the name of its value, and its help text."""

    name: str
    metavar: str
    help: str
    required: bool
    default: str | float | None
    choices: tuple[str, ...] | None

    @property
    def usage(self) -> str:
        """The argument as in a usage line, e.g. `[--partitions N]`."""
        text = f"{self.name} {self.metavar}".strip() if self.name[0] == "-" else self.metavar
        return text if self.required else f"[{text}]"


@dataclass(frozen=True, kw_only=True)
class GalleryJob:
    """A job of the gallery: its one-line description, help text and arguments."""

    name: str
    script: Path
    description: str
    help: str
    arguments: tuple[Argument, ...]


def scripts() -> dict[str, Path]:
    """Return the scripts of the gallery by the name of their job."""
    folder = bundled.root() / "jobs"
    return {path.stem: path for path in sorted(folder.glob("*.py"))}


def describe(names: Iterable[str] = ()) -> list[GalleryJob]:
    """Return the jobs of these names, or all; read by a Python process that imports them.

    Raises `NotFoundError` for a name that the gallery does not have.
    """
    known = scripts()
    jobs = {name: _find(name) for name in names} or known
    folder = next(iter(known.values())).parent
    program = Path(__file__).with_name("job_arguments.py")
    command = [sys.executable, str(program), str(folder), *jobs]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise UsageError(f"reading the arguments of {', '.join(jobs)} failed: {last}")
    return [
        GalleryJob(
            name=name,
            script=jobs[name],
            description=item["description"],
            help=item["help"],
            arguments=tuple(Argument(**argument) for argument in item["arguments"]),
        )
        for name, item in json.loads(done.stdout).items()
    ]


def copy(name: str, folder: Path) -> list[Path]:
    """Copy a job and the packages that it imports into a folder; return the copies.

    Raises `NotFoundError` for an unknown name, and `UsageError` if a copy would replace a file or
    folder; then nothing is written.
    """
    script = _find(name)
    sources = [script, *imported_packages(script)]
    copies = [folder / source.name for source in sources]
    for path in copies:
        if path.exists() or path.is_symlink():
            hint = f"Use another folder: emrctl jobs copy {name} --folder {name}-copy"
            raise UsageError(f"{path} exists", hint=hint)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(script, copies[0])
        for source, path in zip(sources[1:], copies[1:], strict=True):
            shutil.copytree(source, path, ignore=shutil.ignore_patterns("__pycache__"))
    except OSError as error:
        raise UsageError(f"copying {name} to {folder} failed: {error.strerror}") from error
    return copies


def imported_packages(script: Path) -> list[Path]:
    """Return the packages beside a script that it imports, directly or through each other."""
    packages: set[Path] = set()
    files = [script]
    while files:
        for node in ast.walk(ast.parse(files.pop().read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for package in {script.parent / name.partition(".")[0] for name in names} - packages:
                if (package / "__init__.py").is_file():
                    packages.add(package)
                    files += package.glob("*.py")
    return sorted(packages)


def _find(name: str) -> Path:
    known = scripts()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f"Did you mean '{near[0]}'? " if near else ""
        raise NotFoundError(f"no job is called '{name}'", hint=f"{hint}List them: emrctl jobs")
    return known[name]
