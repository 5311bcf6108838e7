from __future__ import annotations

import gzip
import subprocess
import tracemalloc
from pathlib import Path

import pytest

from emrctl.aws.target import Target
from emrctl.emulator.cluster import programs, s3_files
from emrctl.emulator.cluster.failures import BootstrapFailedError
from emrctl.emulator.cluster.local_runtime import LocalRuntime
from emrctl.emulator.cluster.model import (
    EmulatedCluster,
    EmulatedNode,
    EmulatedStep,
)
from emrctl.emulator.cluster.node_folder import EmulatorContext
from emrctl.emulator.server import processes


def bootstrap(
    local_runtime: LocalRuntime,
    cluster: EmulatedCluster,
    mocked: Target,
    *scripts: tuple[str, list[str]],
) -> None:
    actions = []
    for number, (text, args) in enumerate(scripts):
        path = text
        if not text.startswith("s3:"):
            mocked.client("s3").put_object(Bucket="pets-code", Key=str(number), Body=text.encode())
            path = f"s3://pets-code/{number}"
        script = {"Path": path, "Args": args}
        actions.append({"Name": str(number), "ScriptBootstrapAction": script})
    cluster.request["BootstrapActions"] = actions
    for error in local_runtime.bootstrap(cluster, cluster.nodes).values():
        raise error


def log(
    mocked: Target, cluster: EmulatedCluster, node: EmulatedNode, number: int, name: str
) -> str:
    key = f"{cluster.id}/node/{node.ec2_id}/bootstrap-actions/{number}/{name}.gz"
    body = mocked.client("s3").get_object(Bucket="pets-logs", Key=key)["Body"].read()
    return gzip.decompress(body).decode()


def test_bootstrap_actions_run_in_order_on_every_node(
    local_runtime: LocalRuntime, context: EmulatorContext, cluster: EmulatedCluster, mocked: Target
) -> None:
    first = "#!/bin/bash\necho $1 | tee $HOME/first; echo oops >&2"
    second = "#!/usr/bin/env python3\nimport os; print(open(os.environ['HOME'] + '/first').read())"
    bootstrap(local_runtime, cluster, mocked, (first, ["ä b"]), (second, []))
    for node in cluster.nodes:
        assert log(mocked, cluster, node, 1, "stdout") == "ä b\n"
        assert log(mocked, cluster, node, 1, "stderr") == "oops\n"
        assert "ä b" in log(mocked, cluster, node, 2, "stdout")
        assert "ended with exit code 0" in log(mocked, cluster, node, 2, "controller")


def test_failed_action_reports_node_and_uploads_log(
    local_runtime: LocalRuntime, cluster: EmulatedCluster, mocked: Target
) -> None:
    script = "#!/bin/bash\ncd /; echo broken >&2; exit 7"
    with pytest.raises(BootstrapFailedError) as caught:
        bootstrap(local_runtime, cluster, mocked, ("#!/bin/sh\nexit 0", []), (script, []))
    assert (caught.value.node, caught.value.number) == (cluster.nodes[0], 2)
    assert caught.value.exit_code == 7
    assert log(mocked, cluster, cluster.nodes[0], 2, "stderr") == "broken\n"


def test_missing_script_fails(
    local_runtime: LocalRuntime, cluster: EmulatedCluster, mocked: Target
) -> None:
    with pytest.raises(BootstrapFailedError, match="could not download s3://pets-code/none"):
        bootstrap(local_runtime, cluster, mocked, ("s3://pets-code/none", []))


def test_run_if_runs_on_matching_nodes_only(
    local_runtime: LocalRuntime, cluster: EmulatedCluster, mocked: Target
) -> None:
    run_if = "s3://us-east-1.elasticmapreduce/bootstrap-actions/run-if"
    bootstrap(
        local_runtime, cluster, mocked, (run_if, ["instance.isMaster=true", "echo", "the primary"])
    )
    primary, worker = cluster.nodes
    assert log(mocked, cluster, primary, 1, "stdout") == "the primary\n"
    assert log(mocked, cluster, worker, 1, "stdout") == ""


