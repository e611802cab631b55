"""The site builds without warnings, has no broken links, and loads nothing from other hosts."""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from docs.generate import methods, names

ROOT = Path(__file__).parents[2]
LOADING = {
    "script": "src",
    "link": "href",
    "img": "src",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "audio": "src",
    "embed": "src",
    "object": "data",
}


class Page(HTMLParser):
    """The resources, links and anchors of a page."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = {""}
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {key: value or "" for key, value in attrs}
        self.anchors |= {given[key] for key in ("id", "name") if key in given}
        if given.get(LOADING.get(tag, "")) and given.get("rel") not in (
            "canonical",
            "next",
            "prev",
        ):
            self.loads.append(given[LOADING[tag]])
        if tag == "a" and "href" in given:
            self.links.append(given["href"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as by `make docs`."""
    if importlib.util.find_spec("mkdocs") is None:
        pytest.skip("mkdocs is not installed: pip install graphfew[docs]")
    out = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(out)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return out


def pages(site: Path) -> Iterator[tuple[Path, Page]]:
    for file in sorted(site.rglob("*.html")):
        yield file, Page(file)


def broken(site: Path) -> list[str]:
    """Broken links, and resources from other hosts."""
    found = dict(pages(site))
    faults = []
    for file, page in found.items():
        faults += [
            f"{file.name} loads {url}"
            for url in page.loads
            if urlsplit(url).scheme or urlsplit(url).netloc
        ]
        for url in [*page.links, *page.loads]:
            parts = urlsplit(url)
            if parts.scheme or parts.netloc or file.name == "404.html":
                continue
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            if not target.is_file():
                faults.append(f"{file.name}: no {url}")
            elif target in found and unquote(parts.fragment) not in found[target].anchors:
                faults.append(f"{file.name}: no anchor {url}")
    return faults


def test_site_has_a_page_for_every_method_and_name(site):
    for name in methods.names():
        text = (site / "methods" / f"{name}.html").read_text(encoding="utf-8")
        assert all(
            f'id="{anchor}"' in text for anchor in ("formula", "source", "deviations", "measured")
        )
    anchors = {anchor for _, page in pages(site) for anchor in page.anchors}
    assert [name for name in names.public() if names.definition(name) not in anchors] == []


def test_site_has_no_broken_links_or_external_resources(site):
    assert broken(site) == []


def test_style_sheets_have_no_external_resources(site):
    sheets = sorted(site.rglob("*.css"))
    assert sheets
    texts = [sheet.read_text(encoding="utf-8").replace(" ", "") for sheet in sheets]
    assert not any(
        loaded in text
        for text in texts
        for loaded in ("url(http", 'url("http', "url(//", "@import")
    )


def test_no_marker_remains(site):
    left = ("<!-- table:", "<!-- names:", "<!-- changelog")
    texts = {file.name: file.read_text(encoding="utf-8") for file in site.rglob("*.html")}
    assert [name for name, text in texts.items() if any(marker in text for marker in left)] == []


def test_broken_link_and_external_script_are_detected(tmp_path):
    (tmp_path / "a.html").write_text(
        '<p id="x"></p><a href="b.html"></a><a href="#y"></a><a href="a.html#x"></a>'
        '<script src="https://example.org/x.js"></script>',
        encoding="utf-8",
    )
    assert broken(tmp_path) == [
        "a.html loads https://example.org/x.js",
        "a.html: no b.html",
        "a.html: no anchor #y",
    ]
