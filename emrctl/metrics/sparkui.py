"""How far a running application is, from Spark's own REST.

The driver's own, the same through YARN's proxy, or the history server's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from emrctl.metrics.model import Record
from emrctl.metrics.rest import Fetch, ask, rows


@dataclass(frozen=True, kw_only=True)
class Progress(Record):
    """Counts over the jobs begun so far; what later jobs will add, Spark itself cannot know.

    Skipped stages and tasks, whose output was there already, count as done. `executors` is the
    number of live ones without the driver; `stages_running` names the stages at work.
    """

    jobs_done: int = 0
    jobs_total: int = 0
    stages_done: int = 0
    stages_total: int = 0
    tasks_done: int = 0
    tasks_total: int = 0
    tasks_active: int = 0
    tasks_failed: int = 0
    executors: int = 0
    stages_running: tuple[str, ...] = ()


def progress(fetch: Fetch, app_id: str) -> Progress | None:
    """The progress of `app_id`; None where Spark does not answer (yet, or any more).

    `fetch` takes paths below the UI's address, or the proxy's `/proxy/<app id>`.
    """
    root = _root(fetch, app_id)
    jobs = ask(fetch, f"{root}/jobs")
    if not isinstance(jobs, list):
        return None
    stages = rows(ask(fetch, f"{root}/stages?status=active"))
    executors = rows(ask(fetch, f"{root}/executors"))
    known = rows(jobs)
    return Progress(
        jobs_done=sum(job.get("status") != "RUNNING" for job in known),
        jobs_total=len(known),
        stages_done=sum(map(_stages_done, known)),
        stages_total=sum(len(job.get("stageIds") or ()) for job in known),
        tasks_done=_total(known, ("numCompletedTasks", "numSkippedTasks")),
        tasks_total=_total(known, ("numTasks",)),
        tasks_active=_total(known, ("numActiveTasks",)),
        tasks_failed=_total(known, ("numFailedTasks",)),
        executors=sum(row.get("id") != "driver" and row.get("isActive", True) for row in executors),
        stages_running=tuple(str(stage.get("name", "")) for stage in stages),
    )


def _root(fetch: Fetch, app_id: str) -> str:
    """The application's path; with its last attempt where the history server keeps several."""
    root = f"/api/v1/applications/{app_id}"
    document = ask(fetch, root)
    attempts = rows(document, "attempts")
    numbers = [str(item["attemptId"]) for item in attempts if item.get("attemptId")]
    return f"{root}/{max(numbers, key=_numeric)}" if numbers else root


def _numeric(attempt: str) -> tuple[int, str]:
    return (int(attempt) if attempt.isdecimal() else 0, attempt)


def _total(jobs: Iterable[dict[str, Any]], names: tuple[str, ...]) -> int:
    return sum(int(job.get(name) or 0) for job in jobs for name in names)


def _stages_done(job: dict[str, Any]) -> int:
    """Stages of `job` that need no more work; retried ones count once."""
    done = _total([job], ("numCompletedStages", "numSkippedStages"))
    return min(done, len(job.get("stageIds") or ()))
