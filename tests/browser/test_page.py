"""The page in real Chromium, at the size of a phone and of a desk, over a real gateway."""

from __future__ import annotations

import base64
import io
import json
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Page, Route, expect

from marsmith.gateway.access.gate import Gate
from marsmith.gateway.access.guards import Guards, own_certificate
from marsmith.gateway.access.key_store import KeyRing, KeyStore
from marsmith.gateway.access.keys import Limits, new_key, parse_scope
from marsmith.gateway.access.rules import AccessRules
from marsmith.security.self_signed import new_certificate
from tests.browser.conftest import SIZES, NewPage
from tests.browser.models import halves
from tests.integration.kit import ROOT
from tests.unit.gateway.door import a_door

pytestmark = pytest.mark.processes
PYTHON = sys.executable
SEVEN, CAT = ROOT / "samples" / "seven.png", ROOT / "samples" / "cat.jpg"
DATA_TRANSFER = """([files, event]) => {
  const transfer = new DataTransfer();
  for (const [name, type, text] of files) {
    const bytes = Uint8Array.from(atob(text), (one) => one.charCodeAt(0));
    transfer.items.add(new File([bytes], name, { type }));
  }
  const kind = event === "paste" ? ClipboardEvent : DragEvent;
  const given = { bubbles: true, clipboardData: transfer, dataTransfer: transfer };
  document.body.dispatchEvent(new kind(event, given));
}"""
CONTRAST = """() => {
  const light = (colour) => {
    const parts = colour.match(/[\\d.]+/g).slice(0, 3).map((one) => one / 255);
    const bent = (one) => one <= 0.03928 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4;
    const [r, g, b] = parts.map(bent);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const under = (one) => {
    const colour = getComputedStyle(one).backgroundColor;
    return colour === "rgba(0, 0, 0, 0)" && one.parentElement ? under(one.parentElement) : colour;
  };
  const texts = [...document.querySelectorAll("body *")].filter((one) => one.checkVisibility()
    && [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim()));
  return texts.map((one) => {
    const pair = [light(getComputedStyle(one).color), light(under(one))].sort((a, b) => b - a);
    return [one.outerHTML.slice(0, 80), (pair[0] + 0.05) / (pair[1] + 0.05)];
  }).filter(([, ratio]) => ratio < 4.5);
}"""
NAMELESS = """() => {
  const isNamed = (one) => one.textContent.trim() || one.labels?.length
    || one.getAttribute("aria-label") || one.hasAttribute("alt") || one.querySelector("[alt]");
  return [...document.querySelectorAll("button, input, select, textarea, a, img, canvas")]
    .filter((one) => one.checkVisibility() && !isNamed(one)).map((one) => one.outerHTML);
}"""


def pick(page: Page, model: str) -> None:
    page.locator(f"label.chip:has-text('{model}')").click()
    expect(page.get_by_role("radio", name=model)).to_be_checked()


def sample(page: Page, number: int = 1) -> None:
    page.get_by_role("button", name=f"Sample {number}", exact=True).click()


def done(page: Page, model: str) -> None:
    expect(page.locator("#status")).to_contain_text(f"{model} answered in")
    expect(page.locator("#loading")).to_be_hidden()


def pixel(page: Page, x: float, y: float) -> list[int]:
    """Return the colour of the answer's canvas at a place, in shares of its sides."""
    script = """(canvas, [x, y]) => [...canvas.getContext("2d").getImageData(
        Math.floor(x * canvas.width), Math.floor(y * canvas.height), 1, 1).data.slice(0, 3)]"""
    colour: list[int] = page.locator("#result canvas").evaluate(script, [x, y])
    return colour


def large(folder: Path, name: str = "large.png") -> Path:
    path = folder / name
    path.write_bytes(halves(3000, 1500))
    return path


def sent(page: Page) -> bytes:
    """Return the body that was sent, as the page offers it."""
    with page.expect_download() as download:
        page.get_by_role("link", name="Picture as sent").click()
    return Path(download.value.path()).read_bytes()


def shown(page: Page, element: str) -> str:
    return page.locator(f"#{element}").text_content() or ""


