"""The README's figures are those of the result files, and the check of it can fail."""

import pytest

from benchmarks import headlines, tables
from graphfew.benchmark import report


def test_the_documents_say_what_the_result_files_say():
    for name, text in tables.rendered().items():
        assert (tables.ROOT / name).read_text(encoding="utf-8") == text, name


def test_a_changed_figure_is_noticed(tmp_path):
    text = (tables.ROOT / "README.md").read_text(encoding="utf-8")
    begin = text.index("<!-- demo -->")
    digit = next(i for i in range(begin, len(text)) if text[i] == "9")
    changed = text[:digit] + "8" + text[digit + 1 :]
    assert tables.fill(changed, "demo", tables.demo(tables.ROOT)) == text != changed


def test_markers_that_are_missing_are_an_error():
    with pytest.raises(ValueError, match="no <!-- demo -->"):
        tables.fill("no markers", "demo", "content")


@pytest.mark.parametrize("document", [tables.README, tables.RESULTS])
def test_a_changed_figure_of_a_spec_is_noticed(document):
    text = (tables.ROOT / document).read_text(encoding="utf-8")
    name, content = next(
        (n, c) for n, c in tables.recorded(tables.ROOT).items() if f"<!-- bench:{n} -->" in text
    )
    begin = text.index(f"<!-- bench:{name} -->")
    digit = next(i for i in range(text.index("| ---", begin), len(text)) if text[i] == "9")
    changed = text[:digit] + "8" + text[digit + 1 :]
    assert report.fill_markers(changed, {name: content}) == text != changed


@pytest.mark.parametrize("name", headlines.HEADLINES)
def test_a_short_table_has_every_row_and_column_that_it_names(name):
    wanted = headlines.HEADLINES[name]
    whole = next(
        b
        for b in report.aggregate_results(tables.ROOT / "benchmarks" / "results")
        if b.name == name
    )
    cut = [headlines.cut(table, wanted) for table in report.make_tables(whole)]
    assert {line.name for table in cut for line in table.rows} == set(wanted.rows)
    assert max(len(table.columns) for table in cut) == len(wanted.columns)


def test_a_short_table_leaves_out_rows_without_a_figure_in_its_columns():
    whole = next(
        b
        for b in report.aggregate_results(tables.ROOT / "benchmarks" / "results")
        if b.name == "omniglot"
    )
    elsewhere = headlines.Headline(("egnn",), ({"way": 7},))
    assert all(not headlines.cut(table, elsewhere).rows for table in report.make_tables(whole))
