"""The tables of the documents agree with the result files."""

import pytest

from benchmarks import summary, tables
from graphfew.benchmark import report


@pytest.fixture(scope="module")
def content():
    return tables.collect(tables.ROOT)


def test_documents_agree_with_the_result_files(content):
    for name, text in tables.rendered(content).items():
        assert (tables.ROOT / name).read_text(encoding="utf-8") == text, name


def changed_digit(text: str, start: int) -> str:
    digit = next(i for i in range(start, len(text)) if text[i] == "9")
    return text[:digit] + "8" + text[digit + 1 :]


def test_changed_number_of_a_section_is_detected():
    text = (tables.ROOT / tables.RESULTS).read_text(encoding="utf-8")
    changed = changed_digit(text, text.index("<!-- demo -->"))
    assert tables.fill(changed, "demo", tables.demo(tables.ROOT)) == text != changed


def test_changed_number_of_the_readme_is_detected(content):
    text = (tables.ROOT / tables.README).read_text(encoding="utf-8")
    changed = changed_digit(text, text.index("| ---", text.index("<!-- results -->")))
    table = summary.summary(content.benchmarks)
    assert tables.fill(changed, "results", table) == text != changed


def test_missing_markers_are_an_error():
    with pytest.raises(ValueError, match="no <!-- demo -->"):
        tables.fill("no markers", "demo", "content")


def test_changed_number_of_a_spec_is_detected(content):
    text = (tables.ROOT / tables.RESULTS).read_text(encoding="utf-8")
    made = tables.spec_tables(content)
    name, table = next((n, c) for n, c in made.items() if f"<!-- bench:{n} -->" in text)
    start = text.index("| ---", text.index(f"<!-- bench:{name} -->"))
    changed = changed_digit(text, start)
    assert report.fill_markers(changed, {name: table}) == text != changed


def test_every_benchmark_with_results_has_a_table(content):
    text = (tables.ROOT / tables.RESULTS).read_text(encoding="utf-8")
    missing = [n for n in tables.spec_tables(content) if f"<!-- bench:{n} -->" not in text]
    assert missing == ["glyphs"]


def test_every_row_of_the_summary_has_a_result_in_its_benchmarks(content):
    table = summary.summary(content.benchmarks).splitlines()[2:]
    for line, text in zip(summary.LINES, table, strict=True):
        expected = sum(column.benchmark in line.rows for column in summary.COLUMNS)
        assert text.count("±") == expected, line


def test_readme_has_at_most_150_lines():
    readme = (tables.ROOT / tables.README).read_text(encoding="utf-8")
    assert len(readme.splitlines()) <= 150