def saved(page: Page) -> tuple[str, Image.Image]:
    with page.expect_download() as download:
        page.get_by_role("button", name="Save picture").click()
    body = Path(download.value.path()).read_bytes()
    return download.value.suggested_filename, Image.open(io.BytesIO(body))


def api(address: str, body: bytes, accept: str = "*/*") -> Any:
    """Ask as any program does."""
    request = urllib.request.Request(address, body, {"Accept": accept})
    try:
        with urllib.request.urlopen(request) as answer:
            return json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return json.loads(error.read())


@pytest.mark.parametrize("size", SIZES)
def test_each_kind_of_answer_is_shown(gateway: str, new_page: NewPage, size: str) -> None:
    page = new_page(gateway, size)
    pick(page, "digits")
    sample(page, 2)
    done(page, "digits")
    expect(page.locator(".bars li").first).to_contain_text("3")
    assert page.locator(".bars li").count() == 10
    told = json.loads(page.locator("#json").text_content() or "")
    photo = (ROOT / "samples" / "three-photo.jpg").read_bytes()
    assert told == api(f"{gateway}/models/digits/predict", photo)

    pick(page, "cartoon")
    sample(page)
    done(page, "cartoon")
    page.locator("#result input[type=range]").fill("25")
    cut = page.locator("#result img").last.evaluate("one => getComputedStyle(one).clipPath")
    assert "75%" in cut or "25%" in cut
    name, picture = saved(page)
    assert re.fullmatch(r"20\d{12}\.jpg", name)
    assert (picture.format, picture.size) == ("JPEG", (450, 299))

    pick(page, "rotation")
    sample(page, 2)
    done(page, "rotation")
    expect(page.locator(".facts")).to_contain_text("model degree90")

    pick(page, "light")
    sample(page)
    done(page, "light")
    expect(page.locator(".legend li")).to_have_text(["ground50.0 %", "light50.0 %"])
    page.locator("#result input[type=range]").fill("100")
    assert (pixel(page, 0.25, 0.5), pixel(page, 0.75, 0.5)) == ([0, 0, 0], [128, 0, 0])

    pick(page, "finder")
    sample(page)
    done(page, "finder")
    expect(page.locator(".legend li")).to_have_text(["thing90.0 %"])
    assert pixel(page, 0.25, 0.5) == [228, 87, 46]  # the left side of the box
    assert pixel(page, 0.1, 0.5) == [0, 0, 0]

    pick(page, "sum")
    expect(page.locator("#for-pictures")).to_be_hidden()
    page.get_by_label("Request").fill("[40, 2]")
    page.get_by_role("button", name="Send").click()
    done(page, "sum")
    expect(page.locator("#result")).to_have_text("42")


def test_before_anything_is_sent_an_example_shows_what_a_model_does(
    gateway: str, new_page: NewPage
) -> None:
    page = new_page(f"{gateway}/#digits")
    expect(page.locator("#result")).to_contain_text("An example from the archive")
    expect(page.locator(".bars li").first).to_contain_text("7")


def test_an_answer_can_be_asked_for_as_a_picture(gateway: str, new_page: NewPage) -> None:
    page = new_page(f"{gateway}/#rotation")
    page.get_by_text("Options").click()
    page.get_by_label("Answer as").select_option("a picture")
    sample(page, 2)
    done(page, "rotation")
    assert saved(page)[1].size == (320, 320)
    pick(page, "sum")
    page.get_by_role("button", name="Send").click()
    done(page, "sum")


def test_curl_and_python_are_exactly_this_request(
    gateway: str, new_page: NewPage, tmp_path: Path
) -> None:
    page = new_page(f"{gateway}/#digits")
    odd = tmp_path / "it's seven.png"
    odd.write_bytes(SEVEN.read_bytes())
    page.locator("#files").set_input_files(odd)
    done(page, "digits")
    assert sent(page) == SEVEN.read_bytes()
    told = json.loads(page.locator("#json").text_content() or "")
    commands = {
        "curl": ["bash", "-c", shown(page, "curl")],
        "python": [PYTHON, "-c", shown(page, "python")],
    }
    for command in commands.values():
        ran = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True, text=True)
        assert json.loads(ran.stdout) == told
    page.locator("summary", has_text="JSON").click()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.locator("#json-part").get_by_role("button", name="Copy").click()
    expect(page.locator("#status")).to_have_text("Copied.")
    assert json.loads(page.evaluate("navigator.clipboard.readText()")) == told


