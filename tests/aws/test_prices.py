"""The catalog's sizes, the tables of prices, and what a cluster costs by them."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest

from emrctl.aws import instance_types, prices
from emrctl.aws import target as targets
from emrctl.aws.target import Target
from emrctl.cli.__main__ import main
from emrctl.cost import estimate, estimate_within_limit
from emrctl.errors import SpecError
from emrctl.spec import ProjectSpec
from tests.recorded import Recorded, refused


def _project(region: str = "us-east-1", **cluster: Any) -> ProjectSpec:
    document = {"project": "pets", "region": region, "cluster": cluster}
    return ProjectSpec.model_validate(document)


# --- sizes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "vcpus", "gib", "yarn_mb", "derived"),
    [
        ("m5.xlarge", 4, 16, 12288, False),
        ("m5.12xlarge", 48, 192, 188416, False),
        ("c5.9xlarge", 36, 72, 65536, False),
        ("m4.large", 2, 8, 6144, False),
        ("p3.2xlarge", 8, 61, 54272, False),
        ("m6i.4xlarge", 16, 64, 57344, True),
        ("i3.4xlarge", 16, 122, 116736, True),
        ("m7g.2xlarge", 8, 32, 23424, True),
    ],
)
def test_instance_type_has_size_and_yarn_memory(
    name: str, vcpus: int, gib: float, yarn_mb: int, *, derived: bool
) -> None:
    found = instance_types.instance_type(name)
    assert (found.vcpus, found.memory_gib, found.yarn_mb) == (vcpus, gib, yarn_mb)
    assert found.yarn_derived == derived


@pytest.mark.parametrize(
    ("name", "vcpus", "gib", "arch"),
    [
        ("t3.medium", 2, 4, "x86_64"),
        ("t3.large", 2, 8, "x86_64"),
        ("t4g.2xlarge", 8, 32, "arm64"),
        ("c6g.large", 2, 4, "arm64"),
        ("r5.large", 2, 16, "x86_64"),
    ],
)
def test_instance_type_small_is_not_supported_by_emr(
    name: str, vcpus: int, gib: float, arch: str
) -> None:
    found = instance_types.instance_type(name)
    assert (found.vcpus, found.memory_gib, found.arch) == (vcpus, gib, arch)
    assert (found.emr, found.emr_usd) == (False, 0.0)
    rate = prices.rate(name, "us-west-2")
    assert (rate.emr_usd, rate.fee_derived) == (0.0, False)
    with pytest.raises(SpecError, match=f"EMR does not support the instance type '{name}'"):
        instance_types.emr_type(name)


@pytest.mark.parametrize(("name", "hint"), [("r6g.large", "r6g.xlarge"), ("t3.large", "m5.xlarge")])
def test_emr_type_unsupported_raises_with_alternative(name: str, hint: str) -> None:
    with pytest.raises(SpecError) as caught:
        instance_types.emr_type(name)
    assert caught.value.hint == f"Use {hint}, or `kind: ec2`."


def test_rate_large_is_half_of_xlarge() -> None:
    table = instance_types.shipped()["regions"][instance_types.PRICES_REGION]["ec2"]
    larges = [name for name in table if name.endswith(".large")]
    assert len(larges) > 15
    for name in larges:
        half = table[name.replace(".large", ".xlarge")] / 2
        cents = 0.00051 if name == "c4.large" else 0  # AWS rounded c4 to a tenth of a cent
        assert table[name] == pytest.approx(half, rel=1e-6, abs=cents), name


def test_yarn_memory_rule_matches_listed_types() -> None:
    for name, listed in instance_types._LISTED_MB.items():
        kind = instance_types.instance_type(name)
        derived = instance_types._yarn_mb(kind.memory_gib, arm=kind.arch == "arm64")
        assert abs(derived - listed) <= 256, name


def test_instance_type_sizes_match_aws() -> None:
    """moto carries what DescribeInstanceTypes says."""
    import gzip
    from importlib import resources

    text = resources.files("moto.ec2.resources").joinpath("instance_types.json.gz").read_bytes()
    known = json.loads(gzip.decompress(text))
    assert len(set(known) & set(instance_types.INSTANCE_TYPES)) > 120
    for name in set(known) & set(instance_types.INSTANCE_TYPES):
        ours, theirs = instance_types.INSTANCE_TYPES[name], known[name]
        assert ours.vcpus == theirs["VCpuInfo"]["DefaultVCpus"], name
        assert ours.memory_gib == theirs["MemoryInfo"]["SizeInMiB"] / 1024, name
        assert ours.arch in theirs["ProcessorInfo"]["SupportedArchitectures"], name


# --- tables --------------------------------------------------------------------------------------


def test_shipped_table_contains_every_type() -> None:
    table = instance_types.shipped()
    assert table["as_of"] == instance_types.PRICES_AS_OF
    own = table["regions"][instance_types.PRICES_REGION]
    assert set(own["ec2"]) == set(instance_types.INSTANCE_TYPES)
    assert set(own["emr"]) < set(own["ec2"])
    for name, fee in own["emr"].items():
        assert fee == pytest.approx(instance_types.emr_fee(own["ec2"][name]), rel=0.25), name


def test_rate_has_region_and_date() -> None:
    own = prices.rate("m5.xlarge", "us-east-1")
    assert (own.ec2_usd, own.emr_usd, own.fee_derived) == (0.192, 0.048, False)
    same = prices.rate("m5.xlarge", "us-west-2")
    assert (same.region, same.ec2_usd) == ("us-west-2", 0.192)
    elsewhere = prices.rate("m5.xlarge", "eu-north-1")
    assert elsewhere.region == "us-east-1"
    derived = prices.rate("r6i.16xlarge", "us-east-1")
    assert (derived.emr_usd, derived.fee_derived) == (0.27, True)
    with pytest.raises(SpecError, match="not in emrctl's catalog"):
        prices.rate("t3.micro", "us-east-1")


# --- what a cluster costs ------------------------------------------------------------------------


def test_estimate_has_parts() -> None:
    cost = estimate(_project())
    assert cost.ec2_usd == pytest.approx(0.576)
    assert cost.emr_usd == pytest.approx(0.144)
    assert cost.other_usd == pytest.approx(3 * 64 * 0.08 / 730 + 3 * 0.005)
    assert cost.most_usd == pytest.approx(cost.hourly_usd)
    assert cost.source == "prices of us-east-1, 2026-11-20"


def test_estimate_region_without_prices_is_marked() -> None:
    cost = estimate(_project("eu-north-1", core={"type": "m6a.xlarge"}))
    assert any("no prices of eu-north-1" in note for note in cost.notes)
    assert any("EMR's fee of m6a.xlarge" in note for note in cost.notes)


def test_estimate_spot_uses_price_up_to_bid() -> None:
    cost = estimate(_project(core={"count": 10, "bid_usd": 0.1}))
    (line,) = [line for line in cost.items if "spot" in line.what]
    assert line.ec2_usd == pytest.approx(1.0)
    assert line.emr_usd == pytest.approx(0.48)
    dear = estimate(_project(core={"count": 10, "bid_usd": 9.0}))
    (line,) = [line for line in dear.items if "spot" in line.what]
    assert line.most_usd == pytest.approx(2.4)  # at most the on-demand price


FLEET: dict[str, Any] = {
    "types": [{"type": "m5.xlarge"}, {"type": "r5.2xlarge", "weight": 2}],
    "spot": 4,
    "on_demand": 1,
}


def test_estimate_fleet_uses_most_expensive_type() -> None:
    cost = estimate(_project(fleets={"core": FLEET}))
    spot, fixed = (
        next(line for line in cost.items if line.what == what)
        for what in ("core r5.2xlarge spot", "core r5.2xlarge")
    )
    assert (spot.count, fixed.count) == (2, 1)
    assert spot.most_usd == pytest.approx(2 * 0.63)
    ends = {**FLEET, "on_timeout": "terminate", "types": [{"bid_percent": 50}]}
    capped = estimate(_project(fleets={"core": ends, "task": {**FLEET, "spot": 0}}))
    (line,) = [line for line in capped.items if line.what == "core m5.xlarge spot"]
    assert line.most_usd == pytest.approx(4 * (0.096 + 0.048))
    assert any(line.what.startswith("task") for line in capped.items)


@pytest.mark.parametrize(
    ("cluster", "more", "usd"),
    [
        ({"scaling": {"maximum": 12}}, 10, 2.4),
        ({"scaling": {"maximum": 80, "unit": "vcpus"}}, 72, 72 * 0.06),
        ({"scaling": {"maximum": 9}, "fleets": {"core": FLEET}}, 4, 4 * 0.315),
        ({"scaling": {"maximum": 2}}, 0, 0),
    ],
)
def test_estimate_scaling_uses_maximum(cluster: dict[str, Any], more: int, usd: float) -> None:
    cost = estimate(_project(**cluster))
    (line,) = [line for line in cost.items if line.what.startswith("scaling")]
    assert (line.count, line.usd) == (more, 0)
    assert line.most_usd == pytest.approx(usd)


def test_estimate_includes_nat_and_endpoints() -> None:
    private = estimate(_project(network={"private": True, "nat": True}))
    beside = {line.what: line.usd for line in private.items}
    assert beside["endpoints"] == pytest.approx(0.02)
    assert beside["NAT gateway"] == pytest.approx(0.05)
    assert "public addresses" not in beside
    theirs = estimate(_project(network={"subnets": ["subnet-1"]}))
    assert not {line.what for line in theirs.items} & {"public addresses", "endpoints"}


def test_estimate_over_limit_raises_with_prices() -> None:
    estimate_within_limit(_project(max_hourly_cost=0.76))
    estimate_within_limit(_project())
    with pytest.raises(SpecError) as caught:
        estimate_within_limit(
            _project(max_hourly_cost=0.5, core={"type": "m5.2xlarge", "count": 2})
        )
    message = str(caught.value)
    assert "can cost 1.236 USD an hour, and max_hourly_cost is 0.500" in message
    assert "core m5.2xlarge 0.960" in message
    assert "max_hourly_cost" in caught.value.hint


# --- AWS's own -----------------------------------------------------------------------------------


def _product(name: str, usd: str, unit: str = "Hrs") -> str:
    terms = {
        "OnDemand": {"x": {"priceDimensions": {"y": {"unit": unit, "pricePerUnit": {"USD": usd}}}}}
    }
    return json.dumps({"product": {"attributes": {"instanceType": name}}, "terms": terms})


def _listed(request: Any) -> Any:
    filters = {item["Field"]: item["Value"] for item in request["Filters"]}
    assert filters["regionCode"] == "eu-west-1"
    if request["ServiceCode"] == "ElasticMapReduce":
        return {"PriceList": [_product("m5.xlarge", "0.048")]}
    assert (filters["operatingSystem"], filters["tenancy"]) == ("Linux", "Shared")
    if "NextToken" not in request:
        return {"PriceList": [_product("m5.xlarge", "0.214")], "NextToken": "more"}
    return {
        "PriceList": [
            _product("t3.micro", "0.01"),
            _product("r5.xlarge", "0.282"),
            _product("c5.xlarge", "9", "GB"),
        ]
    }


def _spot(name: str, zone: str, price: str, minute: int) -> dict[str, Any]:
    when = dt.datetime(2026, 11, 20, 10, minute, tzinfo=dt.UTC)
    return {"InstanceType": name, "AvailabilityZone": zone, "SpotPrice": price, "Timestamp": when}


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Recorded:
    """AWS's price list and spot history."""
    targets._client.cache_clear()
    targets._session.cache_clear()
    history = [
        _spot("m5.xlarge", "a", "0.09", 1),
        _spot("m5.xlarge", "a", "0.11", 5),
        _spot("m5.xlarge", "b", "0.10", 3),
    ]
    found = Recorded(
        {"GetProducts": _listed, "DescribeSpotPriceHistory": {"SpotPriceHistory": history}}
    )
    monkeypatch.setattr("botocore.client.BaseClient._make_api_call", found.answer)
    return found


