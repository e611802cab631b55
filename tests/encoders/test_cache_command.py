"""`graphfew data --cache` and `--clear-cache`."""

import numpy as np
from typer.testing import CliRunner

from graphfew import encoders
from graphfew.cli import app


def run(*arguments):
    return CliRunner().invoke(app, ["data", *arguments])


def test_cache_is_listed_and_cleared(tmp_path, monkeypatch):
    monkeypatch.setenv("GRAPHFEW_CACHE", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "120")
    images = np.zeros((50, 8, 8))
    images[np.arange(50), 0, np.arange(50) % 8] = np.linspace(0.1, 1, 50)
    encoders.find_encoder("hog").fit(images).encode(images)
    listed = run("--cache")
    assert listed.exit_code == 0
    assert "hog-" in listed.output
    assert f"0.2 of 2,000 MB (GRAPHFEW_EMBEDDINGS_MB) in {tmp_path / 'embeddings'}" in listed.output
    cleared = run("--clear-cache")
    assert f"0.2 MB of features removed from {tmp_path / 'embeddings'}" in cleared.output
    assert "0.0 of 2,000 MB" in run("--cache").output


def test_invalid_limit_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("GRAPHFEW_CACHE", str(tmp_path))
    monkeypatch.setenv("GRAPHFEW_EMBEDDINGS_MB", "much")
    result = run("--cache")
    assert result.exit_code == 2
    assert len(result.output.strip().splitlines()) == 1
    assert "GRAPHFEW_EMBEDDINGS_MB is 'much'" in result.output
