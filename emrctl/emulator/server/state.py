"""What a running emulator says of itself, and the secrets it hands to its user alone.

Everything lies in the emulator's home, mode 700. `emulator.json` names the other files and holds
no secret; the AWS credentials and the token of the emulator's own pages lie beside it, mode 600.
"""

from __future__ import annotations

import configparser
import contextlib
import fcntl
import io
import json
import secrets
import string
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from emrctl.emulator.server import processes
from emrctl.errors import UsageError, WaitTimeoutError
from emrctl.paths import write_atomically

# A process's start is known to a clock tick, and JSON keeps it exactly; clocks of suspended
# machines wander by less than this.
_SAME_START_S = 1.0


@dataclass(frozen=True, kw_only=True)
class EmulatorInfo:
    """A running emulator: where it answers, who it is, where its files are."""

    id: str
    endpoint: str
    region: str
    pid: int
    started: float
    home: str
    credentials: str
    token_file: str
    ssh_port: int = 22

    @property
    def alive(self) -> bool:
        """Whether that very process still runs, and not another with its number."""
        since = processes.created(self.pid)
        return since is not None and abs(since - self.started) < _SAME_START_S

    @property
    def token(self) -> str:
        """The token for `X-Emrctl-Token`."""
        return Path(self.token_file).read_text(encoding="utf-8").strip()


def state_file(home: Path) -> Path:
    """Where the emulator of that home writes what it says of itself."""
    return home / "emulator.json"


def log_file(home: Path) -> Path:
    """What the server process printed."""
    return home / "emulator.log"


def prepare_home(home: Path) -> None:
    """The folder exists and is for its user alone; `UsageError` where that cannot be."""
    try:
        home.mkdir(parents=True, exist_ok=True)
        home.chmod(0o700)
        probe = home / f".probe-{secrets.token_hex(8)}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UsageError(
            f"the emulator's home {home} cannot be written to: {error.strerror}",
            hint="Set EMRCTL_HOME to a folder that you own.",
        ) from error


def read(home: Path) -> EmulatorInfo | None:
    """What the state file says, None where there is none or it cannot be read."""
    try:
        return EmulatorInfo(**json.loads(state_file(home).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def write(info: EmulatorInfo) -> None:
    """The state file says `info`."""
    write_atomically(state_file(Path(info.home)), json.dumps(asdict(info), indent=2) + "\n", 0o600)


def forget(home: Path) -> None:
    """Neither the state file nor any secret is left in the home."""
    for name in ("emulator.json", "credentials", "token"):
        (home / name).unlink(missing_ok=True)


@dataclass(frozen=True, kw_only=True)
class EmulatorSecrets:
    """What proves to the emulator that a caller is its user."""

    access_key: str
    secret_key: str
    token: str


def new_secrets() -> EmulatorSecrets:
    """Secrets nobody has had before."""
    alphabet = string.ascii_uppercase + "234567"
    return EmulatorSecrets(
        access_key="AKIA" + "".join(secrets.choice(alphabet) for _ in range(16)),
        secret_key=secrets.token_urlsafe(30),
        token=secrets.token_urlsafe(32),
    )


def write_secrets(home: Path, made: EmulatorSecrets) -> tuple[Path, Path]:
    """The credentials file, in AWS's own format, and the token file; both for the user alone."""
    config = configparser.ConfigParser(interpolation=None)
    config["default"] = {
        "aws_access_key_id": made.access_key,
        "aws_secret_access_key": made.secret_key,
    }
    text = io.StringIO()
    config.write(text)
    write_atomically(home / "credentials", text.getvalue(), 0o600)
    write_atomically(home / "token", made.token + "\n", 0o600)
    return home / "credentials", home / "token"


@contextlib.contextmanager
def locked(home: Path, *, timeout_s: float) -> Iterator[None]:
    """Nobody else starts or stops the emulator of that home meanwhile."""
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
        yield