def test_background_processes_of_action_are_killed(
    local_runtime: LocalRuntime, context: EmulatorContext, cluster: EmulatedCluster, mocked: Target
) -> None:
    bootstrap(
        local_runtime,
        cluster,
        mocked,
        ("#!/bin/bash\nsetsid nohup sleep 300 >/dev/null 2>&1 & sleep 0.1", []),
    )
    assert processes.marked(processes.EMULATOR_MARK, context.emulator_id) == []


def test_stop_keeps_logs_and_what_the_history_server_reads(
    local_runtime: LocalRuntime, context: EmulatorContext, cluster: EmulatedCluster, mocked: Target
) -> None:
    bootstrap(local_runtime, cluster, mocked)
    folder = context.cluster_folder(cluster)
    for name in ("conf", "conf-rm", "staging", "eventlogs", "warehouse"):
        (folder / name).mkdir()
    (folder / "staging" / "job.jar").touch()
    (folder / "signing").touch()
    local_runtime.stop(cluster)
    assert {path.name for path in folder.iterdir()} == {"nodes", "conf", "eventlogs", "signing"}
    for node in cluster.nodes:
        assert [path.name for path in context.node_folder(cluster, node).iterdir()] == ["mnt"]


def step(jar: str, *args: str) -> EmulatedStep:
    return EmulatedStep(
        name="a", action_on_failure="CONTINUE", jar={"Jar": jar, "Args": list(args)}
    )


def test_command_for_each_runner_jar(tmp_path: Path) -> None:
    path = "/usr/bin:/bin"
    argv = programs.step_command(step("command-runner.jar", "bash", "-c", "a; b"), tmp_path, path)
    assert argv is not None
    assert argv[0].endswith("/bash")
    assert argv[1:] == ["-c", "a; b"]
    assert programs.step_command(step("command-runner.jar", "nonesuch"), tmp_path, path) is None
    assert programs.step_command(step("command-runner.jar"), tmp_path, path) is None
    argv = programs.step_command(step("command-runner.jar", "", "echo", "", "a"), tmp_path, path)
    assert argv is not None
    assert argv[1:] == ["a"]
    script = tmp_path / "script.sh"
    script.write_text("echo hi")
    uri = "s3://us-east-1.elasticmapreduce/libs/script-runner/script-runner.jar"
    work = tmp_path / "work"
    work.mkdir()
    argv = programs.step_command(step(uri, str(script), "x"), work, path)
    assert argv == ["bash", str(work / "script.sh"), "x"]


