"""Methods on complete graphs of equal size compile whole: no graph break, the same numbers and gradients."""

import json
import os
import subprocess
import sys
from pathlib import Path

import compiled
import pytest
import torch

HERE = Path(__file__).parents[1]
TORCH_VERSION = tuple(int(part) for part in torch.__version__.split(".")[:2])
pytestmark = pytest.mark.skipif(
    TORCH_VERSION < (2, 7), reason="dynamo of PyTorch 2.6 cannot trace cached properties of records"
)


@pytest.fixture(scope="module")
def measured():
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent)])}
    run = subprocess.run(
        [sys.executable, str(HERE / "compiled.py")],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    return json.loads(run.stdout)


@pytest.mark.parametrize("name", compiled.METHODS)
def test_compiled_logits_equal_eager(name, measured):
    logits, edges = measured["answers"][name]
    assert logits < 1e-10
    assert edges < 1e-10


@pytest.mark.parametrize("name", compiled.TRAINED)
def test_compiled_logits_equal_eager_for_mixed_sizes(name, measured):
    assert measured["ragged"][name] < 1e-10


@pytest.mark.parametrize("name", compiled.TRAINED)
def test_compiled_training_equals_eager(name, measured):
    gradient, statistics, largest = measured["training"][name]
    assert largest > 0
    assert gradient < 1e-8 * max(1, largest)
    assert statistics < 1e-10
