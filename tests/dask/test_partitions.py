"""Jobs over folders of Parquet files: the same results, complete files, and clear errors."""

import os
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import graphfew as gf
from graphfew.dask import (
    FolderOptions,
    ParquetColumns,
    dask_client,
    encode_parquet,
    find_columns,
    label_parquet,
    list_partitions,
    predict_array,
    predict_blocks,
    predict_parquet,
)
from graphfew.dask.partition_jobs import run_key, write_partitions
from graphfew.errors import (
    ConfigurationError,
    DatasetError,
    InvalidInputError,
    MissingFileError,
    ProcessLostError,
)

dask = pytest.importorskip("dask", reason="needs dask")
pytest.importorskip("dask.array", reason="needs dask")
distributed = pytest.importorskip("distributed", reason="needs distributed")
pa = pytest.importorskip("pyarrow", reason="needs pyarrow")
parquet = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow")
cloudpickle = pytest.importorskip("cloudpickle", reason="needs cloudpickle")

SIZES = (40, 1, 35, 24)


@pytest.fixture(scope="module")
def client():
    with dask_client(n_workers=2, processes=False) as client:
        yield client


@pytest.fixture(scope="module")
def items():
    generator = np.random.default_rng(0)
    truth = np.arange(sum(SIZES)) % 3
    x = generator.standard_normal((len(truth), 5)) + 6 * np.eye(3, 5)[truth]
    return x.astype(np.float32), np.array(["ant", "bee", "cat"])[truth]


def write_folder(folder: Path, x, labels, n_given=6):
    folder.mkdir()
    start = 0
    for number, size in enumerate(SIZES):
        rows = slice(start, start + size)
        given = [label if start + i < n_given else None for i, label in enumerate(labels[rows])]
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(x[rows].ravel()), x.shape[1])
        table = pa.table({"id": np.arange(start, start + size), "x": vectors, "label": given})
        parquet.write_table(table, folder / f"part-{number}.parquet", row_group_size=16)
        start += size
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory, items):
    return write_folder(tmp_path_factory.mktemp("dask") / "items", *items)


@pytest.fixture(scope="module")
def classifier(items):
    x, labels = items
    return gf.FewShotClassifier().fit(x[:30], [*labels[:6], *[None] * 24])


def read(out):
    return parquet.read_table(out).to_pydict()


def test_columns_are_found(folder):
    partitions = list_partitions(folder)
    assert [part.n_rows for part in partitions] == list(SIZES)
    assert find_columns(partitions, label="label").features == ("x",)
    with pytest.raises(DatasetError, match=r"part-0.parquet has no column 'class'; its columns"):
        find_columns(partitions, label="class")


def test_columns_of_numbers_are_features(tmp_path):
    table = pa.table({"a": [1.0, 2.0], "b": [3, 4], "label": ["x", None], "name": ["n", "m"]})
    parquet.write_table(table, tmp_path / "p.parquet")
    columns = find_columns(list_partitions(tmp_path), label="label", item="name")
    assert columns == ParquetColumns(("a", "b"), "label", "name")


def test_predictions_equal_those_of_one_process(client, folder, classifier, items, tmp_path):
    x, _ = items
    out = tmp_path / "out"
    done = []
    summary = predict_parquet(
        classifier, folder, out, client=client, item="id", label="label", progress=done.append
    )
    assert (summary.n_written, summary.n_skipped, summary.n_rows) == (4, 0, len(x))
    assert done == [1, 2, 3, 4]
    found = read(out)
    assert found["label"] == classifier.predict(x).tolist()
    assert np.allclose(found["confidence"], classifier.predict_proba(x).max(1), atol=1e-6)
    assert found["item"] == [str(i) for i in range(len(x))]


def test_a_second_run_writes_what_is_missing(client, folder, classifier, tmp_path):
    out = tmp_path / "out"
    arguments = {"client": client, "label": "label", "features": ["x"]}
    predict_parquet(classifier, folder, out, **arguments)
    before = read(out)
    (out / "part-2.parquet").unlink()
    (out / ".part-2.parquet.123").write_bytes(b"half")
    summary = predict_parquet(classifier, folder, out, **arguments)
    assert (summary.n_written, summary.n_skipped) == (1, 3)
    assert read(out) == before
    assert sorted(path.name for path in out.iterdir()) == [f"part-{i}.parquet" for i in range(4)]


