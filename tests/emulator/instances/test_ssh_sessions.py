"""What SSH clients that are not ours, paramiko and OpenSSH, find on an EC2 instance."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asyncssh
import paramiko
import psutil
import pytest

from emrctl.emulator.server import state
from tests.emulator.conftest import Await
from tests.emulator.ec2nodes import Ec2Nodes, alive, gone, new_key


@pytest.fixture(scope="module")
def node(ec2nodes: Ec2Nodes) -> str:
    return ec2nodes.launch()


@pytest.fixture(scope="module")
def client(ec2nodes: Ec2Nodes, node: str) -> paramiko.SSHClient:
    found: paramiko.SSHClient = ec2nodes.client(node)
    return found


def server_of(ec2nodes: Ec2Nodes) -> psutil.Process:
    """The emulator's process."""
    credentials = ec2nodes.target.credentials
    assert credentials is not None
    info = state.read(credentials.parent)
    assert info is not None
    return psutil.Process(info.pid)


def said(client: paramiko.SSHClient, command: str) -> str:
    _, out, err = client.exec_command(command, timeout=20)
    text = out.read().decode()
    assert out.channel.recv_exit_status() == 0, err.read()
    return text.strip()


def test_a_command_has_its_streams_and_its_exit_code(client: paramiko.SSHClient) -> None:
    stdin, out, err = client.exec_command("cat; echo aside >&2; exit 7")
    stdin.write("what is sent ä\n")
    stdin.channel.shutdown_write()
    assert out.read().decode() == "what is sent ä\n"
    assert err.read() == b"aside\n"
    assert out.channel.recv_exit_status() == 7


def test_much_goes_through_in_both_directions(ec2nodes: Ec2Nodes, node: str) -> None:
    sent = os.urandom(8_000_000)
    done = subprocess.run(
        [*ec2nodes.ssh(node), "tee /dev/stderr"], input=sent, capture_output=True, check=True
    )
    assert done.stdout == done.stderr == sent


def test_a_command_that_does_not_read_and_one_that_is_not_read(
    ec2nodes: Ec2Nodes, node: str
) -> None:
    done = subprocess.run(
        [*ec2nodes.ssh(node), "exit 5"],
        input=bytes(3_000_000),
        capture_output=True,
        check=False,
        timeout=20,
    )
    assert done.returncode == 5
    assert ec2nodes.run(node, "yes | head -c 1000000 >/dev/null").returncode == 0


def test_a_signal_that_ended_a_command_is_told(ec2nodes: Ec2Nodes, node: str) -> None:
    assert ec2nodes.run(node, "kill -9 $$").returncode == 255
    assert ec2nodes.run(node, "bash -c 'kill -9 $$'; exit $?").returncode == 128 + 9
    assert ec2nodes.run(node, "nonsense-command").returncode == 127


def test_a_signal_that_the_client_sends_reaches_the_command(ec2nodes: Ec2Nodes, node: str) -> None:
    """Neither paramiko nor OpenSSH sends any, so asyncssh does."""
    script = "trap 'echo got it; exit 9' USR1; echo up; while :; do sleep 0.05; done"

    async def ask() -> tuple[str, int]:
        async with asyncssh.connect(
            ec2nodes.address(node),
            ec2nodes.target.ssh_port,
            username="ec2-user",
            client_keys=[str(ec2nodes.identity)],
            known_hosts=None,
        ) as connection:
            process = await connection.create_process(script)
            await process.stdout.readline()
            process.send_signal("USR1")
            done = await process.wait(timeout=20)
            return str(done.stdout), int(done.exit_status)

    assert asyncio.run(ask()) == ("got it\n", 9)


