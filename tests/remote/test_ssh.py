"""SSH: host keys, commands, tunnels that reconnect."""

from __future__ import annotations

import io
import os
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from emrctl.errors import HostKeyError, UnreachableError
from emrctl.remote import host_keys, nodes
from emrctl.remote.host_keys import HostKey
from emrctl.remote.ssh import SshConnection, SshHost
from emrctl.remote.tunnel import Tunnel
from tests.remote.sshd import Sshd

NODE = "i-0123456789abcdef0"
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _line(sshd: Sshd, console: str | None = None, said: list[str] | None = None) -> SshConnection:
    def check(shown: HostKey) -> None:
        host_keys.check(NODE, shown, lambda: sshd.console if console is None else console)

    return SshConnection(
        host=SshHost(node=NODE, address="127.0.0.1", port=sshd.port),
        identities=[sshd.client_key],
        check=check,
        report=(said if said is not None else []).append,
        retry_s=0.05,
    )


def _read(port: int, path: str = "/x") -> str:
    with _OPENER.open(f"http://127.0.0.1:{port}{path}", timeout=60) as answer:
        return str(answer.read().decode())


@contextmanager
def _open(tunnel: Tunnel) -> Iterator[int]:
    until = threading.Event()
    port = tunnel.open()
    keeper = threading.Thread(target=tunnel.keep, args=(until,))
    keeper.start()
    try:
        yield port
    finally:
        until.set()
        keeper.join(timeout=60)
        assert not keeper.is_alive()


def _until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_check_stores_key_shown_on_console(sshd: Sshd) -> None:
    line = _line(sshd)
    out, err = io.BytesIO(), io.BytesIO()
    assert line.run("hostname", out, err) == 0
    line.close()
    assert out.getvalue() == b"out of hostname\n"
    assert err.getvalue() == b"a word aside\n"
    assert host_keys.known(NODE) == (sshd.host_key,)
    assert host_keys.file().stat().st_mode & 0o777 == 0o600
    again = _line(sshd, console="")  # stored: the console is not read
    assert again.run("fail", io.BytesIO(), io.BytesIO()) == 3
    again.close()
    assert len(host_keys.file().read_text().splitlines()) == 1


