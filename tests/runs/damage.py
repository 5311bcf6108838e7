"""Damage to files of a store: bytes, JSON values and file types, for tests."""

from __future__ import annotations

import copy
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

Damage = Callable[[Path], None]

_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([10**30, -1, 2**63, 2**31])
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["\x00", "\ud800", "x" * 5000, "2026-11-20T10:00:00", "../..", "s3://"])
)
VALUES = st.recursive(
    _SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)
_BYTES: Mapping[str, Callable[[bytes], bytes]] = {
    "empty": lambda _body: b"",
    "null": lambda _body: b"null",
    "list": lambda _body: b"[]",
    "object": lambda _body: b"{}",
    "nested": lambda _body: b"[" * 100_000,
    "nested objects": lambda _body: b'{"a":' * 100_000,
    "zeros": lambda body: bytes(len(body)),
    "not UTF-8": lambda body: body.replace(b":", b":\xff", 1),
    "UTF-16": lambda body: body.decode(errors="replace").encode("utf-16"),
    "NaN": lambda body: body.replace(b": 1", b": NaN").replace(b": 2", b": -Infinity"),
    "huge numbers": lambda body: body.replace(b": 1", b": 1e999").replace(b": 2", b": 99e30"),
    "digits": lambda body: body.replace(b": 1", b": " + b"9" * 5000),
    "two documents": lambda body: body + body,
}


def _edit_bytes(name: str) -> Damage:
    def act(path: Path) -> None:
        path.write_bytes(_BYTES[name](path.read_bytes()))

    return act


def _truncate(share: float) -> Damage:
    def act(path: Path) -> None:
        body = path.read_bytes()
        path.write_bytes(body[: int(len(body) * share)])

    return act


def _flip(share: float, bits: int) -> Damage:
    def act(path: Path) -> None:
        body = bytearray(path.read_bytes())
        if body:
            body[int(len(body) * share) % len(body)] ^= bits
        path.write_bytes(bytes(body))

    return act


def _replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _replace_by_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _replace_by_link_to_itself(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


_DELETE = object()


def _edit_json(choice: int, value: Any) -> Damage:
    """Replace, delete or add one value of a JSON document, also of one line of JSON lines."""

    def act(path: Path) -> None:
        text = path.read_text()
        lines = text.splitlines() if path.suffix == ".jsonl" else [text]
        try:
            documents = [json.loads(line) for line in lines]
        except ValueError:
            return
        found = list(places(documents))
        if found:
            parent, key = found[choice % len(found)]
            if value is _DELETE:
                del parent[key]
            elif isinstance(parent, dict) and choice % 7 == 0:
                parent["later"] = value
            else:
                parent[key] = copy.deepcopy(value)
        body = "\n".join(json.dumps(item) for item in documents)
        path.write_bytes(body.encode(errors="surrogatepass"))

    return act


def places(document: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the container and key of each value."""
    keys = document if isinstance(document, dict) else range(len(document))
    for key in keys:
        yield document, key
        if isinstance(document[key], dict | list):
            yield from places(document[key])


DAMAGES: st.SearchStrategy[Damage] = (
    st.sampled_from(sorted(_BYTES)).map(_edit_bytes)
    | st.sampled_from([_replace_by_folder, _replace_by_pipe, _replace_by_link_to_itself])
    | st.floats(0, 1).map(_truncate)
    | st.builds(_flip, st.floats(0, 1), st.integers(1, 255))
    | st.builds(_edit_json, st.integers(0, 100_000), VALUES | st.just(_DELETE))
    | st.builds(_edit_json, st.integers(0, 100_000), VALUES | st.just(_DELETE))
)
FIXED: Mapping[str, Damage] = {
    **{name: _edit_bytes(name) for name in _BYTES},
    "truncated": _truncate(0.5),
    "folder": _replace_by_folder,
    "pipe": _replace_by_pipe,
    "link to itself": _replace_by_link_to_itself,
}


def clear(path: Path) -> None:
    """Delete a file or folder."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
