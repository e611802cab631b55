"""Fixtures of the tests of runs."""

import pytest
import torch
from small_runs import OPTIONS

from graphfew import runs


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Small models on shared cores are faster without threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def complete_run(tmp_path_factory):
    """A run that was never stopped; do not write to it."""
    out = tmp_path_factory.mktemp("complete_run") / "run"
    runs.execute(runs.prepare(out, OPTIONS))
    return out
