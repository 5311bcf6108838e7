"""The emulator's process, without Java."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
from botocore.exceptions import ClientError

from emrctl.aws import target as targets
from emrctl.aws.polling import poll_until
from emrctl.emulator.server import control, processes, state
from emrctl.errors import UsageError
from tests.emulator.process import kill


def say(line: str) -> None:
    assert line


def start(region: str = "us-east-1", port: int = 0) -> state.EmulatorInfo:
    return control.up(region=region, port=port, report=say, jars=False)


@pytest.fixture
def short_home(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("e")
    monkeypatch.setenv("EMRCTL_HOME", str(home))
    yield home
    control.down(say)


@pytest.fixture
def running(short_home: Path) -> Iterator[state.EmulatorInfo]:
    info = start()
    yield info
    control.down(say)
    assert processes.marked(processes.EMULATOR_MARK, info.id) == []


def bare(url: str, **headers: str) -> int:
    request = urllib.request.Request(url, headers=headers)  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def client_of(service: str, info: state.EmulatorInfo, **config: Any) -> Any:
    """Return a client that presigns with version 4; boto3's default is version 2."""
    import configparser

    from botocore.config import Config
    from botocore.session import Session

    keys = configparser.ConfigParser(interpolation=None)
    keys.read(info.credentials)
    return Session().create_client(
        service,
        region_name=info.region,
        endpoint_url=info.endpoint,
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}, **config),
        aws_access_key_id=keys["default"]["aws_access_key_id"],
        aws_secret_access_key=keys["default"]["aws_secret_access_key"],
    )


def test_up_serves_until_down(running: state.EmulatorInfo) -> None:
    assert control.status() == running
    assert start() == running
    with pytest.raises(UsageError, match="already runs in us-east-1"):
        start("eu-west-1")
    assert control.overview(running)["clusters"] == []
    target = targets.emulator("us-east-1")
    s3 = target.client("s3")
    s3.create_bucket(Bucket="pets")
    for key in ("plain", "a b/ä+c~d=e&f", "x//y"):
        s3.put_object(Bucket="pets", Key=key, Body=key.encode(), Metadata={"my_key": "v"})
        assert s3.get_object(Bucket="pets", Key=key)["Body"].read() == key.encode()
    listed = [one["Key"] for one in s3.list_objects_v2(Bucket="pets", Prefix="a b/")["Contents"]]
    assert listed == ["a b/ä+c~d=e&f"]
    signer = client_of("s3", running)
    url = signer.generate_presigned_url("get_object", Params={"Bucket": "pets", "Key": "plain"})
    assert bare(url) == 200
    assert bare(url + "x") == 403
    assert target.client("sts").get_caller_identity()["Account"] == "123456789012"
    assert target.client("iam").list_roles()["Roles"] == []
    assert target.client("emr").list_clusters()["Clusters"] == []
    with pytest.raises(ClientError, match="does not support this") as caught:
        target.client("ec2").create_placement_group(GroupName="a", Strategy="cluster")
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    tags = [{"Key": "team", "Value": "cats"}]
    s3.put_bucket_tagging(Bucket="pets", Tagging={"TagSet": tags})
    # Its SDKs put the account before the host, a name that only a proxy can find.
    control_client = client_of("s3control", running, proxies={"http": running.endpoint})
    answer = control_client.list_tags_for_resource(
        AccountId="123456789012", ResourceArn="arn:aws:s3:::pets"
    )
    assert answer["Tags"] == tags


def test_requests_without_credentials_are_rejected(running: state.EmulatorInfo) -> None:
    for path in ("/", "/pets/key", "/moto-api/", "/moto-api/reset", "/latest/meta-data/"):
        assert bare(running.endpoint + path) == 403
    assert bare(running.endpoint + "/emrctl/status") == 403
    assert bare(running.endpoint + "/emrctl/status", **{"X-Emrctl-Token": running.token}) == 200
    evil = {"X-Emrctl-Token": running.token, "Host": "evil.example"}
    assert bare(running.endpoint + "/emrctl/status", **evil) == 403
    addresses = {c.laddr.ip for c in psutil.Process(running.pid).net_connections()}
    assert addresses == {"127.0.0.1"}


def test_secrets_are_not_in_state_log_or_process_list(running: state.EmulatorInfo) -> None:
    home = Path(running.home)
    secret = (home / "credentials").read_text().split(" = ")[-1].strip()
    texts = [(home / name).read_text() for name in ("emulator.json", "emulator.log")]
    process = psutil.Process(running.pid)
    texts += [" ".join(process.cmdline()), str(process.environ())]
    for text in texts:
        assert secret not in text
        assert running.token not in text
    for path in home.iterdir():
        assert path.stat().st_mode & 0o077 == 0 or path.name == "emulator.lock"


def test_up_cleans_up_after_killed_emulator(running: state.EmulatorInfo) -> None:
    environment = os.environ | {processes.EMULATOR_MARK: running.id}
    leftover = subprocess.Popen(["sleep", "300"], env=environment, start_new_session=True)
    kill()
    assert control.status() is None
    again = start()
    assert again.id != running.id
    assert leftover.wait(timeout=60) == -signal.SIGKILL


def test_concurrent_ups_start_one_emulator(short_home: Path) -> None:
    with ThreadPoolExecutor() as pool:
        calls = [pool.submit(start) for _ in range(2)]
        first, second = (call.result() for call in calls)
    assert first == second
    assert control.down(say)
    assert not control.down(say)
    assert control.status() is None
    assert not (short_home / "local" / "credentials").exists()


def emulators(home: Path) -> list[int]:
    """Return the pids of the emulators of that home, also of those that are starting."""
    words = ["-m", "emrctl.emulator", "--home", str(home / "local")]
    processes_ = psutil.process_iter(["cmdline"])
    return [one.pid for one in processes_ if (one.info["cmdline"] or [])[1:5] == words]


def test_up_after_killed_up_returns_the_emulator_that_was_starting(short_home: Path) -> None:
    code = "from tests.emulator.server.test_control import start; start()"
    with subprocess.Popen([sys.executable, "-c", code]) as first:
        [starting] = poll_until(lambda: emulators(short_home), 0.01, 60)
        first.kill()

    assert start().pid == starting
    assert emulators(short_home) == [starting]


def test_up_port_in_use_raises(short_home: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(UsageError, match=f"port {port}"):
            start(port=port)
    assert control.status() is None


def test_emulator_exits_when_home_is_removed(running: state.EmulatorInfo) -> None:
    state.forget(Path(running.home))
    assert control.status() is None
    assert processes.wait_gone(running.pid, timeout_s=60)
