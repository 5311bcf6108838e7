"""The bill of materials lists every locked package and JAR with its checksum."""

from __future__ import annotations

import tomllib
from pathlib import Path

from emrctl.emulator.hadoop import hadoop_jars
from scripts import sbom

ROOT = Path(__file__).resolve().parents[1]


def test_bill_has_checksums_of_all_packages_and_jars() -> None:
    components = sbom.bill()["components"]
    jars = [item for item in components if item["purl"].startswith("pkg:maven/")]
    packages = [item for item in components if item["purl"].startswith("pkg:pypi/")]
    assert len(jars) == len(hadoop_jars.locked_jars())
    assert len(jars) + len(packages) == len(components)
    assert all(len(item["hashes"][0]["content"]) == 64 for item in jars)
    for item in packages:
        files = item["externalReferences"]
        assert files, item["name"]
        assert all(file["hashes"] for file in files), item["name"]
    assert {"boto3", "pulumi-aws", "typer"} <= {item["name"] for item in packages}


def test_lock_file_has_a_hash_for_each_file() -> None:
    lock = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))
    for package in lock["package"]:
        files = [*package.get("wheels", ()), *filter(None, [package.get("sdist")])]
        assert all(file["hash"].startswith("sha256:") for file in files), package["name"]
        assert files or "editable" in package["source"], package["name"]