def test_rate_prefers_refreshed_prices(aws: Recorded, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["prices", "refresh", "--region", "eu-west-1"])
    assert ended.value.code == 0
    assert str(prices.file()) in capsys.readouterr().out
    found = prices.rate("m5.xlarge", "eu-west-1")
    assert (found.region, found.ec2_usd, found.emr_usd) == ("eu-west-1", 0.214, 0.048)
    assert found.spot_usd == 0.10  # the cheapest zone's latest
    assert found.as_of == dt.datetime.now(dt.UTC).date().isoformat()
    assert prices.rate("r5.xlarge", "eu-west-1").fee_derived
    assert prices.rate("c5.xlarge", "eu-west-1").region == "us-east-1"
    assert "t3.micro" not in prices.file().read_text()
    spot = estimate(_project("eu-west-1", core={"bid_usd": 0.2}))
    (line,) = [line for line in spot.items if "spot" in line.what]
    assert line.ec2_usd == pytest.approx(0.1)
    assert line.most_usd == pytest.approx(0.248)


def test_refresh_uses_price_list_region(aws: Recorded) -> None:
    regions: list[str] = []

    def client(service: str) -> Any:
        regions.append(service)
        return Target(kind="aws", region=prices.LIST_REGION).client(service)

    prices.refresh(client, Target(kind="aws", region="eu-west-1").client, "eu-west-1")
    assert regions == ["pricing"]
    assert {operation for operation, _ in aws.calls} == {"GetProducts", "DescribeSpotPriceHistory"}


