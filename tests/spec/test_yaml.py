"""Damaged and hostile YAML files: an error with file and line, never a traceback."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from emrctl.errors import EmrctlError, UsageError
from emrctl.spec import ExperimentSpec, config, yaml

ALIASES = "tags:\n  a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"  {name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefg", "bcdefgh", strict=True)
)
HOSTILE = {
    "aliases of aliases": (ALIASES, r"emrctl\.yaml:\d+: more values than supported"),
    "recursive alias": ("tags: &t\n  a: *t\n", r"emrctl\.yaml:2: nested too deeply"),
    "brackets": (f"tags: {'[' * 500}{']' * 500}\n", r"emrctl\.yaml:2: nested more than 40 levels"),
    "many brackets": (f"tags: {'[' * 50_000}\n", r"emrctl\.yaml:2: nested more than 40 levels"),
    "integer tag": ("cluster: {core: {count: !!int x}}\n", r"emrctl\.yaml:2: cluster\.core\.count"),
    "date tag": ("tags: {a: !!timestamp 2024-02-30}\n", r"emrctl\.yaml:2: could not determine"),
    "object tag": ("tags: {a: !!python/name:os.system }\n", r"emrctl\.yaml:2: could not determine"),
    "long number": (f"cluster: {{core: {{count: {'9' * 5000}}}}}\n", r"emrctl\.yaml:2: cluster\.c"),
    "surrogate": ('tags: {a: "\\ud800"}\n', r"emrctl\.yaml:2: an escape sequence"),
    "kind in list": ("cluster: {kind: [ec2]}\n", r"emrctl\.yaml:2: cluster\.kind: input should be"),
    "kind as mapping": (
        "cluster: {kind: {a: 1}}\n",
        r"emrctl\.yaml:2: cluster\.kind: input should",
    ),
    "cluster as list": ("cluster: [1]\n", r"emrctl\.yaml:2: cluster: input should be a valid dict"),
    "key in brackets": ("? [a, b]\n: c\n", r"emrctl\.yaml:2: found unhashable key"),
    "large file": (f"# {'x' * 1_000_000}\n", r"emrctl\.yaml: 1,000,017 bytes, more than 1,000,000"),
}


def _write(folder: Path, text: str) -> Path:
    path = folder / "emrctl.yaml"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    return path


@pytest.mark.parametrize("name", HOSTILE)
def test_load_rejects_hostile_file_with_its_line(tmp_path: Path, name: str) -> None:
    text, message = HOSTILE[name]
    with pytest.raises(UsageError) as caught:
        config.load(_write(tmp_path, f"project: pets\n{text}"))
    assert re.match(message, str(caught.value))
    assert len(str(caught.value)) < 300


def test_load_keeps_text_that_looks_like_a_date_or_a_tagged_number(tmp_path: Path) -> None:
    text = "project: pets\ntags: {a: 2024-02-30, b: 0b_}\ncluster: {core: {count: !!int 5}}\n"
    project = config.load(_write(tmp_path, text)).project
    assert dict(project.tags) == {"a": "2024-02-30", "b": "0b_"}
    assert project.cluster.core_group.count == 5


PROJECT = """\
project: pets
target: local
region: us-east-1
tags: {team: vision}
cluster:
  name: main
  release: emr-7.5.0
  primary: {type: m5.xlarge}
  core: {type: m5.xlarge, count: 2}
  bootstrap:
    - script: python.sh
      args: [python3, boto3]
jobs:
  mine:
    script: mine.py
    args: [--input, "s3://{bucket}/data"]
    settings: {executors: 2, executor_memory: 1g, conf: {spark.a: b}}
experiments:
  first:
    name: first
    job: mine
    factors: {executors: [1, 2], partitions: [8, 16]}
    repeats: 3
"""
VALUES = (
    *("~", "[]", "{}", "[1, [2]]", "{a: {b: c}}", "0b_", "!!int x", "!!float x", "!!binary x"),
    *("*none", "&x y", "<<", "-1", "1e400", "9" * 400, '"\\ud800"', '"\\0"', "2024-02-30", "|"),
    *(
        "? x",
        "%",
        "@",
        "!x y",
        "- a",
        "'",
        '"',
        "\t",
        "{{",
        "]",
        ": :",
        "\N{EM SPACE}",
        ".nan",
        "yes",
    ),
    *("é", "--- x", "..."),
)


def _mutated(text: str, chance: random.Random) -> str:
    """Return the text with a value replaced, or a line or some characters changed."""
    lines = text.splitlines()
    at = chance.randrange(len(lines))
    how = chance.randrange(5)
    if how == 0:
        value = chance.choice(VALUES)
        lines[at] = re.sub(r"(?<=[:\[,-] )[^\s,\]}]+", lambda _: value, lines[at], count=1)
    elif how == 1:
        lines.insert(at, lines[chance.randrange(len(lines))])
    elif how == 2:
        del lines[at]
    elif how == 3:
        lines[at] = " " * chance.randrange(9) + lines[at].lstrip()
    else:
        cut = chance.randrange(len(lines[at]) + 1)
        lines[at] = lines[at][:cut] + chance.choice(VALUES) + lines[at][cut + chance.randrange(3) :]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("seed", range(6))
def test_load_of_mutated_file_returns_or_raises_an_error_for_the_user(
    tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)  # noqa: S311 - a fixed seed
    messages: list[str] = []
    for _ in range(300):
        text = PROJECT
        for _ in range(chance.randrange(1, 4)):
            text = _mutated(text, chance)
        try:
            list(config.load(_write(tmp_path, text)).values())
        except EmrctlError as error:
            messages.append(str(error))
    assert len(messages) > 60
    assert all(message.startswith("emrctl.yaml") for message in messages)
    assert all(message.isascii() or message.encode() for message in messages)


def test_experiment_file_limits_repeats(tmp_path: Path) -> None:
    path = tmp_path / "first.yaml"
    path.write_text("name: first\njob: mine\nfactors: {executors: [1]}\nrepeats: 999999999999\n")
    with pytest.raises(UsageError, match=r"first\.yaml:4: repeats: .*less than or equal to 1000"):
        yaml.check(ExperimentSpec, yaml.read(path))


@pytest.mark.parametrize("value", VALUES)
def test_experiment_file_with_hostile_level_returns_or_raises_an_error_for_the_user(
    tmp_path: Path, value: str
) -> None:
    path = tmp_path / "first.yaml"
    path.write_text(f"name: first\njob: mine\nfactors:\n  executors: [1, {value}]\n", "utf-8")
    message = "first.yaml:"
    try:
        yaml.check(ExperimentSpec, yaml.read(path))
    except EmrctlError as error:
        message = str(error)
    assert message.startswith("first.yaml:")
