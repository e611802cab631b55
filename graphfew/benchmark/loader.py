"""From a TOML file to a checked benchmark spec."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from graphfew.benchmark.semi_supervised import SemiSupervisedBenchmark
from graphfew.benchmark.spec import EpisodeBenchmark
from graphfew.benchmark.spec_checks import check_episode_benchmark, with_default_names
from graphfew.benchmark.spec_fields import SpecError, spec_error, suggest
from graphfew.benchmark.toml_file import read_toml

AnyBenchmark = EpisodeBenchmark | SemiSupervisedBenchmark
KINDS: Mapping[str, type[AnyBenchmark]] = {
    "episodes": EpisodeBenchmark,
    "semi_supervised": SemiSupervisedBenchmark,
}


def load_spec(path: Path) -> AnyBenchmark:
    """Read a benchmark spec and check everything that needs no data.

    Args:
        path: a TOML file.

    Returns:
        The spec, with default names filled in.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is not TOML.
        SpecError: a `ValueError` that names file, key, value and what is allowed.
    """
    content = read_toml(path)
    kind = content.get("kind", "episodes")
    if not isinstance(kind, str) or kind not in KINDS:
        raise SpecError(path, ("kind",), f"{str(kind)[:80]!r} is invalid; {suggest('', KINDS)}")
    try:
        spec = KINDS[kind].model_validate(content)
    except ValidationError as error:
        raise spec_error(path, error) from error
    # Before the checks, because their errors name the file.
    spec._path = path
    spec._digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if isinstance(spec, SemiSupervisedBenchmark):
        return spec.checked()
    spec = with_default_names(spec)
    check_episode_benchmark(spec)
    return spec
