"""A gateway with a model of each kind, and real Chromium; without it these tests are skipped."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

from marsmith.torchserve.ports import free_ports
from tests.browser.models import add_models
from tests.projects import copy_project

CHROMIUM = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))
SIZES = {"phone": (390, 844), "desk": (1280, 800)}
NewPage = Callable[..., Page]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Return a browser whose camera shows a test pattern.

    Playwright runs an event loop in this thread; tests of other files need theirs.
    """
    if not CHROMIUM.exists():
        pytest.skip(f"needs {CHROMIUM}: apt-get install chromium")
    camera = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", *camera]
        )
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def gateway(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the address of a gateway: cartoon, digits, rotation, a segmenter and a detector."""
    del browser  # without one nothing is built
    kit = copy_project(tmp_path_factory.mktemp("page"), only_digits=False)
    add_models(kit)
    kit("build")
    port = free_ports(2)
    kit("gateway", "--background", "--port", port)
    yield f"http://127.0.0.1:{port}"
    kit("stop", "--port", port)


@pytest.fixture
def new_page(browser: Browser) -> Iterator[NewPage]:
    """Return a function that opens a page of a gateway.

    Whatever it loads comes from there, and nothing goes wrong in it, save refusals as expected.
    """
    contexts: list[BrowserContext] = []
    faults: list[str] = []

    def said(message: ConsoleMessage) -> None:
        if message.type == "error" and not message.text.startswith("Failed to load"):
            faults.append(message.text)

    def open_page(address: str, size: str = "desk", dark: bool = False) -> Page:
        width, height = SIZES[size]
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            has_touch=size == "phone",
            is_mobile=size == "phone",
            accept_downloads=True,
            ignore_https_errors=True,
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(15_000)
        here = urlsplit(address).netloc
        page.on("request", lambda one: faults.extend(_elsewhere(one.url, here)))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", said)
        page.goto(address)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert faults == []


def _elsewhere(url: str, here: str) -> list[str]:
    parts = urlsplit(url)
    return [] if parts.scheme in ("blob", "data") or parts.netloc == here else [url]
