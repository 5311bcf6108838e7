"""Findings of preflight, and the checks that yield them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

from emrctl.aws import errors
from emrctl.aws.target import Target
from emrctl.spec import AnyClusterSpec, ProjectSpec


@dataclass(frozen=True, kw_only=True)
class PreflightFinding:
    """A problem that would make `up` fail (error) or may surprise (warning), and its solution."""

    severity: Literal["error", "warning"]
    what: str
    hint: str
    about: str = ""


@dataclass(frozen=True, kw_only=True)
class PreflightContext:
    """The project to create, and the account to check."""

    project: ProjectSpec
    target: Target
    account: str

    @property
    def cluster(self) -> AnyClusterSpec:
        """The cluster's spec."""
        return self.project.cluster

    @property
    def region(self) -> str:
        """The target's region."""
        return self.target.region

    def client(self, service: str) -> Any:
        """Return a boto3 client."""
        return self.target.client(service)


@dataclass(frozen=True, kw_only=True)
class PreflightCheck:
    """A check of one subject, for clusters of one kind or (None) of both.

    `needs_account`: the check is about limits of an account, which localhost does not have.
    """

    about: str
    check: Callable[[PreflightContext], Iterator[PreflightFinding]]
    kind: Literal["emr", "ec2"] | None = None
    needs_account: bool = True

    def applies(self, context: PreflightContext) -> bool:
        """Return whether the check is for the kind of the cluster and for the target."""
        limited = context.target.account_limits or not self.needs_account
        return limited and self.kind in {None, context.cluster.kind}

    def run(self, context: PreflightContext) -> list[PreflightFinding]:
        """Return the findings; a warning if the caller lacks permission to check."""
        from botocore.exceptions import BotoCoreError, ClientError

        findings: list[PreflightFinding] = []
        try:
            findings += self.check(context)
        except (ClientError, BotoCoreError) as failure:
            if not errors.is_denied(failure):
                raise errors.translate(failure, f"checking the {self.about}") from failure
            what = f"could not check the {self.about}: {errors.error_text(failure)}"
            hint = "Grant the caller the permission, or ignore this: `up` may still succeed."
            findings.append(warning(what, hint))
        return [replace(item, about=self.about) for item in findings]


def error(what: str, hint: str) -> PreflightFinding:
    """Return a finding that prevents `up`."""
    return PreflightFinding(severity="error", what=what, hint=hint)


def warning(what: str, hint: str) -> PreflightFinding:
    """Return a finding that is only logged."""
    return PreflightFinding(severity="warning", what=what, hint=hint)
