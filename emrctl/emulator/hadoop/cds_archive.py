"""Archives for Java's class data sharing (CDS): JVMs map classes instead of loading them from JARs.

A JVM of Spark spends most of its start on reading and verifying classes. The first application on
this machine writes lists of the classes that its JVMs load; Java then makes an archive of them in
the background, which all later JVMs with the same JARs use. A JVM ignores an archive that does not
match its JARs (docs.oracle.com, "The java Command", Application Class-Data Sharing).
"""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from emrctl import paths
from emrctl.emulator.hadoop import hadoop_jars
from emrctl.emulator.server import processes

_log = logging.getLogger(__name__)

_OLDEST_JAVA = 17
# An archive has 100 to 200 MB. Each Spark has one, and YARN.
_KEPT = 4
# A list has 1 MB. There are more if no application completes, or Java cannot make the archive.
_ENOUGH_LISTS = 20
_DUMP_TIMEOUT_S = 900.0


@dataclass(frozen=True)
class CdsArchive:
    """The archive of JVMs of `java` (a Java home) whose class path begins with `class_path`.

    A class path of JARs only: Java supports no folders of classes in archives.
    """

    java: Path
    class_path: str

    def options(self) -> list[str]:
        """Return the JVM options that use the archive, or list the classes for it."""
        if (hadoop_jars.java_version(self.java) or 0) < _OLDEST_JAVA:
            return []
        try:
            if self._file.is_file():
                os.utime(self._file)
                # Java warns on stdout, which belongs to the job, about an archive of other JARs.
                return [f"-XX:SharedArchiveFile={self._file}", "-Xlog:cds=off"]
            self._lists.mkdir(parents=True, exist_ok=True)
        except OSError:  # the cache of another user
            return []
        if len(list(self._lists.iterdir())) >= _ENOUGH_LISTS:
            return []
        return [f"-XX:DumpLoadedClassList={self._lists}/%p.lst"]

    def create(self, required: str) -> bool:
        """Make the archive once a JVM has listed the class `required`; return whether it was made.

        Uses a core of this machine for 20 to 60 s, with low priority. A failure is logged.
        """
        if self._file.is_file() or not self._lists.is_dir():
            return False
        with hadoop_jars.lock(self._folder):
            classes = self._listed_classes()
            if self._file.is_file() or required not in classes:
                return False
            try:
                return self._dump(sorted(classes))
            except OSError as error:
                _log.warning("Java made no archive of classes: %s", error)
                return False
            finally:
                # Also after a failure: the next step would repeat it.
                shutil.rmtree(self._lists, ignore_errors=True)

    def _dump(self, classes: list[str]) -> bool:
        names, temporary = self._folder / "classes.lst", self._folder / "dumping.jsa"
        names.write_text("".join(f"{name}\n" for name in classes), encoding="utf-8")
        log = self._folder / "log"
        log.unlink(missing_ok=True)
        program = processes.ProcessSpec(
            argv=[
                *("nice", "-n", "10", str(self.java / "bin" / "java"), "-XX:+UseSerialGC"),
                *("-Xshare:dump", f"-XX:SharedClassListFile={names}"),
                *(f"-XX:SharedArchiveFile={temporary}", "-cp", self.class_path),
            ],
            cwd=self._folder,
            env=os.environ,
            stdout=log,
            stderr=log,
        )
        code = processes.run(program, self._folder.name, timeout_s=_DUMP_TIMEOUT_S)
        if code or not temporary.is_file():
            _log.warning("Java made no archive of classes (exit code %d): see %s", code, log)
            return False
        temporary.replace(self._file)
        _delete_oldest(self._folder.parent)
        return True

    def _listed_classes(self) -> set[str]:
        """Return the names in the lists, without classes of a job's own JARs and of lambdas."""
        lines = (
            line
            for path in self._lists.glob("*.lst")
            for line in path.read_text(encoding="utf-8", errors="replace").splitlines()
        )
        return {
            line.split()[0]
            for line in lines
            if line and not line.startswith(("#", "@")) and "source:" not in line
        }

    @property
    def _file(self) -> Path:
        return self._folder / "classes.jsa"

    @property
    def _lists(self) -> Path:
        return self._folder / "lists"

    @functools.cached_property
    def _folder(self) -> Path:
        release = (self.java / "release").read_text(encoding="utf-8")
        jars = [str(jar) for entry in self.class_path.split(":") for jar in _jars(entry)]
        digest = hashlib.sha256(repr((release, self.class_path, jars)).encode())
        return paths.cache() / "cds" / digest.hexdigest()[:16]


def _jars(entry: str) -> list[Path]:
    """Return the JARs of an entry of a class path, which is a JAR or `folder/*`."""
    folder = Path(entry).parent
    return sorted(folder.glob("*.jar")) if entry.endswith("/*") else [Path(entry)]


def _delete_oldest(folder: Path) -> None:
    """Delete all but the archives used last; JVMs that have mapped one are not affected."""
    archives = sorted(folder.glob("*/classes.jsa"), key=lambda path: path.stat().st_mtime)
    for archive in archives[:-_KEPT]:
        shutil.rmtree(archive.parent, ignore_errors=True)
