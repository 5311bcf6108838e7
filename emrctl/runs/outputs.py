"""What a run's job wrote: where it lies, and how it comes to this machine."""

from __future__ import annotations

import fnmatch
import itertools
import shutil
from collections.abc import Callable, Iterable, Iterator
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
_AT_ONCE, _CHUNK = 8, 1 << 20


@dataclass(frozen=True, kw_only=True)
class Brought:
    """Files that lie on this machine now, and how many bytes they have together."""

    files: tuple[Path, ...]
    size_bytes: int


def place_of(run: Run) -> str:
    """The s3:// folder that the job was told to write to, else the run's own `output`."""
    told = own = f"{run.prefix}/output"
    for flag, following in itertools.zip_longest(run.arguments, run.arguments[1:], fillvalue=""):
        if flag == _FLAG:
            told = following
        elif flag.startswith(f"{_FLAG}="):
            told = flag.partition("=")[2]
    return told.rstrip("/") if told.startswith("s3://") else own


def bring(workspace: Workspace, run: Run, folder: Path, only: str = "*") -> Brought:
    """All that the job wrote lies below `folder`, over what was there under the same names.

    `only` is a pattern of names below the job's output (`*.html`, `models/*`). `NotFoundError`
    where nothing there has such a name. No file is ever there in part.
    """
    s3 = workspace.target.client("s3")
    bucket, prefix = split_uri(f"{place_of(run)}/")
    with errors.translated(f"reading the output of {run.id}"):
        wanted = dict(_named(s3, bucket, prefix, only))
        if not wanted:
            hint = f"`aws s3 ls {place_of(run)}/` lists what is there."
            raise NotFoundError(f"run {run.id} has no output '{only}'", hint=hint)
        size = _all_fetched(lambda key: _fetched(s3, bucket, key, folder / wanted[key]), wanted)
    return Brought(files=tuple(folder / name for name in wanted.values()), size_bytes=size)


def _all_fetched(fetch: Callable[[str], int], keys: Iterable[str]) -> int:
    """Bytes of all together; where one fails, or the user ends it, those not begun are left."""
    pool = ThreadPoolExecutor(_AT_ONCE)
    try:
        return sum(pool.map(fetch, keys))
    finally:
        pool.shutdown(cancel_futures=True)


def _named(s3: Any, bucket: str, prefix: str, only: str) -> Iterator[tuple[str, PurePosixPath]]:
    """Keys with the names that their files get, none of which leads out of the folder."""
    for item in objects(s3, bucket, prefix):
        name = item["Key"].removeprefix(prefix)
        path = PurePosixPath(name)
        if fnmatch.fnmatchcase(name, only) and not path.is_absolute() and ".." not in path.parts:
            yield item["Key"], path


def _fetched(s3: Any, bucket: str, key: str, path: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as temporary, temporary.open("wb") as file:
        shutil.copyfileobj(s3.get_object(Bucket=bucket, Key=key)["Body"], file, _CHUNK)
        return file.tell()
