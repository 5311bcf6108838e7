"""Configuration: one complaint for every fault, with its place; every value with its source."""

from __future__ import annotations

from pathlib import Path

import pytest

from emrctl.aws import releases
from emrctl.errors import UsageError
from emrctl.redact import REDACTED
from emrctl.spec import config, yaml

WRITTEN = "an EMR release is written as emr-7.14.0 or emr-spark-8.1.0"
PATTERN = "^[a-z][a-z0-9-]{0,30}[a-z0-9]$"
NESTED = """\
cluster:
  configurations:
    - classification: a
      configurations:
        - classification: b
        - classification: b
"""
YAML = """\
project: pets
region: eu-central-1
cluster:
  core: {type: m5.xlarge, count: 3}
  bootstrap:
    - python.sh
    - script: mine.sh
      args: [a, 2]
  configurations:
    - classification: spark-defaults
      properties: {spark.dynamicAllocation.enabled: false}
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "emrctl.yaml"
    path.write_text(YAML)
    for name in ("EMRCTL_CONFIG", "EMRCTL_REGION"):
        monkeypatch.delenv(name, raising=False)
    return path


def _complaint(path: Path, text: str) -> str:
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        config.load(path)
    return str(caught.value)


def test_find_searches_upwards(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    below = project.parent / "a" / "b"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    found = config.load()
    assert found.project.project == "pets"
    assert found.root == project.parent


def test_find_without_file_suggests_init(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"no emrctl\.yaml") as caught:
        config.load()
    assert "emrctl init" in caught.value.hint


def test_load_expands_short_forms_and_numbers(project: Path) -> None:
    cluster = config.load(project).project.emr
    assert [item.script for item in cluster.bootstrap] == ["python.sh", "mine.sh"]
    assert cluster.bootstrap[1].args == ("a", "2")
    assert cluster.configurations[0].as_emr() == {
        "Classification": "spark-defaults",
        "Properties": {"spark.dynamicAllocation.enabled": "false"},
    }


def test_load_precedence_flags_environment_file(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMRCTL_REGION", "us-west-2")
    monkeypatch.setenv("EMRCTL_CLUSTER__CORE__COUNT", "5")
    found = config.load(project, {"region": "us-east-1", "target": None})
    assert found.project.region == "us-east-1"
    assert found.project.emr.core.count == 5
    sources = {item.key: item.source for item in found.values()}
    assert sources["region"] == "--region"
    assert sources["cluster.core.count"] == "$EMRCTL_CLUSTER__CORE__COUNT"
    assert sources["cluster.core.type"] == "emrctl.yaml:4"
    assert sources["cluster.release"] == "default"
    assert sources["cluster.bootstrap.0.script"] == "emrctl.yaml:6"


def test_values_redacts_secrets_of_jobs(tmp_path: Path) -> None:
    file = tmp_path / "emrctl.yaml"
    file.write_text(
        "project: pets\njobs:\n  secret:\n    script: a.py\n    env: {DB_PWD: hush, MODE: fast}\n"
        "    args: [--password, hush, --n, 5]\n"
        "    settings:\n      conf: {spark.my.password: hush}\n"
    )
    values = {item.key: item.value for item in config.load(file).values()}
    assert values["jobs.secret.env.DB_PWD"] == REDACTED
    assert values["jobs.secret.settings.conf.spark.my.password"] == REDACTED
    assert values["jobs.secret.env.MODE"] == "fast"
    assert values["jobs.secret.args"] == ["--password", REDACTED, "--n", "5"]


def test_load_unknown_key_names_line_and_nearest_key(tmp_path: Path) -> None:
    said = _complaint(tmp_path / "e.yaml", "project: pets\ncluster:\n  core:\n    cout: 3\n")
    assert said == "e.yaml:4: cluster.core.cout: unknown key; did you mean 'count'?"


def test_load_thresholds_of_findings_are_numbers(tmp_path: Path) -> None:
    path = tmp_path / "e.yaml"
    path.write_text("project: pets\nfindings:\n  skew_ratio: 4\n  file_open_s: 0.5\n")
    assert config.load(path).project.findings == {"skew_ratio": 4.0, "file_open_s": 0.5}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("skew_ration: 4", "findings.skew_ration: unknown threshold; did you mean 'skew_ratio'?"),
        ("skew_ratio: much", "findings.skew_ratio: input should be a valid number"),
        ("skew_ratio: -1", "findings.skew_ratio: input should be greater than or equal to 0"),
        ("skew_ratio: .nan", "findings.skew_ratio: "),
    ],
)
def test_load_invalid_threshold_names_line(tmp_path: Path, line: str, message: str) -> None:
    complaint = _complaint(tmp_path / "e.yaml", f"project: pets\nfindings:\n  {line}\n")
    assert complaint.startswith(f"e.yaml:3: {message}")


def test_load_reports_all_errors(tmp_path: Path) -> None:
    said = _complaint(tmp_path / "e.yaml", "project: Pets!\nregoin: x\ncluster: {release: 7}\n")
    assert said.splitlines() == [
        f"e.yaml:1: project: string should match pattern '{PATTERN}', not 'Pets!'",
        f"e.yaml:3: cluster.release: {WRITTEN}, not '7'",
        "e.yaml:2: regoin: unknown key; did you mean 'region'?",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("project: a\nproject: b\n", "e.yaml:2: project: is set twice (first on line 1)"),
        ("project: [\n", "e.yaml:2: "),
        ("- a\n", "e.yaml: no keys"),
        ("cluster: {}\n", "e.yaml: project: is required"),
        ("project: pets\ncluster: {core: {type: m5.xlrge}}", "Did you mean m5.xlarge"),
        ("project: pets\ncluster: {primary: {count: 2}}", "a cluster has 1 or 3 primary nodes"),
        ("project: pets\ncluster: {name: storage}", "name of the bucket's stack"),
    ],
)
def test_load_invalid_file_names_location(tmp_path: Path, text: str, said: str) -> None:
    assert said in _complaint(tmp_path / "e.yaml", text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tags:\n  a&b: x", "e.yaml:3: tags.a&b: a tag has only letters, digits, spaces and"),
        ("tags:\n  a: b\n  c: d;e", "e.yaml:4: tags.c: a tag has only letters"),
        ("tags: {AWS:x: y}", "e.yaml:2: tags.AWS:x: the prefix aws: is reserved by AWS"),
        ("cluster:\n  tags:\n    a: aws:b", "e.yaml:4: cluster.tags.a: the prefix aws:"),
        (f"tags: {{{'k' * 129}: v}}", ": the key of a tag has 1 to 128 characters"),
        (f"tags: {{k: {'v' * 257}}}", "e.yaml:2: tags.k: the value of a tag has at most 256"),
        ("tags: {'emrctl:x': v}", "e.yaml:2: tags.emrctl:x: the prefix emrctl: is reserved"),
        ("tags: {Team: a}\ncluster:\n  tags:\n    team: b", "e.yaml:5: cluster.tags.team: keys"),
        (f"tags: {{{', '.join(f'k{i}: v' for i in range(45))}}}", "at most 50 tags"),
        ("storage:\n  bucket: my..bucket", "e.yaml:3: storage.bucket: a bucket name has no adj"),
        ("storage: {bucket: 192.168.5.4}", "storage.bucket: a bucket name is not an IP address"),
        ("storage: {bucket: xn--a}", "storage.bucket: a bucket name cannot begin or"),
        ("storage: {bucket: data--x-s3}", "storage.bucket: a bucket name cannot begin or"),
        ("storage: {bucket: My_Bucket}", "storage.bucket: a bucket name has 3 to 63"),
        ("cluster:\n  buckets:\n    - a.b.c\n    - a..b", "e.yaml:5: cluster.buckets.1.name: "),
        (
            "cluster:\n  configurations:\n    - classification: a\n    - {classification: a}",
            "e.yaml:5: cluster.configurations.1: a is given twice",
        ),
        (
            NESTED,
            "e.yaml:7: cluster.configurations.0.configurations.1: b is given twice",
        ),
        (
            "cluster: {release: emr-6.16.0}",
            "the last of this series is emr-6.15.0",
        ),
        ("cluster: {release: emr-3.1.0}", "the series are emr-4 to emr-7 and emr-spark-8"),
        ("cluster: {release: emr-8.1.0}", "the series are emr-4 to emr-7 and emr-spark-8"),
        ("cluster: {release: emr-7.5.0x}", "an EMR release is written as emr-7.14.0 or"),
        ("cluster: {spark: latest}", "cluster.spark: string should match pattern"),
    ],
)
def test_load_rejects_what_aws_rejects(tmp_path: Path, text: str, message: str) -> None:
    assert message in _complaint(tmp_path / "e.yaml", f"project: pets\n{text}\n")


def test_load_accepts_tags_of_any_language(tmp_path: Path) -> None:
    path = tmp_path / "e.yaml"
    path.write_text("project: pets\ntags: {Größe 1: 'a b_.:/=+-@ 日本', aws_x: ''}\n")
    assert config.load(path).project.tags == {"Größe 1": "a b_.:/=+-@ 日本", "aws_x": ""}


def test_load_unknown_variable_raises(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMRCTL_REGOIN", "x")
    with pytest.raises(UsageError, match=r"\$EMRCTL_REGOIN") as caught:
        config.load(project)
    assert "EMRCTL_REGION" in caught.value.hint


def test_load_invalid_variable_is_named(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMRCTL_CLUSTER__CORE__COUNT", "many")
    with pytest.raises(UsageError, match=r"\$EMRCTL_CLUSTER__CORE__COUNT: cluster\.core\.count"):
        config.load(project)


def test_init_template_is_valid_with_newest_lts(tmp_path: Path) -> None:
    from emrctl.cli import setup as command

    command.init(tmp_path / "My Pets", None)
    found = config.load(tmp_path / "My Pets" / "emrctl.yaml")
    assert found.project.project == "my-pets"
    assert found.project.cluster.release == releases.newest_lts().label
    with pytest.raises(UsageError, match="already exists"):
        command.init(tmp_path / "My Pets", None)


def test_load_of_unchanged_file_parses_it_on_first_use(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project.parent / ".emrctl").mkdir()
    first = config.load(project, {"cluster.name": "other"})
    parsed: list[str] = []
    read = yaml.read

    def record(path: Path) -> yaml.Document:
        parsed.append(path.name)
        return read(path)

    monkeypatch.setattr(yaml, "read", record)
    again = config.load(project, {"cluster.name": "other"})
    assert again.header == first.header
    assert (again.header.target, again.header.region) == ("local", "eu-central-1")
    assert again.root == project.parent
    assert parsed == []
    assert (again.project, again.sources) == (first.project, first.sources)
    assert parsed == ["emrctl.yaml"]


@pytest.mark.parametrize("change", ["file", "flag", "variable", "marker"])
def test_load_of_changed_file_flag_or_variable_validates(
    project: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    (project.parent / ".emrctl").mkdir()
    config.load(project)
    if change == "file":
        project.write_text(YAML.replace("eu-central-1", "mars"))
    elif change == "variable":
        monkeypatch.setenv("EMRCTL_REGION", "mars")
    elif change == "marker":
        (project.parent / ".emrctl" / "config.json").write_text("[]")
        assert config.load(project).header.region == "eu-central-1"
        return
    with pytest.raises(UsageError, match="region"):
        config.load(project, {"region": "mars"} if change == "flag" else None)
