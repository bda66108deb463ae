"""Co-occurrence, family trees and splitting against the dense matrix."""

import json

import numpy as np
import pytest

from drawn import dense
from nanosae import plot, splitting
from nanosae.model.weights import Weights


def test_cooccurrence_is_that_of_the_dense_matrix(run, codes):
    figure = plot.cooccurrence(run, n=20)
    table = json.loads((run / "families.json").read_text())["families"]
    assert len(figure.data[0].z) <= 20
    a, b = table[0]["members"][:2]
    on = dense(codes) > 0
    both = (on[:, a] & on[:, b]).sum() / min(on[:, a].sum(), on[:, b].sum())
    assert figure.data[0].z[0][1] == pytest.approx(both)
    assert figure.data[0].z[0][1] != pytest.approx(
        (on[:, a] & on[:, b]).sum() / on[:, a].sum() / 2
    )
    assert np.isnan(figure.data[0].z[3][3])


def test_a_tree_puts_each_feature_below_its_parent(run):
    figure = plot.family_tree(run, 0, most=1000)
    found = json.loads((run / "families.json").read_text())
    members = found["families"][0]["members"]
    drawn, dots = figure.data
    assert {int(t.split()[1]) for t in dots.hovertext} == set(members)
    shown = zip(dots.hovertext, dots.x, dots.y, strict=True)
    place = {int(t.split()[1]): (x, y) for t, x, y in shown}
    turns = {e["pass"] for e in found["edges"] if e["parent"] == members[0]}
    edges = [e for e in found["edges"] if e["pass"] == max(turns)]
    edges = [e for e in edges if e["parent"] in members and e["child"] in members]
    assert len(edges) == len(members) - 1
    for edge in edges:
        (x, y), (below_x, below_y) = place[edge["parent"]], place[edge["child"]]
        assert below_x == x + 1
        assert below_y > y
    assert len(set(dots.y)) == len(members)
    assert len(drawn.x) == 4 * (len(members) - 1)


def test_flows_lead_to_the_features_that_are_alike():
    rng = np.random.default_rng(0)
    parents = np.linalg.qr(rng.normal(size=(32, 5)))[0].T
    of = np.array([0, 0, 0, 1, 1, 2, 3, 4])
    children = parents[of] + 0.1 * rng.normal(size=(8, 32))
    tensors = {"b_dec": np.zeros(32), "cfg": {}}
    small, large = (Weights(W_enc=w.T, W_dec=w, **tensors) for w in (parents, children))
    names = ({0: "trunk"}, {1: "branch"})
    sankey = plot.splitting_flow(small, large, labels=names).data[0]
    links, text = sankey.link, sankey.node.label
    ends = zip(links.source, links.target, links.value, strict=True)
    edges = [(text[a], text[b], v) for a, b, v in ends]
    assert len(edges) == 5  # the parents of one child split into nothing
    assert {b for a, b, _ in edges if a == "trunk"} == {
        "feature 0",
        "branch",
        "feature 2",
    }
    unit = children / np.linalg.norm(children, axis=1, keepdims=True)
    cosine = {b: v for _, b, v in edges}["branch"]
    assert cosine == pytest.approx(unit[1] @ parents[0], abs=1e-6)
    assert cosine != pytest.approx(children[1] @ parents[0], abs=1e-6)
    with pytest.raises(
        ValueError, match=r"similarity above 0\.9999\. Lower the threshold"
    ):
        plot.splitting_flow(small, large, threshold=0.9999)


def test_a_feature_that_splits_into_unrelated_ones_is_drawn():
    """Its cosine with each of two is √½ at most: for `splitting`, they are barely its children."""
    axes = np.eye(8)
    parents = np.array([axes[0] + axes[1], axes[2] + axes[3] + axes[4], axes[5]])
    tensors = {"b_dec": np.zeros(8), "cfg": {}}
    small, large = (Weights(W_enc=w.T, W_dec=w, **tensors) for w in (parents, axes))
    figure = plot.splitting_flow(small, large)
    assert len(figure.data[0].link.source) == 5
    assert "similarity, above 0.5" in figure.layout.title.subtitle.text
    assert splitting(small, large)["n_children"].tolist() == [2, 0, 1]
