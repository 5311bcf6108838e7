from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from emrctl.emulator.cluster import node_folder
from emrctl.emulator.cluster.model import EmulatedCluster
from emrctl.emulator.cluster.node_folder import EmulatorContext

SHIMS = Path(node_folder.__file__).with_name("shims")


def run(
    context: EmulatorContext, cluster: EmulatedCluster, *argv: str, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a program on the primary, with further environment variables."""
    node = cluster.nodes[0]
    if not context.node_folder(cluster, node).exists():
        node_folder.prepare(context, cluster, node)
    environment = node_folder.environment(context, cluster, node) | variables
    return subprocess.run(
        argv,
        cwd=context.node_folder(cluster, node),
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_prepare_creates_home_python_and_instance_info(
    context: EmulatorContext, cluster: EmulatedCluster
) -> None:
    script = "echo $HOME; command -v python3 sudo; python3 -c 'import pyspark, numpy, boto3'"
    done = run(context, cluster, "bash", "-c", script)
    root = context.node_folder(cluster, cluster.nodes[0])
    expected = [str(root / "home"), str(root / "venv/bin/python3"), str(root / "bin/sudo")]
    assert done.stdout.splitlines() == expected, done.stderr
    instance = json.loads((root / "mnt/var/lib/info/instance.json").read_text())
    assert instance["isMaster"] is True
    job_flow = json.loads((root / "mnt/var/lib/info/job-flow.json").read_text())
    assert job_flow["jobFlowId"] == cluster.id


def test_environment_contains_no_secret(
    context: EmulatorContext, cluster: EmulatedCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "mine")
    monkeypatch.setenv("MY_TOKEN", "mine")
    environment = node_folder.environment(context, cluster, cluster.nodes[0])
    assert "mine" not in environment.values()
    assert environment["AWS_SHARED_CREDENTIALS_FILE"] == str(context.credentials)


@pytest.mark.parametrize(
    ("command", "code", "message"),
    [
        (["sudo", "-u", "hadoop", "-E", "echo", "ran"], 0, "ran"),
        (["sudo", "-n", "--", "echo", "ran"], 0, "ran"),
        (["sudo", "A=b", "bash", "-c", "echo $A"], 0, "b"),
        (["shutdown", "-h", "now"], 1, "refused"),
        (["sudo", "reboot"], 1, "refused"),
        (["s3-dist-cp", "--src", "a"], 127, "not installed yet"),
        (["hive", "-e", "a"], 127, "'hive' is not available on the local EMR"),
        (["sudo", "yum", "install", "git"], 127, "'yum' is not available"),
        (["spark-submit", "main.py"], 127, "not installed yet"),
        (["hadoop", "fs", "-ls", "/"], 127, "not installed yet"),
    ],
)
def test_shim_runs_or_fails_with_message(
    context: EmulatorContext, cluster: EmulatedCluster, command: list[str], code: int, message: str
) -> None:
    done = run(context, cluster, *command)
    assert done.returncode == code
    assert message in done.stdout + done.stderr


def test_pip_install_user_installs_on_node_only(
    context: EmulatorContext, cluster: EmulatedCluster, tmp_path: Path
) -> None:
    package = tmp_path / "own"
    package.mkdir()
    (package / "setup.py").write_text("from setuptools import setup; setup(name='own_package')")
    done = run(context, cluster, "python3", "-m", "pip", "install", "--user", "boto3")
    assert done.returncode == 0, done.stderr
    arguments = ["install", "--user", "--no-build-isolation", "--no-deps", str(package)]
    done = run(context, cluster, "sudo", "python3", "-m", "pip", *arguments)
    assert done.returncode == 0, done.stderr
    home = context.node_folder(cluster, cluster.nodes[0]) / "home"
    assert list(home.glob(".local/lib/python*/site-packages/own_package*"))


def run_aws(
    context: EmulatorContext, cluster: EmulatedCluster, tmp_path: Path
) -> subprocess.CompletedProcess[str]:
    """Run `aws s3 ls` on the primary, on a system with the basic programs only."""
    node = cluster.nodes[0]
    tools, root = tmp_path / "tools", context.node_folder(cluster, node)
    tools.mkdir()
    for name in ("bash", "dirname", "mkdir", "mktemp", "ln", "rm"):
        (tools / name).symlink_to(str(shutil.which(name)))
    node_folder.prepare(context, cluster, node)
    folders = (root / "bin", root / "venv/bin", root / "home/.local/bin", tools)
    path = ":".join(map(str, folders))
    return run(context, cluster, str(root / "bin/aws"), "s3", "ls", "a b", PATH=path)


def test_aws_is_the_one_installed_on_the_node(
    context: EmulatorContext, cluster: EmulatedCluster, tmp_path: Path
) -> None:
    home = context.node_folder(cluster, cluster.nodes[0]) / "home/.local/bin"
    home.mkdir(parents=True)
    (home / "aws").write_text("#!/bin/bash\nprintf '%s|' own \"$@\"")
    (home / "aws").chmod(0o755)
    done = run_aws(context, cluster, tmp_path)
    assert done.stdout == f"own|--endpoint-url|{context.endpoint}|s3|ls|a b|", done.stderr


def test_aws_is_the_shared_one_if_none_is_installed(
    context: EmulatorContext,
    cluster: EmulatedCluster,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("EMRCTL_CACHE", str(tmp_path / "cache"))
    shim = (SHIMS / "aws").read_text()
    version = re.search(r"^version=(.+)$", shim, re.MULTILINE)
    assert version is not None
    package = tmp_path / "cache" / f"awscli-{version[1]}" / "awscli"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text("import sys; print(*sys.argv[1:], sep='|')")
    done = run_aws(context, cluster, tmp_path)
    assert done.stdout == f"--endpoint-url|{context.endpoint}|s3|ls|a b\n", done.stderr


def test_aws_that_cannot_be_downloaded_fails_with_message(
    context: EmulatorContext,
    cluster: EmulatedCluster,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cache = tmp_path / "cache"
    monkeypatch.setenv("EMRCTL_CACHE", str(cache))
    monkeypatch.setenv("PIP_INDEX_URL", (tmp_path / "empty").as_uri())
    done = run_aws(context, cluster, tmp_path)
    assert done.returncode == 127
    assert "could not install the AWS CLI" in done.stderr
    assert list(cache.iterdir()) == []


def run_s3_dist_cp(
    context: EmulatorContext, cluster: EmulatedCluster, *options: str
) -> subprocess.CompletedProcess[str]:
    """Run s3-dist-cp on the primary with a `hadoop` that prints its arguments and the filters."""
    node = cluster.nodes[0]
    root = context.node_folder(cluster, node)
    node_folder.prepare(context, cluster, node)
    (root / "bin/hadoop").write_text(
        '#!/bin/bash\nprintf "%s|" "$@"\n[ "$3" != -filters ] || cat "$4"\n[ "$1" = fs ]'
        ' || [ "${!#}" != hdfs:///full ]\n'
    )
    return run(context, cluster, "s3-dist-cp", *options, SPARK_HOME="/spark")


def test_s3_dist_cp_copies_the_content_of_the_folder(
    context: EmulatorContext, cluster: EmulatedCluster
) -> None:
    done = run_s3_dist_cp(context, cluster, "--src=s3://b/in", "--dest", "hdfs:///in")
    assert (done.returncode, done.stdout) == (0, "distcp|-overwrite|s3://b/in|hdfs:///in|")
    options = ("--src", "hdfs:///in", "--dest=s3://b/x", "--deleteOnSuccess")
    done = run_s3_dist_cp(context, cluster, *options, "--s3ServerSideEncryption")
    encryption = "-Dfs.s3a.server-side-encryption-algorithm=AES256"
    copied = f"distcp|{encryption}|-overwrite|-direct|hdfs:///in|s3://b/x|"
    assert done.stdout == f"{copied}fs|-rm|-r|-skipTrash|hdfs:///in|"
    done = run_s3_dist_cp(
        context, cluster, "--src", "s3://b/in", "--dest", "hdfs:///full", "--deleteOnSuccess"
    )
    assert done.returncode == 1
    assert "fs|" not in done.stdout


def test_s3_dist_cp_excludes_files_that_do_not_match_the_pattern(
    context: EmulatorContext, cluster: EmulatedCluster
) -> None:
    pattern = r".*/2026-.*\.(gz|json)"
    options = ("--src", "s3://b/in", "--dest", "hdfs:///in", "--srcPattern", pattern)
    done = run_s3_dist_cp(context, cluster, *options)
    command, _, line = done.stdout.partition("|s3://b/in|hdfs:///in|")
    assert command.startswith("distcp|-overwrite|-filters|")
    excluded = re.compile(line.rstrip("\n"))
    assert not excluded.fullmatch("s3://b/in/2026-01/a.gz")
    for other in ("s3://b/in/2025-01/a.gz", "s3://b/in/2026-01/a.gz.old", "s3://b/in/2026-01"):
        assert excluded.fullmatch(other)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--groupBy=.*(a).*", "--groupBy is not supported on the local EMR"),
        ("--targetSize=9", "--targetSize is not supported on the local EMR"),
        ("--outputManifest=m", "--outputManifest is not supported on the local EMR"),
        ("--nonesuch", "unrecognized arguments: --nonesuch"),
        ("--deleteOnSuccess --srcPattern=a", "--srcPattern is not supported"),
    ],
)
def test_s3_dist_cp_refuses_what_it_does_not_support(
    context: EmulatorContext, cluster: EmulatedCluster, option: str, message: str
) -> None:
    options = ("--src=s3://b/in", "--dest=hdfs:///in", *option.split())
    done = run_s3_dist_cp(context, cluster, *options)
    assert done.returncode != 0
    assert message in done.stderr
    assert done.stdout == ""
