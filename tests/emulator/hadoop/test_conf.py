"""Configuration of Hadoop and Spark, Java, and what else is text."""

from __future__ import annotations

import base64
import hashlib
import hmac
import warnings
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from emrctl.emulator.cluster import s3_logs, step_runner
from emrctl.emulator.cluster.model import EmulatedCluster, EmulatedNode, EmulatedStep, InstanceGroup
from emrctl.emulator.hadoop import auth, hadoop_conf, hadoop_jars, spark_conf, yarn
from emrctl.emulator.hadoop.hadoop_jars import HadoopJars
from emrctl.emulator.server import consent
from emrctl.emulator.server.differences import DIFFERENCES
from emrctl.errors import EmrctlError

PORTS = hadoop_conf.YarnPorts(client=1, scheduler=2, tracker=3, admin=4, web=5)


def cluster(
    *configurations: dict[str, Any], kind: str = "m5.xlarge", workers: int = 2
) -> EmulatedCluster:
    asked = {"Name": "pets", "Instances": {}, "Configurations": list(configurations)}
    found = EmulatedCluster(request=asked, region="eu-west-1", account="123456789012")
    for role, number in (("MASTER", 1), ("CORE", workers)):
        group = InstanceGroup(role=role, instance_type=kind, count=number, request={})
        names: Any = {"public_dns": "p", "public_ip": "1", "private_dns": "q", "private_ip": "2"}
        found.nodes += [
            EmulatedNode(group=group, ec2_id=f"i-{role}{n}", **names) for n in range(number)
        ]
    return found


def classified(name: str, **properties: str) -> dict[str, Any]:
    dotted = {key.replace("__", "."): value for key, value in properties.items()}
    return {"Classification": name, "Properties": dotted}


def spark(tmp_path: Path, one: EmulatedCluster) -> dict[str, str]:
    return spark_conf.defaults(one, tmp_path, HadoopJars(tmp_path))


def test_spark_s_defaults_are_emr_s(tmp_path: Path) -> None:
    found = spark(tmp_path, cluster())
    assert found["spark.executor.memory"] == "9486M"
    assert found["spark.executor.cores"] == "4"
    assert found["spark.driver.memory"] == "2048M"
    assert found["spark.executor.memoryOverheadFactor"] == "0.1875"
    assert found["spark.dynamicAllocation.enabled"] == "true"
    assert found["spark.shuffle.service.enabled"] == "false"
    assert found["spark.authenticate"] == "true"
    assert spark(tmp_path, cluster(kind="r5.xlarge"))["spark.executor.memory"] == "18971M"


def test_the_user_s_settings_win_but_for_paths_of_emr_s_image(tmp_path: Path) -> None:
    asked = classified(
        "spark-defaults",
        spark__executor__memory="2g",
        spark__executorEnv__JAVA_HOME="/usr/lib/jvm/java-17-amazon-corretto.x86_64",
        spark__pyspark__python="/usr/bin/python3.99",
    )
    found = spark(tmp_path, cluster(asked))
    assert found["spark.executor.memory"] == "2g"
    assert "spark.executorEnv.JAVA_HOME" not in found
    assert found["spark.pyspark.python"] == "python3"
    export = classified("export", PYSPARK_PYTHON="/usr/bin/python3.9", JAVA_HOME="/x", MINE="a b")
    environment = spark_conf.environment(
        cluster({"Classification": "spark-env", "Configurations": [export]})
    )
    assert environment == {"PYSPARK_PYTHON": "python3", "MINE": "a b"}


def test_maximized_executors_fill_the_nodes(tmp_path: Path) -> None:
    asked = classified("spark", maximizeResourceAllocation="true")
    found = spark(tmp_path, cluster(asked, kind="m5.2xlarge"))
    assert found["spark.executor.instances"] == "2"
    assert found["spark.executor.cores"] == "8"
    assert found["spark.default.parallelism"] == "32"
    assert found["spark.dynamicAllocation.enabled"] == "false"
    dynamic = classified("spark-defaults", spark__dynamicAllocation__enabled="true")
    found = spark(tmp_path, cluster(asked, dynamic))
    assert "spark.executor.instances" not in found


def test_yarn_is_as_big_as_emr_makes_it_and_closed(tmp_path: Path) -> None:
    open_it = classified(
        "yarn-site",
        yarn__acl__enable="false",
        yarn__resourcemanager__webapp__address="0.0.0.0:8088",
        yarn__nodemanager__resource__memory_mb="1",
        yarn__scheduler__maximum="kept",
    )
    one = cluster(open_it)
    found = hadoop_conf.yarn_site(one, PORTS, tmp_path)
    assert found["yarn.acl.enable"] == "true"
    assert found["yarn.resourcemanager.webapp.address"] == "127.0.0.1:5"
    assert found["yarn.scheduler.maximum-allocation-mb"] == "12288"
    assert found["yarn.scheduler.maximum"] == "kept"
    manager = hadoop_conf.node_manager(found, tmp_path, "m5.2xlarge", "/node/bin:/bin")
    assert manager["yarn.nodemanager.resource.memory-mb"] == "24576"
    addresses = [value for key, value in manager.items() if key.endswith(".address")]
    assert all(value.startswith("127.0.0.1:") for value in addresses)
    assert manager["yarn.nodemanager.admin-env"].endswith(",PATH=/node/bin:/bin")


