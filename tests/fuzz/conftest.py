"""Hostile inputs: 100 for each reader, or as many as GRAPHFEW_FUZZ says, every run the same ones.

`GRAPHFEW_FUZZ=5000 python -m pytest tests/fuzz --fuzz-results FILE` counts what became of them, writes that as
JSON, and fails where anything was found. What the file holds of other tests stays,
so a long run may be done in parts.
"""

import json
import os
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import jaxtyping
import pytest
from hypothesis import HealthCheck, settings
from tally import Tally

TALLIES: dict[str, Tally] = {}
EXAMPLES = int(os.environ.get("GRAPHFEW_FUZZ", "100"))

settings.register_profile(
    "fuzz",
    deadline=None,
    derandomize=True,
    database=None,
    max_examples=EXAMPLES,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
    ],
)


@pytest.fixture(autouse=True)
def as_users_meet_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """Without the checks of types that tests have, and with a cache of its own."""
    monkeypatch.setenv("GRAPHFEW_CACHE", str(tmp_path_factory.mktemp("cache")))
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Iterator[Tally]:
    """The counts of one test; where results are written, a failure is counted and told at the end."""
    name = request.node.name.removeprefix("test_")
    own = TALLIES[name] = Tally(name, bool(request.config.getoption("fuzz_results")))
    yield own
    assert not own.failures, own.failures
    assert own.taken + sum(own.refused.values()) > 0


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--fuzz-results",
        default=None,
        help="Write what became of all inputs to this file, as JSON.",
    )


def pytest_sessionfinish(session: pytest.Session) -> None:
    place = session.config.getoption("fuzz_results")
    if place and TALLIES:
        before = (
            json.loads(Path(place).read_text(encoding="utf-8"))["readers"]
            if Path(place).is_file()
            else {}
        )
        told = dict(
            sorted({**before, **{name: one.to_json() for name, one in TALLIES.items()}}.items())
        )
        content = {
            "command": "GRAPHFEW_FUZZ=N python -m pytest tests/fuzz --fuzz-results FILE",
            "inputs": sum(one["inputs"] for one in told.values()),
            "failures": sum(sum(one["failures"].values()) for one in told.values()),
            "versions": {
                name: version(name) for name in ("numpy", "pillow", "safetensors", "torch")
            },
            "readers": told,
        }
        Path(place).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
