"""Models in the Hugging Face Hub: upload, download, offline cache and errors."""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import torch
from hub_stand_in import TOKEN, hub_server
from huggingface_hub import constants

import graphfew as gf
from graphfew import runs
from graphfew.errors import HubError, InvalidInputError, MissingDependencyError, MissingFileError

ELSEWHERE = """
import sys, torch
import graphfew as gf
model = gf.load(sys.argv[1])
data = gf.data.digits()
episode, _ = gf.Tasks(data, way=3, query=2)[0]
torch.save(gf.predict(model, episode), sys.argv[2])
"""


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub that `huggingface_hub` uses, with an empty cache; the user is logged in."""
    for variable in ("HF_TOKEN", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with hub_server() as (address, state):
        monkeypatch.setattr(constants, "ENDPOINT", address)
        monkeypatch.setattr(
            constants,
            "HUGGINGFACE_CO_URL_TEMPLATE",
            address + "/{repo_id}/resolve/{revision}/{filename}",
        )
        # Of recent versions only.
        monkeypatch.setattr(constants, "HF_URL_HOSTS", frozenset({"127.0.0.1"}), raising=False)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        yield state
    huggingface_hub.close_session()


@pytest.fixture
def model():
    torch.manual_seed(0)
    encoder = gf.backbones.conv4(width=4)
    return gf.create("egnn", encoder=encoder, layers=1, width=8)


def logits(model):
    episode, _ = gf.Tasks(gf.data.digits(), way=3, query=2)[0]
    return gf.predict(model, episode)


def test_pushed_model_has_the_same_logits_elsewhere(hub, model, tmp_path):
    result = gf.evaluate(model, gf.Tasks(gf.data.digits(), way=3, query=2), n=4)
    address = gf.push_to_hub(
        model, "lab/digits", results=[result], description="Handwritten digits.", license="mit"
    )
    oid, files = hub.commits["lab/digits"][-1]
    assert address == f"hf://lab/digits@{oid}"
    environment = {
        **os.environ,
        "HF_ENDPOINT": constants.ENDPOINT,
        "HF_HOME": str(tmp_path / "elsewhere"),
        "HF_TOKEN": "",
        "OMP_NUM_THREADS": "1",
    }
    out = tmp_path / "logits.pt"
    subprocess.run(
        [sys.executable, "-c", ELSEWHERE, address, out],
        check=True,
        env=environment,
        cwd=Path(__file__).parents[2],
    )
    assert torch.equal(torch.load(out, weights_only=True), logits(model))
    card = files["README.md"].decode()
    assert card.startswith("---\nlicense: mit\nlibrary_name: graphfew\n")
    assert 'gf.load("hf://lab/digits")' in card
    row = f"| digits/all | {result.mode} | 3 | 1 | balanced(2) | 4 | {100 * result.mean:.2f} ±"
    assert row in card
    assert "Handwritten digits." in card


def test_revisions_and_the_offline_cache(hub, model, monkeypatch):
    first = gf.push_to_hub(model, "lab/digits")
    expected = logits(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(0.5)
    gf.push_to_hub(model, "hf://lab/digits")
    assert torch.equal(logits(gf.load("hf://lab/digits")), logits(model))
    assert torch.equal(logits(gf.load(first)), expected)
    n_requests = len(hub.requests)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert torch.equal(logits(gf.load("hf://lab/digits")), logits(model))
    assert torch.equal(logits(gf.load(first)), expected)
    assert len(hub.requests) == n_requests


def test_a_card_that_was_edited_is_kept(hub, model):
    gf.push_to_hub(model, "lab/digits")
    hub.add("lab/digits", {"README.md": b"edited"})
    gf.push_to_hub(model, "lab/digits", description="new")
    assert hub.commits["lab/digits"][-1][1]["README.md"] == b"edited"
    gf.push_to_hub(model, "lab/digits", card="given")
    assert hub.commits["lab/digits"][-1][1]["README.md"] == b"given"


def test_private_repository(hub, model, monkeypatch):
    gf.push_to_hub(model, "lab/secret", private=True)
    assert "lab/secret" in hub.private
    gf.load("hf://lab/secret")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", constants.HF_HUB_CACHE + "2")
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(MissingFileError, match=r"is private; .*hf auth login.*HF_TOKEN"):
        gf.load("hf://lab/secret")


def test_missing_repository_revision_and_model(hub):
    hub.add("lab/other", {"pytorch_model.bin": pickle.dumps(1)})
    hub.gated.add("lab/gated")
    for address, error, words in (
        ("hf://lab/none", MissingFileError, "does not exist, or is private"),
        ("hf://lab/other@v9", MissingFileError, "has no revision v9"),
        ("hf://lab/other", MissingFileError, r"has no model\.safetensors"),
        ("hf://lab/gated", HubError, "is gated; accept its conditions"),
    ):
        with pytest.raises(error, match=words):
            gf.load(address)
    # Whatever else a repository has, nothing but the checkpoint is requested.
    assert not any("pytorch_model" in path for _, path in hub.requests)


def test_a_file_that_is_no_checkpoint(hub):
    class Exploit:
        def __reduce__(self):
            return (os.mkdir, ("exploited",))

    hub.add("lab/pickle", {"model.safetensors": pickle.dumps(Exploit())})
    with pytest.raises(gf.errors.CheckpointError):
        gf.load("hf://lab/pickle")
    assert not Path("exploited").exists()


def test_upload_without_login_or_permission(hub, model, monkeypatch):
    hub.read_only.add("big/corp")
    with pytest.raises(HubError, match="does not allow this with your token"):
        gf.push_to_hub(model, "big/corp")
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(HubError, match=r"needs a login; run .hf auth login"):
        gf.push_to_hub(model, "lab/digits")
    assert hub.commits == {}


def test_no_network_names_the_cache_and_the_alternative(hub, model, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:1")
    template = "http://127.0.0.1:1/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    with pytest.raises(HubError, match=r"cannot be reached.*HF_HUB_OFFLINE=1.*hf download lab/x"):
        gf.load("hf://lab/x")
    with pytest.raises(HubError, match=r"cannot be reached.*graphfew\.save"):
        gf.push_to_hub(model, "lab/x")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match=r"HF_HUB_OFFLINE is set; unset it, or run .hf download"):
        gf.load("hf://lab/x")


@pytest.mark.parametrize("address", ["hf://x", "hf://a/b/c", "hf://a/b@", "hf:/", "hf://a b/c"])
def test_invalid_addresses(address):
    with pytest.raises(InvalidInputError, match="write hf://owner/name"):
        gf.load(address)


@pytest.mark.parametrize("name", ["x", "a/b/c", "a/b@v1", "", "hf://a"])
def test_invalid_names_of_repositories(name, model):
    with pytest.raises(InvalidInputError, match="write owner/name"):
        gf.push_to_hub(model, name)


def test_model_without_spec(model):
    model.spec = None
    with pytest.raises(InvalidInputError, match="not made by create"):
        gf.push_to_hub(model, "lab/own")


def test_missing_package(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingDependencyError, match=r"pip install .graphfew\[hub\]"):
        gf.load("hf://lab/x")
    with pytest.raises(MissingDependencyError, match=r"pip install .graphfew\[hub\]"):
        gf.push_to_hub(model, "lab/x")


def test_commands_and_the_classifier_take_addresses(hub, model):
    gf.push_to_hub(model, "lab/digits")
    # The command line turns addresses into paths, with one slash.
    assert runs.resolve_checkpoint(Path("hf://lab/digits")).name == "model.safetensors"
    data = gf.data.digits()
    rows = np.concatenate([members[:2] for members in data.members[:3]])
    x, y = data.gather(rows).numpy(), data.y[rows].numpy()
    local = gf.serialization.checkpoint_path("hf://lab/digits")
    expected = gf.FewShotClassifier(str(local)).fit(x, y).predict_proba(x)
    found = gf.FewShotClassifier("hf://lab/digits").fit(x, y).predict_proba(x)
    assert np.array_equal(found, expected)


def test_card_of_a_trained_model_has_its_provenance():
    model = gf.load("egnn-omniglot")
    card = gf.serialization.build_model_card(model, "hf://lab/egnn", license="other: mine")
    assert 'license: "other: mine"' in card
    block = card.partition("## Training\n\n```json\n")[2].partition("\n```")[0]
    assert json.loads(block) == model.provenance
