"""`pulumi up` by hand, from the same `emrctl.yaml` as `emrctl up`.

    pulumi stack init <project>-storage     # first, then
    pulumi stack init <project>-<cluster>

The stack's name chooses which of the two is meant. The spec is looked for upward from here;
`pulumi config set spec PATH` names another. `aws:region` is the spec's unless it is set. Of a
cluster of EC2 instances only the instances are made: what they run is brought over SSH.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any

import pulumi
import pulumi_aws as aws
import yaml

_HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(_HERE.parent))  # else `import stacks` finds nothing: we stand inside it

from emrctl.aws.target import Target  # noqa: E402
from emrctl.clusters import ec2_inputs, network_lookup  # noqa: E402
from emrctl.spec import ProjectSpec  # noqa: E402
from stacks import emr, names, program  # noqa: E402


def _spec() -> tuple[ProjectSpec, Path]:
    given = pulumi.Config().get("spec")
    folders = [Path(given).parent] if given else [_HERE, *_HERE.parents]
    for folder in folders:
        file = folder / (Path(given).name if given else "emrctl.yaml")
        if file.is_file():
            return ProjectSpec.model_validate(yaml.safe_load(file.read_text())), folder
    msg = "no emrctl.yaml here or above: `pulumi config set spec PATH` names one"
    raise FileNotFoundError(msg)


def _object(bucket: str, key: str, source: Path | None) -> pulumi.Output[str]:
    """The address of an object in the bucket once it is there; empty without a file."""
    content: dict[str, Any] = {"content": ""}
    if source is not None:
        content = {"source": pulumi.FileAsset(str(source))}
    made = aws.s3.BucketObjectv2(key, bucket=bucket, key=key, **content)
    return pulumi.Output.format("s3://{0}/{1}", bucket, made.key)


def _scripts(project: ProjectSpec, root: Path, bucket: str) -> dict[str, pulumi.Input[str]]:
    """Each bootstrap script of the spec lies in the bucket under its content's hash."""
    found: dict[str, pulumi.Input[str]] = {}
    for script in {action.script for action in project.bootstrap_actions}:
        if script.startswith("s3://"):
            found[script] = script
            continue
        ours = _HERE.parent / "bootstrap" / script
        file = root / script if (root / script).is_file() else ours
        digest = hashlib.sha256(file.read_bytes()).hexdigest()[:16]
        found[script] = _object(bucket, f"code/{digest}/{file.name}", file)
    return found


def main() -> None:
    """Declare the stack whose name Pulumi was given."""
    project, root = _spec()
    settings = {
        "account": aws.get_caller_identity().account_id,
        "region": aws.get_region().region,
    }
    stack = pulumi.get_stack()
    if stack == project.storage_stack:
        program.storage(project, settings)
        return
    named = project.with_cluster(stack.removeprefix(f"{project.project}-"))
    region = settings["region"]
    target = Target(kind="aws", region=region, profile=project.profile)
    named = network_lookup.resolved(named, target)
    settings |= ec2_inputs.settings(named, target, make=not pulumi.runtime.is_dry_run())
    bucket = names.bucket(project, settings)
    _object(bucket, f"{emr.EVENT_LOGS}.keep", None)
    scripts = _scripts(named, root, bucket) if named.cluster.kind == "emr" else {}
    program.cluster(named, settings, {"bucket": bucket}, scripts)


main()