def test_a_large_picture_is_made_smaller_where_the_model_needs_no_more(
    gateway: str, new_page: NewPage, tmp_path: Path
) -> None:
    page = new_page(f"{gateway}/#light")
    page.locator("#files").set_input_files(large(tmp_path))
    done(page, "light")
    assert Image.open(io.BytesIO(sent(page))).size == (1024, 512)
    page.get_by_text("Options").click()
    page.get_by_label("Send at most").uncheck()
    page.locator("#files").set_input_files(large(tmp_path))
    done(page, "light")
    assert sent(page) == large(tmp_path).read_bytes()


@pytest.mark.parametrize("event", ["drop", "paste"])
def test_pictures_are_dropped_and_pasted(gateway: str, new_page: NewPage, event: str) -> None:
    page = new_page(f"{gateway}/#digits")
    expect(page.locator(".sample img").first).to_be_visible()
    files = [["seven.png", "image/png", base64.b64encode(SEVEN.read_bytes()).decode()]]
    page.evaluate(DATA_TRANSFER, [files, event])
    done(page, "digits")
    expect(page.locator(".first strong")).to_have_text("7")


def test_a_picture_is_taken_with_a_live_view(gateway: str, new_page: NewPage) -> None:
    page = new_page(f"{gateway}/#rotation")
    page.get_by_role("button", name="Camera").dblclick()
    expect(page.locator("#live")).not_to_have_js_property("videoWidth", 0)
    page.get_by_role("button", name="Take picture").click()
    done(page, "rotation")
    assert Image.open(io.BytesIO(sent(page))).format == "JPEG"
    assert page.evaluate("document.getElementById('live').srcObject") is None


def test_without_a_live_view_the_phone_takes_the_picture(gateway: str, new_page: NewPage) -> None:
    page = new_page(f"{gateway}/#digits", "phone")
    page.evaluate(
        "() => { navigator.mediaDevices.getUserMedia = () => Promise.reject(new Error()); }"
    )
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Camera").click()
    assert chooser.value.element.get_attribute("capture") == "environment"
    chooser.value.set_files(SEVEN)
    done(page, "digits")


def test_several_files_have_a_table_of_answers(
    gateway: str, new_page: NewPage, tmp_path: Path
) -> None:
    bad = tmp_path / "notes.txt"
    bad.write_text("no picture")
    page = new_page(f"{gateway}/#digits")
    page.locator("#files").set_input_files([SEVEN, bad, ROOT / "samples" / "three-photo.jpg"])
    expect(page.locator("tbody tr")).to_have_count(3)
    expect(page.locator("#loading")).to_be_hidden()
    rows = [one.split("\t")[:2] for one in page.locator("tbody tr").all_inner_texts()]
    refused = api(f"{gateway}/models/digits/predict", b"no picture")["detail"]
    answers = [["seven.png", "7 (100.0 %)"], ["notes.txt", refused]]
    assert rows == [*answers, ["three-photo.jpg", "3 (100.0 %)"]]
    page.get_by_role("button", name="three-photo.jpg").click()
    expect(page.locator(".first strong")).to_have_text("3")


def test_an_error_is_in_the_servers_own_words_and_one_is_back_at_the_start(
    gateway: str, new_page: NewPage, tmp_path: Path
) -> None:
    page = new_page(f"{gateway}/#digits", "phone")
    bad = tmp_path / "notes.png"
    bad.write_text("no picture")
    page.locator("#files").set_input_files(bad)
    refused = api(f"{gateway}/models/digits/predict", b"no picture")
    problem = page.get_by_role("alert").filter(has_text=refused["detail"])
    expect(problem).to_contain_text(refused["hint"])
    expect(page.locator("#loading")).to_be_hidden()
    page.locator("#files").set_input_files(SEVEN)
    done(page, "digits")
    expect(page.locator("#problem")).to_be_empty()


