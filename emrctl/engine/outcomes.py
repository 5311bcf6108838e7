"""How work on a stack ends when it does not end well, in the same words for every engine."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Protocol, TypeVar

from emrctl.errors import EmrctlError, ProvisioningError

T = TypeVar("T")

AGAIN = "Run the same command again: it goes on where it stopped. `emrctl down` takes it down."


class Standing(Protocol):
    """A resource that may exist."""

    type: str
    id: str | None


class StackInterruptedError(ProvisioningError):
    """Somebody pressed Ctrl-C; the message says what stands."""

    exit_code = 130


def interruptible(work: Callable[[], T], cancel: Callable[[], None]) -> T:
    """What `work` gives, in a thread: Ctrl-C calls `cancel` and lets it end in order.

    In this thread Ctrl-C could strike between AWS's answer and its being written down. A second
    Ctrl-C calls `cancel` again.
    """
    result: Future[T] = Future()

    def run() -> None:
        try:
            result.set_result(work())
        except BaseException as error:  # noqa: BLE001  # raised again where it is waited for
            result.set_exception(error)

    thread = threading.Thread(target=run, name="emrctl-stack", daemon=True)
    thread.start()
    interrupted = False
    while True:
        try:
            thread.join()
            break
        except KeyboardInterrupt:
            interrupted = True
            cancel()
    if interrupted and result.exception() is None:
        raise KeyboardInterrupt
    return result.result()


def failed(stack: str, errors: list[EmrctlError], standing: Iterable[Standing]) -> EmrctlError:
    """The first failure with the stack's name; the others are counted."""
    first = errors[0]
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    first.message = f"stack {stack}: {first.message}{more}; {_stands(standing)}"
    first.args = (first.message,)
    first.hint = first.hint or AGAIN
    return first


def interrupted(stack: str, standing: Iterable[Standing]) -> StackInterruptedError:
    """What Ctrl-C left."""
    return StackInterruptedError(f"stack {stack}: interrupted; {_stands(standing)}", hint=AGAIN)


def other_engine(stack: str, engine: str) -> ProvisioningError:
    """A stack is finished by the engine that began it."""
    msg = f"stack {stack} was begun by the engine '{engine}'"
    return ProvisioningError(msg, hint=f"Go on with it: `--engine {engine}`.")


def _stands(standing: Iterable[Standing]) -> str:
    entries = [entry for entry in standing if entry.id is not None]
    clusters = [str(entry.id) for entry in entries if entry.type == "aws:emr/cluster:Cluster"]
    names = f", cluster {', '.join(clusters)} among them" if clusters else ""
    return f"{len(entries)} of its resources stand{names}"
