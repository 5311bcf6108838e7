"""Upload of code and data to the bucket.

The key of code contains the hash of its content: a run's record identifies the code exactly, and
submitting an unchanged file again uploads nothing.
"""

from __future__ import annotations

import ast
import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from emrctl import bundled
from emrctl.aws.s3 import put_file, put_zip
from emrctl.errors import NotFoundError
from emrctl.spec import JobSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from emrctl.aws.target import Target
    from emrctl.spec.config import Config


@dataclass(frozen=True, kw_only=True)
class Job:
    """A job, its script and whether that is one of emrctl's gallery in `jobs/`."""

    name: str
    script: str
    gallery: bool
    spec: JobSpec


@dataclass(frozen=True, kw_only=True)
class StagedJob:
    """The `s3://` URIs of a job's script and of its Python files."""

    script: str
    py_files: tuple[str, ...]


def gallery() -> dict[str, Path]:
    """Return the scripts of `jobs/` by name."""
    folder = bundled.root() / "jobs"
    return {path.stem: path for path in sorted(folder.glob("*.py"))}


def find_job(name: str, config: Config) -> Job:
    """Return a job by its name in emrctl.yaml or `jobs/`, its local path or its `s3://` URI."""
    programs = gallery()
    spec = config.project.jobs.get(name, JobSpec(script=name))
    script = spec.script
    if script in programs:
        return Job(name=name, script=str(programs[script]), gallery=True, spec=spec)
    if script.startswith("s3://"):
        return Job(name=Path(script).stem, script=script, gallery=False, spec=spec)
    base = config.root if name in config.project.jobs else Path.cwd()
    path = base / Path(script).expanduser()
    if path.is_file():
        return Job(name=_job_name(name, path), script=str(path), gallery=False, spec=spec)
    raise _unknown_job(name, script, [*config.project.jobs, *programs])


def stage_job(target: Target, bucket: str, job: Job, py_files: Sequence[str]) -> StagedJob:
    """Upload a job's program and its Python files; packages of `jobs/` as one zip file."""
    files = [put_file(target, bucket, item) for item in (*job.spec.py_files, *py_files)]
    packages = _imported_packages(Path(job.script)) if job.gallery else []
    if packages:
        files.append(put_zip(target, bucket, f"{Path(job.script).stem}.zip", packages))
    return StagedJob(script=put_file(target, bucket, job.script), py_files=tuple(files))


def _imported_packages(script: Path) -> list[Path]:
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


def _job_name(name: str, path: Path) -> str:
    return path.stem if "/" in name or name.endswith(".py") else name


def _unknown_job(name: str, script: str, known: list[str]) -> NotFoundError:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"Did you mean '{near[0]}'? " if near else ""
    hint += f"Known jobs: {', '.join(dict.fromkeys(known))}; or pass the path of a .py file."
    what = f"job '{name}'" if name == script else f"job '{name}': its script '{script}'"
    return NotFoundError(f"{what} is neither a known job nor a file", hint=hint)
