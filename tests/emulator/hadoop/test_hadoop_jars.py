from __future__ import annotations

import subprocess
import warnings
from pathlib import Path

import pytest

from emrctl.emulator.hadoop import hadoop_jars
from emrctl.errors import EmrctlError


def test_lock_file_lists_each_jar_once() -> None:
    jars = hadoop_jars.locked_jars()
    assert len({jar.file for jar in jars}) == len(jars)
    assert {jar.set for jar in jars} == {"yarn", "hdfs", "distcp", "s3a"}
    assert all(len(jar.sha256) == 64 for jar in jars)


def test_ivy_uses_mirror_and_proxy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(hadoop_jars.MIRROR_VARIABLE, "https://mirror.example/maven?a=b&c")
    assert 'root="https://mirror.example/maven?a=b&amp;c"' in hadoop_jars._ivy_settings(tmp_path)
    monkeypatch.setenv("https_proxy", "http://user:word@proxy.example:3128")
    assert "-Dhttps.proxyHost=proxy.example" in hadoop_jars._proxy_options()
    assert not any("word" in option for option in hadoop_jars._proxy_options())


def test_jar_with_other_checksum_is_rejected(tmp_path: Path) -> None:
    jar = hadoop_jars.LockedJar("yarn", "org", "thing", "1", "0" * 64)
    with pytest.raises(EmrctlError, match=r"thing-1\.jar is missing") as caught:
        hadoop_jars._verify([jar], tmp_path)
    assert hadoop_jars.MIRROR_VARIABLE in caught.value.hint
    (tmp_path / "jars/yarn").mkdir(parents=True)
    (tmp_path / "jars/yarn/thing-1.jar").write_bytes(b"evil")
    with pytest.raises(EmrctlError, match="its checksum differs"):
        hadoop_jars._verify([jar], tmp_path)


def test_java_home_is_used_if_supported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/java").touch()
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    for release, supported in (("17.0.9", True), ("1.8.0_392", True), ("24.0.1", False)):
        (tmp_path / "release").write_text(f'JAVA_VERSION="{release}"\n')
        hadoop_jars.java_home.cache_clear()
        assert (hadoop_jars.java_home() == tmp_path) is supported
        assert (hadoop_jars.java_home(17) == tmp_path) is (release == "17.0.9")
        old = release == "1.8.0_392"
        assert ("Java 8 of JAVA_HOME is not used" in hadoop_jars.java_warning(17)) is old
        assert not hadoop_jars.java_warning(8)
    hadoop_jars.java_home.cache_clear()


def test_trust_store_contains_certificates(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.serialization import pkcs12

    content = hadoop_jars.write_trust_store(tmp_path / "trust.p12").read_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        store = pkcs12.load_pkcs12(content, hadoop_jars.TRUST_STORE_PASSWORD.encode())
    assert store.additional_certs


def test_java_of_node_leaves_out_module_that_spark_4_adds(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    home, folder = tmp_path / "jdk 17", tmp_path / "node/java"
    (home / "bin").mkdir(parents=True)
    (home / "bin/java").write_text('#!/bin/bash\nprintf "%s\\n" "$@"\n')
    (home / "bin/java").chmod(0o755)
    (home / "release").write_text('JAVA_VERSION="17.0.9"\nMODULES="java.base"\n')
    monkeypatch.setenv("JAVA_HOME", str(home))
    hadoop_jars.java_home.cache_clear()
    assert hadoop_jars.java_home_of_node(folder, 8) == home
    assert hadoop_jars.java_home_of_node(folder, 17, create=True) == folder
    assert hadoop_jars.java_version(folder) == 17
    command = [str(folder / "bin/java"), "--add-modules=jdk.incubator.vector", "-cp", "a b", ""]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "-cp\na b\n\n"
    (home / "release").write_text('JAVA_VERSION="17.0.9"\nMODULES="jdk.incubator.vector"\n')
    assert hadoop_jars.java_home_of_node(folder, 17) == home
    hadoop_jars.java_home.cache_clear()
