"""Certificates for encryption between the nodes, made on request and kept out of every state."""

from __future__ import annotations

import datetime as dt
import hashlib
import io
import zipfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    from emrctl.aws.target import Target

PREFIX = "certificates/"
_DAYS = 825
_BITS = 2048


def make(target: Target, bucket: str, *, days: int = _DAYS) -> str:
    """A new key and its certificate for the region's nodes lie in `bucket`; their address.

    The key exists there and nowhere else: not on this machine, not in a stack's state. A cluster
    that uses them reads them once, when its nodes start.
    """
    from emrctl.aws import errors

    archive = build(target.region, days)
    key = f"{PREFIX}{hashlib.sha256(archive).hexdigest()[:16]}.zip"
    with errors.translated(f"putting certificates into {bucket}"):
        target.client("s3").put_object(
            Bucket=bucket, Key=key, Body=archive, ContentType="application/zip"
        )
    return f"s3://{bucket}/{key}"


def build(region: str, days: int = _DAYS) -> bytes:
    """The archive as EMR wants it: `privateKey.pem`, `certificateChain.pem`, who is trusted."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=_BITS)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),  # EMR asks nobody for a password
    )
    chain = _certificate(key, domain(region), days)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("privateKey.pem", private)
        archive.writestr("certificateChain.pem", chain)
        archive.writestr("trustedCertificates.pem", chain)
    return packed.getvalue()


def domain(region: str) -> str:
    """What the private names of EC2's instances in `region` end with."""
    return "ec2.internal" if region == "us-east-1" else f"{region}.compute.internal"


def _certificate(key: RSAPrivateKey, name: str, days: int) -> bytes:
    """A certificate for every node of the region, signed by its own key."""
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
        .not_valid_before(now - dt.timedelta(minutes=5))  # clocks differ
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(f"*.{name}")]), critical=False)
        # Its own authority: the nodes trust it, and nothing else is signed with it.
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    )
    return built.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
