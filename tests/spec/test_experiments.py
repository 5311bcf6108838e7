"""Experiments: factors of every kind, designs, constraints, and the line of each error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from emrctl.errors import UsageError
from emrctl.spec import ExperimentSpec, ProjectSpec, config, yaml

BASE = {"name": "e1", "job": "svm", "args": ["--features", "f", "--reg", "0.1", "in-{size}"]}


def spec(**values: Any) -> ExperimentSpec:
    return ExperimentSpec.model_validate({**BASE, **values})


def names(item: ExperimentSpec) -> list[str]:
    return [configuration.name for configuration in item.combinations]


def test_combinations_apply_factors_of_every_kind() -> None:
    (item,) = spec(
        settings={"executors": 2, "conf": {"spark.a": "1"}},
        factors={
            "executor_cores": [3],
            "conf.spark.b": [True],
            "args.--reg": [0.5],
            "args.--step": [7],
            "args.size": ["small"],
            "env.MODE": ["fast"],
            "cluster.core.type": ["m5.xlarge"],
        },
    ).combinations
    assert item.settings.record() == {
        "executors": 2,
        "executor_cores": 3,
        "conf": {"spark.a": "1", "spark.b": "true"},
    }
    assert item.args == ("--features", "f", "--reg", "0.5", "in-small", "--step", "7")
    assert item.env == {"MODE": "fast"}
    assert item.cluster == {"core.type": "m5.xlarge"}
    assert item.features() == {
        "executor_cores": 3,
        "conf.spark.b": True,
        "args.--reg": 0.5,
        "args.--step": 7,
        "args.size": "small",
        "env.MODE": "fast",
        "cluster.core.type": "m5.xlarge",
    }


def test_combinations_replace_the_value_of_an_option_in_either_form() -> None:
    item = spec(args=["--reg=0.1", "x"], factors={"args.--reg": ["0.2"]})
    assert item.combinations[0].args == ("x", "--reg", "0.2")


def test_combinations_of_listed_configurations_take_the_same_keys() -> None:
    item = spec(
        configurations={
            "small": {"executors": 1, "conf": {"spark.a": 1}},
            "large": {"conf.spark.a": "2", "args.size": "l", "args.--reg": 1},
        },
    )
    small, large = item.combinations
    assert (small.name, small.position, small.settings.conf) == ("small", 0, {"spark.a": "1"})
    assert small.args[-1] == "in-{size}"
    assert (large.name, large.position, large.settings.conf) == ("large", 1, {"spark.a": "2"})
    assert large.args == ("--features", "f", "--reg", "1", "in-l")


def test_constraints_remove_combinations() -> None:
    item = spec(
        factors={"executors": [1, 2, 4, None], "executor_memory": ["1g", "4096m"]},
        constraints=["executors * executor_memory <= 8192"],
    )
    assert names(item) == [
        "executors=1, executor_memory=1g",
        "executors=1, executor_memory=4096m",
        "executors=2, executor_memory=1g",
        "executors=2, executor_memory=4096m",
        "executors=4, executor_memory=1g",
        "executors=default, executor_memory=1g",
        "executors=default, executor_memory=4096m",
    ]


RANGES = {
    "executors": {"low": 1, "high": 8, "integer": True},
    "executor_memory": {"low": 1, "high": 16, "integer": True, "unit": "g", "log": True},
    "args.--reg": {"low": 0.001, "high": 1, "log": True},
    "deploy_mode": ["client", "cluster"],
}


@pytest.mark.parametrize("design", ["random", "latin_hypercube"])
def test_sampled_design_is_distinct_within_bounds_and_repeatable(design: str) -> None:
    values = {"design": design, "samples": 16, "seed": 3, "factors": RANGES}
    item = spec(**values, constraints=["executors * executor_memory <= 65536"])
    assert len(set(names(item))) == 16
    for configuration in item.combinations:
        features: Any = configuration.features()
        assert 1 <= features["executors"] <= 8
        assert features["executor_memory"] in {1024 * size for size in range(1, 17)}
        assert 0.001 <= features["args.--reg"] <= 1
        assert features["executors"] * features["executor_memory"] <= 65536
    assert names(spec(**values, constraints=item.constraints)) == names(item)
    assert names(spec(**{**values, "seed": 4})) != names(item)


def test_latin_hypercube_has_one_point_in_every_stratum() -> None:
    factors = {
        "conf.spark.a": {"low": 0, "high": 10},
        "conf.spark.b": {"low": 1, "high": 1024, "log": True},
    }
    item = spec(design="latin_hypercube", samples=10, factors=factors)
    points: Any = [configuration.features() for configuration in item.combinations]
    assert sorted(int(point["conf.spark.a"]) for point in points) == list(range(10))
    assert {int(point["conf.spark.b"]).bit_length() for point in points} == set(range(1, 11))


def test_sampled_design_of_a_small_space_has_every_point_once() -> None:
    item = spec(design="random", samples=50, factors={"executors": [1, 2], "partitions": [3, 4]})
    assert len(names(item)) == len(set(names(item))) == 4


def test_spec_survives_its_own_dump() -> None:
    item = spec(
        design="random", samples=4, factors=RANGES, stop={"interval": "5%"}, budget={"hours": 1}
    )
    again = ExperimentSpec.model_validate(item.model_dump())
    assert again == item
    assert names(again) == names(item)
    assert (again.stop and again.stop.interval, again.budget.seconds) == (0.05, 3600)


FAULTS = {
    "factors:\n  executers: [1]": ":4: factors.executers: factor 'executers' is not a Spark "
    "setting; did you mean 'executors'?",
    "factors:\n  executors: [1, x]": ":4: factors.executors.1: input should be a valid integer",
    "factors:\n  executors: []": ":4: factors.executors: a factor needs a list of values",
    "factors:\n  args.--x: [[1]]": ":4: factors.args.--x.0: must be a number, a text",
    "factors:\n  args.x: [1]": ":3: factors: args.x=1: args.x: no argument contains {x}",
    "factors:\n  executors: {low: 4, high: 2}": ":4: factors.executors: low (4) must be below",
    "factors:\n  executors: {low: 0, high: 2, log: true}": ":4: factors.executors: log requires a",
    "factors:\n  executors: {low: 1, high: 2}": ":4: factors.executors: a range requires design",
    "factors: {executors: [1]}\ndesign: random": ":4: design: random requires samples",
    "factors: {executors: [1]}\nsamples: 3": ":4: samples: requires design",
    "factors:\n  min_executors: [5]\n  max_executors: [9, 2]": ":3: factors: min_executors=5, "
    "max_executors=2: min_executors is 5, above max_executors",
    "factors: {executors: [1]}\nconstraints:\n  - executers < 2": ":5: constraints.0: 'executers' "
    "in 'executers < 2' is not a factor or setting; did you mean 'executors'?",
    "factors: {executors: [1]}\nconstraints:\n  - executors < 1": ":4: constraints: no "
    "configuration satisfies the constraints",
    "factors: {executors: [1]}\nconstraints:\n  - open('x')": ":5: constraints.0: 'open('x')' is "
    "not allowed",
    "factors: {executors: [1]}\nbudget: {time_s: 1, hours: 2}": ":4: budget: set time_s or hours",
    "factors: {executors: [1]}\nbudget:\n  dollars: 1": ":5: budget.dollars: unknown key",
    "factors: {executors: [1]}\nstop: {interval: 5}": ":4: stop.interval: must be a percentage",
    "factors: {executors: [1]}\nstop: {}": ":4: stop: set interval",
    "factors: {executors: [1]}\nparallel: 0": ":4: parallel: input should be greater",
    "configurations:\n  a: {executors: 1}\n  b: {executors: 9}\nconstraints: [executors < 5]": ":5"
    ": configurations.b: does not satisfy the constraints",
    "configurations:\n  a: {executers: 1}": ":4: configurations.a.executers: factor 'executers'",
    "configurations:\n  a: {}\nsamples: 4": "design: design and samples require factors",
    "factors:\n  cluster.core.kount: [2]": ":4: factors.cluster.core.kount: "
    "cluster.core.kount=2: extra inputs are not permitted",
    "factors:\n  cluster.core.type: [m5.xlarge, m5.large9]": ":4: factors.cluster.core.type: ",
    "configurations:\n  a:\n    cluster.core.count: 0": ":5: configurations.a.cluster.core.count: ",
}


@pytest.mark.parametrize("text", FAULTS)
def test_invalid_spec_is_an_error_with_file_and_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "e.yaml"
    path.write_text(f"name: e1\njob: svm\n{text}\n")
    project = ProjectSpec(project="pets")
    with pytest.raises(UsageError) as caught:
        yaml.check(ExperimentSpec, yaml.read(path), also=project.check_cluster_factors)
    assert caught.value.message.startswith("e.yaml:")
    assert FAULTS[text] in caught.value.message


def test_invalid_cluster_factor_in_project_is_an_error_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "emrctl.yaml"
    path.write_text(
        "project: pets\ncluster:\n  kind: ec2\nexperiments:\n  e1:\n    name: e1\n    job: svm\n"
        "    factors:\n      cluster.core.count: [1]\n"
    )
    with pytest.raises(UsageError, match=r"emrctl\.yaml:9: experiments\.e1\.factors\.cluster"):
        config.load(path)
    path.write_text(path.read_text().replace("core.count: [1]", "worker.spot: [true, false]"))
    project = config.load(path).project
    items = project.experiments["e1"].combinations
    assert [project.with_cluster_fields(item.cluster).ec2.worker.spot for item in items] == [
        True,
        False,
    ]


def test_cluster_fields_keep_the_others_of_their_group() -> None:
    project = ProjectSpec.model_validate({"project": "pets", "cluster": {"task": [{"count": 4}]}})
    changed = project.with_cluster_fields({"core.type": "r5.xlarge", "primary.type": None}).emr
    assert (changed.core.type, changed.core.count) == ("r5.xlarge", 2)
    assert (changed.primary, changed.task) == (project.emr.primary, project.emr.task)
    assert project.with_cluster_fields({"core.type": "m5.xlarge"}).cluster == project.cluster
    with pytest.raises(ValueError, match="cannot be a factor"):
        project.with_cluster_fields({"task.count": "2"})
