"""Vega-Lite charts as SVG for pages and as PNG for slides, without a browser or a network.

Colours in charts are CSS variables (`var(--line)`): the page defines them for its light and dark
theme, a PNG gets those of the light one.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

Json = dict[str, Any]

# Okabe and Ito's palette, distinguishable with colour blindness; lighter on dark pages.
LIGHT = {
    "--text": "#1b1f24",
    "--dim": "#57606a",
    "--back": "#ffffff",
    "--line": "#d5dae0",
    "--faint": "#eef1f4",
    "--faster": "#0072b2",
    "--slower": "#c04f00",
    "--same": "#6b7580",
    "--c0": "#0072b2",
    "--c1": "#c04f00",
    "--c2": "#00805f",
    "--c3": "#a8558a",
    "--c4": "#8a6d00",
    "--c5": "#3d7fa6",
    "--c6": "#6b7580",
}
DARK = {
    "--text": "#e6e9ed",
    "--dim": "#a3adb8",
    "--back": "#14171b",
    "--line": "#363d46",
    "--faint": "#1e2329",
    "--faster": "#56b4e9",
    "--slower": "#f0994a",
    "--same": "#98a2ad",
    "--c0": "#56b4e9",
    "--c1": "#f0994a",
    "--c2": "#2fbf95",
    "--c3": "#d79abf",
    "--c4": "#d9b93b",
    "--c5": "#8fc7ea",
    "--c6": "#98a2ad",
}
COLOURS = tuple(f"var(--c{n})" for n in range(7))
# Fonts of equal widths: the renderer measures texts with its own Liberation Sans.
_FONT = "Arial, Helvetica, Liberation Sans, sans-serif"
_CONFIG: Json = {
    "font": _FONT,
    "background": None,
    "padding": 2,
    "view": {"stroke": None},
    "axis": {
        "labelColor": "var(--dim)",
        "labelFontSize": 12,
        "titleColor": "var(--dim)",
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "titlePadding": 8,
        "gridColor": "var(--line)",
        "domain": False,
        "ticks": False,
        "labelPadding": 6,
        "tickCount": {"expr": "max(3, floor(width / 90))"},
    },
    "title": {
        "color": "var(--text)",
        "font": _FONT,
        "fontSize": 18,
        "fontWeight": "bold",
        "anchor": "start",
        "offset": 16,
    },
    "text": {"color": "var(--text)", "fontSize": 13},
    "mark": {"aria": False},
}
_WIDE, _NARROW, _SLIDE = 840, 350, 900
# Attributes of Vega's SVG that a page needs.
_KEPT = {
    *("d", "fill", "font-size", "font-weight", "height", "opacity", "stroke", "stroke-dasharray"),
    *("stroke-linecap", "stroke-opacity", "stroke-width", "text-anchor", "transform", "viewBox"),
    *("width", "x", "x1", "x2", "y", "y1", "y2"),
}
# Vega writes coordinates with up to 16 digits.
_LONG_NUMBER = re.compile(r"(\.\d)\d+")
_INVISIBLE = {"background", "foreground"}
_MARKS = {"path", "rect", "line"}
_VARIABLE = re.compile(r"var\((--[a-z0-9]+)\)")


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A chart of layers over a common x axis.

    `name` is its file name, `note` a line below the title, and `summary` describes the chart to
    readers who cannot see it. Layers have the y coordinates 0 to `rows` from top to bottom, each
    row `step` pixels high, with labels if there is a `y_axis`; or a `y` channel of their own.
    """

    name: str
    title: str
    summary: str
    layers: tuple[Json, ...]
    rows: float
    note: str = ""
    step: int = 44
    y: Json | None = None
    y_axis: Json | None = None

    def spec(self, width: int, *, titled: bool = False) -> Json:
        """Return the Vega-Lite specification for a width in pixels."""
        scale = {"domain": [0, self.rows], "reverse": True, "nice": False}
        y = self.y or {"type": "quantitative", "axis": self.y_axis, "scale": scale}
        return {
            "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
            "width": width,
            "height": max(1, round(self.rows * self.step)),
            "autosize": {"type": "fit-x", "contains": "padding"},
            "config": _CONFIG,
            "encoding": {"y": {"field": "y", **y}},
            "layer": list(self.layers),
            **({"title": self.title, "padding": 24} if titled else {}),
        }


