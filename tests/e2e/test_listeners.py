"""Nothing that listens during a run answers other users, or pages of other sites."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from emrctl.emulator.server import processes
from emrctl.emulator.server.state import EmulatorInfo
from tests.e2e.conftest import SMALL

if TYPE_CHECKING:
    from tests.e2e.conftest import Shell

pytestmark = [pytest.mark.yarn, pytest.mark.timeout(600)]

NOBODY = 65534
PATHS = ("/", "/json/", "/environment/", "/api/v1/applications", "/metrics/json/", "/ws/v1/cluster")
PROGRAM = """\
import time
from pyspark.sql import SparkSession
spark = SparkSession.builder.getOrCreate()
spark.range(1000).count()
time.sleep(240)
"""
# Reads address, port and path from each line, and adds the status line of the response.
SCRIPT = r"""
request() {
  exec 3<>"/dev/tcp/$1/$2" || return
  printf "GET %s HTTP/1.0\r\nHost: %s\r\n%b\r\n" "$3" "${HOST:-$1:$2}" "${HEADERS:-}" >&3
  IFS= read -r -t 20 line <&3 && echo "$1 $2 $3 $(printf %s "$line" | tr -cd ' -~')"
}
while read -r address port path; do
  request "$address" "$port" "$path" 2>/dev/null &
done
wait
"""

CROSS_SITE = r"Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\n"
Listener = tuple[str, int]


def listeners(emulator: EmulatorInfo) -> set[Listener]:
    """Return address and port of every socket that the emulator or its processes listen on."""
    found: set[Listener] = set()
    for process in (
        psutil.Process(emulator.pid),
        *processes.marked("EMRCTL_EMULATOR", emulator.id),
    ):
        try:
            connections = process.net_connections("tcp")
        except psutil.Error:
            continue
        for item in connections:
            if item.status == psutil.CONN_LISTEN:
                found.add((item.laddr.ip.removeprefix("::ffff:"), item.laddr.port))
    return found


def ask(questions: Iterable[str], user: int | None = None, **variables: str) -> dict[str, str]:
    """Return the status line for each `address port path` that answers."""
    done = subprocess.run(
        ["bash", "-c", SCRIPT],
        input="\n".join((*questions, "")),
        capture_output=True,
        text=True,
        check=True,
        cwd="/",
        user=user,
        env={"PATH": os.environ["PATH"], **variables},
    )
    answers = (line.split(" ", 3) for line in done.stdout.splitlines())
    return {" ".join(answer[:3]): answer[3] for answer in answers if len(answer) == 4}


def served(answers: dict[str, str]) -> list[str]:
    return [where for where, line in answers.items() if re.match(r"HTTP/1\.\d 200", line)]


@contextmanager
def running_step(shell: Shell, *options: str) -> Iterator[None]:
    """Run a program until the block ends; its driver's page is up when the block begins."""
    (shell.folder / "sleeps.py").write_text(PROGRAM)
    [run], _ = shell.submit(*options, *SMALL, "--executors", "1", "--detach", "sleeps.py")
    deadline = time.monotonic() + 120
    while not shell.json("top", run["id"], "--once", *_config(options))["spark"]:
        assert time.monotonic() < deadline, "emrctl itself cannot read the driver's page"
        time.sleep(0.5)
    try:
        yield
    finally:
        shell.run("cancel", run["id"], *_config(options))
        shell.run("wait", run["id"], *_config(options), code=6)


def _config(options: tuple[str, ...]) -> tuple[str, ...]:
    return options[:2] if options[:1] == ("--config",) else ()


def expect_closed(emulator: EmulatorInfo, shell: Shell, *options: str) -> None:
    with running_step(shell, *options):
        found = listeners(emulator)
        every = [f"{ip} {port} {path}" for ip, port in sorted(found) for path in PATHS]
        own = ask(every)
        assert [where for where in served(own) if where.endswith("/api/v1/applications")], own
        checks: dict[str, dict[str, Any]] = {
            "foreign Host": {"HOST": "evil.example"},
            "Host that begins like a loopback address": {"HOST": "127.0.0.1.evil.example:80"},
            "foreign Origin": {"HEADERS": r"Origin: http://evil.example\r\n"},
            "cross-site fetch": {"HEADERS": CROSS_SITE},
        }
        if os.geteuid() == 0:
            checks["other user"] = {"user": NOBODY}
            # YARN's own filter believes this cookie.
            cookie = r"Cookie: proxy-user=root\r\n"
            checks["other user with a cookie"] = {"user": NOBODY, "HEADERS": cookie}
        for name, options_ in checks.items():
            assert served(ask(own, **options_)) == [], name
        assert {ip for ip, _ in found if not ip.startswith("127.") and ip != "::1"} == set()


@pytest.mark.parametrize("mode", ["client", "cluster"])
def test_listeners_of_emr_serve_own_user_only(
    emulator: EmulatorInfo, shell: Shell, mode: str
) -> None:
    expect_closed(emulator, shell, "--deploy-mode", mode)
