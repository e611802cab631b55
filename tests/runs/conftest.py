"""What the tests of runs share."""

import pytest
import torch
from small_runs import OPTIONS

from graphfew import runs


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Small models on shared cores: threads would only wait for one another."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """A run that was never stopped; not to be written to."""
    out = tmp_path_factory.mktemp("whole") / "run"
    runs.execute(runs.prepare(out, OPTIONS))
    return out
