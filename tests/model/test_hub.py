"""Upload to and download from a stand-in of the Hugging Face hub."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

import foreign_files as written
import sae_formulas as formulas
from hub_server import SHA, TOKEN, hub_server
from nanosae import SAEModel, SAETrainer
from nanosae.model.card import model_card

pytest.importorskip("huggingface_hub", reason="needs the extra 'hub'")
METRICS = {"fvu": 0.12345, "l0": 3.0, "dead": 0.0, "rows_measured": 200}


def model(tmp_path):
    p = formulas.parameters()
    folder = written.sae_lens(
        tmp_path / "in", {"architecture": "topk", "k": 3}, written.sae_lens_tensors(p)
    )
    return SAEModel.load(folder)


@pytest.fixture
def server(monkeypatch, tmp_path):
    from huggingface_hub import constants

    with hub_server() as running:
        monkeypatch.setattr(constants, "ENDPOINT", running.address)
        template = constants.HUGGINGFACE_CO_URL_TEMPLATE
        _, _, pattern = template.partition("/{repo_id}")
        url = f"{running.address}/{{repo_id}}{pattern}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        yield running


def test_what_is_pushed_is_loaded_from_the_hub(server, tmp_path):
    sae = model(tmp_path)
    x = torch.from_numpy(formulas.rows())
    address = sae.push_to_hub(
        "me/sae", private=True, token=TOKEN, metrics=METRICS, subfolder="layer_3"
    )
    assert address.endswith(f"/me/sae/commit/{SHA}")
    assert server.created["me/sae"]["visibility"] == "private"
    files = server.repos["me/sae"]
    names = ("README.md", "cfg.json", "sae_weights.safetensors")
    assert set(files) == {f"layer_3/{name}" for name in names}
    assert TOKEN.encode() not in b"".join(files.values())
    card = files["layer_3/README.md"].decode()
    assert card.startswith("---\nlibrary_name: nanosae\n")
    assert 'SAEModel.load("me/sae/layer_3")' in card
    assert "unexplained, held-out rows: 0.1235" in card
    with torch.no_grad():
        for found in (
            SAEModel.from_pretrained("me/sae", subfolder="layer_3"),
            SAEModel.from_pretrained("me/sae", subfolder="layer_3", revision="v1"),
            SAEModel.load("me/sae/layer_3"),
        ):
            torch.testing.assert_close(found(x), sae(x))


def saved(sae, folder, *parts):
    """The files of a saved SAE by their paths in a repository."""
    sae.save(folder, *parts)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_only_the_files_of_one_sae_are_downloaded(server, tmp_path):
    sae = model(tmp_path)
    ours = saved(sae, tmp_path / "ours")
    theirs = saved(sae, tmp_path / "theirs", "sparsify")
    pickled = saved(sae, tmp_path / "pickled", "dictionary_learning")
    beside = {"optimizer.pt": b"0", "big.safetensors": b"0", "rows.npz": b"0"}
    files = {"README.md": b"", "other.json": b"{}"}
    for folder, content in (
        ("layer_2", ours),
        ("layer_2/again", ours),
        ("layer_10", theirs),
        ("run/model", ours),
        ("ae", pickled),
        ("several", {"one.pt": pickled["ae.pt"], "two.pt": b"0"}),
    ):
        for name, data in (content | beside).items():
            files[f"{folder}/{name}"] = data
    files |= {"several/config.json": pickled["config.json"]}
    server.repos["me/saes"] = files
    x = torch.from_numpy(formulas.rows())
    own = {"cfg.json", "sae_weights.safetensors"}
    needed = set()
    for place, folder, names in (
        ("layer_2", "layer_2", own),
        ("layer_10", "layer_10", {"cfg.json", "sae.safetensors"}),
        ("run", "run/model", own),
        ("ae", "ae", {"config.json", "ae.pt"}),
        ("several/one.pt", "several", {"config.json", "one.pt"}),
    ):
        found = SAEModel.load(f"me/saes/{place}")
        needed |= {f"{folder}/{name}" for name in names}
        (snapshot,) = tmp_path.glob("cache/*/snapshots/*")
        local = [path for path in snapshot.rglob("*") if path.is_file()]
        assert {str(path.relative_to(snapshot)) for path in local} == needed
        with torch.no_grad():
            torch.testing.assert_close(found(x), sae(x))


def test_of_several_saes_one_must_be_named(server, tmp_path):
    ours = saved(model(tmp_path), tmp_path / "ours")
    layers = (0, 2, 10)
    server.repos["me/saes"] = {
        f"layer_{layer}/{name}": data for layer in layers for name, data in ours.items()
    } | {"x/a.pt": b"", "x/b.pth": b"", "cfg.json": b"{}"}
    known = "layer_0, layer_2, layer_10, x/a.pt, x/b.pth"
    with pytest.raises(
        FileNotFoundError,
        match=rf"me/saes has no SAE in its main folder; there are {known}. "
        "Name one as in me/saes/layer_0",
    ):
        SAEModel.load("me/saes")
    with pytest.raises(FileNotFoundError, match=r"no SAE in Layer_2; near .*layer_2"):
        SAEModel.load("me/saes/Layer_2")
    server.repos["me/empty"] = {"README.md": b""}
    with pytest.raises(FileNotFoundError, match=r"main folder; there are none\.$"):
        SAEModel.load("me/empty")
    assert server.served == []


def test_what_was_downloaded_is_loaded_without_the_hub(server, monkeypatch, tmp_path):
    from huggingface_hub import constants

    sae = model(tmp_path)
    sae.push_to_hub("me/sae", token=TOKEN)
    SAEModel.load("me/sae")
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    torch.testing.assert_close(SAEModel.load("me/sae").W_dec, sae.W_dec)
    with pytest.raises(FileNotFoundError, match="the hub does not provide it"):
        SAEModel.load("me/other")


def test_a_subfolder_of_a_folder_is_not_sought_on_the_hub(
    server, monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    model(tmp_path).save("saes/layer_2")
    assert SAEModel.from_pretrained("saes", subfolder="layer_2").config["k"] == 3
    ours = saved(model(tmp_path), tmp_path / "ours")
    server.repos["saes/layer_3"] = ours
    with pytest.raises(FileNotFoundError, match="no saved model in saes/layer_3"):
        SAEModel.from_pretrained("saes", subfolder="layer_3")


def test_a_hub_that_is_out_of_reach_is_said_to_be(server, monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ConnectionError, match=r"hub cannot be reached: .*is online"):
        model(tmp_path).push_to_hub("me/sae", token=TOKEN)


def test_a_branch_is_created(server, tmp_path):
    sae = model(tmp_path)
    for _ in range(2):
        sae.push_to_hub("me/sae", revision="v1", token=TOKEN)
    assert "v1" in server.branches
    loaded = SAEModel.from_pretrained("me/sae", revision="v1")
    torch.testing.assert_close(loaded.W_dec, sae.W_dec)


def test_refusals_of_the_hub_are_named(server, tmp_path):
    with pytest.raises(ConnectionError, match=r"did not accept a/b/c: .*'a/b/c'") as no:
        model(tmp_path).push_to_hub("a/b/c", token=TOKEN)
    assert "auth login" not in str(no.value)  # a token does not help
    with pytest.raises(ConnectionError, match=r"did not accept me/sae.*hf auth login"):
        model(tmp_path).push_to_hub("me/sae", token="hf_wrong")
    with pytest.raises(FileNotFoundError, match="me/nothing is not a folder here"):
        SAEModel.from_pretrained("me/nothing")


def test_a_card_says_what_on_what_and_how_to_use_it(tmp_path):
    config = {"input_size": 384, "hidden_size": 4096, "activation": "topk", "k": 32}
    config |= {"embedder": "all-MiniLM-L6-v2\n# not a heading", "columns": None}
    card = model_card(config, "me/sae", METRICS)
    assert "# me/sae\n\nA sparse autoencoder, 384 → 4,096." in card
    assert "- Trained on embeddings of: all-MiniLM-L6-v2 # not a heading\n" in card
    assert 'SAEModel.load("me/sae")' in card
    assert "None" not in card
    config["columns"] = [f"dim_{number}" for number in range(384)]
    long = model_card(config, "me/sae", METRICS)
    assert "- Vector columns: dim_0, dim_1, …, dim_383 (384 in all)\n" in long
    config["columns"] = ["x", "y"]
    assert "- Vector columns: x, y\n" in model_card(config, "me/sae", METRICS)
    sae = model(tmp_path)
    sae.save_pretrained(tmp_path / "out")
    again = SAEModel.from_pretrained(tmp_path / "out")
    torch.testing.assert_close(again.W_dec, sae.W_dec)
    assert (tmp_path / "out" / "README.md").read_text().count("# out") == 1


def test_a_card_promises_saelens_only_what_it_has(tmp_path):
    x = np.random.default_rng(0).normal(size=(60, 8)).astype(np.float32)
    for activation, is_read in (("topk", False), ("batchtopk", True)):
        trainer = SAETrainer(hidden_size=16, k=3, steps=2, activation=activation)
        transcoder = trainer.train(x, x[:, :5], progress=False)
        transcoder.save_pretrained(tmp_path / activation)
        card = (tmp_path / activation / "README.md").read_text()
        assert ("SAELens reads the same files" in card) == is_read, activation
    sae = SAETrainer(hidden_size=16, k=3, steps=2, activation="topk").train(
        x, progress=False
    )
    sae.save_pretrained(tmp_path / "sae")
    card = (tmp_path / "sae" / "README.md").read_text()
    assert "SAELens reads the same files" in card


@pytest.mark.slow
def test_loading_from_disk_imports_no_hub(tmp_path):
    model(tmp_path).save(tmp_path / "out")
    code = (
        "import sys; sys.modules['huggingface_hub'] = None\n"
        "from nanosae import SAEModel\n"
        f"SAEModel.from_pretrained({str(tmp_path / 'out')!r})\n"
        "try:\n    SAEModel.from_pretrained('me/sae')\n"
        "except ImportError as error:\n    assert 'nanosae[hub]' in str(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=dict(os.environ), capture_output=True
    )
    assert done.returncode == 0, done.stderr
