from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from emrctl.emulator.hadoop import hadoop_jars
from emrctl.emulator.hadoop.cds_archive import CdsArchive

# A program among PySpark's JARs that ends at once.
MAIN = "org/apache/ivy/Main"


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CdsArchive:
    monkeypatch.setenv("EMRCTL_CACHE", str(tmp_path / "cache"))
    jars = hadoop_jars.spark_home() / "jars"
    class_path = ":".join(str(next(jars.glob(f"{name}-*.jar"))) for name in ("ivy", "jsr305"))
    return CdsArchive(hadoop_jars.java_home(), class_path)


def run(archive: CdsArchive, *options: str) -> str:
    java = str(archive.java / "bin/java")
    class_path = f"{archive.class_path}:{Path(__file__).parent}"
    command = [java, *archive.options(), *options, "-cp", class_path, MAIN.replace("/", ".")]
    return subprocess.run([*command, "-version"], capture_output=True, text=True, check=True).stdout


def test_later_jvms_map_the_classes_that_the_first_one_listed(archive: CdsArchive) -> None:
    first = run(archive)
    assert archive.create(MAIN)
    assert run(archive) == first
    loaded = run(archive, "-Xlog:class+load", "-Xshare:on").splitlines()
    main = next(line for line in loaded if f" {MAIN.replace('/', '.')} " in line)
    assert main.endswith("source: shared objects file")
    assert not archive.create(MAIN)


def test_archive_waits_for_the_required_class(archive: CdsArchive) -> None:
    assert not archive.create(MAIN)
    run(archive)
    assert not archive.create("org/apache/spark/NotListed")
    assert archive.options()[0].startswith("-XX:DumpLoadedClassList=")


def test_jvm_with_other_jars_ignores_the_archive_silently(archive: CdsArchive) -> None:
    first = run(archive)
    assert archive.create(MAIN)
    entries = archive.class_path.split(":")
    command = [str(archive.java / "bin/java"), *archive.options(), "-cp", ":".join(entries[::-1])]
    done = subprocess.run(
        [*command, MAIN.replace("/", "."), "-version"], capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == (first, "")


def test_archive_of_other_jars_is_another_one(archive: CdsArchive, tmp_path: Path) -> None:
    folder = tmp_path / "jars"
    folder.mkdir()
    before = CdsArchive(archive.java, f"{folder}/*").options()
    (folder / "added.jar").touch()
    assert CdsArchive(archive.java, f"{folder}/*").options() != before


def java_home(folder: Path, version: str, program: str) -> Path:
    """Return a Java home whose `java` is this line of a shell script."""
    (folder / "bin").mkdir(parents=True)
    (folder / "bin/java").write_text(f"#!/bin/sh\n{program}\n")
    (folder / "bin/java").chmod(0o755)
    (folder / "release").write_text(f'JAVA_VERSION="{version}"\n')
    return folder


def test_java_without_such_archives_gets_no_options(tmp_path: Path) -> None:
    assert CdsArchive(java_home(tmp_path, "11.0.2", "exit 0"), "a.jar").options() == []


@pytest.mark.usefixtures("archive")
def test_failed_dump_leaves_no_archive_and_names_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken = CdsArchive(java_home(tmp_path / "java", "17.0.9", "echo out of memory; exit 3"), "")
    (option,) = broken.options()
    lists = Path(option.partition("=")[2]).parent
    (lists / "pid1.lst").write_text(f"{MAIN} id: 1\n")
    assert not broken.create(MAIN)
    assert f"(exit code 3): see {lists.parent / 'log'}" in caplog.text
    assert (lists.parent / "log").read_text() == "out of memory\n"
    assert not lists.exists()
    assert broken.options() == [option]


def test_cache_of_another_user_is_not_needed(
    archive: CdsArchive, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("EMRCTL_CACHE", str(tmp_path / "file"))
    assert CdsArchive(archive.java, archive.class_path).options() == []


def test_lists_are_limited(archive: CdsArchive) -> None:
    lists = Path(archive.options()[0].partition("=")[2]).parent
    for number in range(20):
        (lists / f"pid{number}.lst").touch()
    assert archive.options() == []


def test_only_the_newest_archives_are_kept(archive: CdsArchive) -> None:
    cache = Path(os.environ["EMRCTL_CACHE"]) / "cds"
    for age in range(5):
        old = cache / f"old-{age}" / "classes.jsa"
        old.parent.mkdir(parents=True)
        old.touch()
        os.utime(old, (1_000_000 - age, 1_000_000 - age))
    run(archive)
    assert archive.create(MAIN)
    kept = {path.name for path in cache.iterdir()}
    assert {"old-0", "old-1", "old-2"} < kept
    assert len(kept) == 4
