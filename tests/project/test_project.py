"""Facts that are stated in two files agree."""

import re
import sys
from pathlib import Path

import graphfew as gf
from graphfew.data.io import archives

ROOT = Path(__file__).parents[2]
OMNIGLOT, CIFAR = (
    sys.modules["graphfew.data.datasets.omniglot"],
    sys.modules["graphfew.data.datasets.cifar_files"],
)


def text(name):
    return (ROOT / name).read_text(encoding="utf-8")


def one(pattern, name):
    (found,) = re.findall(pattern, text(name), re.MULTILINE)
    return found


def test_citation_has_the_current_version_and_license():
    assert (
        one(r"^version: (.+)$", "CITATION.cff")
        == one(r'^version = "(.+)"$', "pyproject.toml")
        == gf.__version__
    )
    assert one(r"^license: (.+)$", "CITATION.cff") == one(r'^license = "(.+)"$', "pyproject.toml")
    assert one(r"^cff-version: (.+)$", "CITATION.cff") == "1.2.0"
    for key in ("message", "title", "authors"):
        one(rf"^{key}:", "CITATION.cff")


def test_security_policy_states_the_limits_of_the_code():
    policy = re.sub(r"\s+", " ", text("SECURITY.md"))
    assert (
        f"may inflate to {archives.FREE_BYTES // 10**6} MB or to {archives.MAX_RATIO} times"
        in policy
    )
    assert f"lists of entries up to {archives.MAX_DIRECTORY_BYTES // 10**6} MB" in policy
    assert OMNIGLOT.MAX_IMAGE_BYTES == CIFAR.MAX_IMAGE_BYTES
    assert f"images of Omniglot and CIFAR-100 to {CIFAR.MAX_IMAGE_BYTES // 1000} kB" in policy
    assert f"binary archive up to {CIFAR.MAX_UNPACKED_BYTES // 10**6} MB" in policy


def test_files_named_in_the_policy_exist():
    for name in re.findall(r"`((?:graphfew|tests|benchmarks)/[^`]+)`", text("SECURITY.md")):
        assert (ROOT / name).exists(), name
    for name in ("CITATION.cff", "CONTRIBUTING.md", "SECURITY.md"):
        assert f'"/{name}"' in text("pyproject.toml"), name


def test_issue_templates_have_required_fields():
    for path in sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")):
        if path.name != "config.yml":
            content = path.read_text(encoding="utf-8")
            assert re.search(r"^name: \S", content, re.MULTILINE), path
            assert re.search(r"^description: \S", content, re.MULTILINE), path
            assert "required: true" in content, path


def dependencies():
    """The lower bound of each dependency in pyproject.toml."""
    (block,) = re.findall(r"^dependencies = \[\n(.*?)^\]", text("pyproject.toml"), re.M | re.S)
    return dict(re.findall(r'"([\w.-]+)>=([\d.]+)', block))


def release(version):
    """`2` and `2.0.0` are the same release."""
    return tuple(int(part) for part in (version + ".0.0").split(".")[:3])


def test_the_lowest_versions_are_the_lower_bounds():
    pins = dict(re.findall(r"^([\w.-]+)==([\d.]+)$", text(".ci/lowest.txt"), re.M))
    assert {name: release(version) for name, version in pins.items()} == {
        name: release(bound) for name, bound in dependencies().items()
    }


def test_the_workflow_tests_every_supported_python_and_the_lowest_torch():
    workflow = text(".github/workflows/ci.yml")
    (versions,) = re.findall(r"python: \[(.+)\]", workflow)
    pythons = re.findall(r'"(.+?)"', versions)
    assert f'requires-python = ">={pythons[0]}"' in text("pyproject.toml")
    assert pythons == [f"3.{minor}" for minor in range(10, 14)]
    lowest_torch = one(r"^torch==(.+)$", ".ci/lowest.txt")
    assert f"TORCH=torch=={lowest_torch}" in workflow


def test_the_workflow_runs_targets_of_the_makefile():
    targets = set(re.findall(r"^([\w-]+):", text("Makefile"), re.M))
    for workflow in sorted((ROOT / ".github" / "workflows").glob("*.yml")):
        used = re.findall(r"make ([\w-]+)", workflow.read_text(encoding="utf-8"))
        assert used, workflow
        assert set(used) <= targets, workflow


def test_formatting_is_checked_by_the_makefile_and_by_pre_commit():
    assert "ruff format --check" in text("Makefile")
    hooks = re.findall(r"^ +- id: (.+)$", text(".pre-commit-config.yaml"), re.M)
    assert hooks == ["ruff-check", "ruff-format", "mypy"]
