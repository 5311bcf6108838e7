"""Prices of instance types per hour, with EMR's fee, from a dated table.

The shipped table has on-demand prices of a few regions. `refresh` downloads a region's prices into
emrctl's home; they take precedence. Prices of another region or estimated fees are marked.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emrctl import paths
from emrctl.aws import instance_types
from emrctl.errors import SpecError

_SPOT_DAYS = 1
# The price list is answered in a few regions only; this is one.
LIST_REGION = "us-east-1"
Client = Callable[[str], Any]


@dataclass(frozen=True, kw_only=True)
class Rate:
    """Prices of one instance type in US dollars per hour.

    `region` is the region of the price, which differs from the requested one if no table has that.
    `spot_usd` is the latest price in the cheapest zone. `fee_derived` means that EMR's fee is
    estimated.
    """

    type: str
    region: str
    as_of: str
    ec2_usd: float
    emr_usd: float
    spot_usd: float | None = None
    fee_derived: bool = False


def rate(name: str, region: str) -> Rate:
    """Return prices from emrctl's home, the shipped table or another region, in this order."""
    instance_types.instance_type(name)
    shipped = instance_types.shipped()
    sources = ((_own(), region), (shipped, region), (shipped, instance_types.PRICES_REGION))
    for document, source in sources:
        found = _rate(document, name, source, source)
        if found is not None:
            return found
    hint = "Download it with `emrctl prices refresh`."
    raise SpecError(f"no table has a price of {name}", hint=hint)


def rates(region: str) -> tuple[Rate, ...]:
    """Return the prices of all known instance types in `region`."""
    return tuple(rate(name, region) for name in instance_types.INSTANCE_TYPES)


@dataclass(frozen=True, kw_only=True)
class UnitPrices:
    """List prices of a service per unit and hour in US dollars, e.g. of a `vcpu`.

    `region` is the region of the prices, `as_of` the month in which they were published.
    """

    region: str
    as_of: str
    usd: Mapping[str, float]


def unit_prices(service: str, region: str) -> UnitPrices:
    """Return prices of `emr_serverless`, `emr_on_eks`, `fargate` or `glue`.

    Those of `PRICES_REGION` if the shipped table has none of the region.
    """
    document = instance_types.shipped()
    table = _table(document, region)
    if table is None or "services" not in table:
        region = instance_types.PRICES_REGION
        table = document["regions"][region]
    units = dict(table["services"][service])
    return UnitPrices(region=region, as_of=units.pop("as_of"), usd=units)


def _table(document: dict[str, Any], region: str) -> dict[str, Any] | None:
    """Return the prices of a region, or of the one that it is the same as."""
    table: dict[str, Any] | None = document.get("regions", {}).get(region)
    return _table(document, table["same_as"]) if table and "same_as" in table else table


def _rate(document: dict[str, Any], name: str, region: str, label: str) -> Rate | None:
    table = _table(document, region)
    if table is None or name not in table["ec2"]:
        return None
    ec2, fee = float(table["ec2"][name]), table["emr"].get(name)
    kind = instance_types.instance_type(name)
    return Rate(
        type=name,
        region=label,
        as_of=table["as_of"],
        ec2_usd=ec2,
        emr_usd=kind.fee_usd(ec2, fee),
        spot_usd=table.get("spot", {}).get(name),
        fee_derived=kind.emr and fee is None,
    )


def file() -> Path:
    """Return the path of downloaded prices; the file need not exist."""
    return paths.home() / "prices.json"


def _own() -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(file().read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    return found


def refresh(pricing: Client, ec2: Client, region: str) -> Path:
    """Download the current prices of `region` into emrctl's home; return the file.

    `pricing` creates clients in `LIST_REGION`, `ec2` in `region`.
    """
    client = pricing("pricing")
    table = {
        "as_of": dt.datetime.now(dt.UTC).date().isoformat(),
        "ec2": _listed(client, "AmazonEC2", region, _EC2),
        "emr": _listed(client, "ElasticMapReduce", region, _EMR),
        "spot": _spot(ec2("ec2")),
    }
    if not table["ec2"]:
        hint = "Check the region's name."
        raise SpecError(f"AWS lists no prices of {region}", hint=hint)
    document = _own() or {"regions": {}}
    document["regions"][region] = table
    path = file()
    paths.write_atomically(path, json.dumps(document, indent=1) + "\n")
    return path


_EC2 = {
    "operatingSystem": "Linux",
    "tenancy": "Shared",
    "preInstalledSw": "NA",
    "capacitystatus": "Used",
}
_EMR = {"softwareType": "EMR"}


def _listed(client: Any, service: str, region: str, more: dict[str, str]) -> dict[str, float]:
    wanted = {"regionCode": region, **more}
    filters = [{"Type": "TERM_MATCH", "Field": key, "Value": item} for key, item in wanted.items()]
    found: dict[str, float] = {}
    pages = client.get_paginator("get_products").paginate(ServiceCode=service, Filters=filters)
    for page in pages:
        for text in page["PriceList"]:
            product = json.loads(text)
            name = product["product"]["attributes"].get("instanceType", "")
            price = _on_demand(product)
            if name in instance_types.INSTANCE_TYPES and price:
                found[name] = price
    return dict(sorted(found.items()))


def _on_demand(product: dict[str, Any]) -> float:
    """Return the price per hour; 0 if the list has none."""
    for term in product.get("terms", {}).get("OnDemand", {}).values():
        for dimension in term["priceDimensions"].values():
            if dimension.get("unit", "Hrs").lower() in {"hrs", "hours"}:
                return float(dimension["pricePerUnit"].get("USD", 0))
    return 0.0


def _spot(client: Any) -> dict[str, float]:
    """Return the latest price of each type in its cheapest zone."""
    since = dt.datetime.now(dt.UTC) - dt.timedelta(days=_SPOT_DAYS)
    latest: dict[tuple[str, str], tuple[Any, float]] = {}
    pages = client.get_paginator("describe_spot_price_history").paginate(
        InstanceTypes=list(instance_types.INSTANCE_TYPES),
        ProductDescriptions=["Linux/UNIX"],
        StartTime=since,
    )
    for page in pages:
        for item in page["SpotPriceHistory"]:
            key, when = (item["InstanceType"], item["AvailabilityZone"]), item["Timestamp"]
            if key not in latest or when > latest[key][0]:
                latest[key] = (when, float(item["SpotPrice"]))
    found: dict[str, float] = {}
    for (name, _), (_, price) in latest.items():
        found[name] = min(price, found.get(name, price))
    return dict(sorted(found.items()))
