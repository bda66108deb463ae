"""Maps: where points lie, how they are coloured, which of too many are sent."""

import numpy as np
import pytest
import scipy.sparse as sp
from starlette.testclient import TestClient

from explored import get, points
from nanosae.codes import write_codes
from nanosae.view.explorer.corpus import OpenCorpus
from nanosae.view.explorer.server import make_app


def test_a_map_holds_each_point_where_it_is(client, corpus, dense):
    for kind, n in (("rows", 900), ("features", 48)):
        found = points(client, kind)
        assert sorted(found["ids"]) == list(range(n))
        assert np.array_equal(found["xy"], corpus.map[kind][found["ids"]])
        x0, y0, x1, y1 = found["box"]
        wide, high = np.ptp(corpus.map[kind], axis=0)
        assert (x1 - x0, y1 - y0) == pytest.approx((1.06 * wide, 1.06 * high), rel=1e-4)
        wanted = np.histogram2d(*found["xy"].T, found["raster"], [[x0, x1], [y0, y1]])[
            0
        ].T
        scaled = np.log1p(wanted) / np.log1p(wanted.max()) * 255
        assert np.abs(found["density"] - scaled).max() < 1


def test_a_map_is_coloured_by_feature_family_group_and_time(
    client, corpus, dense, planted
):
    j = int(corpus.codes.counts.argmax())
    found = points(client, "rows", color=f"feature:{j}")
    acts = dense[found["ids"], j]
    assert np.array_equal(np.isfinite(found["values"]), acts > 0)
    assert found["values"][acts > 0] == pytest.approx(acts[acts > 0])
    found = points(client, "features", color="family")
    names = [entry["name"] for entry in found["legend"]["entries"]]
    assert names[-1] == "others"
    place = found["values"].astype(int)
    told = [names[p] for p in place]
    wanted = [f"family {i % 9}" for i in found["ids"]]
    assert [a in (b, "others") for a, b in zip(told, wanted, strict=True)] == [
        True
    ] * 48
    found = points(client, "rows", color="column:group")
    names = [entry["name"] for entry in found["legend"]["entries"]]
    told = np.array(names)[found["values"].astype(int)]
    assert np.array_equal(told, planted.columns["group"][found["ids"]])
    found = points(client, "rows", color="column:date")
    assert found["legend"]["kind"] == "scale"
    year = planted.columns["year"][found["ids"]]
    assert np.abs(found["values"] - year - 60 / 365).max() < 0.02


def test_features_are_coloured_by_the_group_they_are_typical_of(client, planted):
    found = points(client, "features", color="column:group")
    names = [entry["name"] for entry in found["legend"]["entries"]]
    told = {
        int(j): names[int(p)]
        for j, p in zip(found["ids"], found["values"], strict=True)
    }
    for j, odds in planted.group_odds.items():
        assert told[j] == ("B" if odds > 1 else "A")
    found = points(client, "features", color="column:year")
    mean = dict(zip(found["ids"].tolist(), found["values"].tolist(), strict=True))
    for j, slope in planted.year_slopes.items():
        assert (mean[j] > planted.columns["year"].mean()) == (slope > 0)


def test_a_box_and_a_selection_choose_the_points(client, corpus, dense):
    j = int(corpus.codes.counts.argmax())
    xy = corpus.map["rows"]
    x, y = np.median(xy, axis=0)
    box = [float(v) for v in (x, y, xy[:, 0].max() + 1, xy[:, 1].max() + 1)]
    found = points(client, "rows", box=box, where={"features": [j]})
    wanted = np.flatnonzero((xy >= [x, y]).all(axis=1))
    assert sorted(found["ids"]) == wanted.tolist()
    assert found["inside"] == len(wanted)
    assert np.array_equal(found["marks"], dense[found["ids"], j] > 0)


def test_of_too_many_points_the_selection_is_sent_first(
    client, corpus, monkeypatch, dense
):
    monkeypatch.setattr("nanosae.view.explorer.points.MAX_POINTS", 60)
    j = int(np.abs(corpus.codes.counts - 30).argmin())
    found = points(client, "rows", where={"features": [j]})
    assert found["n"] == 60
    assert found["marks"].sum() == min(30, corpus.codes.counts[j])


def test_regions_are_named(client, corpus):
    for kind in ("rows", "features"):
        for region in get(client, f"/api/regions/{kind}"):
            assert region["text"]


@pytest.mark.parametrize("unit", ["s", "us"])
def test_a_date_that_stands_for_no_end_has_a_place_in_time(planted, tmp_path, unit):
    dates = np.array(["2024-07-02", "9999-12-31", "NaT"] * 300, f"M8[{unit}]")
    words = np.datetime_as_string(dates, unit="D").astype(object)
    words[2::3] = ""
    columns = {"until": dates, "written": words}
    write_codes(tmp_path / "codes" / "default", planted.activations, metadata=columns)
    corpus = OpenCorpus(tmp_path)
    for name in columns:
        values, names, is_date = corpus.column(name)
        assert names == []
        assert is_date
        assert values[:2] == pytest.approx([2024.5, 9999.997], abs=0.01)
        assert np.isnan(values[2])


@pytest.mark.parametrize(
    "activations",
    [
        np.full((1, 3), 1.3),  # a single point
        np.full((5, 3), 1.3),  # several at the same place
        np.zeros((5, 3)),  # no living feature
    ],
)
@pytest.mark.filterwarnings("error")
def test_a_map_of_a_single_place_is_drawn(tmp_path, activations):
    codes = sp.csr_array(activations.astype(np.float32))
    write_codes(tmp_path / "codes" / "default", codes)
    corpus = OpenCorpus(tmp_path)
    with TestClient(make_app(corpus), base_url="http://127.0.0.1:8765") as client:
        for kind, n in (("rows", len(activations)), ("features", codes.nnz and 3)):
            found = points(client, kind)
            x0, y0, x1, y1 = found["whole"]
            assert len(found["xy"]) == n
            assert x0 < x1
            assert y0 < y1
            assert found["density"].max() == (255 if n else 0)