def test_properties_of_a_step_are_properties_of_the_jvm_of_its_jar(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shims = Path(programs.__file__).with_name("shims")
    java = tmp_path / "bin/java"
    java.parent.mkdir()
    java.write_text('#!/bin/bash\nprintf "%s|" "${@:4}"\n')
    java.chmod(0o755)
    monkeypatch.setattr(s3_files, "download", lambda _: b"")
    own = step("s3://pets-code/pets.jar", "input")
    own.jar |= {"MainClass": "pets.Main", "Properties": [{"Key": "a", "Value": "1 2"}]}
    argv = programs.step_command(own, tmp_path, str(shims))
    assert argv is not None
    variables = ("SPARK_HOME", "HADOOP_CONF_DIR", "SPARK_DIST_CLASSPATH", "EMRCTL_DISTCP")
    env = dict.fromkeys(variables, "/x") | {"JAVA_HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    out = subprocess.run(["bash", *argv], env=env, check=True, capture_output=True, text=True)
    jar = tmp_path / "pets.jar"
    assert out.stdout.endswith(f"|-Da=1 2|org.apache.hadoop.util.RunJar|{jar}|pets.Main|input|")


def test_path_of_instance_json_is_the_node_s_own(
    local_runtime: LocalRuntime, cluster: EmulatedCluster, mocked: Target
) -> None:
    info = "/mnt/var/lib/info/"
    script = f"#!/bin/bash\ngrep -h isMaster {info}instance.json $1; echo a{info}"
    bootstrap(local_runtime, cluster, mocked, (script, ["/mnt/var/lib/info/none.json"]))
    for node, primary in zip(cluster.nodes, ("true", "false"), strict=True):
        expected = f'  "isMaster": {primary},\na/mnt/var/lib/info/\n'
        assert log(mocked, cluster, node, 1, "stdout") == expected
        missing = str(local_runtime.context.node_folder(cluster, node) / "mnt/var/lib/info/none")
        assert missing in log(mocked, cluster, node, 1, "stderr")


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("Traceback (most recent call last):\n  File\nKeyError: 'a'\nlater", "KeyError: 'a'"),
        ("INFO a\norg.x.FileAlreadyExistsException: Output\n\tat b\n", "FileAlreadyExists"),
        ("one\ntwo\n", "one\ntwo"),
        (
            "Traceback (most recent call last):\n  F\nPy4JJavaError: x\n: a.B: no\n\tat c",
            ": a.B: no",
        ),
        ("", ""),
    ],
)
def test_failure_message_returns_cause(text: str, cause: str) -> None:
    assert cause in s3_files.failure_message(text)
    assert "later" not in s3_files.failure_message(text)


def test_applications_returns_ids_in_output(tmp_path: Path) -> None:
    text = b"Submitted application application_12_0001\napplication_12_0001 application_12_0002"
    output = s3_files.StepOutput(exit_code=0, stdout=text, stderr=tmp_path / "missing")
    assert programs.applications(output) == ["application_12_0001", "application_12_0002"]


def test_find_all_reads_a_file_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_files, "_BLOCK_BYTES", 7)
    path = tmp_path / "stdout"
    path.write_bytes(b"application_12_00011 x\n" * 9 + b"x application_12_00012")
    ids = s3_files.find_all(programs.APPLICATION, path)
    assert ids == {"application_12_00011", "application_12_00012"}


def test_upload_step_streams_large_logs_and_names_the_last_error(
    cluster: EmulatedCluster, mocked: Target, tmp_path: Path
) -> None:
    mocked.client("s3").create_bucket(Bucket="pets-logs")
    line = b"a line of a job that prints a lot\n"
    stdout, stderr = tmp_path / "stdout", tmp_path / "stderr"
    stdout.write_bytes(line * 2_000_000)
    stderr.write_bytes(line * 200_000 + b"ValueError: no such breed\n")
    jar = {"Jar": "command-runner.jar"}
    step = EmulatedStep(name="x", action_on_failure="CONTINUE", jar=jar, id="s-1")
    output = s3_files.StepOutput(exit_code=1, stdout=stdout, stderr=stderr)
    tracemalloc.start()
    result = s3_files.upload_step(cluster, step, output)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert result.failure is not None
    assert result.failure["Message"] == "ValueError: no such breed"
    assert peak_bytes < stdout.stat().st_size // 2
    key = f"{cluster.id}/steps/s-1/stdout.gz"
    body = mocked.client("s3").get_object(Bucket="pets-logs", Key=key)["Body"].read()
    assert gzip.decompress(body) == stdout.read_bytes()


@pytest.mark.parametrize("text", ["echo 1\n", "#!/bin/bash\r\necho 1\r\n"])
def test_script_that_emr_does_not_start_fails_the_action(
    local_runtime: LocalRuntime, cluster: EmulatedCluster, mocked: Target, text: str
) -> None:
    with pytest.raises(BootstrapFailedError) as caught:
        bootstrap(local_runtime, cluster, mocked, (text, []))
    assert "EMR does not start it" in log(mocked, cluster, caught.value.node, 1, "stderr")
