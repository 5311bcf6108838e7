"""Names of settings and of the numbers in a job's result, in words."""

from __future__ import annotations

_SETTINGS = {
    "target": "target",
    "cluster.release": "EMR release",
    "cluster.primary": "primary node",
    "cluster.core": "core nodes",
    "code": "code of the job",
    "mode": "deploy mode",
}
# Groups of numbers that add nothing to the names in them.
_GENERIC = {"figures", "metrics", "result"}
_UNITS = {"s": "s", "ms": "ms", "seconds": "s", "bytes": "B", "usd": "USD", "percent": "%"}


def setting(name: str) -> str:
    """Return the words for a setting, e.g. `executor memory` for `executor_memory`.

    Spark properties and environment variables keep their names, by which users look them up.
    """
    if name in _SETTINGS:
        return _SETTINGS[name]
    group, _, rest = name.partition(".")
    if group == "conf" and rest:
        return rest
    if group == "env" and rest:
        return f"environment variable {rest}"
    return name.replace("_", " ").replace(".", ": ")


def figure(name: str) -> tuple[str, str]:
    """Return the words and the unit for a number of a result, e.g. `figures.best.train_s`.

    The words are `best: train`, the unit is s; it is empty if the name has none.
    """
    unit = ""
    words = []
    for part in name.split("."):
        stem, _, end = part.rpartition("_")
        if stem.endswith("_per") and end == "s":
            part = f"{stem}_second"  # noqa: PLW2901
        elif stem and end.lower() in _UNITS:
            unit, part = _UNITS[end.lower()], stem  # noqa: PLW2901
        words.append(part.replace("_", " ").strip() or part)
    if len(words) > 1 and words[0] in _GENERIC:
        words = words[1:]
    return ": ".join(words), unit
