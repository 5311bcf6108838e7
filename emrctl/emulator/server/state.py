"""The state file and the secrets of a running emulator.

They are in the emulator's home (mode 700). `emulator.json` has no secrets; the AWS credentials and
the token of the emulator's pages are in separate files (mode 600).
"""

from __future__ import annotations

import configparser
import contextlib
import fcntl
import io
import json
import secrets
import shutil
import string
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from emrctl.emulator.server import processes
from emrctl.errors import UsageError, WaitTimeoutError
from emrctl.paths import create_private, write_atomically

# Start times are exact to a clock tick; after a suspend they differ by less than this.
_SAME_START_S = 1.0


@dataclass(frozen=True, kw_only=True)
class EmulatorInfo:
    """A running emulator: id, endpoint, process and files.

    `storage_id` is kept while the buckets and the history of clusters are.
    """

    id: str
    endpoint: str
    region: str
    pid: int
    started: float
    home: str
    credentials: str
    token_file: str
    ssh_port: int = 22
    storage_id: str = ""

    @property
    def alive(self) -> bool:
        """Whether that process is running, and not another one with its pid."""
        since = processes.created(self.pid)
        return since is not None and abs(since - self.started) < _SAME_START_S

    @property
    def token(self) -> str:
        """The token for `X-Emrctl-Token`."""
        return Path(self.token_file).read_text(encoding="utf-8").strip()


def state_file(home: Path) -> Path:
    """Return the state file of that home."""
    return home / "emulator.json"


def log_file(home: Path) -> Path:
    """Return the log file of that home."""
    return home / "emulator.log"


def prepare_home(home: Path) -> None:
    """Create the folder with mode 700; raises `UsageError` if it is not writable."""
    try:
        home.mkdir(parents=True, exist_ok=True)
        home.chmod(0o700)
        probe = home / f".probe-{secrets.token_hex(8)}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UsageError(
            f"cannot write to the emulator's home {home}: {error.strerror}",
            hint="Set EMRCTL_HOME to a folder that you own.",
        ) from error


def read(home: Path) -> EmulatorInfo | None:
    """Return the state file's content; None if it is missing or invalid."""
    try:
        return EmulatorInfo(**json.loads(state_file(home).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def write(info: EmulatorInfo) -> None:
    """Write the state file."""
    write_atomically(state_file(Path(info.home)), json.dumps(asdict(info), indent=2) + "\n", 0o600)


def forget(home: Path) -> None:
    """Delete the state file and the secrets."""
    for name in ("emulator.json", "credentials", "token"):
        (home / name).unlink(missing_ok=True)


def storage_folders(home: Path) -> tuple[Path, Path]:
    """Return the folders that survive the emulator: of S3, and of the clusters' history."""
    return home / "s3", home / "history"


def storage_id(home: Path) -> str:
    """Return the id of these folders' content; create it on first use."""
    path = storage_folders(home)[0] / "id"
    create_private(path, secrets.token_hex(8).encode())
    return path.read_text(encoding="utf-8")


def delete_storage(home: Path) -> bool:
    """Delete all buckets and the clusters' history; return whether there were any."""
    existing = [folder for folder in storage_folders(home) if folder.exists()]
    for folder in existing:
        shutil.rmtree(folder)
    return bool(existing)


@dataclass(frozen=True, kw_only=True)
class EmulatorSecrets:
    """Credentials of the emulator's user."""

    access_key: str
    secret_key: str
    token: str


def new_secrets() -> EmulatorSecrets:
    """Return new random secrets."""
    alphabet = string.ascii_uppercase + "234567"
    return EmulatorSecrets(
        access_key="AKIA" + "".join(secrets.choice(alphabet) for _ in range(16)),
        secret_key=secrets.token_urlsafe(30),
        token=secrets.token_urlsafe(32),
    )


def write_secrets(home: Path, secrets_: EmulatorSecrets) -> tuple[Path, Path]:
    """Write the credentials file (AWS's format) and the token file, mode 600; return both."""
    config = configparser.ConfigParser(interpolation=None)
    config["default"] = {
        "aws_access_key_id": secrets_.access_key,
        "aws_secret_access_key": secrets_.secret_key,
    }
    text = io.StringIO()
    config.write(text)
    write_atomically(home / "credentials", text.getvalue(), 0o600)
    write_atomically(home / "token", secrets_.token + "\n", 0o600)
    return home / "credentials", home / "token"


@contextlib.contextmanager
def locked(home: Path, *, timeout_s: float) -> Iterator[int]:
    """Hold the lock for starting and stopping the emulator of that home; yield its descriptor.

    A process that inherits the descriptor holds the lock until it closes it.
    """
    with (home / "emulator.lock").open("a") as file:
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise WaitTimeoutError(
                        f"another emrctl has been starting or stopping the emulator of {home} "
                        f"for {timeout_s:.0f} s",
                        hint=f"See {log_file(home)}, then try again.",
                    ) from None
                time.sleep(0.05)
        yield file.fileno()