def test_files_of_another_fit_are_not_replaced(client, folder, classifier, items, tmp_path):
    x, labels = items
    out = tmp_path / "out"
    predict_parquet(classifier, folder, out, client=client, label="label")
    other = gf.FewShotClassifier().fit(x[:6], labels[:6])
    with pytest.raises(InvalidInputError, match="written with other settings"):
        predict_parquet(other, folder, out, client=client, label="label")
    summary = predict_parquet(other, folder, out, client=client, label="label", overwrite=True)
    assert summary.n_written == 4


def test_arrays_and_blocks_are_predicted(classifier, items):
    x, _ = items
    expected = classifier.predict(x).tolist()
    array = dask.array.from_array(x, chunks=(33, 2))
    with dask.config.set(scheduler="synchronous"):
        assert predict_array(classifier, array).compute().tolist() == expected
        blocks = [dask.delayed(x[:50]), dask.delayed(x[50:])]
        parts = dask.compute(*predict_blocks(classifier, blocks))
    assert np.concatenate(parts).tolist() == expected


@pytest.mark.parametrize("method", ["auto", "poisson", "label_propagation", "label_spreading"])
def test_a_folder_is_labeled(client, folder, items, tmp_path, method):
    _, truth = items
    options = FolderOptions(method=method, item="id")
    summary = label_parquet(client, folder, tmp_path / "out", options=options)
    assert summary.n_written == 4
    found = read(tmp_path / "out")
    assert (np.array(found["label"]) == truth).mean() > 0.95
    assert found["given"] == [i < 6 for i in range(len(truth))]
    assert found["label"][:6] == truth[:6].tolist()
    assert found["confidence"][:6] == [1.0] * 6
    again = label_parquet(client, folder, tmp_path / "out", options=options)
    assert again.n_skipped == 4


def test_the_fit_to_all_items_labels_as_in_one_process(client, folder, items, tmp_path):
    x, truth = items
    y = np.where(np.arange(len(truth)) < 6, truth, "")
    expected = gf.FewShotClassifier().fit(x, y)
    label_parquet(client, folder, tmp_path / "out")
    found = read(tmp_path / "out")
    assert found["label"][6:] == expected.predict(x[6:]).tolist()
    assert np.allclose(found["confidence"][6:], expected.predict_proba(x[6:]).max(1), atol=1e-5)


def test_texts_are_encoded(client, tmp_path):
    (tmp_path / "texts").mkdir()
    for number in range(2):
        texts = [f"{word} {number}" for word in ("red car", "blue car", "green bus")]
        table = pa.table({"text": texts, "label": ["a", None, "b"]})
        parquet.write_table(table, tmp_path / "texts" / f"{number}.parquet")
    encoder = gf.encoders.find_encoder("tfidf").fit(["red car 0", "blue car 1", "green bus 0"])
    encode_parquet(client, encoder, tmp_path / "texts", tmp_path / "items", "text")
    found = parquet.read_table(tmp_path / "items" / "1.parquet")
    assert found.column_names == ["label", "features"]
    expected = encoder.encode(["red car 1", "blue car 1", "green bus 1"])
    assert np.allclose(np.stack(found["features"].to_pylist()), expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (FolderOptions(method="egnn"), "method is 'egnn'; on partitions it must be auto, poisson"),
        (FolderOptions("poisson", unknown_threshold=0.5), "poisson has no similarity"),
        (FolderOptions(fit_items=1), "fit_items is 1; it must be at least 2"),
        (FolderOptions(fit_items=5), "6 items have a label, and fit_items is 5"),
    ],
)
def test_wrong_options_are_rejected(client, folder, tmp_path, options, message):
    with pytest.raises(InvalidInputError, match=message):
        label_parquet(client, folder, tmp_path / "out", options=options)
    assert not (tmp_path / "out").exists()


