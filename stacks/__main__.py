"""Run the program with Pulumi's own CLI, from the same `emrctl.yaml` as `emrctl up`.

    pulumi stack init <project>-storage     # first, then
    pulumi stack init <project>-<cluster>

The stack's name selects the storage stack or a cluster. The spec is the nearest emrctl.yaml in this
folder or above; `pulumi config set spec PATH` overrides that. `aws:region` defaults to the spec's
region. For a cluster of EC2 instances only the instances are created: Spark is installed by
`emrctl up`, over SSH.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pulumi
import pulumi_aws as aws

_HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(_HERE.parent))  # Pulumi runs this file inside the package

from emrctl.aws.s3 import EVENT_LOG_PREFIX, code_key  # noqa: E402
from emrctl.aws.target import Target  # noqa: E402
from emrctl.clusters import program_inputs  # noqa: E402
from emrctl.clusters.registry import kind_of  # noqa: E402
from emrctl.spec import ProjectSpec, yaml  # noqa: E402
from stacks import names, program  # noqa: E402


def _load_spec() -> tuple[ProjectSpec, Path]:
    """Return the spec and the folder of its file."""
    setting = pulumi.Config().get("spec")
    if setting:
        files = [Path(setting)]
    else:
        files = [folder / "emrctl.yaml" for folder in (_HERE, *_HERE.parents)]
    for file in files:
        if file.is_file():
            return yaml.check(ProjectSpec, yaml.read(file)), file.parent
    msg = f"no file {files[0]} (nor in a folder above); set it: `pulumi config set spec PATH`"
    raise FileNotFoundError(msg)


def _declare_object(bucket: str, key: str, source: Path | None) -> pulumi.Output[str]:
    """Declare an object in the bucket, empty without a source file; return its S3 URI."""
    content: dict[str, Any] = {"content": ""}
    if source is not None:
        content = {"source": pulumi.FileAsset(str(source))}
    declared = aws.s3.BucketObjectv2(key, bucket=bucket, key=key, **content)
    return pulumi.Output.format("s3://{0}/{1}", bucket, declared.key)


def _declare_scripts(project: ProjectSpec, root: Path, bucket: str) -> dict[str, pulumi.Input[str]]:
    """Upload the spec's bootstrap scripts under their content hashes; return their URIs."""
    uris: dict[str, pulumi.Input[str]] = {}
    for script in {action.script for action in project.bootstrap_actions}:
        if script.startswith("s3://"):
            uris[script] = script
            continue
        bundled = _HERE.parent / "bootstrap" / script
        file = root / script if (root / script).is_file() else bundled
        uris[script] = _declare_object(bucket, code_key(file), file)
    return uris


def main() -> None:
    """Declare the stack that Pulumi runs."""
    project, root = _load_spec()
    settings = {
        "account": aws.get_caller_identity().account_id,
        "region": aws.get_region().region,
    }
    stack = pulumi.get_stack()
    if stack == project.storage_stack:
        program.declare_storage(project, settings)
        return
    project = project.with_cluster(stack.removeprefix(f"{project.project}-"))
    target = Target(kind="aws", region=settings["region"], profile=project.profile)
    project = program_inputs.resolve_network(project, target)
    kind = kind_of(project.cluster)
    settings |= kind.program_settings(project, target, not pulumi.runtime.is_dry_run())
    bucket = names.bucket_name(project, settings)
    _declare_object(bucket, f"{EVENT_LOG_PREFIX}.keep", None)
    scripts = {} if kind.set_up_over_ssh else _declare_scripts(project, root, bucket)
    program.declare_cluster(project, settings, bucket, scripts)


main()
