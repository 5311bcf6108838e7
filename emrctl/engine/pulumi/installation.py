"""What there is of the real engine on this machine, and what is missing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata

from emrctl.engine.pulumi import binary
from emrctl.engine.pulumi.binary import EngineBinary, EngineMissingError


@dataclass(frozen=True, kw_only=True)
class EngineReport:
    """Engines found, the one that is used, and the AWS plugin that belongs to it."""

    engines: tuple[EngineBinary, ...]
    used: EngineBinary | None
    wanted: str
    plugin_version: str
    plugin: bool


def installed() -> EngineReport:
    """What there is."""
    try:
        used = binary.find()
    except EngineMissingError:
        used = None
    return EngineReport(
        engines=binary.candidates(),
        used=used,
        wanted=f">={binary.OLDEST},<{binary.TOO_NEW}",
        plugin_version=binary.plugin_version(),
        plugin=used is not None and binary.has_plugin(used),
    )


def missing(*, plugin: bool) -> list[str]:
    """What `install` would fetch, with where it goes and how large it is."""
    found = installed()
    engine = f"Pulumi {metadata.version('pulumi')} into {binary.own_root()} (about 100 MB)"
    aws = f"its AWS plugin {found.plugin_version} (about 700 MB)"
    return [
        *([engine] if found.used is None else []),
        *([aws] if plugin and not found.plugin else []),
    ]


def install(*, plugin: bool, tell: Callable[[str], None]) -> None:
    """An engine that fits is there, with `plugin` also its AWS plugin."""
    try:
        engine = binary.find()
    except EngineMissingError:
        tell("installing the engine")
        engine = binary.install()
    if plugin and not binary.has_plugin(engine):
        tell("installing the AWS plugin")
        binary.install_plugin(engine)