def test_the_secret_name_is_in_the_daemons_files_only(tmp_path: Path) -> None:
    one = cluster()
    secrets = auth.YarnCredentials(signing_key=tmp_path / "signing", user="kabc@def")
    client = hadoop_conf.core_site(one, "http://127.0.0.1:9", tmp_path)
    daemon = hadoop_conf.daemon_core_site(client, secrets)
    assert not any("kabc" in value for value in client.values())
    assert "kabc@def" in daemon["hadoop.security.auth_to_local"]
    assert client["fs.s3a.endpoint"] == "http://127.0.0.1:9"
    hadoop_conf.write(tmp_path / "conf", [("core-site.xml", daemon)])
    path = tmp_path / "conf" / "core-site.xml"
    assert path.stat().st_mode & 0o777 == 0o600
    names = {one.text for one in ET.parse(path).getroot().iter("name")}  # noqa: S314
    assert names == set(daemon)


def test_the_door_s_cookie_is_signed_as_hadoop_signs(tmp_path: Path) -> None:
    secret = tmp_path / "signing"
    secret.write_text("shh")
    value = auth.cookie(secret).removeprefix('hadoop.auth="').removesuffix('"')
    text, _, signature = value.rpartition("&s=")
    assert text.startswith("u=viewer&p=viewer&t=ldap&e=")
    mac = hmac.new(b"shh", text.encode(), hashlib.sha256).digest()
    assert base64.b64decode(signature) == mac


def test_the_lock_pins_every_jar_once() -> None:
    jars = hadoop_jars.locked_jars()
    assert len({jar.file for jar in jars}) == len(jars)
    assert {jar.set for jar in jars} == {"yarn", "s3a"}
    assert all(len(jar.sha256) == 64 for jar in jars)


def test_a_mirror_and_a_proxy_are_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(hadoop_jars.MIRROR_VARIABLE, "https://mirror.example/maven?a=b&c")
    assert 'root="https://mirror.example/maven?a=b&amp;c"' in hadoop_jars._ivy_settings(tmp_path)
    monkeypatch.setenv("https_proxy", "http://user:word@proxy.example:3128")
    assert "-Dhttps.proxyHost=proxy.example" in hadoop_jars._proxy_options()
    assert not any("word" in option for option in hadoop_jars._proxy_options())


def test_a_jar_that_is_another_is_refused(tmp_path: Path) -> None:
    jar = hadoop_jars.LockedJar("yarn", "org", "thing", "1", "0" * 64)
    with pytest.raises(EmrctlError, match=r"thing-1\.jar is missing") as caught:
        hadoop_jars._verify([jar], tmp_path)
    assert hadoop_jars.MIRROR_VARIABLE in caught.value.hint
    (tmp_path / "jars/yarn").mkdir(parents=True)
    (tmp_path / "jars/yarn/thing-1.jar").write_bytes(b"evil")
    with pytest.raises(EmrctlError, match="its checksum differs"):
        hadoop_jars._verify([jar], tmp_path)


def test_a_user_s_java_is_taken_where_it_is_one_that_works(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/java").touch()
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    for release, taken in (("17.0.9", True), ("1.8.0_392", True), ("24.0.1", False)):
        (tmp_path / "release").write_text(f'JAVA_VERSION="{release}"\n')
        hadoop_jars.java_home.cache_clear()
        assert (hadoop_jars.java_home() == tmp_path) is taken
    hadoop_jars.java_home.cache_clear()


def test_java_trusts_what_this_machine_trusts(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.serialization import pkcs12

    content = hadoop_jars.write_trust_store(tmp_path / "trust.p12").read_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = pkcs12.load_pkcs12(content, hadoop_jars.TRUST_STORE_PASSWORD.encode())
    assert found.additional_certs


def step(jar: str, *args: str) -> EmulatedStep:
    return EmulatedStep(
        name="a", action_on_failure="CONTINUE", jar={"Jar": jar, "Args": list(args)}
    )


def test_commands_are_what_emr_would_run(tmp_path: Path) -> None:
    path = "/usr/bin:/bin"
    runs = step_runner.command(step("command-runner.jar", "bash", "-c", "a; b"), tmp_path, path)
    assert runs is not None
    assert runs[0].endswith("/bash")
    assert runs[1:] == ["-c", "a; b"]
    assert step_runner.command(step("command-runner.jar", "nonesuch"), tmp_path, path) is None
    assert step_runner.command(step("command-runner.jar"), tmp_path, path) is None
    script = tmp_path / "script.sh"
    script.write_text("echo hi")
    uri = "s3://us-east-1.elasticmapreduce/libs/script-runner/script-runner.jar"
    work = tmp_path / "work"
    work.mkdir()
    found = step_runner.command(step(uri, str(script), "x"), work, path)
    assert found == ["bash", str(work / "script.sh"), "x"]


@pytest.mark.parametrize(
    ("text", "said"),
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
def test_a_failure_s_cause_is_found(text: str, said: str) -> None:
    assert said in s3_logs.failure_message(text)
    assert "later" not in s3_logs.failure_message(text)


def test_applications_are_found_in_what_a_step_says() -> None:
    text = b"Submitted application application_12_0001\napplication_12_0001 application_12_0002"
    assert step_runner.applications(text) == ["application_12_0001", "application_12_0002"]


def test_consent_is_remembered() -> None:
    assert not consent.was_shown()
    consent.remember()
    assert consent.was_shown()
    assert "your own" in consent.TEXT
    assert all(DIFFERENCES)


def test_daemons_get_ports_that_no_outgoing_connection_is_given() -> None:
    ports = yarn.new_ports()
    taken = {ports.client, ports.scheduler, ports.tracker, ports.admin, ports.web}
    assert len(taken) == 5
    assert taken < set(range(20_000, 32_768))