def test_wrong_folders_are_rejected(client, folder, classifier, tmp_path):
    with pytest.raises(MissingFileError, match=r"contains no file that ends in .parquet"):
        label_parquet(client, tmp_path, tmp_path / "out")
    with pytest.raises(InvalidInputError, match="is the folder of the items"):
        label_parquet(client, folder, folder)
    (tmp_path / "file").touch()
    with pytest.raises(InvalidInputError, match="is a file; give a folder"):
        predict_parquet(classifier, folder, tmp_path / "file", client=client, label="label")
    (tmp_path / "a.parquet").write_text("no parquet")
    with pytest.raises(DatasetError, match="is no Parquet file"):
        label_parquet(client, tmp_path, tmp_path / "out")
    unfitted = gf.FewShotClassifier()
    with pytest.raises(InvalidInputError, match="not fitted"):
        predict_parquet(unfitted, folder, tmp_path / "out")
    with pytest.raises(InvalidInputError, match="transductive"):
        predict_array(gf.FewShotClassifier(transductive=True), None)


def test_labels_of_one_class_are_rejected(client, items, tmp_path):
    x, labels = items
    source = write_folder(tmp_path / "items", x, labels, n_given=1)
    with pytest.raises(DatasetError, match="labels of 1 classes in the column 'label'"):
        label_parquet(client, source, tmp_path / "out")


def test_an_error_of_a_partition_leaves_no_half_written_file(client, classifier, items, tmp_path):
    source, out = write_folder(tmp_path / "items", *items), tmp_path / "out"
    table = pa.table({"id": [0], "x": [[1.0, 2.0]], "label": [None]})
    parquet.write_table(table, source / "part-2.parquet")
    with pytest.raises(
        InvalidInputError, match=r"part-2.parquet has 2 features and .*0.parquet has 5"
    ):
        label_parquet(client, source, out)
    with pytest.raises(ValueError, match="X has 2 features"):
        predict_parquet(classifier, source, out, client=client, label="label")
    names = {path.name for path in out.iterdir()}
    assert names <= {"part-0.parquet", "part-1.parquet", "part-3.parquet"}


def test_an_address_without_a_scheduler_is_one_error(monkeypatch):
    monkeypatch.setattr("graphfew.dask.cluster_client.CONNECT_SECONDS", 0.2)
    with (
        pytest.raises(ConfigurationError, match="no Dask scheduler answers at"),
        dask_client("tcp://127.0.0.1:9"),
    ):
        pass
    with (
        pytest.raises(ConfigurationError, match="give one of the two"),
        dask_client("x", n_workers=1),
    ):
        pass


def kill_once(path, flag):
    """Tables of a partition whose first worker is killed while it writes."""
    yield pa.table({"a": [1]})
    if path.name == "part-2.parquet" and not flag.exists():
        flag.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    yield pa.table({"a": [2]})


def lose_worker(path, value):
    """Tables of a partition whose worker is lost again and again."""
    yield pa.table({"a": [1]})
    raise distributed.KilledWorker("task", SimpleNamespace(address="tcp://10.0.0.2:1"), 3)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_killed_worker_is_replaced(folder, tmp_path):
    partitions = list_partitions(folder)
    flag, out = tmp_path / "killed", tmp_path / "out"
    # The workers cannot import this file.
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    with dask_client(n_workers=2) as client:
        write_partitions(client, kill_once, [flag] * 4, partitions, out, run_key(1))
    assert flag.exists()
    assert read(out) == {"a": [1, 2] * 4}
    assert sorted(path.name for path in out.glob("*.parquet")) == [
        f"part-{i}.parquet" for i in range(4)
    ]


def test_lost_workers_are_one_error_and_leave_no_half_written_file(client, folder, tmp_path):
    with pytest.raises(
        ProcessLostError, match=r"lost while writing to .* the same command continues"
    ):
        write_partitions(
            client, lose_worker, [None] * 4, list_partitions(folder), tmp_path / "out", run_key(1)
        )
    assert list((tmp_path / "out").iterdir()) == []
