"""Certificates for encryption in transit, which no stack's state contains."""

from __future__ import annotations

import datetime as dt
import hashlib
import io
import zipfile
from typing import TYPE_CHECKING

from emrctl.aws.target import Target

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

PREFIX = "certificates/"
_DAYS = 825
_BITS = 2048


def make(target: Target, bucket: str, *, days: int = _DAYS) -> str:
    """Upload a new key and certificate for the region's nodes; return the S3 URI.

    The key is stored only in the bucket. A cluster reads it once, when its nodes start.
    """
    from emrctl.aws import errors

    archive = build(target.region, days)
    key = f"{PREFIX}{hashlib.sha256(archive).hexdigest()[:16]}.zip"
    with errors.translated(f"uploading certificates to {bucket}"):
        target.client("s3").put_object(
            Bucket=bucket, Key=key, Body=archive, ContentType="application/zip"
        )
    return f"s3://{bucket}/{key}"


def build(region: str, days: int = _DAYS) -> bytes:
    """Return the archive in EMR's format: private key, certificate chain, trusted certificates."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=_BITS)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),  # EMR does not support a password
    )
    chain = _certificate(key, domain(region), days)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("privateKey.pem", private)
        archive.writestr("certificateChain.pem", chain)
        archive.writestr("trustedCertificates.pem", chain)
    return packed.getvalue()


def domain(region: str) -> str:
    """Return the domain of the private DNS names of the region's instances."""
    return "ec2.internal" if region == "us-east-1" else f"{region}.compute.internal"


def _certificate(key: RSAPrivateKey, name: str, days: int) -> bytes:
    """Return a self-signed certificate for all nodes of the region."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.x509.oid import NameOID

    own = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"*.{name}")])
    now = dt.datetime.now(dt.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(own)
        .issuer_name(own)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))  # tolerates clock differences
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(f"*.{name}")]), critical=False)
        # It is its own authority, which the nodes trust and which signs nothing else.
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    )
    return built.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
