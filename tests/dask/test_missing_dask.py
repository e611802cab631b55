"""Without Dask, `gf.dask` can be imported, and its functions raise one error that names the extra."""

import sys

import pytest

from graphfew.dask import dask_client, predict_blocks
from graphfew.errors import MissingDependencyError
from graphfew.estimators.classifier import FewShotClassifier


def test_functions_name_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MissingDependencyError, match=r"graphfew\[dask\]"), dask_client():
        pass
    classifier = FewShotClassifier().fit([[0, 1], [1, 0]], ["a", "b"])
    with pytest.raises(MissingDependencyError, match=r"graphfew\[dask\]"):
        predict_blocks(classifier, [])
