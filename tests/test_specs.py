"""The specs that come with the project."""

from pathlib import Path

import pytest
import torch
from small_specs import Told

from graphfew.bench import Options, all_cells, read, read_spec, run

FOLDER = Path(__file__).parents[1] / "benchmarks" / "specs"
SPECS = sorted(FOLDER.glob("*.toml"))


@pytest.mark.parametrize("path", SPECS, ids=[path.stem for path in SPECS])
def test_each_is_right_and_named_as_its_file(path):
    spec = read_spec(path)
    assert spec.name == path.stem
    assert all_cells(spec)


def test_glyphs_run_in_seconds(tmp_path, one_thread):
    spec = read_spec(FOLDER / "glyphs.toml")
    assert run([spec], Options(tmp_path, most=2), Told().screen()) == 0
    records, faults = read(tmp_path / "glyphs.jsonl")
    assert [record.key for record in records] == [cell.key for cell in all_cells(spec, 2)]
    assert faults == ()


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
