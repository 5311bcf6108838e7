"""Shell steps on a cluster of the EMR on localhost: real processes, as many at a time as allowed.

The first steps wait for each other: they end only if as many are running as StepConcurrencyLevel.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emrctl.emulator.server import processes
from tests.faults.real_emulator import RealEmulator
from tests.faults.report import Row

STEPS, CONCURRENCY = 100, 32
TIMEOUT_S = 300.0
PROJECT = f"""\
project: steps
target: local
cluster:
  release: emr-7.5.0
  step_concurrency: {CONCURRENCY}
  core: {{type: m5.xlarge, count: 1}}
"""
SCRIPT = """\
cd {folder} && date +%s.%N > $EMR_STEP_ID
while [ $(ls | wc -l) -lt {concurrency} ]; do sleep 0.2; done
sleep 1; echo $EMR_STEP_ID; date +%s.%N >> $EMR_STEP_ID
"""


@dataclass
class RealSteps(RealEmulator):
    """A project with 100 steps.

    Each step writes the times at which it started and ended to a file in `spans`.
    """

    @classmethod
    def create(cls, folder: Path) -> RealSteps:
        """Write the project and start its emulator and its cluster."""
        row = Row(f"{STEPS} real steps, {CONCURRENCY} at a time", tried=STEPS)
        steps = cls(folder, row)
        steps.spans.mkdir(parents=True)
        (folder / "emrctl.yaml").write_text(PROJECT)
        steps.emrctl("local up")
        return steps

    @property
    def spans(self) -> Path:
        """The folder of the files of the steps."""
        return self.folder / "spans"

    def run(self) -> None:
        """Run the steps and delete the cluster; check what each step left."""
        self.emrctl("up")
        emr = self.emulator.target.client("emr")
        [cluster] = emr.list_clusters(ClusterStates=["WAITING"])["Clusters"]
        script = SCRIPT.format(folder=self.spans, concurrency=CONCURRENCY)
        step = {
            "ActionOnFailure": "CONTINUE",
            "HadoopJarStep": {"Jar": "command-runner.jar", "Args": ["bash", "-c", script]},
        }
        steps = [{"Name": f"step {number}", **step} for number in range(STEPS)]
        ids = emr.add_job_flow_steps(JobFlowId=cluster["Id"], Steps=steps)["StepIds"]
        self._wait(emr, cluster["Id"])
        self._check(emr, cluster["Id"], ids)
        self.emrctl("down --yes")
        left = processes.marked(processes.CLUSTER_MARK, cluster["Id"])
        self.row.left = len(left)
        self.row.problems += [f"running after `emrctl down`: {process}" for process in left]

    def _wait(self, emr: Any, cluster_id: str) -> None:
        """Wait until no step is pending or running; count those that are RUNNING."""
        deadline, running = time.monotonic() + TIMEOUT_S, 1
        while running and time.monotonic() < deadline:
            pages = emr.get_paginator("list_steps").paginate(
                ClusterId=cluster_id, StepStates=["PENDING", "RUNNING"]
            )
            states = [step["Status"]["State"] for page in pages for step in page["Steps"]]
            running = len(states)
            if states.count("RUNNING") > CONCURRENCY:
                self.row.problems.append(f"{states.count('RUNNING')} steps are RUNNING")
            time.sleep(0.2)

    def _check(self, emr: Any, cluster_id: str, step_ids: list[str]) -> None:
        """Each step is COMPLETED, ran once and has its log on S3; never too many ran at once."""
        pages = emr.get_paginator("list_steps").paginate(ClusterId=cluster_id)
        states = {step["Id"]: step["Status"]["State"] for page in pages for step in page["Steps"]}
        logs = self._logs()
        events = list[tuple[float, int]]()
        for step_id in step_ids:
            path = self.spans / step_id
            times = path.read_text().split() if path.is_file() else []
            log = f"{cluster_id}/steps/{step_id}/stdout.gz" in logs
            if states.pop(step_id, "") != "COMPLETED" or len(times) != 2 or not log:
                self.row.lost += 1
                self.row.problems.append(f"step {step_id}: {times}, log: {log}")
                continue
            events += [(float(times[0]), 1), (float(times[1]), -1)]
        if states:
            self.row.problems.append(f"steps that were not submitted: {sorted(states)}")
        count = most = 0
        for _, change in sorted(events):
            count += change
            most = max(most, count)
        if most != CONCURRENCY:
            self.row.problems.append(f"at most {most} steps ran at the same time")

    def _logs(self) -> set[str]:
        """Return the last four parts of the keys of all objects."""
        s3, keys = self.emulator.target.client("s3"), set[str]()
        for bucket in s3.list_buckets()["Buckets"]:
            pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket["Name"])
            keys |= {item["Key"] for page in pages for item in page.get("Contents", ())}
        return {"/".join(key.split("/")[-4:]) for key in keys}
