"""Read and write whole files on any Hadoop file system, and read class labels from paths."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

WRITERS = 8  # concurrent transfers: an object store is limited by latency
_NUMBERED = re.compile(r"(?P<label>.+)_\d+")


class HadoopFiles:
    """Files on any path that Hadoop supports: s3://, hdfs://, file: or without a scheme.

    Local files are written by Python: Hadoop would write a .crc file beside each of them.
    """

    def __init__(self, spark: SparkSession) -> None:
        self.application_id = str(spark.sparkContext.applicationId)
        self._jvm: Any = spark._jvm  # noqa: SLF001 - PySpark has no file system API
        self._conf: Any = spark._jsc.hadoopConfiguration()  # noqa: SLF001

    def _resolve(self, path: str) -> tuple[Any, Any]:
        """Return Hadoop's FileSystem and qualified Path."""
        hadoop_path = self._jvm.org.apache.hadoop.fs.Path(path)
        system = hadoop_path.getFileSystem(self._conf)
        return system, system.makeQualified(hadoop_path)

    def _local(self, qualified: Any) -> Path | None:
        uri = qualified.toUri()
        return Path(uri.getPath()) if uri.getScheme() == "file" else None

    def qualified(self, path: str) -> str:
        """Return the path with its scheme, as Spark reports the paths of the files it reads."""
        return str(self._resolve(path)[1].toString())

    def exists(self, path: str) -> bool:
        """Return whether a file or folder exists."""
        system, resolved = self._resolve(path)
        return bool(system.exists(resolved))

    def _statuses(self, path: str) -> Iterator[tuple[str, Any]]:
        system, resolved = self._resolve(path)
        statuses = system.listFiles(resolved, True)
        while statuses.hasNext():
            status = statuses.next()
            yield str(status.getPath().toString()), status

    def list_files(self, path: str) -> Iterator[tuple[str, int]]:
        """List the qualified name and size in bytes of each file below a folder (or of a file).

        Hidden files are left out, as Spark does: a part of their path below `path` begins with `_`
        or `.`.
        """
        base = self.qualified(path)
        for name, status in self._statuses(path):
            if not any(part[:1] in "._" for part in relative(base, name).split("/")):
                yield name, int(status.getLen())

    def modification_times(self, path: str) -> dict[str, int]:
        """Return the modification time, in ms, of each file below a folder (or of a file)."""
        return {name: int(status.getModificationTime()) for name, status in self._statuses(path)}

    def write(self, path: str, content: bytes) -> None:
        """Write a file and its parent folders; an existing file is overwritten."""
        system, resolved = self._resolve(path)
        local = self._local(resolved)
        if local is not None:
            local.parent.mkdir(parents=True, exist_ok=True)
            local.write_bytes(content)
            return
        stream = system.create(resolved, True)
        try:
            stream.write(content)
        finally:
            stream.close()

    def folder_writer(self, path: str) -> FolderWriter:
        """Return a writer for many files below one folder."""
        return FolderWriter(self, path, self._local(self._resolve(path)[1]))

    def read(self, path: str) -> bytes:
        """Return the content of a file."""
        system, resolved = self._resolve(path)
        stream = system.open(resolved)
        try:
            return bytes(self._jvm.org.apache.commons.io.IOUtils.toByteArray(stream))
        finally:
            stream.close()

    def delete(self, path: str) -> None:
        """Delete a file or a folder with its content, if it exists."""
        system, resolved = self._resolve(path)
        system.delete(resolved, True)


class FolderWriter:
    """Writes many files below one folder; several at a time unless the folder is local.

    On leaving the context all files are written, or the first error is raised.
    """

    def __init__(self, files: HadoopFiles, path: str, local: Path | None) -> None:
        self._files = files
        self._path = path
        self._local = local
        self._pool = None if local else ThreadPoolExecutor(WRITERS)
        self._writes: deque[Future[None]] = deque()

    def write(self, name: str, content: bytes) -> None:
        """Write a file, its name relative to the folder, possibly in the background."""
        if self._local:
            path = self._local / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        elif self._pool:
            write = self._pool.submit(self._files.write, join(self._path, name), content)
            self._writes.append(write)
            while len(self._writes) > 4 * WRITERS:  # limits the memory of pending files
                self._writes.popleft().result()

    def __enter__(self) -> FolderWriter:  # noqa: PYI034 - Self needs Python 3.11
        return self

    def __exit__(self, *error: object) -> None:
        if self._pool:
            self._pool.shutdown(wait=True)
        if error[0] is None:
            for write in self._writes:
                write.result()


def join(folder: str, *names: str) -> str:
    """Join a folder (local or with a scheme) and names."""
    return "/".join([folder.rstrip("/"), *names])


def relative(base: str, path: str) -> str:
    """Return `path` relative to the folder `base`; its name when both are the same file."""
    prefix = base.rstrip("/") + "/"
    return path[len(prefix) :] if path.startswith(prefix) else path.rpartition("/")[2]


def label_of(path: str, source: str = "auto") -> str | None:
    """Return the class of a picture, or None when its path has none.

    Args:
        path: Relative to the folder of the data.
        source: `name`: the file name up to the last `_<n>` (`great_pyrenees_12.jpg` is a
            great_pyrenees). `folder`: the name of the parent folder. `auto`: by name if the name
            has that form, else by folder; pictures like `cats/IMG_0001.jpg` need `folder`.
    """
    folder, _, name = path.rpartition("/")
    stem = name.rpartition(".")[0] or name
    numbered = _NUMBERED.fullmatch(stem) if source != "folder" else None
    if numbered:
        return numbered["label"]
    return (folder.rpartition("/")[2] or None) if source != "name" else None
