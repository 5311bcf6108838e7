"""Check the account before `up` creates or charges anything."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from emrctl import bundled
from emrctl.aws import errors as aws_errors
from emrctl.aws.target import Target
from emrctl.clusters.program_inputs import resolve_network
from emrctl.errors import ProvisioningError
from emrctl.provision.preflight import account, capacity, storage
from emrctl.provision.preflight.finding import PreflightCheck, PreflightContext, PreflightFinding
from emrctl.spec import ProjectSpec, check_local

CHECKS: tuple[PreflightCheck, ...] = (*account.CHECKS, *capacity.CHECKS, *storage.CHECKS)
_THREADS = 8
_log = logging.getLogger(__name__)


def prepare(project: ProjectSpec, target: Target) -> ProjectSpec:
    """Return the project with the ids of existing subnets; raise if `up` would fail.

    On localhost unsupported keys, the release and objects on S3 are checked; on AWS also the
    account. Warnings are logged.
    """
    if target.unsupported_resources:
        check_local(project)
    project = _resolve(project, target)
    findings = run_checks(project, target)
    for item in findings:
        if item.severity == "warning":
            _log.warning("warning: %s. %s", item.what, item.hint)
    raise_errors(findings)
    return project


def _resolve(project: ProjectSpec, target: Target) -> ProjectSpec:
    if not project.cluster.network.existing:
        bundled.import_stacks()
        from stacks.names import subnet_cidrs

        subnet_cidrs(project.cluster.network)  # raises before anything is created
    with aws_errors.translated("looking up the network"):
        return resolve_network(project, target)


def run_checks(project: ProjectSpec, target: Target) -> list[PreflightFinding]:
    """Return the findings of all checks, errors first.

    `CredentialsError` if AWS rejects the caller.
    """
    from concurrent.futures import ThreadPoolExecutor

    context = PreflightContext(project=project, target=target, account=target.account())
    checks = [item for item in CHECKS if item.applies(context)]
    with ThreadPoolExecutor(max_workers=_THREADS) as pool:
        results = pool.map(lambda item: item.run(context), checks)
        findings = [finding for result in results for finding in result]
    return sorted(findings, key=lambda item: item.severity != "error")


def raise_errors(findings: Sequence[PreflightFinding]) -> None:
    """Raise `ProvisioningError` with all findings that are errors, if any."""
    errors = [item for item in findings if item.severity == "error"]
    if errors:
        others = "".join(f"\n  also: {item.what}. {item.hint}" for item in errors[1:])
        msg = f"nothing was created: {errors[0].what}{others}"
        raise ProvisioningError(msg, hint=errors[0].hint)
