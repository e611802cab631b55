"""Checkpoints, the folder of a run, and results of benchmarks."""

import functools
import json
import shutil
import sys
import tempfile
from pathlib import Path

import pytest
from bench_records import made
from hypothesis import given, settings
from hypothesis import strategies as st
from tally import HOSTILE, Tally, altered, deep_json, json_like, mutated, written

import graphfew as gf
from graphfew.benchmark import read_records
from graphfew.runs import RunDir, TrainingInterrupted, execute, load_split, prepare, resume
from graphfew.runs.run_dir import truncate_metrics
from graphfew.serialization import checkpoint

FUZZ = settings.get_profile("fuzz")


def model(name: str = "egnn") -> gf.GraphMethod:
    arguments = {"layers": 1, "width": 4} if name == "egnn" else {}
    return gf.create(name, encoder=gf.backbones.identity(3), **arguments)


@functools.cache
def saved(name: str = "egnn") -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return gf.save(model(name), Path(folder) / "m", extra={"step": 3}).read_bytes()


def split(raw: bytes) -> tuple[dict[str, object], bytes]:
    """The JSON at the head of a safetensors file, and its numbers."""
    size = int.from_bytes(raw[:8], "little")
    return json.loads(raw[8 : 8 + size]), raw[8 + size :]


def joined(head: object, numbers: bytes) -> bytes:
    text = head if isinstance(head, bytes) else json.dumps(head).encode("utf-8", "replace")
    return len(text).to_bytes(8, "little") + text + numbers


def lying_heads(raw: bytes) -> st.SearchStrategy[bytes]:
    """Other dtypes, shapes and places than the numbers have; a head of another length; no head at all."""
    head, numbers = split(raw)
    kinds = ["F64", "F16", "BF16", "I64", "BOOL", "U8", "F8_E5M2", "C64", "F4", "Q"]
    values = st.one_of(
        HOSTILE,
        st.sampled_from(kinds),
        st.lists(st.sampled_from([0, 1, -1, 4, 2**62, 10**30]), max_size=4),
    )
    return st.one_of(
        altered(head, values).map(lambda new: joined(new, numbers)),
        st.sampled_from([2**63, 2**40, 100_000_001, 0, 7]).map(
            lambda n: n.to_bytes(8, "little") + raw[8:]
        ),
        st.just(joined(deep_json(), numbers)),
    )


def lying_recipes(raw: bytes) -> st.SearchStrategy[bytes]:
    """Another recipe, format, extra or provenance than was saved; numbers that ask for more than there is."""
    head, numbers = split(raw)
    own = json.loads(head["__metadata__"]["graphfew"])
    values = st.one_of(
        json_like(),
        st.sampled_from(
            [
                20_000,
                10**6,
                2**31,
                10**9,
                "gnn",
                "tpn",
                "conv4",
                "resnet12",
                "pca",
                "identity",
                {"metric": "cosine"},
                {"metric": []},
            ]
        ),
    )

    def packed(new: object) -> bytes:
        text = new if isinstance(new, str) else json.dumps(new)
        return joined({**head, "__metadata__": {"graphfew": text}}, numbers)

    return st.one_of(
        altered(own, values).map(packed),
        json_like().map(packed),
        st.just(packed(deep_json().decode())),
        st.just(packed('{"format": ' + "9" * 5000 + "}")),
    )


@functools.cache
def checkpoints(name: str) -> st.SearchStrategy[bytes]:
    raw = saved(name)
    return st.one_of(mutated(raw), lying_heads(raw), lying_recipes(raw), st.binary(max_size=60))


@pytest.mark.parametrize("name", ["egnn", "prototypical"])
@given(data=st.data())
@settings(FUZZ)
def test_checkpoint(tally: Tally, tmp_path: Path, name: str, data: st.DataObject) -> None:
    content = data.draw(checkpoints(name))
    path = written(tmp_path, "m.safetensors", content)
    tally.judge(lambda: (checkpoint.read_extra(path), gf.load(path)), (ValueError,), path, tmp_path)


OPTIONS = {
    "method": "prototypical",
    "data": "digits",
    "split": "all",
    "validate": "all",
    "way": "3",
    "query": "2",
    "encoder_arguments": {"width": 4},
    "steps": 2,
    "batch": 2,
    "validate_every": 1,
    "validate_tasks": 2,
    "validate_way": "3",
}


