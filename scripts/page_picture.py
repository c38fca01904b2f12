"""Draws docs/page.jpg: the page of a running gateway, on a desk and on a phone.

marsmith gateway --background && .venv/bin/python scripts/page_picture.py
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

TARGET = Path(__file__).parents[1] / "docs" / "page.jpg"
HEIGHT, GAP = 760, 16


def screenshot(browser: Browser, address: str, model: str, width: int, *, dark: bool) -> bytes:
    """Return a PNG of a model's answer to its first sample."""
    context = browser.new_context(
        viewport={"width": width, "height": HEIGHT}, color_scheme="dark" if dark else "light"
    )
    page = context.new_page()
    page.goto(f"{address}/#{model}")
    page.get_by_role("button", name="Sample 1").click()
    page.wait_for_selector("#more:not([hidden])")
    page.wait_for_selector("#result canvas, #result img, .bars")
    return page.screenshot()


def main(address: str) -> None:
    """Draw it."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox"]
        )
        views = [("cartoon", 1180, False), ("digits", 390, True)]
        shots = [screenshot(browser, address, *one[:2], dark=one[2]) for one in views]
        browser.close()
    pictures = [Image.open(io.BytesIO(one)).convert("RGB") for one in shots]
    width = sum(one.width for one in pictures) + GAP
    sheet = Image.new("RGB", (width, HEIGHT), "white")
    sheet.paste(pictures[0], (0, 0))
    sheet.paste(pictures[1], (pictures[0].width + GAP, 0))
    sheet.save(TARGET, quality=80, optimize=True)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8000")