def test_the_node_s_environment(client: paramiko.SSHClient, ec2nodes: Ec2Nodes, node: str) -> None:
    code = "import json, os; print(json.dumps(dict(os.environ)))"
    found = json.loads(said(client, f'python3 -c "{code}"'))
    private = ec2nodes.described(node)["PrivateIpAddress"]
    assert found["USER"] == "ec2-user"
    assert found["SPARK_LOCAL_IP"] == private
    assert found["AWS_ENDPOINT_URL"] == ec2nodes.target.endpoint
    assert found["EMRCTL_INSTANCE"] == node
    assert found["PATH"].startswith(found["EMRCTL_NODE_ROOT"])
    assert Path(found["JAVA_HOME"], "bin/java").exists()
    assert "SSH_CONNECTION" in found
    if "EMRCTL_JARS" in found:  # where Hadoop's jars have been fetched
        assert list(Path(found["EMRCTL_JARS"]).glob("hadoop-aws-*.jar"))
    secret = ec2nodes.target.credentials
    assert secret is not None
    assert secret.read_text().split(" = ")[-1].strip() not in found.values()
    code = "import boto3; print(boto3.client('sts').get_caller_identity()['Account'])"
    assert said(client, f'python3 -c "{code}"') == "123456789012"


def test_a_login_shell_keeps_the_node_s_programs(client: paramiko.SSHClient) -> None:
    root = said(client, "echo $EMRCTL_NODE_ROOT")
    assert said(client, "bash -lc 'command -v python3 sudo'").split() == [
        f"{root}/venv/bin/python3",
        f"{root}/bin/sudo",
    ]


def test_of_the_client_s_environment_only_the_language_is_taken(
    ec2nodes: Ec2Nodes, node: str
) -> None:
    options = ("-o", "SetEnv=LC_TIME=de_DE.UTF-8 EMRCTL_INSTANCE=other HOME=/")
    done = ec2nodes.run(node, "echo $LC_TIME $EMRCTL_INSTANCE $HOME", *options)
    assert done.stdout.split()[:2] == ["de_DE.UTF-8", node]
    assert done.stdout.strip().endswith("/home")


def test_a_terminal_is_one(client: paramiko.SSHClient) -> None:
    channel = client.get_transport().open_session()  # type: ignore[union-attr]
    channel.get_pty("xterm", width=101, height=37)
    channel.exec_command("tty; stty size; echo $TERM; read line; stty size; echo got $line")
    channel.settimeout(10)
    text = _until(channel, "xterm")
    assert "/dev/" in text
    assert "37 101" in text
    channel.resize_pty(width=90, height=30)
    time.sleep(0.1)  # the resize asks for no answer
    channel.sendall(b"typed\n")
    text = _until(channel, "got typed")
    assert "30 90" in text
    assert channel.recv_exit_status() == 0


def _until(channel: paramiko.Channel, wanted: str) -> str:
    text = ""
    while wanted not in text:
        more = channel.recv(4096)
        assert more, text
        text += more.decode()
    return text


def test_control_c_interrupts_what_runs_on_a_terminal(client: paramiko.SSHClient) -> None:
    channel = client.invoke_shell()
    channel.settimeout(10)
    _until(channel, "[ec2-user@ip-127-")
    # What says so has the terminal already: a shell between two commands might miss the key.
    channel.sendall(b"bash -c \"echo it s'leeps'; exec sleep 300\"; echo went on $?\n")
    _until(channel, "it sleeps")
    channel.sendall(b"\x03")
    assert "went on" not in _until(channel, "[ec2-user@ip-127-")
    channel.sendall(b"exit 4\n")
    assert channel.recv_exit_status() == 4


def test_what_was_detached_survives_its_client_and_its_terminal(
    ec2nodes: Ec2Nodes, node: str
) -> None:
    with ec2nodes.client(node) as client:
        loose = said(client, "setsid sleep 300 >/dev/null 2>&1 </dev/null & echo $!")
        immune = said(client, "nohup sleep 300 >/dev/null 2>&1 </dev/null & echo $!")
        channel = client.get_transport().open_session()
        channel.get_pty()
        channel.exec_command("echo pid $$; exec sleep 300")
        hung = _until(channel, "\n").split()[-1]
        client.get_transport().close()
    assert gone(hung)
    assert alive(loose)
    assert alive(immune)
    ec2nodes.run(node, f"kill {loose} {immune}")
    assert gone(loose)


