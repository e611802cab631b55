"""Shapes and types of the library are checked in every test: the hook has to come before the first import of it."""

from collections.abc import Iterator

import jaxtyping
import pytest

jaxtyping.install_import_hook("graphfew", "beartype.beartype")


@pytest.fixture
def unchecked() -> Iterator[None]:
    """The library as a user meets it: for tests of its own refusals, which the type check would otherwise forestall."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