@functools.cache
def begun() -> Path:
    """The folder of a run that was stopped after its first step."""
    folder = Path(tempfile.mkdtemp()) / "run"
    asked = iter([False, True])
    with pytest.raises(TrainingInterrupted):
        execute(prepare(folder, OPTIONS), should_stop=lambda: next(asked, True))
    return folder


@pytest.fixture(autouse=True)
def digits_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The images are drawn anew for each run, which takes longer than all else."""
    module = sys.modules["graphfew.runs.build"]
    kept: dict[str, gf.Dataset] = {}

    def once(name: str, split: str, root: str | None, **arguments: object) -> gf.Dataset:
        if (name, split, arguments) != ("digits", "all", {}):
            return load_split(name, split, root, **arguments)
        return kept.setdefault("digits", kept.get("digits") or load_split(name, split, root))

    monkeypatch.setattr(module, "load_split", once)


@pytest.fixture(scope="module", autouse=True)
def cleaned() -> object:
    yield
    if begun.cache_info().currsize:
        shutil.rmtree(begun().parent)


@functools.cache
def configs() -> st.SearchStrategy[bytes]:
    raw = (begun() / "config.json").read_bytes()
    return st.one_of(
        mutated(raw),
        st.just(deep_json()),
        altered(json.loads(raw), json_like()).map(
            lambda tree: json.dumps(tree).encode("utf-8", "replace")
        ),
    )


@functools.cache
def lasts() -> st.SearchStrategy[bytes]:
    raw = (begun() / "last.safetensors").read_bytes()
    head, numbers = split(raw)
    own = json.loads(head["__metadata__"]["graphfew"])
    return st.one_of(
        mutated(raw),
        lying_heads(raw),
        altered(own["extra"], json_like()).map(
            lambda extra: joined(
                {**head, "__metadata__": {"graphfew": json.dumps({**own, "extra": extra})}}, numbers
            )
        ),
    )


@given(content=st.data())
@settings(FUZZ)
def test_run_config(tally: Tally, tmp_path: Path, content: st.DataObject) -> None:
    written(tmp_path / "run", "config.json", content.draw(configs()))
    tally.judge(
        lambda: resume(tmp_path / "run", {}), (ValueError, FileNotFoundError), None, tmp_path
    )


@given(content=st.data())
@settings(FUZZ)
def test_run_last(tally: Tally, tmp_path: Path, content: st.DataObject) -> None:
    new = content.draw(lasts())
    shutil.copytree(begun(), tmp_path / "run", dirs_exist_ok=True)
    path = written(tmp_path / "run", "last.safetensors", new)
    tally.judge(lambda: resume(tmp_path / "run", {}), (ValueError,), path, tmp_path)


LINES = b"".join(json.dumps({"step": step, "loss": 0.5}).encode() + b"\n" for step in range(4))


@given(
    content=st.one_of(
        mutated(LINES),
        json_like().map(lambda v: json.dumps(v).encode() + b"\n"),
        st.just(deep_json()),
        st.binary(max_size=40).map(lambda raw: raw + b"\n"),
    )
)
@settings(FUZZ)
def test_run_metrics(tally: Tally, tmp_path: Path, content: bytes) -> None:
    path = written(tmp_path, "metrics.jsonl", content)
    tally.judge(lambda: truncate_metrics(RunDir(tmp_path), 2), (ValueError,), path, tmp_path)


RECORD = made().to_line()


@given(
    content=st.one_of(
        mutated(RECORD.encode()),
        st.binary(max_size=60),
        st.just(deep_json()),
        altered(json.loads(RECORD), json_like()).map(
            lambda tree: json.dumps(tree).encode("utf-8", "replace") + b"\n"
        ),
    )
)
@settings(FUZZ)
def test_results(tally: Tally, tmp_path: Path, content: bytes) -> None:
    """Lines that cannot be read are told, never raised; what is read can be written again and reported."""
    path = written(tmp_path, "small.jsonl", content)

    def used() -> None:
        records, faults = read_records(path)
        for record in records:
            again = json.loads(record.to_line())
            assert again["row"] == record.row
            assert record.tasks_per_second >= 0
        assert all(path.name in str(fault) and len(str(fault)) < 3000 for fault in faults)

    tally.judge(used, (), None, tmp_path)