def test_a_second_pick_is_refused_and_the_loading_sign_goes_away(
    gateway: str, new_page: NewPage
) -> None:
    held: list[Route] = []
    page = new_page(f"{gateway}/#digits")
    page.route("**/predict", lambda route: held.append(route))
    sample(page)
    expect(page.locator("#loading")).to_contain_text("Asking digits")
    page.locator("#files").set_input_files(CAT)
    expect(page.locator("#refused")).to_contain_text("One request at a time")
    page.wait_for_timeout(100)
    assert len(held) == 1
    held[0].continue_()
    done(page, "digits")
    sample(page)
    expect(page.locator("#loading")).to_be_visible()
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#problem")).to_contain_text("You stopped the request.")
    expect(page.locator("#loading")).to_be_hidden()
    page.unroute("**/predict")
    page.route("**/predict", lambda route: route.abort())
    sample(page)
    expect(page.locator("#problem")).to_contain_text("cannot be reached")
    expect(page.locator("#loading")).to_be_hidden()


def test_a_sample_that_does_not_come_can_be_stopped(gateway: str, new_page: NewPage) -> None:
    page = new_page(f"{gateway}/#plain-classes")
    page.route("**/samples/1/*", lambda _route: None)
    pick(page, "digits")
    sample(page, 2)
    expect(page.locator("#loading")).to_be_visible()
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#problem")).to_contain_text("You stopped the request.")
    page.locator("#files").set_input_files(SEVEN)
    done(page, "digits")


def test_forms_bytes_and_headers_are_asked_for_as_the_samples_have_them(
    gateway: str, new_page: NewPage, tmp_path: Path
) -> None:
    page = new_page(f"{gateway}/#plain-form")
    some = tmp_path / "some.bin"
    some.write_bytes(b"\x80" * 10)
    page.get_by_label("word").fill("good-bye")
    page.get_by_role("button", name="Send").click()
    expect(page.locator("#problem")).to_contain_text("No file is chosen for photo.")
    page.get_by_label("photo").set_input_files(some)
    page.get_by_role("button", name="Send").click()
    done(page, "plain-form")
    told = json.loads(page.locator("#json").text_content() or "")
    assert told == {"size": 10, "word": "good-bye"}

    pick(page, "plain-bytes")
    page.locator("#files").set_input_files(some)
    done(page, "plain-bytes")
    expect(page.locator("#result")).to_have_text("10")

    pick(page, "plain-classes")
    sample(page)
    done(page, "plain-classes")
    expect(page.locator("#result")).to_contain_text('"form": "seen"')
    expect(page.locator("#curl")).to_contain_text("X-Form: seen")


def test_what_a_browser_cannot_show_is_answered_all_the_same(
    gateway: str, new_page: NewPage, tmp_path: Path
) -> None:
    scan = tmp_path / "scan.tiff"
    Image.open(io.BytesIO(halves())).save(scan)
    page = new_page(f"{gateway}/#finder")
    page.locator("#files").set_input_files(scan)
    done(page, "finder")
    expect(page.locator("#result li")).to_have_text(["thing 90.0 %: 20, 15, 60, 45"])


@pytest.mark.parametrize(("model", "kind"), [("light", "PNG"), ("rotation", "WEBP")])
def test_a_large_picture_keeps_its_ground_and_where_its_turn_matters_it_is_sent_whole(
    gateway: str, new_page: NewPage, tmp_path: Path, model: str, kind: str
) -> None:
    clear = tmp_path / "clear.webp"
    Image.new("RGBA", (2000, 1000), (0, 0, 0, 0)).save(clear, lossless=True)
    page = new_page(f"{gateway}/#{model}")
    page.locator("#files").set_input_files(clear)
    done(page, model)
    picture = Image.open(io.BytesIO(sent(page)))
    assert picture.format == kind
    assert picture.convert("RGBA").getpixel((0, 0))[3] == 0  # type: ignore[index]


def test_a_page_without_models_can_be_tried_again(gateway: str, new_page: NewPage) -> None:
    page = new_page(f"{gateway}/#%")
    expect(page.locator(".chip").first).to_be_visible()
    page.route("**/page/models", lambda route: route.abort())
    page.reload()
    expect(page.locator("#problem")).to_contain_text("cannot be reached")
    page.unroute("**/page/models")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".chip").first).to_be_visible()
    expect(page.locator("#problem")).to_be_empty()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_everything_is_legible_labelled_and_on_the_page(
    gateway: str, new_page: NewPage, size: str, dark: bool
) -> None:
    page = new_page(f"{gateway}/#digits", size, dark)
    sample(page)
    done(page, "digits")
    for summary in page.locator("summary").all():
        summary.click()
    assert page.evaluate(CONTRAST) == []
    assert page.evaluate(NAMELESS) == []
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= SIZES[size][0]