def test_refresh_unlisted_region_raises_and_keeps_file(aws: Recorded) -> None:
    aws.answers["GetProducts"] = {"PriceList": []}
    with pytest.raises(SpecError, match="no prices of us-east-9"):
        prices.refresh(*_clients(), "us-east-9")
    assert not prices.file().exists()


def _clients() -> tuple[Any, Any]:
    request = Target(kind="aws", region="us-east-1")
    return request.client, request.client


def test_prices_refresh_expired_session_prints_error(
    aws: Recorded, capsys: pytest.CaptureFixture[str]
) -> None:
    aws.answers["GetProducts"] = refused("ExpiredTokenException")
    with pytest.raises(SystemExit) as ended:
        main(["prices", "refresh", "--region", "eu-west-1"])
    assert ended.value.code == 4
    assert "the session has expired" in capsys.readouterr().err


def test_prices_prints_table_and_json(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["prices", "--region", "us-east-1", "--family", "m5.x", "--json"])
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["type"], found["ec2_usd"], found["yarn_mb"]) == ("m5.xlarge", 0.192, 12288)
    with pytest.raises(SystemExit):
        main(["prices", "--family", "r6i"])
    shown = capsys.readouterr()
    assert "r6i.24xlarge" in shown.out
    assert "us-east-1 as of 2026-11-20" in shown.err


@pytest.mark.parametrize(
    ("region", "found"), [("us-east-1",) * 2, ("us-west-2",) * 2, ("eu-west-3", "us-east-1")]
)
def test_unit_prices_are_those_of_the_region_or_of_us_east_1(region: str, found: str) -> None:
    glue = prices.unit_prices("glue", region)
    assert (glue.region, glue.usd) == (found, {"dpu": 0.44, "dpu_flex": 0.29})
    assert set(prices.unit_prices("emr_serverless", region).usd) == {"vcpu", "gb", "storage_gb"}
