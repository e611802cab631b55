"""`graphfew label` of a folder of Parquet files: files in, files out, and one-line errors."""

import functools

import numpy as np
import pytest
from test_cli import assert_error, call

from graphfew.dask import dask_client

__all__ = ["call"]
pytest.importorskip("distributed", reason="needs distributed")
pa = pytest.importorskip("pyarrow", reason="needs pyarrow")
parquet = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    local = functools.partial(dask_client, n_workers=1, processes=False)
    monkeypatch.setattr(
        "graphfew.cli.label_folder_run.dask_client",
        lambda address: local() if address is None else dask_client(address),
    )
    monkeypatch.setattr("graphfew.dask.cluster_client.CONNECT_SECONDS", 0.2)
    folder = tmp_path / "items"
    folder.mkdir()
    truth = np.arange(40) % 2
    x = np.random.default_rng(0).standard_normal((40, 3)) + 5 * np.eye(2, 3)[truth]
    for number in range(2):
        rows = slice(20 * number, 20 * number + 20)
        names = [("ant", "bee")[c] if number + i < 4 else "?" for i, c in enumerate(truth[rows])]
        columns = {f"f{i}": x[rows, i] for i in range(3)}
        parquet.write_table(pa.table({**columns, "label": names}), folder / f"{number}.parquet")
    return folder


def test_a_folder_is_labeled_and_continued(call, folder, tmp_path):
    out = tmp_path / "labels"
    done = call("label", folder, "--out", out)
    assert f"40 items: 2 files were written to {out}." in done[1].replace("\n", " ")
    found = parquet.read_table(out).to_pydict()
    assert found["label"] == ["ant", "bee"] * 20
    assert found["item"][0] == "0:0"
    (out / "1.parquet").unlink()
    again = call("label", folder, "--out", out)
    assert "1 files of an earlier run were kept" in again[1].replace("\n", " ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--report", "page.html"], "--report does not apply to a folder of Parquet files"),
        (["--method", "egnn"], "method is 'egnn'; on partitions it must be auto"),
        (["--scheduler", "tcp://127.0.0.1:9"], "no Dask scheduler answers"),
        (["--label-column", "class"], "has no column 'class'"),
    ],
)
def test_wrong_options_are_one_error(call, folder, tmp_path, arguments, message):
    assert_error(call("label", folder, "--out", tmp_path / "labels", *arguments), message)
    assert not (tmp_path / "labels").exists()


def test_a_scheduler_needs_a_folder(call, tmp_path):
    (tmp_path / "items.csv").write_text("a,label\n1,x\n")
    done = call("label", tmp_path / "items.csv", "--out", tmp_path / "o.csv", "--scheduler", "x")
    assert_error(done, "--scheduler is for a folder of .parquet files")