def test_the_keyboard_is_enough(gateway: str, new_page: NewPage) -> None:
    page = new_page(f"{gateway}/#cartoon")
    page.get_by_role("radio", name="cartoon").focus()
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("radio", name="digits")).to_be_checked()
    expect(page.locator(".sample img").first).to_be_visible()
    stops = []
    for _ in range(3):
        page.keyboard.press("Tab")
        stops.append(page.evaluate("document.activeElement.id || document.activeElement.className"))
    assert stops == ["files", "camera", "sample"]
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    page.keyboard.press("Enter")
    done(page, "digits")


def test_the_first_screen_of_the_document_sends_a_picture(gateway: str, new_page: NewPage) -> None:
    page = new_page(f"{gateway}/docs")
    first = page.locator(".opblock").first
    button = first.get_by_role("button", name="Execute")
    expect(button).to_be_in_viewport()
    first.locator("input[type=file]").set_input_files(CAT)
    button.click()
    expect(first.locator(".live-responses-table td.response-col_status").last).to_contain_text(
        "200"
    )
    image = first.locator(".live-responses-table img")
    expect(image).to_be_visible()
    expect(image).to_have_js_property("naturalWidth", 450)


def test_programs_are_told_to_trust_the_development_certificate(
    new_page: NewPage, tmp_path: Path
) -> None:
    (tmp_path / ".marsmith" / "tls").mkdir(parents=True)
    prefix = tmp_path / ".marsmith" / "tls" / "development"
    key, certificate = new_certificate(prefix, ["127.0.0.1"])
    files = {"private_key_file": str(key), "certificate_file": str(certificate)}
    properties = {"inference_address": "https://127.0.0.1", **files}
    (tmp_path / "a").write_bytes(b"some")
    own = own_certificate(properties)
    with a_door(properties=properties, certificate=own) as door:
        page = new_page(f"https://127.0.0.1:{door.port}/")
        page.locator("#files").set_input_files(tmp_path / "a")
        done(page, "echo")
        for command in (["bash", "-c", shown(page, "curl")], [PYTHON, "-c", shown(page, "python")]):
            ran = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True, text=True)
            assert ran.stdout.strip() == "some"
        page.context.close()


def test_where_a_key_is_demanded_one_can_type_it(new_page: NewPage, tmp_path: Path) -> None:
    store = KeyStore(tmp_path / "keys.json")
    key, token = new_key("one", [parse_scope("predict")], time.time(), 60.0, Limits())
    store.add(key)
    gate = Gate(AccessRules(needs_keys=True), KeyRing(store))
    with a_door(Guards(gate)) as door:
        page = new_page(f"http://127.0.0.1:{door.port}/docs", "phone")
        page.get_by_role("link", name="the page").click()
        field = page.get_by_label("Key of this gateway")
        field.fill("wr\u014dng")
        page.get_by_role("button", name="Use it").click()
        expect(page.locator("#problem")).to_contain_text("This cannot be a key.")
        field.press("Escape")
        expect(field).to_be_hidden()
        page.get_by_role("button", name="Key", exact=True).click()
        field.fill("wrong")
        page.get_by_role("button", name="Use it").click()
        expect(page.locator("#problem")).to_contain_text("key-unknown")
        field.fill(token)
        page.get_by_role("button", name="Use it").click()
        page.locator("#files").set_input_files(files={"name": "a", "mimeType": "", "buffer": b"x"})
        done(page, "echo")
        expect(page.locator("#curl")).to_contain_text("Bearer $KEY")
        assert token not in page.content()
        page.goto(f"http://127.0.0.1:{door.port}/docs")
        expect(page.locator(".opblock")).to_have_count(2)
        page.goto(f"http://127.0.0.1:{door.port}/")
        page.get_by_role("button", name="Key", exact=True).click()
        page.get_by_role("button", name="Forget it").click()
        expect(page.locator("#problem")).to_contain_text("key-missing")
        assert page.evaluate("sessionStorage.length") == 0
        page.context.close()
