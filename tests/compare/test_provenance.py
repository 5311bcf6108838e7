from __future__ import annotations

from emrctl.compare import provenance
from emrctl.compare.records import Configuration, RunRecord
from emrctl.runs.commits import Commit


def test_command_quotes_and_uses_the_flags_of_submit() -> None:
    record = RunRecord(
        id="r",
        job="my job",
        arguments=("--output", "{run}/output", "a b"),
        settings={
            "executors": 2,
            "executor_memory": None,
            "dynamic_allocation": False,
            "files": ["a.txt", "b.txt"],
            "conf": {"spark.x": "1 2"},
            "env": {"A": "$HOME"},
            "cluster": {"core": "2 m5.xlarge"},
        },
    )
    assert provenance.command(record) == (
        "emrctl submit --executors 2 --no-dynamic-allocation --files a.txt --files b.txt "
        "--conf 'spark.x=1 2' --env 'A=$HOME' 'my job' --output '{run}/output' 'a b'"
    )


def test_facts_names_each_commit_of_the_job_once() -> None:
    commits = [Commit(id="a1"), Commit(id="a1"), Commit(id="b2", dirty=True)]
    records = tuple(RunRecord(id=f"r{n}", commit=item) for n, item in enumerate(commits))
    facts = dict(provenance.facts(Configuration("a", records)))
    assert facts["commit of the job"] == "a1, b2 with uncommitted changes"


def test_facts_omits_unknown_values() -> None:
    record = RunRecord(id="r", state="FAILED")
    assert provenance.facts(Configuration("a", (record,))) == [
        ("runs", "r (FAILED)"),
        ("ran on", "AWS"),
    ]