def test_what_writes_to_a_client_that_has_gone_ends(ec2nodes: Ec2Nodes, node: str) -> None:
    client = subprocess.Popen(
        [*ec2nodes.ssh(node), "echo $$; while echo on; do sleep 0.05; done"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert client.stdout is not None
    writer = client.stdout.readline().strip()
    client.kill()
    client.wait()
    client.stdout.close()
    assert gone(writer)


def test_what_ended_is_seen_to_have_ended_at_once(client: paramiko.SSHClient) -> None:
    """Its parent is gone as well: nobody on the node reaps it."""
    orphan = said(client, "(setsid sleep 0.1 >/dev/null 2>&1 </dev/null & echo $!)")
    began = time.monotonic()
    said(client, f"while kill -0 {orphan} 2>/dev/null; do sleep 0.01; done")
    assert time.monotonic() - began < 1.0


def test_a_session_leaves_nothing_open(ec2nodes: Ec2Nodes, node: str, until: Await) -> None:
    process = server_of(ec2nodes)

    def clutter() -> tuple[int, int]:
        return process.num_fds(), process.num_threads()

    with ec2nodes.client(node) as client:
        said(client, "true")
        time.sleep(0.1)
        before = clutter()
        for _ in range(20):
            said(client, "echo")
            channel = client.get_transport().open_session()
            channel.get_pty()
            channel.exec_command("echo on a terminal")
            _until(channel, "terminal")
            channel.recv_exit_status()
        until(
            lambda: all(now <= then + 4 for now, then in zip(clutter(), before, strict=True)), True
        )


def test_a_node_whose_disk_is_lost_says_so(ec2nodes: Ec2Nodes) -> None:
    node = ec2nodes.launch()
    shutil.rmtree(ec2nodes.run(node, "pwd").stdout.strip())
    done = ec2nodes.run(node, "true")
    assert done.returncode == 1
    assert "Could not start a process" in done.stderr


def test_files_by_sftp(client: paramiko.SSHClient, tmp_path: Path) -> None:
    here = tmp_path / "file"
    here.write_bytes(os.urandom(3_000_000))
    home = said(client, "pwd")
    with client.open_sftp() as sftp:
        sftp.mkdir("below")
        sftp.put(str(here), "below/file")
        assert sftp.normalize(".") == home
        sftp.chmod("below/file", 0o755)
        sftp.get(f"{home}/below/file", str(tmp_path / "back"))
        assert sftp.listdir("below") == ["file"]
        with pytest.raises(FileNotFoundError):
            sftp.stat("none")
    assert (tmp_path / "back").read_bytes() == here.read_bytes()
    assert said(client, "stat -c %a below/file") == "755"


@pytest.mark.skipif(shutil.which("scp") is None, reason="no scp here")
def test_files_by_scp(ec2nodes: Ec2Nodes, node: str, tmp_path: Path) -> None:
    (tmp_path / "note").write_text("copied")
    *options, who = ec2nodes.ssh(node)[1:]
    port = options.index("-p")
    options[port] = "-P"
    subprocess.run(["scp", *options, str(tmp_path / "note"), f"{who}:note"], check=True)
    assert ec2nodes.run(node, "cat note").stdout == "copied"


def _answering(address: str) -> socket.socket:
    server = socket.create_server((address, 0))

    def answer() -> None:
        with server.accept()[0] as caller:
            caller.sendall(b"from " + address.encode())

    threading.Thread(target=answer, daemon=True).start()
    return server


@pytest.mark.parametrize("asked", ["localhost", "127.0.0.1", "its own"])
@pytest.mark.parametrize("where", ["127.0.0.1", "its own"])
def test_ports_of_the_node_are_forwarded_to(
    client: paramiko.SSHClient, ec2nodes: Ec2Nodes, node: str, asked: str, where: str
) -> None:
    private = ec2nodes.described(node)["PrivateIpAddress"]
    if asked == "its own" and where == "127.0.0.1":
        return
    listens = private if where == "its own" else where
    with _answering(listens) as server:
        port = server.getsockname()[1]
        to = (private if asked == "its own" else asked, port)
        transport = client.get_transport()
        assert transport is not None
        with transport.open_channel("direct-tcpip", to, ("127.0.0.1", 0)) as channel:
            assert channel.recv(100).decode() == f"from {listens}"


@pytest.mark.parametrize("to", [("127.0.0.1", 1), ("10.0.0.1", 80), ("example.org", 80)])
def test_what_lies_elsewhere_or_does_not_listen_is_not(
    client: paramiko.SSHClient, to: tuple[str, int]
) -> None:
    transport = client.get_transport()
    assert transport is not None
    with pytest.raises(paramiko.ChannelException):
        transport.open_channel("direct-tcpip", to, ("127.0.0.1", 0))
    with pytest.raises(paramiko.SSHException):
        transport.request_port_forward("127.0.0.1", 0)


def test_many_sessions_at_once(client: paramiko.SSHClient) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda n: said(client, f"sleep 0.2; echo {n}"), range(8)))
    assert found == [str(n) for n in range(8)]


