"""SSH to EC2 instances with paramiko, OpenSSH and asyncssh clients."""

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
    client: paramiko.SSHClient = ec2nodes.client(node)
    return client


def server_of(ec2nodes: Ec2Nodes) -> psutil.Process:
    """The emulator's process."""
    credentials = ec2nodes.target.credentials
    assert credentials is not None
    info = state.read(credentials.parent)
    assert info is not None
    return psutil.Process(info.pid)


def run(client: paramiko.SSHClient, command: str) -> str:
    _, out, err = client.exec_command(command, timeout=60)
    text = out.read().decode()
    assert out.channel.recv_exit_status() == 0, err.read()
    return text.strip()


def test_command_has_stdin_stdout_stderr_and_exit_code(client: paramiko.SSHClient) -> None:
    stdin, out, err = client.exec_command("cat; echo warning >&2; exit 7")
    stdin.write("input ä\n")
    stdin.channel.shutdown_write()
    assert out.read().decode() == "input ä\n"
    assert err.read() == b"warning\n"
    assert out.channel.recv_exit_status() == 7


def test_command_copies_large_stdin_to_stdout_and_stderr(ec2nodes: Ec2Nodes, node: str) -> None:
    sent = os.urandom(8_000_000)
    done = subprocess.run(
        [*ec2nodes.ssh(node), "tee /dev/stderr"], input=sent, capture_output=True, check=True
    )
    assert done.stdout == done.stderr == sent


