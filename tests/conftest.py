"""Check shapes and types in every test; the import hook must precede the first import of graphfew."""

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


class TritonKernelFinder(MetaPathFinder):
    """Bypass the hook for Triton kernels: Triton's interpreter reads their source and cannot handle wrappers."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: object = None
    ) -> ModuleSpec | None:
        return (
            PathFinder.find_spec(fullname, path)
            if fullname.startswith("graphfew.ops.triton_")
            else None
        )


sys.meta_path.insert(0, TritonKernelFinder())

# Triton reads this when it is imported: without a GPU, its kernels are interpreted.
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"

# The duration of an example depends on the load of the machine, not on the code.
settings.register_profile("graphfew", deadline=None)
settings.load_profile("graphfew")


@pytest.fixture
def unchecked() -> Iterator[None]:
    """Disable type checks, for tests of the library's own errors, which the checks would preempt."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """One thread: for small models, several threads only wait for each other."""
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
