"""The definitions of docs/metrics.md give what the package gives."""

import inspect

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from blocks import blocks
from nanosae.analysis.classification import single_feature_scores
from nanosae.analysis.describe import describe
from nanosae.analysis.evaluation.baselines import Representation
from nanosae.analysis.evaluation.measures import reconstruction_measures, usage
from nanosae.analysis.groups.family_edges import candidate_edges, content_order
from nanosae.analysis.monosemanticity import monosemanticity
from nanosae.analysis.names.scoring import area, word_scores
from nanosae.analysis.statistics import false_discovery, mean_estimate
from nanosae.codes import write_codes
from nanosae.model.measures import Pool
from pages import ROOT

PAGE = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
N, M, WIDTH = 240, 12, 6
CHECKED_ELSEWHERE = {"risk_difference", "cliffs_delta", "loss_recovered"}


@pytest.fixture(scope="module")
def page():
    """The functions that the page defines, by name."""
    namespace = {}
    for block in blocks(PAGE):
        exec(block.code, namespace)
    return {
        name: value for name, value in namespace.items() if inspect.isfunction(value)
    }


@pytest.fixture(scope="module")
def acts():
    rng = np.random.default_rng(0)
    rate = np.linspace(0.45, 0.02, M)
    acts = (rng.random((N, M)) < rate) * rng.integers(1, 6, (N, M)) / 2
    acts[:, 1] = np.where(acts[:, 0] > 0, acts[:, 1], 0)  # only with feature 0
    acts[:, -1] = 0  # dead
    return acts


@pytest.fixture(scope="module")
def codes(acts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("metrics") / "codes"
    return write_codes(folder, sp.csr_array(acts.astype(np.float32)))


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(N, WIDTH)) + 1
    return x, x + 0.4 * rng.normal(size=x.shape)


def checks(page, acts, codes, rows):
    """Yield (metric, what the page says, what the package says)."""
    x, recon = rows
    pool = Pool(M)
    active = torch.from_numpy(acts).nonzero(as_tuple=True)
    pool.add(torch.from_numpy(x), torch.from_numpy(recon), *active)
    yield "fvu", page["fvu"](x, recon), pool.fvu
    yield "l0", page["l0"](acts), pool.summary()["l0"]

    measured = reconstruction_measures(x, recon, np.random.default_rng(0))
    yield "fvu", page["fvu"](x, recon), measured["fvu"].value
    yield "cosine", page["cosine"](x, recon), measured["cosine"].value
    yield "recall_at_10", page["recall_at_10"](x, recon), measured["recall@10"].value

    used = usage(Representation(sp.csc_array(acts)))
    yield "l0", page["l0"](acts), used["l0"].value
    yield "dead", page["dead"](acts), used["dead"].value
    yield "gini", page["gini"](acts), used["gini"].value

    few = x[:5, 0]
    estimate = mean_estimate(few)
    yield "interval", page["interval"](few), (estimate.low, estimate.high)

    described = describe(codes)
    yield "density", page["density"](acts), described["density"].to_numpy()
    for i in (0, 1, 2):
        line = described.loc[i]
        for place, j in enumerate(line["coactive"]):
            yield "lift", page["lift"](acts, i, j), line["coactive_lift"][place]
            yield "npmi", page["npmi"](acts, i, j), line["coactive_npmi"][place]

    order = content_order(codes)[: M - 1]
    edges, _ = candidate_edges(codes, order, min_weight=0.1)
    for parent, child, weight in zip(
        order[edges.parent], order[edges.child], edges.weight, strict=True
    ):
        yield "family_weight", page["family_weight"](acts, parent, child), weight

    truth = np.random.default_rng(2).random(N) < 0.3 + 0.4 * (acts[:, 0] > 0)
    scores = single_feature_scores(sp.csc_array(acts), sp.csr_array(truth[:, None]))
    for i in range(M - 1):
        yield "auc", page["auc"](acts[:, i], truth), scores.auc[i, 0]
        yield "best_f1", page["best_f1"](acts[:, i], truth), scores.f1[i, 0]
    yield "auc", page["auc"](acts[:, 0], truth), area(acts[:, 0], truth)

    predicted = acts[:, 0] > 0
    everywhere = np.ones(N, dtype=bool)
    of_words = word_scores(predicted, np.flatnonzero(truth), everywhere)
    for name in ("precision", "recall", "f1"):
        yield name, page[name](predicted, truth), of_words[f"label_{name}"]

    space = x / np.linalg.norm(x, axis=1, keepdims=True)
    found = monosemanticity(codes, [0, 3], space)
    for i, value in zip([0, 3], found, strict=True):
        yield "monosemanticity", page["monosemanticity"](acts[:, i], space), value

    p = np.array([0.2, 0.001, 0.03, 0.04, 0.9, 0.04])
    yield "q", page["q"](p), false_discovery(p)


def test_every_definition_is_that_of_the_package(page, acts, codes, rows):
    compared = set()
    for name, of_page, of_package in checks(page, acts, codes, rows):
        np.testing.assert_allclose(of_page, of_package, rtol=1e-6, err_msg=name)
        compared.add(name)
    assert compared == set(page) - CHECKED_ELSEWHERE


WRONG = {
    "fvu": lambda x, r: np.mean(((x - r) ** 2).sum(1) / ((x - x.mean(0)) ** 2).sum(1)),
    "l0": lambda acts: (acts > 0).sum(1).max(),
    "cosine": lambda x, r: (x * r).sum() / np.sqrt((x**2).sum() * (r**2).sum()),
    "auc": lambda scores, truth: (
        scores[truth][:, None] > scores[~truth][None, :]
    ).mean(),
    "q": lambda p: p * len(p),
    "monosemanticity": lambda activation, space: (
        np.outer(activation, activation) * (space @ space.T)
    ).mean(),
    "gini": lambda acts: (acts > 0).mean(0).std(),
    "interval": lambda values: (
        values.mean()
        + np.array([-1.96, 1.96]) * values.std(ddof=1) / len(values) ** 0.5
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_another_definition_would_be_found(name, page, acts, codes, rows):
    with pytest.raises(AssertionError):
        test_every_definition_is_that_of_the_package(
            page | {name: WRONG[name]}, acts, codes, rows
        )