@pytest.mark.parametrize("kind", ["ssh-rsa", "ecdsa-sha2-nistp256"])
def test_check_accepts_stored_keys_of_every_type(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    server = Sshd(tmp_path, kind)
    for console in (None, ""):
        line = _line(server, console)
        assert line.run("true", io.BytesIO(), io.BytesIO()) == 0
        line.close()
    server.end()


def test_check_rejects_changed_key_before_login(sshd: Sshd, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    before = Sshd(other)
    host_keys.remember(NODE, before.host_key)
    before.end()
    with pytest.raises(HostKeyError, match="has changed") as caught:
        _line(sshd).transport()
    assert before.host_key.fingerprint in caught.value.message
    assert sshd.commands == []
    assert host_keys.known(NODE) == (before.host_key,)


def test_check_rejects_key_not_on_console(sshd: Sshd, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    node = Sshd(other)
    with pytest.raises(HostKeyError, match="is not among those in its console output"):
        _line(sshd, node.console).transport()
    node.end()
    assert host_keys.known(NODE) == ()


def test_check_without_console_output_raises(sshd: Sshd) -> None:
    with pytest.raises(HostKeyError, match="cannot verify the host key") as caught:
        _line(sshd, "booting\n").transport()
    assert "--fingerprint" in caught.value.hint


def test_check_accepts_fingerprint_on_console() -> None:
    key = HostKey(type="ssh-ed25519", text="AAAAC3NzaC1lZDI1NTE5AAAAI" + "B" * 43)
    console = (
        "ec2: -----BEGIN SSH HOST KEY FINGERPRINTS-----\n"
        f"ec2: 256 {key.fingerprint} root@ip (ED25519)\n"
        "ec2: -----END SSH HOST KEY FINGERPRINTS-----\n"
    )
    host_keys.check(NODE, key, lambda: console)
    assert host_keys.known(NODE) == (key,)


def test_check_rejects_other_than_given_fingerprint(sshd: Sshd) -> None:
    host_keys.check("i-1", sshd.host_key, lambda: "", fingerprint=sshd.host_key.fingerprint)
    with pytest.raises(HostKeyError, match="not --fingerprint"):
        host_keys.check("i-2", sshd.host_key, lambda: sshd.console, fingerprint="SHA256:other")


def test_check_ignores_fingerprint_outside_console_section(sshd: Sshd) -> None:
    loose = f"{sshd.host_key.type} {sshd.host_key.text}\n{sshd.host_key.fingerprint}\n"
    with pytest.raises(HostKeyError, match="cannot verify the host key"):
        host_keys.check(NODE, sshd.host_key, lambda: loose)


def test_transport_rejected_key_is_named(sshd: Sshd, tmp_path: Path) -> None:
    import asyncssh

    wrong = tmp_path / "wrong.pem"
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(wrong)
    line = _line(sshd)
    line.identities = [wrong]
    with pytest.raises(UnreachableError, match=r"rejected all keys for hadoop: .*wrong\.pem"):
        line.transport()


def test_transport_closed_port_raises(sshd: Sshd) -> None:
    sshd.stop()
    with pytest.raises(UnreachableError, match="cannot connect to port") as caught:
        _line(sshd).transport()
    assert "security group" in caught.value.hint
    sshd.start()


def test_transport_not_an_ssh_server_raises(page: int, sshd: Sshd) -> None:
    line = _line(sshd)
    line.host = SshHost(node=NODE, address="127.0.0.1", port=page)
    with pytest.raises(UnreachableError, match=r"SSH handshake with .* failed"):
        line.transport()


def test_tunnel_forwards_on_loopback_until_closed(sshd: Sshd, page: int) -> None:
    with _open(Tunnel(_line(sshd), ("127.0.0.1", page))) as port:
        assert port != page  # the page's own port is in use, here by the page
        assert _read(port, "/cluster").startswith("the page /cluster")
        assert len(_read(port)) > 200_000
        names = socket.gethostbyname_ex(socket.gethostname())[2]
        for address in set(names) - {"127.0.0.1", "127.0.1.1"}:
            with pytest.raises(OSError), socket.create_connection((address, port), timeout=2):  # noqa: PT011
                pass
    with pytest.raises(urllib.error.URLError):
        _read(port)


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "10.0.0.1", ""])
def test_tunnel_refuses_foreign_host(sshd: Sshd, page: int, host: str) -> None:
    with _open(Tunnel(_line(sshd), ("127.0.0.1", page))) as port:
        assert _answer(port, host).startswith("HTTP/1.1 403")
        assert " 200 " in _answer(port, f"localhost:{port}")


def _answer(port: int, host: str) -> str:
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(f"GET /x HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
        client.shutdown(socket.SHUT_WR)
        return client.makefile().read()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_tunnel_refuses_other_user(sshd: Sshd, page: int) -> None:
    with _open(Tunnel(_line(sshd), ("127.0.0.1", page))) as port:
        request = r"GET /x HTTP/1.0\r\nHost: localhost\r\n\r\n"
        script = f"exec 3<>/dev/tcp/127.0.0.1/{port}; printf '{request}' >&3; cat <&3"
        command = ["bash", "-c", script]
        own = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
        assert " 200 " in own.stdout
        other = subprocess.run(
            command, user=65534, capture_output=True, text=True, check=False, cwd="/", timeout=20
        )
        assert " 200 " not in other.stdout


def test_tunnel_reconnects_after_lost_connection(sshd: Sshd, page: int) -> None:
    said: list[str] = []
    with _open(Tunnel(_line(sshd, said=said), ("127.0.0.1", page))) as port:
        assert "the page" in _read(port)
        sshd.cut()
        _until(lambda: bool(said))
        assert "the page" in _read(port)
    assert any("reconnecting" in line for line in said)


def test_tunnel_reconnects_after_server_restart(sshd: Sshd, page: int) -> None:
    with _open(Tunnel(_line(sshd), ("127.0.0.1", page))) as port:
        sshd.stop()
        threading.Timer(0.5, sshd.start).start()
        _until(lambda: len(sshd.connections) > 0)
        assert "the page" in _read(port)


def test_tunnel_reconnect_rejects_changed_key(sshd: Sshd, page: int, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    line = _line(sshd)
    tunnel = Tunnel(line, ("127.0.0.1", page))
    tunnel.open()
    imposter = Sshd(other)
    line.host = SshHost(node=NODE, address="127.0.0.1", port=imposter.port)
    sshd.cut()
    with pytest.raises(HostKeyError, match="has changed"):
        tunnel.keep(threading.Event())
    imposter.end()


def test_tunnel_open_closed_remote_port_raises(sshd: Sshd) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    tunnel = Tunnel(_line(sshd), ("127.0.0.1", port))
    with pytest.raises(UnreachableError, match="cannot connect to"):
        tunnel.open()
    tunnel.close()


def test_connection_through_jump_host(sshd: Sshd, tmp_path: Path) -> None:
    folder = tmp_path / "core"
    folder.mkdir()
    core = Sshd(folder)
    line = SshConnection(
        host=SshHost(node="i-core", address="127.0.0.1", port=core.port),
        identities=[core.client_key],
        check=lambda shown: host_keys.check("i-core", shown, lambda: core.console),
        jump=_line(sshd),
    )
    assert line.run("true", io.BytesIO(), io.BytesIO()) == 0
    line.close()
    core.end()
    assert {node for node in ("i-core", NODE) if host_keys.known(node)} == {"i-core", NODE}


@pytest.mark.skipif(shutil.which("ssh") is None, reason="OpenSSH's client is not on PATH")
def test_shell_command_openssh_accepts_only_verified_key(sshd: Sshd, tmp_path: Path) -> None:
    line = _line(sshd)
    line.transport()
    line.close()
    shell = nodes.shell_command(line)
    done = subprocess.run(shell, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, "out of a shell" in done.stdout) == (0, True), done.stderr
    other = tmp_path / "other"
    other.mkdir()
    imposter = Sshd(other)
    line.host = SshHost(node=NODE, address="127.0.0.1", port=imposter.port)
    shell = nodes.shell_command(line)
    done = subprocess.run(shell, capture_output=True, text=True, timeout=60, check=False)
    imposter.end()
    assert done.returncode == 255
    assert imposter.commands == []


@pytest.mark.skipif(shutil.which("ssh") is None, reason="OpenSSH's client is not on PATH")
def test_shell_command_openssh_jumps_through_primary(sshd: Sshd, tmp_path: Path) -> None:
    folder = tmp_path / "core"
    folder.mkdir()
    core = Sshd(folder)
    host_keys.remember("i-core", core.host_key)
    host_keys.remember(NODE, sshd.host_key)
    keys = [sshd.client_key, core.client_key]
    way = _line(sshd)
    way.identities = keys
    host = SshHost(node="i-core", address="127.0.0.1", port=core.port)
    line = SshConnection(host=host, identities=keys, check=lambda _: None, jump=way)
    shell = nodes.shell_command(line)
    done = subprocess.run(shell, capture_output=True, text=True, timeout=60, check=False)
    core.end()
    assert (done.returncode, core.commands) == (0, ["a shell"]), done.stderr
