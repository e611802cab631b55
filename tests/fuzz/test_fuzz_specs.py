"""Specs of benchmarks and files of published figures: random documents, and real ones with parts changed."""

import json
import math
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from small_specs import SMALL
from tally import Tally, altered, mutated, written

from graphfew.benchmark import load_spec, read_published_results
from graphfew.benchmark.toml_file import tomllib

FUZZ = settings.get_profile("fuzz")
ROOT = Path(__file__).parents[2] / "benchmarks"
# Those that are read in a moment; the others build larger networks.
REAL = [
    SMALL.encode(),
    *(
        (ROOT / "specs" / f"{name}.toml").read_bytes()
        for name in ("glyphs", "clinc150-semi-supervised", "clinc150", "cifar-fs-features")
    ),
]
VALUES = st.one_of(
    st.sampled_from(
        [
            -1,
            0,
            1,
            2,
            3,
            10**9,
            2**63,
            10**30,
            -(10**9),
            True,
            "",
            "a",
            "é\u202e",
            "\0",
            "../up",
            "x" * 2000,
            "5-20",
            "single",
            "1e30",
            [],
            {},
            [[]],
            [1, 2, 3],
            list(range(500)),
            ["a", "b"],
            {"way": 5},
            "egnn",
            "gnn",
            "label_propagation",
            "transductive",
            "inductive",
            "proto",
            "glyphs",
            "train",
            "test",
            1e308,
            0.5,
            -0.0,
        ]
    ),
    st.floats(),
    st.integers(-3, 60),
    st.text(max_size=4),
)


def toml(value: object) -> str:
    """A value as TOML writes it, tables inline."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return (
            "nan"
            if math.isnan(value)
            else repr(value)
            if math.isfinite(value)
            else f"{'-' * (value < 0)}inf"
        )
    if isinstance(value, str):
        return json.dumps(value.encode("utf-8", "replace").decode()).replace("\x7f", "\\u007f")
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, dict):
        return (
            f"{{ {', '.join(f'{toml(str(key))} = {toml(part)}' for key, part in value.items())} }}"
        )
    return str(value)


def document(content: object) -> bytes:
    """Tables and arrays of tables under headers, all else above them."""
    if not isinstance(content, dict):
        return toml(content).encode()
    heads, bodies = [], []
    for key, value in content.items():
        if isinstance(value, dict):
            bodies += [
                f"[{toml(str(key))}]",
                *(f"{toml(str(k))} = {toml(v)}" for k, v in value.items()),
            ]
        elif isinstance(value, list) and value and all(isinstance(part, dict) for part in value):
            for part in value:
                bodies += [
                    f"[[{toml(str(key))}]]",
                    *(f"{toml(str(k))} = {toml(v)}" for k, v in part.items()),
                ]
        else:
            heads.append(f"{toml(str(key))} = {toml(value)}")
    return "\n".join([*heads, *bodies]).encode()


LINES = st.lists(
    st.sampled_from(
        [
            'name = "a"',
            "[data]",
            'name = "glyphs"',
            "[test]",
            "n_tasks = 4",
            "[[row]]",
            'method = "egnn"',
            "[[train]]",
            "seeds = [0, 0]",
            "a.b.c = 1",
            "[[a.b]]",
            "[a]",
            "x = {a = {}}",
            "x = [[[[]]]]",
            "x = 1979-05-27",
            "x = 07:32:00",
            "x = nan",
            "x = 0xffffffffffffffffffff",
            "x = '''",
            'x = """',
            "x = " + "9" * 5000,
            "x = " + "[" * 5000,
            "x = " + "{a=" * 3000,
            "a" + ".a" * 5000 + " = 1",
            "= 1",
            "\0",
            "# é",
            "[[tasks]]",
            "way = [" + "5, " * 300 + "]",
            "\ufeff",
            "kind = 'semi_supervised'",
            "[semi_supervised]",
        ]
    ),
    max_size=12,
).map(lambda lines: "\n".join(lines).encode())


@given(
    content=st.one_of(
        st.sampled_from(REAL).flatmap(mutated),
        LINES,
        st.binary(max_size=60),
        st.text(max_size=60).map(str.encode),
        st.sampled_from(REAL)
        .map(lambda raw: tomllib.loads(raw.decode()))
        .flatmap(lambda tree: altered(tree, VALUES))
        .map(document),
    ).filter(lambda raw: raw is not None)
)
@settings(FUZZ)
def test_spec(tally: Tally, tmp_path: Path, content: bytes) -> None:
    path = written(tmp_path, "spec.toml", content)
    tally.judge(lambda: load_spec(path), (ValueError,), path, tmp_path)


FIGURES = b"[[result]]".join((ROOT / "published.toml").read_bytes().split(b"[[result]]")[:4])


@given(content=st.one_of(mutated(FIGURES), LINES, st.binary(max_size=60)))
@settings(FUZZ)
def test_published(tally: Tally, tmp_path: Path, content: bytes) -> None:
    path = written(tmp_path, "published.toml", content)
    tally.judge(lambda: read_published_results(path), (ValueError,), path, tmp_path)
