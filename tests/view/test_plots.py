"""Figures: numbers against independent counts, texts as texts, colours as eyes see them."""

import json
import re
import shutil

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

import nanosae
from nanosae import SAETrainer, TrainConfig, plot
from nanosae.analysis.contrast import contrast
from nanosae.analysis.explain import explain
from nanosae.analysis.families import families
from nanosae.analysis.labels import label
from nanosae.analysis.over_time import over_time
from nanosae.analysis.topics import topics
from nanosae.codes import Codes
from nanosae.demo import load
from nanosae.model.weights import Weights
from nanosae.runs.results import save_result
from nanosae.runs.tables import load_features, save_features
from nanosae.view import maps, style

HOSTILE = '<img src=x onerror="alert(1)"> <b>b</b> %{x} &amp; שלום 👩‍👧'


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A small run on a part of the demo corpus, with every file that figures read."""
    path = tmp_path_factory.mktemp("runs") / "small"
    rows, texts, lexnames = (part[::4] for part in load())
    config = TrainConfig(hidden_size=96, k=6, steps=40, log_every=10, eval_every=10, batch_size=256)
    model = SAETrainer(config, run=path).train(rows, progress=False)
    year = [2010 + i % 5 + 3 * (name == "noun.plant") for i, name in enumerate(lexnames)]
    beside = {"text": texts, "kind": lexnames, "year": year}
    codes = model.encode_corpus(rows, path / "codes" / "default", metadata=beside)
    labels = save_features(path, label(codes).assign(family=-1))
    found = families(codes, labels)
    save_result(codes, "families.json", found.to_dict(), found.parameters)
    rng = np.random.default_rng(0)
    table = [
        {"representation": kind, "measure": f"probe_{name}@{k}", "value": value, "n": 9}
        | {"low": value - 0.05, "high": value + 0.1}
        for kind in ("codes", "dense", "pca", "k-means", "random")
        for name in ("f1", "auc")
        for k, value in zip((1, 2, 5, "all"), rng.uniform(0.1, 0.9, 4), strict=True)
    ]
    (path / "evaluation.json").write_text(json.dumps({"table": table, "labels": [], "about": {}}))
    return path


@pytest.fixture(scope="module")
def codes(run):
    return Codes.open(run)


@pytest.fixture(scope="module")
def trend(codes):
    return over_time(codes, "year")


@pytest.fixture
def pca(monkeypatch):
    """No UMAP: it compiles for seconds."""
    monkeypatch.setitem(__import__("sys").modules, "umap", None)


def dense(codes):
    return codes.rows(0, codes.n_rows).toarray()


def every_figure(run, codes, trend):
    yield plot.training(run)
    yield plot.weights(run)
    yield plot.weights(Weights.load(run))
    yield plot.density(run)
    yield plot.activations(codes)
    yield plot.activations(run, int(codes.counts.argmax()))
    yield plot.l0(run)
    yield plot.frontier([run])
    yield plot.frontier({"a": run}, "probe_f1@2")
    yield plot.probing(run)
    yield plot.cooccurrence(run, n=20)
    yield plot.family_tree(run)
    yield plot.contrast(contrast(codes, "noun.plant", by="kind"))
    yield plot.contrast(explain(codes, "kind"))
    yield plot.contrast(trend)
    yield plot.over_time(trend)
    yield plot.over_time(run, "year")
    yield plot.dictionary(run)
    yield plot.texts(run)


class TestNumbers:
    def test_training_curves_are_the_logged_lines(self, run):
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        lines = [line for line in lines if "loss" in line]
        figure = plot.training(run)
        by_panel = {(t.name, t.yaxis): t for t in figure.data}
        assert list(by_panel["training", "y"].y) == [line["loss"] for line in lines]
        assert list(by_panel["training", "y4"].y) == [100 * line["dead"] for line in lines]
        assert list(by_panel["training", "y5"].x) == [line["step"] for line in lines]
        held = {line["step"]: line["heldout_fvu"] for line in lines if "heldout_fvu" in line}
        curve = by_panel["held-out", "y2"]
        assert dict(zip(curve.x, curve.y, strict=True)) == held

    def test_a_penalty_shows_its_coefficient_and_parts(self):
        line = {"step": 1, "loss": 3.0, "parts": {"mse": 1.0, "sparsity": 2.0}, "fvu": 0.5}
        line |= {"l0": 4.0, "dead": 0.0, "lr": 0.1, "coefficient": 0.25}
        figure = plot.training([line, line | {"step": 2, "coefficient": 0.5}])
        assert [t.y for t in figure.data if t.name == "sparsity"] == [(2.0, 2.0)]
        assert next(t.y for t in figure.data if t.yaxis == "y6") == (0.25, 0.5)

    def test_bars_of_the_final_weights_count_every_weight(self, run):
        model = Weights.load(run)
        figure = plot.weights(model)
        bar = next(t for t in figure.data if t.name == "Decoder weights")
        values = np.sort(model.W_dec.ravel())
        edges = bar.x0 - bar.dx / 2 + bar.dx * np.arange(65)
        edges[[0, -1]] = -np.inf, np.inf
        counted = np.diff(np.searchsorted(values, edges))
        np.testing.assert_allclose(np.array(bar.y) / 100 * values.size, counted, atol=2.5)
        cosine = next(t for t in figure.data if t.name == "Encoder against decoder")
        share = dict(zip(cosine.x0 + cosine.dx * np.arange(64), cosine.y, strict=True))
        pairs = zip(model.W_enc.T, model.W_dec, strict=True)
        own = [a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in pairs]
        mean = sum(x * y for x, y in share.items()) / 100
        assert abs(mean - np.mean(own)) < cosine.dx
        assert abs(mean - np.mean(np.abs(own)) * 0.9) > cosine.dx  # a twin that must differ

    def test_the_slider_holds_every_snapshot(self, run):
        figure = plot.weights(run)
        steps = figure.layout.sliders[0].steps
        shots = sorted((run / "snapshots").glob("*.npz"))
        assert [int(s.label.replace(",", "")) for s in steps] == [int(p.stem) for p in shots]
        first = np.load(shots[0])["encoder_norm"]
        place = [t.name for t in figure.data].index("Encoder norms")
        np.testing.assert_allclose(
            steps[0].args[0]["y"][place], 100 * first / first.sum(), rtol=1e-3
        )
        assert {t.name for t in figure.data} >= {"Encoder weights", "Decoder rows, pairs"}

    def test_densities_activations_and_l0_are_counted_right(self, codes):
        x = dense(codes)
        bar = plot.density(codes).data[0]
        alive = [np.log10((column > 0).mean()) for column in x.T if column.any()]
        inside = [
            sum(abs(v - c) <= w / 2 for v in alive) for c, w in zip(bar.x, bar.width, strict=True)
        ]
        assert list(bar.y) == inside
        assert sum(bar.y) == len(alive)
        j = int(codes.counts.argmax())
        bar = plot.activations(codes, j).data[0]
        assert sum(bar.y) == (x[:, j] > 0).sum()
        assert bar.y[-1] == (x[:, j] > x[:, j].max() * 63 / 64).sum()
        assert sum(plot.activations(codes).data[0].y) == (x > 0).sum()
        bar = plot.l0(codes).data[0]
        by_count = pd.Series((x > 0).sum(1)).value_counts()
        assert {round(v): n for v, n in zip(bar.x, bar.y, strict=True) if n} == by_count.to_dict()
        assert f"mean {(x > 0).sum(1).mean():.1f}" in plot.l0(codes).layout.title.subtitle.text

    def test_frontiers_are_the_last_lines(self, run, tmp_path):
        other = tmp_path / "other"
        shutil.copytree(run, other)
        lines = (run / "metrics.jsonl").read_text().splitlines()
        last = json.loads(lines[-1])
        changed = json.dumps(last | {"l0": 1.0, "fvu": 0.9})
        (other / "metrics.jsonl").write_text("\n".join([*lines[:-1], changed]) + "\n")
        shutil.copytree(run, tmp_path / "run", ignore=shutil.ignore_patterns("codes"))
        (line,) = plot.frontier(tmp_path).data  # one kind of SAE: one line, by L0
        assert line.x == (1.0, last["l0"])
        assert line.y == (0.9, last["fvu"])
        table = pd.DataFrame(json.loads((run / "evaluation.json").read_text())["table"])
        probes = table[table["measure"].str.startswith("probe_f1@")].set_index(
            ["representation", "measure"]
        )
        drawn = {t.name: dict(zip(t.x, t.y, strict=True)) for t in plot.probing(run).data}
        assert drawn["small"][2.0] == probes.loc[("codes", "probe_f1@2"), "value"]
        assert drawn["pca (baseline)"][5.0] == probes.loc[("pca", "probe_f1@5"), "value"]
        best = plot.frontier(run, "probe_f1@5")
        assert best.data[0].y[0] == probes.loc[("codes", "probe_f1@5"), "value"]
        assert {a.text for a in best.layout.annotations} == {"dense", "pca", "k-means", "random"}

    def test_cooccurrence_is_that_of_the_dense_matrix(self, run, codes):
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

    def test_a_tree_puts_each_feature_below_its_parent(self, run):
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

    def test_flows_lead_to_the_features_that_are_alike(self):
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
        assert {b for a, b, _ in edges if a == "trunk"} == {"feature 0", "branch", "feature 2"}
        unit = children / np.linalg.norm(children, axis=1, keepdims=True)
        cosine = {b: v for _, b, v in edges}["branch"]
        assert cosine == pytest.approx(unit[1] @ parents[0], abs=1e-6)
        assert cosine != pytest.approx(children[1] @ parents[0], abs=1e-6)
        with pytest.raises(ValueError, match="lower it"):
            plot.splitting_flow(small, large, threshold=0.9999)

    def test_forests_show_effect_and_interval(self, codes):
        found = contrast(codes, "noun.plant", by="kind")
        dots = plot.contrast(found, n=3).data[0]
        table = found.findings.head(3)
        np.testing.assert_allclose(dots.x, np.exp(table["effect"]), rtol=1e-6)
        np.testing.assert_allclose(dots.x - dots.error_x.arrayminus, table["odds_low"], rtol=1e-6)
        np.testing.assert_allclose(dots.x + dots.error_x.array, table["odds_high"], rtol=1e-6)
        same = plot.contrast(json.loads(json.dumps(found.to_dict(), default=str)), n=3)
        np.testing.assert_allclose(same.data[0].x, dots.x)
        lengths = [len(t) for t in codes.texts()]
        numbers = plot.contrast(explain(codes, lengths, covariates=()))
        assert numbers.layout.xaxis.type != "log"

    def test_shares_over_time_are_counted_right(self, codes, trend):
        year = codes.column("year")
        figure = plot.over_time(trend)
        j = trend.findings["feature"].iloc[0]
        on = dense(codes)[:, j] > 0
        expected = [on[year == y].mean() for y in np.unique(year)]
        np.testing.assert_allclose(figure.data[1].y, expected)
        assert figure.data[1].x[0] == year.min()
        merged = topics(codes, 8, load_features(codes.run))
        line = plot.over_time(merged, "year").data[1]
        np.testing.assert_allclose(
            line.y, [(merged.row_topic[year == y] == 0).mean() for y in np.unique(year)]
        )
        again = plot.over_time(merged, pd.to_datetime([f"{y}-01-01" for y in year]).to_numpy())
        np.testing.assert_allclose(again.data[1].y, line.y)


class TestMaps:
    def test_without_umap_the_axes_are_principal_components(self, pca):
        from sklearn.decomposition import PCA

        x = np.random.default_rng(0).normal(size=(300, 12)) * np.arange(1, 13)
        points, method = maps.project(x)
        unit = x / np.linalg.norm(x, axis=1, keepdims=True)
        expected = PCA(2).fit_transform(unit)
        assert method == "PCA"
        np.testing.assert_allclose(np.abs(points), np.abs(expected), atol=1e-3)
        assert np.abs(points - PCA(2).fit_transform(x)).max() > 1

    def test_rows_beyond_the_sample_are_placed_on_the_same_axes(self, pca):
        x = np.random.default_rng(0).normal(size=(400, 6)).astype(np.float32)
        points, _ = maps.project(np.vstack([x, x]), sample=200)
        np.testing.assert_allclose(points[:400], points[400:], atol=1e-5)

    def test_clusters_are_the_blobs_largest_first(self):
        rng = np.random.default_rng(0)
        sizes, centres = [70, 140, 105], [(0, 0), (20, 0), (0, 20)]
        points = np.vstack([rng.normal(c, 1, (n, 2)) for n, c in zip(sizes, centres, strict=True)])
        for sample in (10_000, 250):
            found = maps.clusters(points, sample=sample)
            blobs = np.split(found, np.cumsum(sizes)[:-1])
            assert [pd.Series(blob).mode()[0] for blob in blobs] == [2, 0, 1]
            assert min((blob == pd.Series(blob).mode()[0]).mean() for blob in blobs) > 0.8
        assert (maps.clusters(points[:5]) == -1).all()

    def test_a_heap_of_most_points_is_divided(self):
        rng = np.random.default_rng(0)
        heap = rng.normal(0, [0.1, 0.3], (20, 40, 2)) + np.arange(20)[:, None, None] * [0.9, 0]
        points = np.vstack([heap.reshape(-1, 2), rng.normal(40, 0.5, (200, 2))])
        found = maps.clusters(points)
        assert max(np.bincount(found + 1)[1:]) <= 200
        assert found.max() >= 10

    def test_labels_name_the_clusters_and_keep_clear_of_each_other(self):
        rng = np.random.default_rng(0)
        group = np.repeat(np.arange(40), 30)
        points = rng.normal(size=(40, 2))[group] + 0.1 * rng.normal(size=(1200, 2))
        names = {i: f"topic{g} word{g} and {i}" for i, g in enumerate(group.tolist())}
        found = maps.labels(points, group, names, 900, 600)
        assert 10 < len(found) <= 40
        assert all(
            set(text.split(", ")) == {f"topic{n}", f"word{n}"}
            for text, _ in found
            for n in re.findall(r"topic(\d+)", text)
        )
        span = np.ptp(points, axis=0)
        boxes = [
            ((np.array(at) - points.min(0)) / span * [900, 600], 3.5 * len(text))
            for text, at in found
        ]

        def overlaps(boxes):
            return [
                (a, b)
                for i, (a, u) in enumerate(boxes)
                for b, v in boxes[:i]
                if abs(a[0] - b[0]) < u + v and abs(a[1] - b[1]) < 14
            ]

        assert overlaps(boxes) == []
        middles = [
            (points[group == g].mean(0) - points.min(0)) / span * [900, 600] for g in range(40)
        ]
        assert overlaps([(m, 50) for m in middles])  # where they would lie without care

    @pytest.mark.slow
    def test_umap_keeps_neighbours_together_and_places_the_rest(self):
        pytest.importorskip("umap")
        rng = np.random.default_rng(0)
        of = rng.integers(0, 6, 900)
        x = np.eye(20)[of] + 0.15 * rng.normal(size=(900, 20))
        points, method = maps.project(x, sample=500)
        assert method == "UMAP"
        nearest = np.argsort(((points[:, None] - points) ** 2).sum(-1), axis=1)[:, 1:6]
        assert (of[nearest] == of[:, None]).mean() > 0.95
        np.testing.assert_array_equal(points, maps.project(x, sample=500)[0])

    def test_one_line_calls(self, run, codes, pca):
        frame = pd.DataFrame(codes.vectors(np.arange(200))).assign(text="a")
        figure = nanosae.plot_umap(frame)
        assert sum(len(t.x) for t in figure.data) == 200
        figure = nanosae.plot_dictionary(nanosae.SAEModel.load(run))
        assert sum(len(t.x) for t in figure.data) == 96
        assert sum(len(t.x) for t in nanosae.plot_umap(run).data) == codes.n_rows
        hover = [text for t in plot.dictionary(run).data for text in t.hovertext]
        table = load_features(run).set_index("feature")["label"]
        assert any(f"feature 5<br>{table[5]}" in text for text in hover)


class TestMissing:
    def test_errors_say_what_is_missing(self, run, codes, tmp_path):
        for draw in (plot.training, plot.weights, plot.density, plot.family_tree, plot.probing):
            with pytest.raises(FileNotFoundError, match=re.escape(str(tmp_path))):
                draw(tmp_path)
        with pytest.raises(FileNotFoundError, match="contrasts holds none"):
            plot.contrast(run)
        with pytest.raises(ValueError, match="was not evaluated for 'nothing'"):
            plot.frontier(run, "nothing")
        with pytest.raises(ValueError, match="there is no family 999"):
            plot.family_tree(run, 999)
        with pytest.raises(ValueError, match="feature"):
            plot.activations(run, 96)
        with pytest.raises(ValueError, match="no column 'when'"):
            plot.over_time(run, "when")
        with pytest.raises(ValueError, match="have no time"):
            plot.over_time(contrast(codes, "noun.plant", by="kind"))
        for bad in (np.full((30, 4), np.nan), np.zeros((0, 4)), np.zeros(9)):
            with pytest.raises(ValueError, match="a map needs rows of finite numbers"):
                plot.texts(bad)

    def test_what_is_being_written_is_left_out(self, run, tmp_path):
        live = tmp_path / "live"
        shutil.copytree(run, live)
        lines = (live / "metrics.jsonl").read_text().splitlines()[:3]
        (live / "metrics.jsonl").write_text("\n".join(lines) + '\n{"step": 4')
        assert len(plot.metrics(live)) == 3
        with pytest.raises(ValueError, match="--resume"):
            plot.frontier(live)
        n = len(plot.snapshots(live))
        whole = sorted((live / "snapshots").iterdir())[0].read_bytes()
        (live / "snapshots" / "999999.npz").write_bytes(whole[:-40])
        assert len(plot.snapshots(live)) == n


class TestLook:
    def test_every_figure_has_axis_titles_and_both_themes(self, run, codes, trend, pca):
        for figure in every_figure(run, codes, trend):
            drawn = figure.to_dict()["layout"]
            axes = [axis for name, axis in drawn.items() if re.match("[xy]axis", name)]
            titled = [
                a for a in axes if a.get("title", {}).get("text") or a.get("visible") is False
            ]
            assert len(titled) >= len(axes) / 2
            assert drawn["title"]["text"]
            assert all(trace.x is None or len(trace.x) for trace in figure.data if "x" in trace)
            night = plot.dark(figure)
            assert night.layout.template.layout.paper_bgcolor == style.DARK["background"]
            assert figure.layout.template.layout.paper_bgcolor == style.LIGHT["background"]
            assert isinstance(night, go.Figure)

    def test_texts_and_labels_are_escaped(self, run, tmp_path, pca):
        evil = tmp_path / "evil"
        shutil.copytree(run, evil)
        old = Codes.open(run)
        table = load_features(run)
        save_features(evil, table[["feature"]].assign(label=HOSTILE))
        codes = Codes.open(evil)
        found = families(old, load_features(evil))
        save_result(codes, "families.json", found.to_dict(), found.parameters)
        found = contrast(codes, "noun.plant", by="kind", labels=dict.fromkeys(range(96), HOSTILE))
        codes.texts = lambda rows=None: np.full(codes.n_rows, HOSTILE, dtype=object)
        figures = [plot.activations(evil, 3), plot.cooccurrence(evil), plot.family_tree(evil)]
        figures += [plot.dictionary(evil), plot.texts(codes), plot.contrast(found)]
        figures += [plot.frontier({HOSTILE: evil}), plot.probing({HOSTILE: evil})]

        def raw(figure):
            return [s for s in strings(figure.to_dict()) if re.search("<(img|b>)", s)]

        assert [raw(figure) for figure in figures] == [[]] * len(figures)
        assert any("&lt;img" in s for s in strings(figures[3].to_dict()))
        assert raw(go.Figure().add_annotation(text=HOSTILE))

    def test_colours_stay_apart_for_every_eye_and_from_both_backgrounds(self):
        assert apart(style.COLORS) > 14
        assert apart(["#1f77b4", "#ff7f0e", "#2ca02c", "#d62728"]) < 8  # matplotlib's: red, green
        for theme in (style.LIGHT, style.DARK):
            ratios = [contrast_ratio(c, theme["background"]) for c in style.COLORS]
            assert min(ratios) > 2.95
            assert contrast_ratio(theme["text"], theme["background"]) > 12
            assert contrast_ratio(style.MUTED, theme["background"]) > 3

    def test_objects_show_themselves(self, run, codes):
        shown = nanosae.SAEModel.load(run)._repr_html_()
        assert "<th>hidden_size</th><td>96</td>" in shown
        assert "<th>rows</th><td>1,500</td>" in codes._repr_html_()

    @pytest.mark.slow
    def test_a_browser_shows_hostile_labels_as_text(self, browser, run, tmp_path):
        found = contrast(
            Codes.open(run), "noun.plant", by="kind", labels=dict.fromkeys(range(96), HOSTILE)
        )
        path = tmp_path / "figure.html"
        plot.contrast(found).write_html(path, include_plotlyjs=True)
        browser.open(path)
        shown = browser.js(
            "return [...document.querySelectorAll('.ytick')].map(n => n.textContent)"
        )
        assert shown[0].startswith('<img src=x onerror="alert(1)"> <b>b</b> %{x')
        assert browser.js("return document.images.length") == 0

    @pytest.mark.slow
    def test_moving_the_slider_shows_another_snapshot(self, browser, run, tmp_path):
        figure = plot.weights(run)
        figure.write_html(tmp_path / "figure.html", include_plotlyjs=True)
        browser.open(tmp_path / "figure.html")
        move = (
            "const g = document.querySelector('.js-plotly-plot'), s = g.layout.sliders[0].steps[0];"
        )
        shown = browser.js(
            f"{move} return Plotly[s.method](g, ...s.args).then(() => g.data.map(t => t.y))"
        )
        expected = figure.layout.sliders[0].steps[0].args[0]["y"]
        np.testing.assert_allclose(shown, expected)
        assert not np.allclose(shown, [t.y for t in figure.data])


def strings(value):
    """Every text inside nested dictionaries, lists and arrays."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from strings(part)
    elif isinstance(value, list | tuple | np.ndarray):
        for part in value:
            yield from strings(part)


def linear(color):
    c = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def contrast_ratio(a, b):
    """WCAG 2: (L1 + 0.05) / (L2 + 0.05)."""
    low, high = sorted(float(linear(c) @ [0.2126, 0.7152, 0.0722]) + 0.05 for c in (a, b))
    return high / low


SEEN = [  # normal, protan, deutan, tritan: Machado, Oliveira and Fernandes 2009, severity 1
    np.eye(3),
    [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
]
XYZ = [[0.4125, 0.3576, 0.1804], [0.2127, 0.7152, 0.0722], [0.0193, 0.1192, 0.9503]]


def apart(colors):
    """Smallest distance in CIELAB (ΔE 1976) of any two colours, as any of four eyes sees them."""
    least = np.inf
    for matrix in SEEN:
        seen = np.clip([np.array(matrix) @ linear(c) for c in colors], 0, 1)
        t = seen @ np.array(XYZ).T / [0.9505, 1, 1.0888]
        f = np.where(t > 0.008856, np.cbrt(t), 7.787 * t + 16 / 116)
        lab = np.c_[116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])]
        gaps = np.linalg.norm(lab[:, None] - lab, axis=-1) + 1e3 * np.eye(len(lab))
        least = min(least, gaps.min())
    return least
