"""graphfew's exceptions: one base class, each also a built-in exception."""

import inspect
import pickle
from pathlib import Path

import pytest

from graphfew import errors

BUILTINS = {
    "BadItemsError": ValueError,
    "CheckpointError": ValueError,
    "ConfigurationError": ValueError,
    "ContractError": RuntimeError,
    "DatasetError": ValueError,
    "DatasetNotFoundError": FileNotFoundError,
    "DownloadError": OSError,
    "HubError": OSError,
    "InvalidInputError": ValueError,
    "InvalidTypeError": TypeError,
    "MissingDependencyError": ModuleNotFoundError,
    "MissingFileError": FileNotFoundError,
    "NumericalError": FloatingPointError,
    "ProcessLostError": RuntimeError,
    "WriteError": OSError,
}


def test_all_lists_every_exception():
    classes = {name for name, value in vars(errors).items() if inspect.isclass(value)}
    assert classes == set(errors.__all__) == {*BUILTINS, "GraphfewError"}


@pytest.mark.parametrize("name", BUILTINS)
def test_an_exception_is_a_graphfew_error_and_a_builtin(name):
    error = getattr(errors, name)("way is 0; it must be at least 1")
    assert isinstance(error, errors.GraphfewError)
    assert isinstance(error, BUILTINS[name])
    assert str(error) == "way is 0; it must be at least 1"


@pytest.mark.parametrize("name", BUILTINS)
def test_an_exception_survives_pickling(name):
    error = getattr(errors, name)("way is 0")
    restored = pickle.loads(pickle.dumps(error))
    assert type(restored) is type(error)
    assert str(restored) == "way is 0"


def test_a_configuration_error_keeps_its_key():
    error = errors.ConfigurationError("steps is 0; it must be at least 1", key="train.steps")
    assert error.key == "train.steps"
    assert pickle.loads(pickle.dumps(error)).key == "train.steps"
    assert errors.ConfigurationError("no data are configured").key is None


def test_bad_items_keep_their_problems():
    error = errors.BadItemsError("2 items cannot be read", ("a.png is empty", "b.png is a text"))
    restored = pickle.loads(pickle.dumps(error))
    assert str(restored) == str(error)
    assert restored.headline == "2 items cannot be read"
    assert restored.problems == ("a.png is empty", "b.png is a text")


def test_errors_imports_nothing():
    """Every module of the package may import `graphfew.errors`."""
    source = Path(errors.__file__).read_text(encoding="utf-8")
    lines = [line for line in source.splitlines() if line.startswith(("import ", "from "))]
    assert lines == ["from __future__ import annotations"]
