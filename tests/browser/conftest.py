"""One Chromium for all tests of pages; every request and message of a page is recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from emrctl.compare import page
from emrctl.compare.comparison import Comparison
from tests.browser.install import chromium
from tests.compare import comparisons

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@dataclass
class Opened:
    """A page in the browser, with its messages, errors and requests except its own file."""

    page: Any
    messages: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


Open = Callable[..., Opened]


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chrome = playwright.chromium.launch(executable_path=chromium(), args=FLAGS, timeout=0)
        yield chrome
        chrome.close()


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The pages by name."""
    folder = tmp_path_factory.mktemp("pages")
    built: dict[str, Comparison] = {
        "scaled": comparisons.scaled(),
        "hostile": comparisons.hostile(),
    }
    paths = {}
    for name, comparison in built.items():
        paths[name] = folder / f"{name}.html"
        title = comparisons.EVIL if name == "hostile" else "Executors"
        page.write(comparison, paths[name], title)
    return paths


@pytest.fixture
def open_page(browser: Any, files: dict[str, Path]) -> Iterator[Open]:
    """Open a page by its name in a new context with these options."""
    contexts = []

    def start(name: str, **options: Any) -> Opened:
        size = options.pop("viewport", {"width": 1100, "height": 900})
        context = browser.new_context(viewport=size, reduced_motion="reduce", **options)
        context.set_default_timeout(0)  # pytest limits the time; busy machines are slow
        contexts.append(context)
        opened = Opened(context.new_page())
        # Playwright dismisses dialogs that have no listener; those of markup would be errors here.
        opened.page.add_init_script("window.alert = (text) => console.error('alert', text)")
        opened.page.on("console", lambda item: opened.messages.append(item.text))
        opened.page.on("pageerror", lambda error: opened.messages.append(str(error)))
        opened.page.on("request", lambda request: opened.requests.append(request.url))
        opened.page.goto(files[name].as_uri())
        opened.requests.remove(files[name].as_uri())
        return opened

    yield start
    for context in contexts:
        context.close()