# -- who may come in


def test_nobody_else_comes_in(ec2nodes: Ec2Nodes, node: str, tmp_path: Path) -> None:
    for user, key in (("root", None), ("hadoop", None), ("ec2-user", new_key(tmp_path / "other"))):
        with pytest.raises(paramiko.AuthenticationException):
            ec2nodes.client(node, user, key)
    with paramiko.Transport((ec2nodes.address(node), ec2nodes.target.ssh_port)) as transport:
        transport.start_client(timeout=10)
        with pytest.raises(paramiko.BadAuthenticationType) as caught:
            transport.auth_password("ec2-user", "")
        assert caught.value.allowed_types == ["publickey"]
        with pytest.raises(paramiko.AuthenticationException):
            transport.auth_none("ec2-user")


def test_a_key_that_ec2_made_logs_in(ec2nodes: Ec2Nodes, tmp_path: Path) -> None:
    name = f"made-{tmp_path.name}"
    made = ec2nodes.ec2.create_key_pair(KeyName=name, KeyType="rsa")
    identity = tmp_path / "made.pem"
    identity.write_text(made["KeyMaterial"])
    node = ec2nodes.launch(KeyName=name)
    with ec2nodes.client(node, key=identity) as client:
        assert said(client, "echo $USER") == "ec2-user"


def test_an_instance_without_a_key_lets_nobody_in(ec2nodes: Ec2Nodes) -> None:
    made = ec2nodes.ec2.run_instances(ImageId="ami-1", MinCount=1, MaxCount=1)["Instances"][0]
    ec2nodes.until(made["InstanceId"], "running")
    ec2nodes.launched.append(made["InstanceId"])
    with pytest.raises(paramiko.AuthenticationException):
        ec2nodes.client(made["InstanceId"])


def test_a_key_opens_its_own_instances_only(ec2nodes: Ec2Nodes, node: str, tmp_path: Path) -> None:
    others = Ec2Nodes(ec2nodes.target, tmp_path)
    other = others.launch()
    with pytest.raises(paramiko.AuthenticationException):
        others.client(node)
    with others.client(other) as client:
        assert said(client, "echo $EMRCTL_INSTANCE") == other
    others.end()


def test_everything_listens_on_loopback(ec2nodes: Ec2Nodes, node: str) -> None:
    found = server_of(ec2nodes).net_connections()
    listening = [one.laddr.ip for one in found if one.status == "LISTEN"]
    assert ec2nodes.address(node) in listening
    assert all(address.startswith("127.") for address in listening)


def test_an_idle_instance_costs_nothing(ec2nodes: Ec2Nodes, node: str, until: Await) -> None:
    process = server_of(ec2nodes)

    def quiet() -> bool:
        cpu, switches = sum(process.cpu_times()[:2]), process.num_ctx_switches().voluntary
        time.sleep(1.0)
        return (
            sum(process.cpu_times()[:2]) - cpu < 0.1
            and process.num_ctx_switches().voluntary - switches < 50
        )

    until(quiet, True)  # what the tests before left to do is done soon
