"""XML of S3's responses and requests."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Iterable, Mapping
from typing import Any
from xml.parsers.expat import ExpatError
from xml.sax.saxutils import escape

from emrctl.emulator.s3.errors import S3Error, malformed_xml

_HEADER = '<?xml version="1.0" encoding="UTF-8"?>\n'
_NAMESPACE = ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\ufffe\uffff]")

# An element: its name, and its text or its elements.
Element = tuple[str, Any]


def document(root: str, elements: Iterable[Element]) -> bytes:
    """Return a document of S3's namespace; elements whose text is None are omitted."""
    return f"{_HEADER}<{root}{_NAMESPACE}>{_content(elements)}</{root}>".encode()


def error_document(error: S3Error, resource: str, request_id: str) -> bytes:
    """Return the document of an error."""
    elements = [
        *(("Code", error.code), ("Message", error.message), *error.elements.items()),
        *(("Resource", resource), ("RequestId", request_id), ("HostId", "localhost")),
    ]
    return f"{_HEADER}<Error>{_content(elements)}</Error>".encode()


def _content(elements: Iterable[Element]) -> str:
    parts = []
    for name, value in elements:
        if value is None:
            continue
        text = _text(value) if isinstance(value, str) else _content(value)
        parts.append(f"<{name}>{text}</{name}>")
    return "".join(parts)


def _text(value: str) -> str:
    """Return escaped text; characters that XML does not have are written as S3 writes them."""
    text = escape(value)
    if text.isprintable():
        return text
    return _CONTROL.sub(lambda found: f"&#x{ord(found[0]):x};", text)


def url_quoted(text: str) -> str:
    """Return a key or prefix as in lists with `encoding-type=url`."""
    return urllib.parse.quote(text, safe="/-_.~*")


def parse(body: bytes, root: str) -> Mapping[str, Any]:
    """Return the content of the document's root element; raises S3's error.

    Elements that may be repeated are lists.
    """
    import xmltodict

    repeated = ("Object", "Part", "Tag")
    try:
        parsed = xmltodict.parse(
            body, force_list=repeated, strip_whitespace=False, process_namespaces=False
        )
    except (ExpatError, ValueError) as error:
        raise malformed_xml() from error
    name = next(iter(parsed), "").rpartition(":")[2]
    content = next(iter(parsed.values()), None)
    if name != root:
        raise malformed_xml()
    return content if isinstance(content, Mapping) else {}


def text_of(element: Any, name: str) -> str:
    """Return the text of a required element; raises S3's error."""
    value = element.get(name) if isinstance(element, Mapping) else None
    if not isinstance(value, str):
        raise malformed_xml()
    return value
