"""What the tests of data share. Nothing here reaches the user's own cache or the network."""

import pytest


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """A cache for this run of the tests, and no network."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRAPHFEW_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr("pooch.retrieve", _refuse)
        yield


def _refuse(url, **options):
    raise OSError("tests do not download")
