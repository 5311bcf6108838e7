"""Output of a run's job: its URI, and its download."""

from __future__ import annotations

import fnmatch
import itertools
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from emrctl.aws import errors
from emrctl.aws.listing import objects
from emrctl.aws.s3 import split_uri
from emrctl.errors import NotFoundError
from emrctl.paths import atomic_file

if TYPE_CHECKING:
    from emrctl.runs.store import Run
    from emrctl.runs.workspace import Workspace

_FLAG = "--output"
_THREADS, _CHUNK_BYTES = 8, 1 << 20


@dataclass(frozen=True, kw_only=True)
class DownloadedOutput:
    """Downloaded files and their total size."""

    files: tuple[Path, ...]
    size_bytes: int


def output_uri(run: Run) -> str:
    """Return the job's `--output` if that is on S3, otherwise `output` below the run's prefix."""
    default = f"{run.prefix}/output"
    uri = default
    for flag, value in itertools.zip_longest(run.arguments, run.arguments[1:], fillvalue=""):
        if flag == _FLAG:
            uri = value
        elif flag.startswith(f"{_FLAG}="):
            uri = flag.partition("=")[2]
    return uri.rstrip("/") if uri.startswith("s3://") else default


def download(workspace: Workspace, run: Run, folder: Path, pattern: str = "*") -> DownloadedOutput:
    """Download the job's output to a folder, replacing files of the same names.

    `pattern` selects names below the output (`*.html`, `models/*`); `NotFoundError` if it matches
    none. Files are replaced atomically.
    """
    s3 = workspace.target.client("s3")
    bucket, prefix = split_uri(f"{output_uri(run)}/")
    with errors.translated(f"reading the output of {run.id}"):
        paths = {
            item["Key"]: folder / name
            for item in objects(s3, bucket, prefix)
            if fnmatch.fnmatchcase(name := item["Key"].removeprefix(prefix), pattern)
            and _is_inside(PurePosixPath(name))
        }
        if not paths:
            hint = f"`aws s3 ls {output_uri(run)}/` lists the output."
            raise NotFoundError(f"run {run.id} has no output '{pattern}'", hint=hint)
        pool = ThreadPoolExecutor(_THREADS)
        try:
            sizes = pool.map(lambda key: _download_object(s3, bucket, key, paths[key]), paths)
            size_bytes = sum(sizes)
        finally:
            pool.shutdown(cancel_futures=True)
    return DownloadedOutput(files=tuple(paths.values()), size_bytes=size_bytes)


def _is_inside(path: PurePosixPath) -> bool:
    return path.name != "" and not path.is_absolute() and ".." not in path.parts


def _download_object(s3: Any, bucket: str, key: str, path: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as temporary, temporary.open("wb") as file:
        shutil.copyfileobj(s3.get_object(Bucket=bucket, Key=key)["Body"], file, _CHUNK_BYTES)
        return file.tell()
