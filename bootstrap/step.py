#!/usr/bin/env python3
"""Steps on the primary of a standalone cluster: one after another, whoever is connected.

    step.py submit             a document on stdin: name and arguments; prints the step's
    step.py show [ID…]         the steps, or all of them, newest first
    step.py find NAME          the step of that name, or null
    step.py cancel ID          the step is asked to end
    step.py logs ID            its logs as a tar file
    step.py running            exit code 0 where any step runs
    step.py run ID             (what `submit` leaves running)

A step is a folder `steps/<id>` below EMRCTL_NODE (default ~/emrctl): state.json, stdout, stderr,
controller. `cluster.json` beside it says how many run side by side and where on S3 the logs go:
`<log_uri><cluster_id>/steps/<id>/`, while the step runs and before it counts as ended; its
executors' logs go to `<log_uri><cluster_id>/containers/<application>/`.

Who runs a step holds a lock on its folder as long as it lives. So a step whose runner was killed,
or whose node was stopped, is known to be INTERRUPTED, and holds nobody else up.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import gzip
import hashlib
import io
import json
import os
import random
import re
import signal
import string
import subprocess
import sys
import tarfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, BinaryIO

NODE = Path(os.environ.get("EMRCTL_NODE") or Path.home() / "emrctl")
STEPS, QUEUE = NODE / "steps", NODE / "queue"
LOGS = ("controller", "stdout", "stderr")
FINAL = {"COMPLETED", "FAILED", "CANCELLED", "INTERRUPTED"}
LOOK_S, STARTS_S, GRACE_S, PAGE_S = 0.2, 20.0, 15.0, 5.0
UPLOAD_S = 60.0
# Of one executor's log: its end says more than its beginning.
MOST_BYTES = 20_000_000
APPLICATION = re.compile(rb"Connected to Spark cluster with app ID (app-\d{14}-\d{4,})")
SECRET = re.compile(
    r"secret|password|passwd|token|credential|access[._-]?key|api[._-]?key", re.IGNORECASE
)
STOPPED = "the primary was stopped, or the step's runner was ended"
PR_SET_PDEATHSIG = 1

Doc = dict[str, Any]


# ---- a step's folder -----------------------------------------------------------------------------


def main(verb: str, *given: str) -> int:
    """What the verb prints; 0, or 3 where there is no such step."""
    os.umask(0o077)
    for folder in (STEPS, QUEUE):
        folder.mkdir(parents=True, exist_ok=True)
    if verb == "run":
        return Runner(given[0]).run()
    if verb == "logs":
        return sent_logs(given[0])
    if verb == "running":
        return int(not running())
    found = VERBS[verb](*given)
    print(json.dumps(found))
    return 3 if found is None else 0


def cluster() -> Doc:
    """What the primary knows of its cluster."""
    with contextlib.suppress(FileNotFoundError):
        found: Doc = json.loads((NODE / "cluster.json").read_text(encoding="utf-8"))
        return found
    return {}


def read(id_: str) -> Doc | None:
    """The step's state as it was written last; None where there is no such step."""
    try:
        found: Doc = json.loads((STEPS / id_ / "state.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return found


def write(state: Doc) -> Doc:
    """The step's state is written, whole or not at all."""
    aside = STEPS / state["id"] / f"state.{os.getpid()}"
    aside.write_text(json.dumps(state), encoding="utf-8")
    aside.replace(STEPS / state["id"] / "state.json")
    return state


def now() -> str:
    """The time, as state.json has it."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")


def seconds_since(moment: str) -> float:
    """How long ago that was."""
    return time.time() - datetime.fromisoformat(moment).timestamp()


def alive(id_: str) -> bool:
    """Whether somebody runs the step, or is about to."""
    with (STEPS / id_ / "lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


# ---- verbs ---------------------------------------------------------------------------------------


def submit() -> Doc:
    """The step waits or runs, detached from whoever asked."""
    wanted = json.load(sys.stdin)
    alphabet = random.SystemRandom()
    id_ = "s-" + "".join(alphabet.choices(string.ascii_uppercase + string.digits, k=13))
    folder = STEPS / id_
    (folder / "work").mkdir(parents=True)
    (folder / "command.json").write_text(json.dumps(wanted["arguments"]), encoding="utf-8")
    state = write({"id": id_, "name": wanted["name"], "state": "PENDING", "created": now()})
    (QUEUE / f"{time.time():017.6f}-{id_}").touch()
    detach(id_)
    end = time.monotonic() + STARTS_S
    while "runner" not in (state := read(id_) or state):
        if time.monotonic() > end:
            return ended(state, "FAILED", "its runner did not start")
        time.sleep(0.02)
    return state


def detach(id_: str) -> None:
    """A runner begins that no connection's end takes along."""
    command = [sys.executable, str(Path(__file__).resolve()), "run", id_]
    # An emulated node has no systemd of its own, whatever the machine has.
    if Path("/run/systemd/system").is_dir() and "EMRCTL_NODE_ROOT" not in os.environ:
        # Not of the login's session, which the system may clear away.
        root = [] if os.geteuid() == 0 else ["sudo", "-n"]
        unit = ["systemd-run", "--quiet", "--collect", f"--unit=emrctl-step-{id_}"]
        user = [
            f"--uid={os.getuid()}",
            f"--setenv=HOME={Path.home()}",
            f"--setenv=EMRCTL_NODE={NODE}",
        ]
        subprocess.run([*root, *unit, *user, *command], check=True, stdin=subprocess.DEVNULL)
        return
    with (STEPS / id_ / "runner.log").open("ab") as log:
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )


def show(*ids: str) -> list[Doc]:
    """The steps that there are of these, or all of them; their states are true now."""
    names = ids or tuple(path.parent.name for path in STEPS.glob("*/state.json"))
    found = [checked(state) for state in map(read, names) if state is not None]
    return sorted(found, key=lambda state: state["created"], reverse=True)


def checked(state: Doc) -> Doc:
    """The state; INTERRUPTED where nobody runs the step any more."""
    if state["state"] in FINAL:
        return state
    begun = "runner" in state or seconds_since(state["created"]) > STARTS_S
    if not begun or alive(state["id"]):
        return state
    state = read(state["id"]) or state  # it may just have ended
    if state["state"] in FINAL:
        return state
    return ended(state, "INTERRUPTED", STOPPED)


def ended(state: Doc, final: str, reason: str) -> Doc:
    """The step has ended without its runner; S3 knows as well."""
    state = write({**state, "state": final, "ended": now(), "reason": reason})
    leave_queue(state["id"])
    Uploads(state["id"]).all(state)
    return state


def leave_queue(id_: str) -> None:
    """The step holds up nobody."""
    for entry in QUEUE.glob(f"*-{id_}"):
        with contextlib.suppress(FileNotFoundError):
            entry.unlink()


def find(name: str) -> Doc | None:
    """The newest step of that name."""
    for state in show():
        if state["name"] == name:
            return state
    return None


def cancel(id_: str) -> Doc | None:
    """The step is asked to end; it may take a while."""
    state = read(id_)
    if state is None or checked(state)["state"] in FINAL:
        return state
    (STEPS / id_ / "cancel").touch()
    return {**state, "state": "CANCEL_PENDING"}


def sent_logs(id_: str) -> int:
    """The step's logs as they are now are on stdout."""
    if read(id_) is None:
        return 3
    with tarfile.open(fileobj=sys.stdout.buffer, mode="w|gz") as archive:
        for name in LOGS:
            path = STEPS / id_ / name
            if path.is_file():
                text = path.read_bytes()  # it grows meanwhile: what the header says must come
                member = tarfile.TarInfo(name)
                member.size = len(text)
                archive.addfile(member, io.BytesIO(text))
    return 0


VERBS: dict[str, Callable[..., Any]] = {
    "submit": submit,
    "show": show,
    "find": find,
    "cancel": cancel,
}


# ---- running one ---------------------------------------------------------------------------------


class Runner:
    """Runs one step, when those before it leave room."""

    def __init__(self, id_: str) -> None:
        self.id, self.folder = id_, STEPS / id_
        self.state: Doc = read(id_) or {}
        self.uploads = Uploads(id_)
        self.child: subprocess.Popen[bytes] | None = None
        self.asked_to_end, self.told_to_end = 0.0, False

    def run(self) -> int:
        """The step has ended, and S3 has what it left."""
        with (self.folder / "lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.state = read(self.id) or self.state
            if self.state["state"] in FINAL:  # given up before this process came to it
                return 0
            signal.signal(signal.SIGTERM, self.end_soon)
            self.note(runner=os.getpid())
            self.uploads.all(self.state)
            self.conclude(*(self.ran() if self.waited() else self.broken_off()))
        return 0

    def note(self, **changes: Any) -> None:
        """The state has changed."""
        self.state = write({**self.state, **changes})

    def log(self, text: str) -> None:
        """A line of the controller's log."""
        with (self.folder / "controller").open("a", encoding="utf-8") as file:
            file.write(f"{now()} INFO {text}\n")

    def end_soon(self, *_: object) -> None:
        """This process is to end, as when its node is stopped: its step ends with it."""
        self.told_to_end = True

    @property
    def cancelled(self) -> bool:
        """Whether the step is to end before it is done."""
        return self.told_to_end or (self.folder / "cancel").exists()

    def broken_off(self) -> tuple[str, str]:
        """What a step is that was ended before it was done."""
        if (self.folder / "cancel").exists():
            return "CANCELLED", "cancelled" if self.child else "cancelled before it began"
        return "INTERRUPTED", STOPPED

    def waited(self) -> bool:
        """Whether it is the step's turn; False where it was cancelled before."""
        room = int(cluster().get("step_concurrency", 1))
        while not self.cancelled:
            if self.id in queue()[:room]:
                return True
            time.sleep(LOOK_S)
        return False

    def ran(self) -> tuple[str, str]:
        """How the step's program ended."""
        arguments = json.loads((self.folder / "command.json").read_text(encoding="utf-8"))
        self.note(state="RUNNING", started=now())
        self.log(f"startExec '{' '.join(hidden(arguments))}'")
        with (self.folder / "stdout").open("ab") as out, (self.folder / "stderr").open("ab") as err:
            self.child = subprocess.Popen(
                ["bash", "-c", '. "$0/env.sh" && exec "$@"', str(NODE), *arguments],
                cwd=self.folder / "work",
                env={**os.environ, "EMRCTL_STEP_ID": self.id},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
                preexec_fn=end_with_parent,  # noqa: PLW1509 - no thread runs yet
            )
        self.uploads.begin(lambda: self.state)
        code = self.watched(self.child)
        self.note(exit_code=code)
        self.log(f"waitProcessCompletion ended with exit code {code}")
        if self.cancelled:
            return self.broken_off()
        return ("COMPLETED", "") if code == 0 else ("FAILED", f"exit code {code}")

    def watched(self, child: subprocess.Popen[bytes]) -> int:
        """The program's exit code, as a shell would say it."""
        while (code := child.poll()) is None:
            if self.cancelled:
                self.press(child)
            time.sleep(LOOK_S)
        with contextlib.suppress(OSError):  # what it left behind in its group
            os.killpg(child.pid, signal.SIGKILL)
        return code if code >= 0 else 128 - code

    def press(self, child: subprocess.Popen[bytes]) -> None:
        """The program is asked to end, and made to once it had time for its event log."""
        first = not self.asked_to_end
        self.asked_to_end = self.asked_to_end or time.monotonic()
        if first and not self.told_to_end:
            self.note(state="CANCEL_PENDING")
        late = time.monotonic() - self.asked_to_end > GRACE_S
        if first or late:
            with contextlib.suppress(OSError):
                os.killpg(child.pid, signal.SIGKILL if late else signal.SIGTERM)

    def conclude(self, final: str, reason: str) -> None:
        """All is on S3, the executors' logs too, before anybody sees that the step has ended."""
        self.uploads.stop()
        leave_queue(self.id)
        state = {**self.state, "state": final, "ended": now(), "reason": reason}
        self.log(f"Step is {final} {reason}".rstrip())
        self.uploads.all(state)
        self.state = write(state)


def end_with_parent() -> None:
    """A program whose runner is killed ends as well: nobody would see how it goes on."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def queue() -> list[str]:
    """Steps that wait or run, in their order; those whose runner was killed are out of it."""
    found = []
    for name in sorted(path.name for path in QUEUE.iterdir()):
        id_ = name.partition("-")[2]
        state = read(id_)
        if state is None or checked(state)["state"] in FINAL:
            leave_queue(id_)
        else:
            found.append(id_)
    return found


def running() -> bool:
    """Whether any step runs now; nothing is written and nobody is asked."""
    ids = [path.name.partition("-")[2] for path in QUEUE.iterdir()]
    return any((read(id_) or {}).get("state") == "RUNNING" and alive(id_) for id_ in ids)


def hidden(arguments: list[str]) -> list[str]:
    """The arguments with the values of secrets left out."""
    found = []
    for item in arguments:
        key, equals, _ = item.partition("=")
        found.append(f"{key}=*********(redacted)" if equals and SECRET.search(key) else item)
    return found


# ---- S3 ------------------------------------------------------------------------------------------


class Uploads:
    """A step's files on S3; what has not changed since is not sent again."""

    def __init__(self, id_: str) -> None:
        self.id, self.folder = id_, STEPS / id_
        self.cluster = cluster()
        self.sent: dict[str, str] = {}
        self.over = threading.Event()
        self.thread: threading.Thread | None = None

    def begin(self, state: Any) -> None:
        """They follow every so many seconds."""
        self.thread = threading.Thread(target=self.keep, args=(state,), daemon=True)
        self.thread.start()

    def keep(self, state: Any) -> None:
        """All is sent, again and again until it is over."""
        self.all(state())
        while not self.over.wait(float(self.cluster.get("upload_s", UPLOAD_S))):
            self.all(state())

    def stop(self) -> None:
        """Nothing is on its way any more."""
        self.over.set()
        if self.thread is not None:
            self.thread.join()

    def all(self, state: Doc) -> None:
        """State, logs and executors' logs are there; a failure is noted and ends nothing."""
        if not self.cluster.get("log_uri"):
            return
        try:
            self.logs(state)
        except Exception as error:  # noqa: BLE001 - a step must not die of its logs
            with (self.folder / "runner.log").open("a", encoding="utf-8") as file:
                file.write(f"{now()} logs did not reach S3: {error}\n")

    def logs(self, state: Doc) -> None:
        """Likewise, with the failure for the caller."""
        text = (self.folder / "stderr").read_bytes() if "started" in state else b""
        for application in sorted({found.decode() for found in APPLICATION.findall(text)}):
            for name, log in executors_logs(application):
                self.put(f"containers/{application}/{name}.gz", gzip.compress(log, mtime=0))
        for name in LOGS:
            path = self.folder / name
            if path.is_file():
                self.put(f"steps/{self.id}/{name}.gz", gzip.compress(path.read_bytes(), mtime=0))
        self.put(f"steps/{self.id}/state.json", json.dumps(state).encode())

    def put(self, name: str, body: bytes) -> None:
        """The object is there as it is now."""
        digest = hashlib.sha256(body).hexdigest()
        if self.sent.get(name) == digest:
            return
        bucket, _, prefix = self.cluster["log_uri"].partition("://")[2].partition("/")
        prefix = prefix and prefix.rstrip("/") + "/"
        key = f"{prefix}{self.cluster['cluster_id']}/{name}"
        self.s3().put_object(Bucket=bucket, Key=key, Body=body)
        self.sent[name] = digest

    def s3(self) -> Any:
        """S3, which does not keep a step waiting for long."""
        if not hasattr(self, "client"):
            import boto3
            from botocore.config import Config

            config = Config(connect_timeout=5, read_timeout=20, retries={"max_attempts": 2})
            region = self.cluster.get("region") or os.environ.get("AWS_REGION")
            self.client = boto3.client("s3", region_name=region, config=config)
        return self.client


def executors_logs(application: str) -> Iterator[tuple[str, bytes]]:
    """`<worker>-<executor>/stderr` and its like, as the workers' pages have them now."""
    address = cluster().get("address")
    if not address:
        return
    for worker in json.loads(page(f"http://{address}:8080/json/"))["workers"]:
        if worker["state"] not in {"ALIVE", "DECOMMISSIONED"}:
            continue
        with contextlib.suppress(OSError, ValueError):
            yield from logs_of_worker(worker, application)


def logs_of_worker(worker: Doc, application: str) -> Iterator[tuple[str, bytes]]:
    """The logs of the application's executors on one worker."""
    base = worker["webuiaddress"]
    document = json.loads(page(f"{base}/json/"))
    for executor in (*document["executors"], *document["finishedexecutors"]):
        if executor["appid"] != application:
            continue
        for kind in ("stderr", "stdout"):
            query = f"appId={application}&executorId={executor['id']}&logType={kind}"
            text = page(f"{base}/log/?{query}&byteLength={MOST_BYTES}")
            yield f"{worker['host']}-{executor['id']}/{kind}", text.partition(b"\n")[2]


def page(url: str) -> bytes:
    """What a page of the cluster says; never asked by way of a proxy."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    answer: BinaryIO
    with opener.open(url, timeout=PAGE_S) as answer:
        return answer.read()


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in {*VERBS, "run", "logs", "running"}:
        sys.exit("usage: step.py submit|show|find|cancel|logs|running|run [ID…]")
    sys.exit(main(*sys.argv[1:]))
