"""The pages in Chromium: labels by keyboard that survive the end of the server by SIGKILL."""

from __future__ import annotations

import csv
import io
import os
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytest.importorskip("uvicorn", reason="the extra annotate is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")

ROOT = Path(__file__).parents[3]
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
CLASSES = ("greeting", "farewell")
WORDS = ("hello good morning", "goodbye see you")
N_ITEMS = 60


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "requests.csv"
    rows = [f"{index},{WORDS[index % 2]} number {index}" for index in range(N_ITEMS)]
    path.write_text("\n".join(["id,text", *rows]) + "\n", encoding="utf-8")
    return path


@contextmanager
def server(source):
    """Start the command; yields its process and the address that it prints."""
    code = "import sys; from graphfew.cli import app; app(sys.argv[1:])"
    command = [
        sys.executable,
        "-c",
        code,
        "annotate",
        str(source),
        "--id-column",
        "id",
        "--port",
        "0",
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        for line in process.stdout:
            if line.startswith("Open "):
                break
        else:
            pytest.fail("the command printed no address")
        yield process, line.split()[1]
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture
def page():
    with playwright.sync_playwright() as runner:
        try:
            browser = runner.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        except playwright.Error as error:
            pytest.skip(f"Chromium does not start: {str(error).splitlines()[0]}")
        page = browser.new_page()
        page.set_default_timeout(60_000)
        problems = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.problems = problems
        yield page
        browser.close()
    assert problems == []


def open_page(page, address):
    page.goto(address)
    page.wait_for_selector(".item")


def shown_item(page):
    return int(page.get_attribute("[name=item]", "value"))


def go_to(page, name, selector):
    """Open a page of the navigation, and wait for an element of it and for its script."""
    page.click(f"nav >> text={name}")
    page.wait_for_selector(selector)
    # Keys that are pressed before the script has run would be lost.
    page.wait_for_load_state()


def press(page, *keys):
    """Press keys, and wait until the page shows their result."""
    page.evaluate("document.documentElement.dataset.state = ''")
    for key in keys:
        page.keyboard.press(key)
    page.wait_for_selector("html[data-state=saved]")


def label_by_keyboard(page, name):
    """Choose a class by its number if it is offered, otherwise type its name."""
    names = [text.strip() for text in page.locator(".choice .name").all_inner_texts()]
    if name in names:
        press(page, str(names.index(name) + 1))
        return
    page.keyboard.press("n")
    page.keyboard.type(name)
    press(page, "Enter")


def exported(page):
    """Labels of the file that the page exports."""
    page.click("nav >> text=Export")
    with page.expect_download() as download:
        page.click("text=CSV >> nth=1")
    text = Path(download.value.path()).read_text(encoding="utf-8")
    rows = csv.DictReader(io.StringIO(text))
    return {row["item"]: row["label"] for row in rows if row["given"] == "true"}


def test_labels_by_keyboard_survive_a_killed_server(page, source):
    expected = {}
    with server(source) as (process, address):
        open_page(page, address)
        for _ in range(30):
            item = shown_item(page)
            label_by_keyboard(page, CLASSES[item % 2])
            expected[str(item)] = CLASSES[item % 2]
        assert "30 of 60 labeled" in page.inner_text(".meter")

        press(page, "u")
        undone = str(shown_item(page))
        del expected[undone]
        assert "29 of 60 labeled" in page.inner_text(".meter")

        page.keyboard.press("n")
        page.keyboard.type("odd one")
        assert "Adds the new class" in page.inner_text("#other-hint")
        press(page, "Enter")
        expected[undone] = "odd one"
        assert exported(page) == expected
        process.send_signal(signal.SIGKILL)
        process.wait()
    # Two starts of the command serve all checks, because a start takes seconds.
    with server(source) as (process, address):
        open_page(page, address)
        assert "30 of 60 labeled" in page.inner_text(".meter")
        assert str(shown_item(page)) not in expected
        assert exported(page) == expected
        check_other_pages(page)
        go_to(page, "Label", ".item")
        process.kill()
        process.wait()
        page.keyboard.press("1")
        page.wait_for_selector("#offline:visible")


def check_other_pages(page):
    """The grid works by keyboard, the map is drawn, and no page is wider than a phone."""
    go_to(page, "Confirm", ".tile")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Space")
    assert ", 1 wrong" in page.inner_text("[data-count]")
    go_to(page, "Map", "html[data-map=drawn]")
    page.set_viewport_size({"width": 400, "height": 800})
    for name in ("Label", "Confirm", "Map", "Classes", "Review", "Export"):
        go_to(page, name, f"body[data-page={name.lower()}]")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
