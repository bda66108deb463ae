"""The benchmark scripts run, and measure what they say."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

BENCH = Path(__file__).parent.parent / "bench"
sys.path.insert(0, str(BENCH))

import machine  # noqa: E402  # type: ignore[import-not-found]
import peers  # noqa: E402  # type: ignore[import-not-found]
import quality  # noqa: E402  # type: ignore[import-not-found]
import rows as rows_bench  # noqa: E402  # type: ignore[import-not-found]
import stability  # noqa: E402  # type: ignore[import-not-found]
import step  # noqa: E402  # type: ignore[import-not-found]


def run(script: str, *options: str) -> dict:
    command = [sys.executable, str(BENCH / script), "--smoke", "--json", *options]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def rows() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    # more held-out rows than measure takes at once, drawn around another mean
    train = torch.randn(500, 3, generator=generator) + 1
    return train, 2 * torch.randn(2500, 3, generator=generator) + 2


def test_fvu_pools_sums_and_compares_with_the_training_mean(rows):
    train, held = rows
    out = quality.measure(lambda x: x.relu(), lambda x: 0.5 * x, train, held)
    x, mean = held.double().numpy(), train.double().numpy().mean(0)
    error = sum(float(((row - 0.5 * row) ** 2).sum()) for row in x)
    total = sum(float(((row - mean) ** 2).sum()) for row in x)
    assert out["fvu"] == pytest.approx(error / total, rel=1e-5)
    own_mean = error / float(((x - x.mean(0)) ** 2).sum())
    mean_of_ratios = np.mean(((0.5 * x) ** 2).sum(1) / ((x - mean) ** 2).sum(1))
    assert out["fvu"] != pytest.approx(own_mean, rel=1e-3)
    assert out["fvu"] != pytest.approx(mean_of_ratios, rel=1e-3)


def test_dead_means_silent_on_training_and_held_out_rows(rows):
    train, held = rows
    train, held = train.clone(), held.clone()
    train[:, :2], held[:, :2] = -1.0, -1.0
    train[3, 0] = (
        1.0  # latent 0 lives on one training row, latent 1 nowhere, latent 2 in both
    )
    out = quality.measure(lambda x: x.relu(), lambda x: x, train, held)
    assert out["dead"] == pytest.approx(1 / 3)
    assert out["l0"] == pytest.approx(np.count_nonzero(held.numpy() > 0) / len(held))
    assert out["fvu"] == 0


def test_split_holds_out_a_tenth_and_at_most_4000():
    marked = np.arange(50_000, dtype=np.float32)[:, None]
    train, held = quality.split(marked, seed=1)
    assert (len(train), len(held)) == (46_000, 4_000)
    assert (
        sorted(torch.cat([train, held]).flatten().tolist()) == marked.flatten().tolist()
    )
    assert not torch.equal(held, quality.split(marked, seed=2)[1])
    assert len(quality.split(marked[:60], seed=1)[1]) == 6


def test_the_best_peer_is_one_of_equal_l0():
    def result(library, fvu, l0, data="a"):
        return {"data": data, "library": library, "fvu": fvu, "l0": l0}

    results = [
        result("nanosae", 0.2, 32.0),
        result("x", 0.4, 32.0),
        result("y", 0.25, 34.0),
        result("denser", 0.1, 60.0),
        result("nanosae", 0.3, 32.0, "b"),
        result("x", 0.6, 31.0, "b"),
    ]
    assert quality.against_best(results, k=32) == {"a": 0.8, "b": 0.5}
    assert quality.against_best(results[:1], k=32) == {}


def test_batches_show_every_row_once_an_epoch():
    x = torch.arange(10.0)[:, None]
    seen = torch.cat(list(peers.batches(x, steps=10, batch_size=4, seed=0))).flatten()
    for epoch in seen.view(4, 10):
        assert sorted(epoch.tolist()) == x.flatten().tolist()
    assert seen[:10].tolist() != seen[10:20].tolist()


def test_unknown_peers_are_named():
    with pytest.raises(
        ValueError, match=r"unknown peer 'saelens-gated'; known are sparsify-topk"
    ):
        peers.choose(["saelens-gated"])


@pytest.mark.slow
def test_times_are_taken_in_turn():
    order = []
    before = {name: (lambda name=name: order.append(f"before {name}")) for name in "ab"}
    steps = {
        name: (lambda x, name=name: order.append(name), before[name]) for name in "ab"
    }
    times = step.interleave(
        steps, lambda i: torch.zeros(1), {"gemm": lambda: order.append("gemm")}, 2
    )
    assert order == ["before a", "gemm", "a", "before b", "gemm", "b"] * 2
    assert (times["gemm"]["n"], times["a"]["n"], times["b"]["n"]) == (4, 2, 2)
    assert times["a"]["min"] <= times["a"]["median"] <= times["a"]["q3"]


def test_cached_results_are_computed_once(tmp_path):
    calls = []

    def compute():
        calls.append(1)
        return {"fvu": 0.5}

    key = {"data": "a", "recipe": "lr = 1"}
    for changed in ({}, {}, {"recipe": "lr = 2"}):
        assert quality.cached(tmp_path / "c.json", key | changed, compute) == {
            "fvu": 0.5
        }
    assert len(calls) == 2


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16"])
def test_a_step_is_measured_on_a_gpu(precision):
    out = run("step.py", "--device", "cuda", "--precision", precision)
    assert {"gemm_tflops", "share", "peak_mb", "ratio_dead10"} <= set(out)
    assert "gpu" in out["machine"]


@pytest.mark.slow
@pytest.mark.parametrize("activation", ["batchtopk", "relu"])
def test_a_step_is_measured_and_printed_as_one_object(activation, capsys):
    out = step.main(["--smoke", "--json", "--activation", activation])
    assert json.loads(capsys.readouterr().out).keys() == out.keys()
    names = (
        "gemm_ms step_ms ratio ratio_dead10 ratio_noise peak_extra_mb spread machine"
    )
    assert set(names.split()) <= set(out)
    assert out["ratio"] == pytest.approx(out["step_ms"] / out["gemm_ms"], abs=1e-3)
    assert (out["hidden_size"], out["k"]) == (128, 8)
    assert out["machine"]["versions"]["torch"] == torch.__version__


@pytest.mark.slow
def test_quality_is_measured_on_every_corpus(tmp_path):
    generator = np.random.default_rng(0)
    for name in ("a.npy", "b.npy"):
        np.save(tmp_path / name, generator.normal(size=(600, 16)).astype(np.float16))
    options = ["--data", str(tmp_path), "--peers", "none"]
    out = quality.main(["--smoke", "--json", *options])
    assert [r["data"] for r in out["results"]] == ["a", "b"]
    for result in out["results"]:
        assert 0 < result["fvu"] < 1.5
        assert 0 <= result["dead"] <= 1
        assert result["l0"] > 0


def test_no_result_names_a_path_of_the_machine_that_measured_it():
    results = sorted((BENCH / "results").glob("*.json"))
    assert results
    for path in results:
        assert machine.absolute_paths(json.loads(path.read_text("utf-8"))) == [], path
    with pytest.raises(ValueError, match="give the names of the data"):
        machine.save("choosing", {"asked": [{"folder": str(BENCH.absolute())}]})


def trained_with(decoder, active_rows=None):
    """A stand-in for a trained SAE: nothing but decoder rows and how often they are active."""
    model = SimpleNamespace(W_dec=torch.tensor(decoder, dtype=torch.float32))
    if active_rows is None:
        active_rows = np.ones(len(decoder))
    return stability.Trained(model, np.array(active_rows), fvu=0.5)


def test_features_of_another_training_are_found_by_their_directions():
    axes = np.eye(16)
    split = axes.copy()
    split[0] = (
        axes[0] + 0.9 * axes[1] + 0.8 * axes[2]
    )  # nearest to the first axis: 0.64
    split[1] = split[2] = axes[3]
    one = trained_with(axes, active_rows=[6] + [1] * 15)
    found = stability.compare(one, trained_with(3 * split))
    there, back = 13 / 16, 15 / 16  # not the first three; all but the sum
    assert found["found"] == pytest.approx((there + back) / 2)
    assert found["weighted"] == pytest.approx((13 / 21 + 15 / 16) / 2)
    assert found["first"] == pytest.approx((0 / 2 + 1 / 2) / 2)
    assert found["last"] == 1
    assert found["span"] == pytest.approx((0 / 3 + 1 / 1) / 2)  # the sum of two axes
    assert found["fvu"] == 0.5


def test_the_span_of_two_is_that_of_least_squares():
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(8, 3))
    others = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    for _ in range(20):
        direction = rng.normal(size=3)
        direction /= np.linalg.norm(direction)
        nearest = np.argmax(others @ direction)
        best = 0.0
        for index in set(range(8)) - {nearest}:
            basis = others[[nearest, index]].T
            weights = np.linalg.lstsq(basis, direction, rcond=None)[0]
            best = max(best, float(np.linalg.norm(basis @ weights)))
        found = stability.cosine_with_span(direction, others)
        assert found == pytest.approx(best, abs=1e-9)
        assert found > others[nearest] @ direction  # a single one would not do


@pytest.mark.slow
def test_rows_measures_every_verb_and_says_which_failed():
    verbs = ["describe", "label", "index", "contrast", "explore"]
    figures = run("rows.py", "--verbs", *verbs)["rows"]["400"]
    assert [*figures] == [*verbs, "disk_mb"]
    for verb in verbs:
        assert "failed" not in figures[verb], figures[verb]
        assert figures[verb]["cpu_s"] > 0.1
        # an interpreter with numpy takes no less
        assert 20 < figures[verb]["peak_mb"] < 2000


@pytest.mark.slow
def test_trainings_are_timed():
    alone = run("busy.py")["busy"]["0"]
    assert alone["ratio"] == 1
    assert alone["seconds"][0] > 0


@pytest.mark.slow
def test_a_verb_that_fails_says_so(tmp_path):
    figures = rows_bench.measured("describe", tmp_path)
    assert "no codes" in figures["failed"]
