"""Data sets that `--check-output` and `check_output` name."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qsl

from emrctl.errors import UsageError


@dataclass(frozen=True)
class OutputSpec:
    """The data set to check: its URI; whether CSV files have a header, and their separator.

    `place` is where it is read, "client" or "cluster"; by default its size decides.
    """

    uri: str
    header: bool = False
    separator: str = ""
    place: str = ""

    @classmethod
    def parse(cls, text: str) -> OutputSpec:
        """Return the parts of `s3://BUCKET/PREFIX[?header=true&sep=;&on=cluster]`.

        Raises `UsageError` if it is invalid.
        """
        uri, _, query = text.partition("?")
        options = dict(parse_qsl(query, separator="&", keep_blank_values=True))
        header, separator = options.pop("header", "false").lower(), options.pop("sep", "")
        place = options.pop("on", "")
        valid = uri.startswith("s3://") and uri.removeprefix("s3://").strip("/").count("/")
        known = header in {"true", "false"} and place in {"", "client", "cluster"}
        if not valid or not known or options or len(separator) > 1:
            raise UsageError(
                f"--check-output {text}: not the prefix of a data set",
                hint="Write it as s3://BUCKET/PREFIX, with options ?header=true&sep=;&on=cluster.",
            )
        return cls(uri.rstrip("/"), header == "true", separator, place)
