"""Certificates for encryption in transit."""

from __future__ import annotations

import datetime as dt
import io
import json
import re
import zipfile
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from emrctl.aws.target import Target
from emrctl.cli.__main__ import main
from emrctl.errors import ProvisioningError
from emrctl.provision import certificates

BUCKET = "pets-emrctl-123456789012-us-east-1"


@pytest.mark.parametrize(
    ("region", "name"),
    [("us-east-1", "*.ec2.internal"), ("eu-west-1", "*.eu-west-1.compute.internal")],
)
def test_build_returns_archive_in_emr_format(region: str, name: str) -> None:
    packed = zipfile.ZipFile(io.BytesIO(certificates.build(region, days=30)))
    assert sorted(packed.namelist()) == [
        "certificateChain.pem",
        "privateKey.pem",
        "trustedCertificates.pem",
    ]
    key = serialization.load_pem_private_key(packed.read("privateKey.pem"), password=None)
    chain = x509.load_pem_x509_certificate(packed.read("certificateChain.pem"))
    assert chain.public_key() == key.public_key()
    names = chain.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [name]
    # From 5 minutes ago on, for nodes whose clock is slow.
    validity = chain.not_valid_after_utc - chain.not_valid_before_utc
    assert validity == dt.timedelta(days=30, minutes=5)
    trusted = x509.load_pem_x509_certificate(packed.read("trustedCertificates.pem"))
    chain.verify_directly_issued_by(trusted)


def test_build_makes_a_key_of_2048_bits_that_signs_no_other_certificate() -> None:
    packed = zipfile.ZipFile(io.BytesIO(certificates.build("us-east-1")))
    chain = x509.load_pem_x509_certificate(packed.read("certificateChain.pem"))
    key = chain.public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    assert key.key_size == 2048
    authority = chain.extensions.get_extension_for_class(x509.BasicConstraints)
    assert authority.critical
    assert (authority.value.ca, authority.value.path_length) == (True, 0)
    names = chain.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert not names.critical
    validity = chain.not_valid_after_utc - chain.not_valid_before_utc
    assert validity == dt.timedelta(days=825, minutes=5)


def test_make_stores_key_in_bucket_only(mocked: Target, tmp_path: Path) -> None:
    mocked.client("s3").create_bucket(Bucket=BUCKET)
    uri = certificates.make(mocked, BUCKET)
    assert re.fullmatch(rf"s3://{BUCKET}/certificates/[0-9a-f]{{16}}\.zip", uri)
    body = mocked.client("s3").get_object(Bucket=BUCKET, Key=uri.split("/", 3)[3])["Body"].read()
    assert zipfile.ZipFile(io.BytesIO(body)).testzip() is None
    assert certificates.make(mocked, BUCKET) != uri  # another key each time
    assert not list(tmp_path.rglob("*.pem")) + list(tmp_path.rglob("*.zip"))


def test_make_without_bucket_raises(mocked: Target) -> None:
    with pytest.raises(ProvisioningError, match="uploading certificates to nowhere"):
        certificates.make(mocked, "nowhere")


def test_certificates_command_prints_uri(
    mocked: Target,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    mocked.client("s3").create_bucket(Bucket=BUCKET)
    (tmp_path / "emrctl.yaml").write_text("project: pets\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("emrctl.aws.target.emulator", lambda _region: mocked)
    for arguments in (["certificates", "--json", "--days", "9"], ["certificates"]):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 0
        out, err = capsys.readouterr()
        uri = json.loads(out)["uri"] if "--json" in arguments else out.strip()
        assert uri.startswith(f"s3://{BUCKET}/certificates/")
    assert "in_transit" in err