def svg(chart: Chart) -> str:
    """Return the chart as SVG elements for wide and for narrow pages.

    Values of marks are in `data-tip` for the page's script, and in titles, which browsers show
    without a script.
    """
    return _svg(chart, _WIDE, "wide") + _svg(chart, _NARROW, "narrow")


def _svg(chart: Chart, width: int, css_class: str) -> str:
    from xml.etree import ElementTree as ET

    import vl_convert

    text = vl_convert.vegalite_to_svg(chart.spec(width), allowed_base_urls=[])
    root = ET.fromstring(text.replace("xmlns=", "xmlns:svg=", 1))  # noqa: S314 - Vega's own
    for parent in root.iter():
        for child in [item for item in parent if item.get("class") in _INVISIBLE]:
            parent.remove(child)
    for element in root.iter():
        _clean(element)
    root.attrib = {
        "class": css_class,
        "role": "img",
        "tabindex": "0",
        "aria-label": f"{chart.title}. {chart.summary}",
        "viewBox": root.attrib["viewBox"],
        "style": f"max-width:{root.attrib['width']}px",
    }
    return ET.tostring(root, encoding="unicode")


def _clean(element: Element) -> None:
    """Drop attributes that the page does not need, and add a mark's text as `data-tip`."""
    tip = element.get("aria-label", "") if element.tag in _MARKS else ""
    element.attrib = {
        name: _LONG_NUMBER.sub(r"\1", value)
        for name, value in element.attrib.items()
        if name in _KEPT
    }
    if tip:
        element.set("data-tip", tip)
        title = element.makeelement("title", {})
        title.text = tip
        element.append(title)


def png(chart: Chart) -> bytes:
    """Return the chart with its title as a PNG image on white, for slides."""
    import vl_convert

    spec = {**chart.spec(_SLIDE, titled=True), "background": LIGHT["--back"]}
    text = _VARIABLE.sub(lambda match: LIGHT[match[1]], json.dumps(spec))
    image: bytes = vl_convert.vegalite_to_png(text, scale=2, allowed_base_urls=[])
    return image


# --- layers ---------------------------------------------------------------------------------------


def marks(kind: str | Json, rows: list[Json], x: Json | None = None, **encoding: Any) -> Json:
    """Return a layer; rows with a text `tip` show it when pointed at.

    Each value of `encoding` is the name of a field or a channel definition.
    """
    mark: Json = {"type": kind} if isinstance(kind, str) else dict(kind)
    channels = {
        name: value if isinstance(value, dict) else {"field": value, "type": "quantitative"}
        for name, value in encoding.items()
    }
    if x is not None:
        channels["x"] = x
    if any("tip" in row for row in rows):
        mark["aria"] = True
        channels["description"] = {"field": "tip", "type": "nominal"}
    return {"data": {"values": rows}, "mark": mark, "encoding": channels}


def axis(title: str, **options: Any) -> Json:
    """Return an x channel of the field `x` with its title; `options` are those of the channel."""
    scale = {"zero": False, "nice": False, "padding": 12, **options.pop("scale", {})}
    keys = {"title": title, "grid": True, **options.pop("axis", {})}
    return {"field": "x", "type": "quantitative", "axis": keys, "scale": scale, **options}


def texts(rows: list[Json], *, right: bool = False, share: float = 1.0, **mark: Any) -> Json:
    """Return a layer of the field `text` at the left or right edge, cut to a share of the width."""
    style = {
        "type": "text",
        "align": "right" if right else "left",
        "baseline": "middle",
        "limit": {"expr": f"width * {share}"},
        **mark,
    }
    edge = {"value": "width" if right else 0}
    return marks(style, rows, edge, text={"field": "text", "type": "nominal"})


def own_colour() -> Json:
    """Return a channel that takes the colour from the field `colour`."""
    return {"field": "colour", "type": "nominal", "scale": None}


def line(y: float, text: str) -> Json:
    """Return a row of `texts`."""
    return {"y": y, "text": text}


def signed(unit: str) -> str:
    """Return the expression for the labels of an axis of differences."""
    return f"(datum.value ? format(datum.value, '+,~f') : '0') + '{unit}'"


def count(number: int, noun: str) -> str:
    """Return e.g. `1 task` or `1,200 tasks`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
