"""Texts of YAML files that look like numbers, booleans, dates or nulls."""

from __future__ import annotations

from pathlib import Path

import pytest

from emrctl.errors import UsageError
from emrctl.spec import ExperimentSpec, ProjectSpec, config, yaml

# Plain scalars that YAML 1.1 converts to something else.
TEXTS = (
    "00000122",
    "012345670123",
    "1.10",
    "010",
    "0o17",
    "0x1F",
    "1e3",
    "1_000",
    "+5",
    "-.5",
    ".inf",
    ".nan",
    "22:30",
    "1:30:15",
    "2024-05-01",
    "2024-05-01T10:00:00Z",
    "yes",
    "No",
    "on",
    "OFF",
    "true",
    "False",
    "TRUE",
    "null",
    "~",
    "Null",
    "NULL",
    "=",
    "é",
)


def _load(tmp_path: Path, text: str) -> ProjectSpec:
    path = tmp_path / "emrctl.yaml"
    path.write_text(text, encoding="utf-8")
    return config.load(path).project


@pytest.mark.parametrize("text", TEXTS)
def test_load_keeps_plain_text_where_text_is_required(tmp_path: Path, text: str) -> None:
    tag = text.replace("~", "null")  # a tag has no ~
    project = _load(
        tmp_path,
        f"""\
project: pets
tags: {{a: {tag}}}
cluster:
  tags:
    b: {tag}
  bootstrap:
    - script: python.sh
      args: [x, {text}]
  configurations:
    - classification: c
      properties:
        p: {text}
      configurations: [{{classification: d, properties: {{q: {text}}}}}]
jobs:
  j:
    script: a.py
    args:
      - {text}
    env: {{E: {text}}}
    tags: {{t: {text}}}
    settings: {{conf: {{spark.x: {text}}}}}
experiments:
  e: {{name: ex, job: j, args: [{text}], configurations: {{{text}: {{conf: {{spark.x: {text}}}}}}}}}
""",
    )
    job, cluster, experiment = project.jobs["j"], project.emr, project.experiments["e"]
    outer = cluster.configurations[0]
    assert (project.tags["a"], cluster.tags["b"]) == (tag, tag)
    assert {
        cluster.bootstrap[0].args[1],
        outer.properties["p"],
        outer.configurations[0].properties["q"],
        job.args[0],
        job.env["E"],
        job.tags["t"],
        job.settings.conf["spark.x"],
        experiment.args[0],
        *experiment.configurations,
        experiment.configurations[text]["conf.spark.x"],
    } == {text}


def test_load_converts_numbers_booleans_and_nulls_of_other_fields(tmp_path: Path) -> None:
    project = _load(
        tmp_path,
        """\
project: pets
profile: 012
storage: {bucket: ~, versioning: no, expire_logs_days: 010}
cluster:
  core: {count: 3, bid_usd: 1e-1}
  key_pair: 2024
  scaling: null
  termination_protection: True
jobs:
  j: {script: a.py, settings: {executors: 2, dynamic_allocation: off, memory_overhead: null}}
""",
    )
    assert project.profile == "012"
    assert project.storage.bucket is None
    assert project.storage.versioning is False
    assert project.storage.expire_logs_days == 10
    assert project.emr.core.count == 3
    assert project.emr.core.bid_usd == 0.1
    assert project.emr.key_pair == "2024"
    assert project.emr.scaling is None
    assert project.emr.termination_protection is True
    settings = project.jobs["j"].settings
    assert (settings.executors, settings.dynamic_allocation, settings.memory_overhead) == (
        2,
        False,
        None,
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("tags: {a: }", "emrctl.yaml:2: tags: a value is missing: write '' for an empty text"),
        ("jobs: {j: {script: a.py, args: [--x, 1, !!null '']}}", "emrctl.yaml:2: jobs.j.args: "),
        ("cluster: {ttl_s: 1:30}", "emrctl.yaml:2: cluster.ttl_s: input should be a valid integer"),
        ("cluster: {core: {count: 0x3}}", "emrctl.yaml:2: cluster.core.count: "),
        ("tags: {? [a, b] : c}", "emrctl.yaml:2: "),
        ("tags: !Ref x", "emrctl.yaml:2: could not determine a constructor"),
    ],
)
def test_load_rejects_missing_text_and_ambiguous_number(
    tmp_path: Path, line: str, message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        _load(tmp_path, f"project: pets\n{line}\n")
    assert message in str(caught.value)


def test_load_keeps_quoted_texts_anchors_and_merge_keys(tmp_path: Path) -> None:
    project = _load(
        tmp_path,
        """\
project: pets
tags: &common {a: 007, b: ''}
cluster:
  tags:
    <<: *common
    b: "null"
""",
    )
    assert project.tags == {"a": "007", "b": ""}
    assert project.cluster.tags == {"a": "007", "b": "null"}


def test_experiment_file_converts_factors_to_settings(tmp_path: Path) -> None:
    path = tmp_path / "e.yaml"
    path.write_text(
        "name: ex\njob: j\nargs: [007]\n"
        "factors: {executors: [2, 010], dynamic_allocation: [yes, null], conf: [{spark.x: 1.10}]}\n"
    )
    spec = yaml.check(ExperimentSpec, yaml.read(path))
    assert spec.args == ("007",)
    assert spec.factors == {
        "executors": (2, 10),
        "dynamic_allocation": (True, None),
        "conf": ({"spark.x": "1.10"},),
    }
    path.write_text("name: ex\njob: j\nfactors:\n  executors: [2]\n  executor_memory: [lots]\n")
    with pytest.raises(UsageError, match=r"e\.yaml:5: factors\.executor_memory\.0: "):
        yaml.check(ExperimentSpec, yaml.read(path))
