"""`emrctl prices`: prices of instance types per hour."""

from __future__ import annotations

import dataclasses
from dataclasses import asdict
from typing import Annotated

import typer

from emrctl.aws import errors, instance_types, prices
from emrctl.aws.target import Target
from emrctl.cli import options, render
from emrctl.errors import UsageError

app = options.new_app()
prices_app = options.add_group(
    app, "prices", "Show instance prices; update them from AWS.", is_command=True
)


@prices_app.callback()
@options.common("config region json")
def show(
    context: options.Context,
    family: Annotated[str, typer.Option(help="Prefix of instance types, e.g. m5 or r.")] = "",
) -> None:
    """Show on-demand and spot prices per hour, EMR's fee and YARN's memory."""
    region = _region(context)
    rates = [item for item in prices.rates(region) if item.type.startswith(family)]
    if any(item.region != region for item in rates):
        command = f"emrctl prices refresh --region {region}"
        render.note(f"No prices of {region} are stored; these are of another region: {command}")
    if context.as_json:
        render.json_document([asdict(item) | _size(item.type) for item in rates])
    else:
        _print(rates)


@prices_app.command()
@options.common("config region")
def refresh(
    context: options.Context,
    profile: Annotated[str | None, typer.Option(help="AWS profile.")] = None,
) -> None:
    """Download a region's prices from AWS into emrctl's home."""
    target = Target(kind="aws", region=_region(context), profile=profile)
    listing = dataclasses.replace(target, region=prices.LIST_REGION)
    with errors.translated(f"reading the prices of {target.region}"):
        path = prices.refresh(listing.client, target.client, target.region)
    typer.echo(f"Wrote prices of {target.region} to {path}.")


def _region(context: options.Context) -> str:
    """Return the region of --region, of the project, or of the shipped price table."""
    if context.region is not None:
        return context.region
    try:
        return context.workspace.project.region
    except UsageError:
        if context.config is not None:
            raise
        return instance_types.PRICES_REGION


def _size(name: str) -> dict[str, object]:
    size = instance_types.instance_type(name)
    return {
        "vcpus": size.vcpus,
        "memory_gib": size.memory_gib,
        "yarn_mb": size.yarn_mb,
        "yarn_derived": size.yarn_derived,
        "emr": size.emr,
    }


def _print(rates: list[prices.Rate]) -> None:
    head = ("type", "vCPUs", "GiB", "YARN MB", "EC2", "spot", "EMR", "EC2 + EMR")
    render.table(*head, rows=[_row(item) for item in rates], right=head[1:])
    for region, as_of in sorted({(item.region, item.as_of) for item in rates}):
        render.note(f"USD per hour in {region} as of {as_of}; ~ estimated, - not supported by EMR.")


def _row(item: prices.Rate) -> tuple[str, ...]:
    size = instance_types.instance_type(item.type)
    return (
        item.type,
        str(size.vcpus),
        f"{size.memory_gib:g}",
        f"{size.yarn_mb}{'~' if size.yarn_derived else ''}" if size.emr else "-",
        f"{item.ec2_usd:.4f}",
        "" if item.spot_usd is None else f"{item.spot_usd:.4f}",
        f"{item.emr_usd:.4f}{'~' if item.fee_derived else ''}" if size.emr else "-",
        f"{item.ec2_usd + item.emr_usd:.4f}",
    )
