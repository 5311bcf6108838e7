"""The page of a comparison in Chromium."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from emrctl.compare import drawing
from tests.browser.conftest import Open
from tests.compare.comparisons import EVIL

pytestmark = pytest.mark.browser
PHONE = {"width": 360, "height": 740}


def overflow(page: Any) -> list[str]:
    """Return the elements outside scrollable regions that are wider than the window."""
    found: list[str] = page.evaluate(
        """() => [...document.querySelectorAll("main *, header *")]
          .filter((item) => !item.closest(".wide-table, svg, .skip"))
          .filter((item) => item.getBoundingClientRect().right > window.innerWidth + 1)
          .map((item) => item.outerHTML.slice(0, 120))"""
    )
    return found


def scrolls_sideways(page: Any) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth > window.innerWidth"))


def colour(page: Any, selector: str, name: str) -> str:
    script = "([selector, name]) => getComputedStyle(document.querySelector(selector))[name]"
    return str(page.evaluate(script, [selector, name]))


def rgb(value: str) -> str:
    return f"rgb({', '.join(str(int(value[at : at + 2], 16)) for at in (1, 3, 5))})"


@pytest.mark.parametrize("name", ["scaled", "hostile"])
def test_page_has_no_message_and_no_request(open_page: Open, name: str) -> None:
    opened = open_page(name)
    for chart in opened.page.locator("svg.wide").all():
        chart.hover()
        chart.press("End")
    assert opened.messages == []
    assert opened.requests == []


def test_texts_that_are_markup_stay_text(open_page: Open) -> None:
    page = open_page("hostile").page
    assert page.locator("h1").text_content() == EVIL
    assert page.title() == EVIL
    assert page.locator("img, main script, iframe").count() == 0
    assert EVIL in page.locator("svg.wide text").all_text_contents()
    labels = page.locator("svg.wide").evaluate_all("all => all.map(x => x.ariaLabel)")
    assert any(EVIL in label for label in labels)


def test_mark_shows_its_values_when_pointed_at(open_page: Open) -> None:
    page = open_page("scaled").page
    mark = page.locator("#durations svg.wide [data-tip]").last
    # Scrolling hides the values: its event must have been handled before the mark is pointed at.
    mark.scroll_into_view_if_needed()
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    mark.hover()
    tip = page.locator("#tip")
    page.wait_for_function("document.getElementById('tip').textContent !== ''")
    assert tip.text_content() == mark.get_attribute("data-tip")
    assert tip.bounding_box()["width"] > 20
    page.locator("h1").hover()
    page.wait_for_function("document.getElementById('tip').textContent === ''")


def test_values_can_be_read_with_the_keyboard(open_page: Open) -> None:
    page = open_page("scaled").page
    chart = page.locator("#durations svg.wide").first
    tips = chart.locator("[data-tip]").evaluate_all("all => all.map(x => x.dataset.tip)")
    chart.focus()
    seen = []
    for key in ("ArrowRight", "ArrowRight", "ArrowLeft", "End", "Home", "ArrowUp"):
        page.keyboard.press(key)
        seen.append(page.locator("#tip").text_content())
    assert seen == [tips[0], tips[1], tips[0], tips[-1], tips[0], tips[-1]]
    page.keyboard.press("Escape")
    assert page.locator("#tip").text_content() == ""


def test_tab_reaches_links_tables_charts_and_folded_figures(open_page: Open) -> None:
    page = open_page("scaled").page
    reached = []
    script = "document.activeElement.getAttribute('class') ?? document.activeElement.tagName"
    for _ in range(40):
        page.keyboard.press("Tab")
        tag = page.evaluate(script)
        if tag == "BODY":
            break
        reached.append(tag)
    assert reached[0] == "skip"
    assert {"A", "wide-table", "SUMMARY", "wide"} <= set(reached)
    assert "narrow" not in reached
    assert reached.count("wide") == page.locator("svg.wide").count()


def test_skip_link_leads_to_the_verdict(open_page: Open) -> None:
    page = open_page("scaled").page
    page.keyboard.press("Tab")
    assert page.locator(".skip").bounding_box()["x"] >= 0
    page.keyboard.press("Enter")
    assert page.url.endswith("#verdict")


@pytest.mark.parametrize(
    ("scheme", "theme"), [("light", drawing.LIGHT), ("dark", drawing.DARK)], ids=["light", "dark"]
)
def test_page_follows_the_theme_of_the_system(
    open_page: Open, scheme: str, theme: dict[str, str]
) -> None:
    page = open_page("scaled", color_scheme=scheme).page
    assert colour(page, "body", "backgroundColor") == rgb(theme["--back"])
    assert colour(page, "h1", "color") == rgb(theme["--text"])
    assert colour(page, "#durations svg.wide [data-tip]", "fill") == rgb(theme["--c0"])
    assert colour(page, "#durations svg.wide text", "fill") in map(rgb, theme.values())


def test_theme_changes_without_reloading(open_page: Open) -> None:
    page = open_page("scaled", color_scheme="light").page
    page.emulate_media(color_scheme="dark")
    assert colour(page, "body", "backgroundColor") == rgb(drawing.DARK["--back"])


@pytest.mark.parametrize("name", ["scaled", "hostile"])
def test_phone_does_not_scroll_sideways(open_page: Open, name: str) -> None:
    page = open_page(name, viewport=PHONE, has_touch=True, is_mobile=True).page
    assert not scrolls_sideways(page)
    assert overflow(page) == []
    assert page.locator("svg.narrow").first.is_visible()
    assert not page.locator("svg.wide").first.is_visible()


def test_texts_of_charts_are_readable_on_a_phone(open_page: Open) -> None:
    page = open_page("scaled", viewport=PHONE).page
    heights = page.locator("svg.narrow text").evaluate_all(
        "all => all.map(x => x.getBoundingClientRect().height).filter(x => x > 0)"
    )
    assert len(heights) > 50
    assert min(heights) >= 9


def test_texts_of_charts_stay_inside(open_page: Open) -> None:
    page = open_page("scaled").page
    outside = page.evaluate(
        """() => [...document.querySelectorAll("svg.wide text")].filter((text) => {
          const [own, all] = [text, text.ownerSVGElement].map((x) => x.getBoundingClientRect());
          return own.left < all.left - 8 || own.right > all.right + 8;
        }).map((text) => text.textContent)"""
    )
    assert outside == []


def test_tap_shows_values_within_the_window(open_page: Open) -> None:
    page = open_page("scaled", viewport=PHONE, has_touch=True).page
    page.locator("#executors svg.narrow [data-tip]").last.tap()
    tip = page.locator("#tip")
    assert tip.text_content()
    box = tip.bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= PHONE["width"]


def test_print_is_light_and_complete(open_page: Open) -> None:
    page = open_page("scaled", color_scheme="dark").page
    page.emulate_media(media="print", color_scheme="dark")
    assert colour(page, "h1", "color") == rgb(drawing.LIGHT["--text"])
    assert not page.locator("nav").is_visible()
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details:not([open])").count() == 0
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert page.locator("details[open]").count() == 0
    assert page.pdf(format="A4").startswith(b"%PDF")


def test_page_without_scripts_has_charts_and_titles(open_page: Open) -> None:
    page = open_page("scaled", java_script_enabled=False).page
    assert page.locator("svg.wide title").count() > 20
    assert page.locator("#tip").count() == 1


def test_headings_and_images_have_names(open_page: Open) -> None:
    page = open_page("scaled").page
    levels = page.locator("h1, h2, h3").evaluate_all("all => all.map(x => Number(x.tagName[1]))")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(later - before <= 1 for before, later in pairwise(levels))
    assert page.get_by_role("img").count() == page.locator("svg.wide").count()
    names = page.locator("svg").evaluate_all("all => all.map(x => x.ariaLabel)")
    assert all(names)
    assert page.get_by_role("navigation").count() == page.get_by_role("main").count() == 1
