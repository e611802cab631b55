"""The README's figures are those of the result files, and the check of it can fail."""

import pytest

from benchmarks import tables
from graphfew import report


def test_the_readme_says_what_its_result_files_say():
    assert (tables.ROOT / "README.md").read_text(encoding="utf-8") == tables.rendered()


def test_a_changed_figure_is_noticed(tmp_path):
    text = (tables.ROOT / "README.md").read_text(encoding="utf-8")
    begin = text.index("<!-- results -->")
    digit = next(i for i in range(begin, len(text)) if text[i] == "9")
    changed = text[:digit] + "8" + text[digit + 1 :]
    assert tables.fill(changed, "results", tables.omniglot(tables.ROOT)) == text != changed


def test_markers_that_are_missing_are_an_error():
    with pytest.raises(ValueError, match="no <!-- results -->"):
        tables.fill("no markers", "results", "content")


def test_a_changed_figure_of_a_spec_is_noticed():
    text = (tables.ROOT / "README.md").read_text(encoding="utf-8")
    name, content = next((n, c) for n, c in tables.recorded(tables.ROOT).items() if f"<!-- bench:{n} -->" in text)
    begin = text.index(f"<!-- bench:{name} -->")
    digit = next(i for i in range(text.index("| ---", begin), len(text)) if text[i] == "9")
    changed = text[:digit] + "8" + text[digit + 1 :]
    assert report.fill(changed, {name: content}) == text != changed
