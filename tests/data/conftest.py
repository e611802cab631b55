"""What the tests of data share. Nothing here reaches the user's own cache or the network."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """A cache for this run of the tests, and no network."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRAPHFEW_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr("pooch.retrieve", _refuse)
        yield


@pytest.fixture(scope="session")
def real_omniglot():
    """The folder with the real Omniglot archives."""
    shared = os.environ.get("GRAPHFEW_DATA")
    if not shared or not (Path(shared) / "omniglot" / "images_background.zip").is_file():
        pytest.skip("Omniglot is not here: set GRAPHFEW_DATA to a folder that contains omniglot/images_background.zip")
    return Path(shared) / "omniglot"


def _refuse(url, **options):
    raise OSError("tests do not download")
