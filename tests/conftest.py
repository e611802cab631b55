"""Shapes and types of the library are checked in every test: the hook has to come before the first import of it."""

import os
import sys
from collections.abc import Iterator, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

import jaxtyping
import pytest
import torch
from hypothesis import settings

jaxtyping.install_import_hook("graphfew", "beartype.beartype")


class Unhooked(MetaPathFinder):
    """Finds Triton's kernels past that hook: Triton's interpreter reads their source, and cannot follow a wrapper."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: object = None
    ) -> ModuleSpec | None:
        return (
            PathFinder.find_spec(fullname, path)
            if fullname == "graphfew.ops.triton_pair_mlp"
            else None
        )


sys.meta_path.insert(0, Unhooked())

# Read when Triton is first imported: its kernels are interpreted where there is no GPU.
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"

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
        pytest.skip(
            "Omniglot is not here: set GRAPHFEW_DATA to a folder that contains omniglot/images_background.zip"
        )
    return Path(shared) / "omniglot"
