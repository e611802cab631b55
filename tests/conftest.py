"""Shapes and types of the library are checked in every test: the hook has to come before the first import of it."""

import os
from collections.abc import Iterator
from pathlib import Path

import jaxtyping
import pytest
import torch
from hypothesis import settings

jaxtyping.install_import_hook("graphfew", "beartype.beartype")

# How long an example takes says something of the machine's load, and nothing of the code.
settings.register_profile("graphfew", deadline=None)
settings.load_profile("graphfew")


@pytest.fixture
def unchecked() -> Iterator[None]:
    """The library as a user meets it: for tests of its own refusals, which the type check would otherwise forestall."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Small models on shared cores: threads would only wait for one another."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def real_omniglot() -> Path:
    """The folder with the real Omniglot archives."""
    shared = os.environ.get("GRAPHFEW_DATA")
    if not shared or not (Path(shared) / "omniglot" / "images_background.zip").is_file():
        pytest.skip("Omniglot is not here: set GRAPHFEW_DATA to a folder that contains omniglot/images_background.zip")
    return Path(shared) / "omniglot"