def test_command_with_unread_stdin_or_stdout_exits(ec2nodes: Ec2Nodes, node: str) -> None:
    done = subprocess.run(
        [*ec2nodes.ssh(node), "exit 5"],
        input=bytes(3_000_000),
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 5
    assert ec2nodes.run(node, "yes | head -c 1000000 >/dev/null").returncode == 0


def test_exit_codes_of_signals_and_missing_commands(ec2nodes: Ec2Nodes, node: str) -> None:
    assert ec2nodes.run(node, "kill -9 $$").returncode == 255
    assert ec2nodes.run(node, "bash -c 'kill -9 $$'; exit $?").returncode == 128 + 9
    assert ec2nodes.run(node, "nonsense-command").returncode == 127


def test_signal_from_client_is_sent_to_command(ec2nodes: Ec2Nodes, node: str) -> None:
    """Uses asyncssh: paramiko and OpenSSH do not send signals."""
    script = "trap 'echo caught; exit 9' USR1; echo up; while :; do sleep 0.05; done"

    async def send_signal() -> tuple[str, int]:
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
            done = await process.wait(timeout=60)
            return str(done.stdout), int(done.exit_status)

    assert asyncio.run(send_signal()) == ("caught\n", 9)


def test_session_has_environment_of_instance(
    client: paramiko.SSHClient, ec2nodes: Ec2Nodes, node: str
) -> None:
    code = "import json, os; print(json.dumps(dict(os.environ)))"
    environment = json.loads(run(client, f'python3 -c "{code}"'))
    private = ec2nodes.describe(node)["PrivateIpAddress"]
    assert environment["USER"] == "ec2-user"
    assert environment["SPARK_LOCAL_IP"] == private
    assert environment["AWS_ENDPOINT_URL"] == ec2nodes.target.endpoint
    assert environment["EMRCTL_INSTANCE"] == node
    assert environment["PATH"].startswith(environment["EMRCTL_NODE_ROOT"])
    assert Path(environment["JAVA_HOME"], "bin/java").exists()
    assert "SSH_CONNECTION" in environment
    if "EMRCTL_JARS" in environment:  # if Hadoop's JARs are in the cache
        assert list(Path(environment["EMRCTL_JARS"]).glob("hadoop-aws-*.jar"))
    credentials = ec2nodes.target.credentials
    assert credentials is not None
    assert credentials.read_text().split(" = ")[-1].strip() not in environment.values()
    code = "import boto3; print(boto3.client('sts').get_caller_identity()['Account'])"
    assert run(client, f'python3 -c "{code}"') == "123456789012"


def test_login_shell_keeps_path(client: paramiko.SSHClient) -> None:
    root = run(client, "echo $EMRCTL_NODE_ROOT")
    assert run(client, "bash -lc 'command -v python3 sudo'").split() == [
        f"{root}/venv/bin/python3",
        f"{root}/bin/sudo",
    ]


def test_only_locale_variables_of_client_are_accepted(ec2nodes: Ec2Nodes, node: str) -> None:
    options = ("-o", "SetEnv=LC_TIME=de_DE.UTF-8 EMRCTL_INSTANCE=other HOME=/")
    done = ec2nodes.run(node, "echo $LC_TIME $EMRCTL_INSTANCE $HOME", *options)
    assert done.stdout.split()[:2] == ["de_DE.UTF-8", node]
    assert done.stdout.strip().endswith("/home")


def test_terminal_has_size_type_and_input(client: paramiko.SSHClient) -> None:
    channel = client.get_transport().open_session()  # type: ignore[union-attr]
    channel.get_pty("xterm", width=101, height=37)
    # The server does not confirm a resize.
    resized = "until [ '30 90' = \"$(stty size)\" ]; do sleep 0.01; done"
    channel.exec_command(
        f"tty; stty size; echo $TERM; read line; {resized}; stty size; echo got $line"
    )
    channel.settimeout(60)
    text = _read_until(channel, "xterm")
    assert "/dev/" in text
    assert "37 101" in text
    channel.resize_pty(width=90, height=30)
    channel.sendall(b"typed\n")
    text = _read_until(channel, "got typed")
    assert "30 90" in text
    assert channel.recv_exit_status() == 0


def _read_until(channel: paramiko.Channel, expected: str) -> str:
    text = ""
    while expected not in text:
        more = channel.recv(4096)
        assert more, text
        text += more.decode()
    return text


def test_control_c_interrupts_command_on_terminal(client: paramiko.SSHClient) -> None:
    channel = client.invoke_shell()
    channel.settimeout(60)
    _read_until(channel, "[ec2-user@ip-127-")
    # The message is printed by the foreground process: a shell between commands may miss the key.
    channel.sendall(b"bash -c \"echo it s'leeps'; exec sleep 300\"; echo continued $?\n")
    _read_until(channel, "it sleeps")
    channel.sendall(b"\x03")
    assert "continued" not in _read_until(channel, "[ec2-user@ip-127-")
    channel.sendall(b"exit 4\n")
    assert channel.recv_exit_status() == 4


def test_detached_processes_survive_disconnect(ec2nodes: Ec2Nodes, node: str) -> None:
    with ec2nodes.client(node) as client:
        detached = run(client, "setsid sleep 300 >/dev/null 2>&1 </dev/null & echo $!")
        nohup = run(client, "nohup sleep 300 >/dev/null 2>&1 </dev/null & echo $!")
        channel = client.get_transport().open_session()
        channel.get_pty()
        channel.exec_command("echo pid $$; exec sleep 300")
        on_terminal = _read_until(channel, "\n").split()[-1]
        client.get_transport().close()
    assert gone(on_terminal)
    assert alive(detached)
    assert alive(nohup)
    ec2nodes.run(node, f"kill {detached} {nohup}")
    assert gone(detached)


def test_process_writing_to_disconnected_client_ends(ec2nodes: Ec2Nodes, node: str) -> None:
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


def test_orphaned_process_is_reaped(client: paramiko.SSHClient) -> None:
    """The emulator reaps processes whose parent has exited."""
    orphan = run(client, "(setsid sleep 0.1 >/dev/null 2>&1 </dev/null & echo $!)")
    run(client, f"while kill -0 {orphan} 2>/dev/null; do sleep 0.01; done")


def test_session_leaves_no_open_files_or_threads(
    ec2nodes: Ec2Nodes, node: str, until: Await
) -> None:
    process = server_of(ec2nodes)

    def open_resources() -> tuple[int, int]:
        return process.num_fds(), process.num_threads()

    with ec2nodes.client(node) as client:
        run(client, "true")
        time.sleep(0.1)
        before = open_resources()
        for _ in range(20):
            run(client, "echo")
            channel = client.get_transport().open_session()
            channel.get_pty()
            channel.exec_command("echo on a terminal")
            _read_until(channel, "terminal")
            channel.recv_exit_status()
        until(
            lambda: all(
                now <= then + 4 for now, then in zip(open_resources(), before, strict=True)
            ),
            True,
        )


def test_session_without_home_fails_with_message(ec2nodes: Ec2Nodes) -> None:
    node = ec2nodes.launch()
    shutil.rmtree(ec2nodes.run(node, "pwd").stdout.strip())
    done = ec2nodes.run(node, "true")
    assert done.returncode == 1
    assert "Could not start a process" in done.stderr


def test_sftp_transfers_files(client: paramiko.SSHClient, tmp_path: Path) -> None:
    here = tmp_path / "file"
    here.write_bytes(os.urandom(3_000_000))
    home = run(client, "pwd")
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
    assert run(client, "stat -c %a below/file") == "755"


@pytest.mark.skipif(shutil.which("scp") is None, reason="no scp here")
def test_scp_copies_file(ec2nodes: Ec2Nodes, node: str, tmp_path: Path) -> None:
    (tmp_path / "note").write_text("copied")
    *options, destination = ec2nodes.ssh(node)[1:]
    port = options.index("-p")
    options[port] = "-P"
    subprocess.run(["scp", *options, str(tmp_path / "note"), f"{destination}:note"], check=True)
    assert ec2nodes.run(node, "cat note").stdout == "copied"


def _server(address: str) -> socket.socket:
    server = socket.create_server((address, 0))

    def answer() -> None:
        with server.accept()[0] as caller:
            caller.sendall(b"from " + address.encode())

    threading.Thread(target=answer, daemon=True).start()
    return server


@pytest.mark.parametrize("requested", ["localhost", "127.0.0.1", "its own"])
@pytest.mark.parametrize("listening", ["127.0.0.1", "its own"])
def test_port_forwarding_to_instance(
    client: paramiko.SSHClient, ec2nodes: Ec2Nodes, node: str, requested: str, listening: str
) -> None:
    private = ec2nodes.describe(node)["PrivateIpAddress"]
    if requested == "its own" and listening == "127.0.0.1":
        return
    address = private if listening == "its own" else listening
    with _server(address) as server:
        port = server.getsockname()[1]
        to = (private if requested == "its own" else requested, port)
        transport = client.get_transport()
        assert transport is not None
        with transport.open_channel("direct-tcpip", to, ("127.0.0.1", 0)) as channel:
            assert channel.recv(100).decode() == f"from {address}"


@pytest.mark.parametrize("to", [("127.0.0.1", 1), ("10.0.0.1", 80), ("example.org", 80)])
def test_port_forwarding_to_other_hosts_or_closed_ports_fails(
    client: paramiko.SSHClient, to: tuple[str, int]
) -> None:
    transport = client.get_transport()
    assert transport is not None
    with pytest.raises(paramiko.ChannelException):
        transport.open_channel("direct-tcpip", to, ("127.0.0.1", 0))
    with pytest.raises(paramiko.SSHException):
        transport.request_port_forward("127.0.0.1", 0)


def test_parallel_sessions_on_one_connection(client: paramiko.SSHClient) -> None:
    with ThreadPoolExecutor(8) as pool:
        outputs = list(pool.map(lambda n: run(client, f"sleep 0.2; echo {n}"), range(8)))
    assert outputs == [str(n) for n in range(8)]


# -- authentication


def test_login_with_other_user_key_or_method_fails(
    ec2nodes: Ec2Nodes, node: str, tmp_path: Path
) -> None:
    for user, key in (("root", None), ("hadoop", None), ("ec2-user", new_key(tmp_path / "other"))):
        with pytest.raises(paramiko.AuthenticationException):
            ec2nodes.client(node, user, key)
    with paramiko.Transport((ec2nodes.address(node), ec2nodes.target.ssh_port)) as transport:
        transport.start_client(timeout=60)
        with pytest.raises(paramiko.BadAuthenticationType) as caught:
            transport.auth_password("ec2-user", "")
        assert caught.value.allowed_types == ["publickey"]
        with pytest.raises(paramiko.AuthenticationException):
            transport.auth_none("ec2-user")


def test_login_with_key_created_by_ec2_succeeds(ec2nodes: Ec2Nodes, tmp_path: Path) -> None:
    name = f"made-{tmp_path.name}"
    key = ec2nodes.ec2.create_key_pair(KeyName=name, KeyType="rsa")
    identity = tmp_path / "made.pem"
    identity.write_text(key["KeyMaterial"])
    node = ec2nodes.launch(KeyName=name)
    with ec2nodes.client(node, key=identity) as client:
        assert run(client, "echo $USER") == "ec2-user"


def test_login_to_instance_without_key_fails(ec2nodes: Ec2Nodes) -> None:
    response = ec2nodes.ec2.run_instances(ImageId="ami-1", MinCount=1, MaxCount=1)
    instance_id = response["Instances"][0]["InstanceId"]
    ec2nodes.until(instance_id, "running")
    ec2nodes.launched.append(instance_id)
    with pytest.raises(paramiko.AuthenticationException):
        ec2nodes.client(instance_id)


def test_login_with_key_of_other_instance_fails(
    ec2nodes: Ec2Nodes, node: str, tmp_path: Path
) -> None:
    others = Ec2Nodes(ec2nodes.target, tmp_path)
    other = others.launch()
    with pytest.raises(paramiko.AuthenticationException):
        others.client(node)
    with others.client(other) as client:
        assert run(client, "echo $EMRCTL_INSTANCE") == other
    others.terminate()


def test_servers_listen_on_loopback_only(ec2nodes: Ec2Nodes, node: str) -> None:
    connections = server_of(ec2nodes).net_connections()
    listening = [one.laddr.ip for one in connections if one.status == "LISTEN"]
    assert ec2nodes.address(node) in listening
    assert all(address.startswith("127.") for address in listening)


def test_idle_instance_uses_no_cpu(ec2nodes: Ec2Nodes, node: str, until: Await) -> None:
    process = server_of(ec2nodes)

    def quiet() -> bool:
        cpu, switches = sum(process.cpu_times()[:2]), process.num_ctx_switches().voluntary
        time.sleep(1.0)
        return (
            sum(process.cpu_times()[:2]) - cpu < 0.1
            and process.num_ctx_switches().voluntary - switches < 50
        )

    until(quiet, True)  # work of previous tests may still be running
