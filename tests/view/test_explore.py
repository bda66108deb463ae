"""The explorer's server: its answers against brute force, what it lets in, and what it survives."""

import csv
import io
import json
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.request import Request, urlopen

import numpy as np
import pandas as pd
import pytest
from starlette.testclient import TestClient

from nanosae.analysis.search import search
from nanosae.analysis.text_index import has_index, text_index
from nanosae.cli import main
from nanosae.codes import Codes, write_codes
from nanosae.model.weights import Weights
from nanosae.runs import annotations as edits
from nanosae.view.explorer import server
from nanosae.view.explorer.queries import Explorer, inside, load_map, make_map, prepare
from planted import planted_corpus

HOSTILE = "<script>alert(1)</script> \"'&; שלום ‮ 👩‍👩‍👧 =1+1"


@pytest.fixture(scope="module", autouse=True)
def no_umap():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "umap", None)
        yield


@pytest.fixture(scope="module")
def planted():
    return planted_corpus(900)


@pytest.fixture(scope="module")
def finished(planted, tmp_path_factory):
    """A run with everything: model, codes, texts, columns, labels, families, topics."""
    return make_run(tmp_path_factory.mktemp("runs") / "<b>run", planted)


def make_run(run, planted, *, model=True, texts=True, vectors=True, labels=True):
    acts, more = planted.activations, {}
    if model:
        m, d = planted.directions.shape
        cfg = {"architecture": "standard", "d_in": d, "d_sae": m, "metadata": {"encoder": None}}
        tensors = planted.directions.T.copy(), planted.directions.copy()
        weights = Weights(*tensors, np.zeros(d, np.float32), cfg, np.full(m, -0.2, np.float32))
        weights.save(run / "model")
    if texts:
        more["texts"] = [HOSTILE, *planted.texts[1:]]
    dates = [f"{year}-03-01" for year in planted.columns["year"]]
    more["metadata"] = dict(planted.columns) | {"date": dates}
    if vectors:
        more["vectors"] = planted.embeddings
    codes = write_codes(run / "codes" / "default", acts, **more)
    if labels:
        n = len(planted.names)
        table = {"feature": np.arange(n), "label": planted.names, "label_auc": np.linspace(0, 1, n)}
        table |= {"family": np.arange(n) % 9, "topic": np.arange(n) % 5}
        pd.DataFrame(table).to_parquet(run / "features.parquet")
        lines = [{"family": i, "label": f"family {i}"} for i in range(9)]
        (run / "families.json").write_text(json.dumps({"families": lines}))
    make_map(codes)
    return run


@pytest.fixture
def explorer(finished):
    (finished / "user.sqlite").unlink(missing_ok=True)
    return Explorer(finished)


@pytest.fixture
def client(explorer):
    with TestClient(server.make_app(explorer), base_url="http://127.0.0.1:8765") as found:
        yield found


@pytest.fixture
def dense(explorer):
    return explorer.codes.rows(0, explorer.codes.n_rows).toarray()


def get(client, path, **params):
    params = {k: json.dumps(v) for k, v in params.items()}
    answer = client.get(path, params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


def rows_of(client, **where):
    """All rows of a selection, page by page."""
    found, total = [], None
    while total is None or len(found) < total:
        page = get(client, "/api/texts", where=where, at=len(found))
        total = page["total"]
        found += [line["row"] for line in page["lines"]]
    return found


# ── selections ──


def test_several_features_keep_the_rows_that_have_all_of_them(client, dense):
    both = np.argwhere((dense > 0).astype(int).T @ (dense > 0) >= 20)
    a, b = next((a, b) for a, b in both.tolist() if a < b)
    wanted = np.flatnonzero((dense[:, a] > 0) & (dense[:, b] > 0))
    score = dense[:, a] / dense[:, a].max() + dense[:, b] / dense[:, b].max()
    assert rows_of(client, features=[a, b]) == sorted(wanted, key=lambda i: (-score[i], i))
    assert len(rows_of(client, features=[a])) > len(wanted)


def test_each_condition_keeps_the_rows_that_meet_it(client, planted, explorer):
    word = planted.words[0][0]
    has = [i for i in range(1, 900) if word in planted.texts[i].split()]
    assert sorted(rows_of(client, words=word.upper())) == has
    in_b = np.flatnonzero(planted.columns["group"] == "B").tolist()
    assert rows_of(client, value=["group", "B"]) == in_b
    assert rows_of(client, value=["group", "nosuch"]) == []
    edits.tag(explorer.run, "default", "mine", [7, 3, 5])
    assert rows_of(client, tag="mine") == [3, 5, 7]
    assert sorted(rows_of(client, words=word, value=["group", "B"])) == sorted({*has} & {*in_b})
    assert len(rows_of(client)) == 900


def test_texts_are_ranked_when_words_alone_are_asked_for(client, planted):
    word = planted.words[0][0]
    found = rows_of(client, words=word)
    often = [planted.texts[i].split().count(word) / len(planted.texts[i].split()) for i in found]
    assert np.mean(often[:5]) > 1.5 * np.mean(often[-5:])


@pytest.mark.parametrize("seed", range(5))
def test_a_lasso_holds_what_a_walk_around_it_says(seed):
    rng = np.random.default_rng(seed)
    corners, points = rng.normal(size=(7, 2)), rng.normal(size=(300, 2))

    def crossings(x, y):  # a ray to the right, edge by edge
        found = 0
        for (a, b), (c, d) in zip(corners, [*corners[1:], corners[0]], strict=True):
            if (b > y) != (d > y):
                found += a + (y - b) * (c - a) / (d - b) > x
        return found % 2 == 1

    wanted = [crossings(x, y) for x, y in points]
    assert inside(points, corners.tolist()).tolist() == wanted
    assert 0 < sum(wanted) < 300


def test_a_lasso_selects_rows_on_one_map_and_leading_features_on_the_other(client, explorer, dense):
    xy = explorer.map["rows"]
    left, middle = float(xy.min()) - 1, float(np.median(xy[:, 0]))
    box = [[left, left], [middle, left], [middle, -left * 9], [left, -left * 9]]
    assert rows_of(client, lasso=box) == np.flatnonzero(xy[:, 0] < middle).tolist()
    of = explorer.map["features"]
    half = float(of[:, 0].mean())
    right = [[half, -99], [99, -99], [99, 99], [half, 99]]
    wanted = np.flatnonzero(of[:, 0] > half)
    dense[:, dense.astype(bool).mean(0) > 0.2] = 0
    led = np.where(dense.any(1), dense.argmax(1), -1)
    assert rows_of(client, led=right) == np.flatnonzero(np.isin(led, wanted)).tolist()


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ({"features": [48]}, "there are 0 … 47"),
        ({"features": ["x"]}, "invalid literal"),
        ({"value": ["nosuch", "B"]}, "no column 'nosuch'"),
        ({"lasso": [[0, 0], [1]]}, "inhomogeneous|polygon"),
        ({"lasso": "x"}, "could not convert|polygon"),
        ({"nonsense": 1}, "no condition 'nonsense'"),
        ([1], "list"),
    ],
)
def test_a_selection_that_makes_no_sense_is_refused(client, where, said):
    answer = client.get("/api/texts", params={"where": json.dumps(where)})
    assert answer.status_code == 400
    assert re.search(said, answer.json()["error"])


# ── features, texts, maps ──


def test_the_list_of_features_is_searched_and_sorted(client, planted, explorer):
    found = get(client, "/api/features")
    assert found["total"] == 48
    scores = [line["score"] for line in found["lines"]]
    assert scores == sorted(scores, reverse=True)
    assert found["lines"][0] == {
        "feature": 47,
        "name": planted.names[47],
        "rows": int(explorer.counts[47]),
        "score": 1.0,
        "marked": False,
    }
    (one,) = get(client, "/api/features", words=planted.names[5])["lines"]
    assert one["feature"] == 5
    assert [x["feature"] for x in get(client, "/api/features", words="12")["lines"]] == [12]
    by_rows = [line["rows"] for line in get(client, "/api/features", sort="rows")["lines"]]
    assert by_rows == sorted(by_rows, reverse=True)
    names = [line["name"] for line in get(client, "/api/features", sort="name")["lines"]]
    assert names == sorted(planted.names)[:40]
    rest = get(client, "/api/features", sort="name", at=40)["lines"]
    assert [line["name"] for line in rest] == sorted(planted.names)[40:]


def test_a_card_says_what_the_activations_say(client, explorer, dense, planted):
    j = int(explorer.counts.argmax())
    card, acts = get(client, f"/api/card/{j}"), dense[:, j]
    assert (card["rows"], card["name"]) == (np.count_nonzero(acts), planted.names[j])
    assert card["density"] == pytest.approx(np.count_nonzero(acts) / 900)
    assert card["mean"] == pytest.approx(acts[acts > 0].mean(), rel=1e-5)
    assert sum(card["histogram"]) == card["rows"]
    assert card["histogram"][-1] == np.count_nonzero(acts >= 0.95 * acts.max())
    top = sorted(np.flatnonzero(acts), key=lambda i: (-acts[i], i))
    assert [line["row"] for line in card["examples"]["strongest"]] == top[:10]
    assert card["family"] == f"family {j % 9}"
    cosine = planted.directions @ planted.directions[j]
    cosine[j] = -1
    assert [i for i, _, _ in card["near"]] == np.argsort(-cosine)[:8].tolist()
    on = dense > 0
    both = (on.T @ on.astype(int))[j]
    with np.errstate(divide="ignore"):
        lift = both * 900 / (on[:, j].sum() * on.sum(0))
        npmi = np.where((both >= 5) & (lift > 1), np.log(lift) / -np.log(both / 900), 0)
    npmi[j] = 0
    for i, _, value in card["partners"]:
        assert value == pytest.approx(npmi[i], rel=1e-6)
    assert len(card["partners"]) == min(8, np.count_nonzero(npmi))


def test_near_misses_are_shown_if_this_corpus_was_described(finished, explorer):
    j = int(explorer.counts.argmax())
    path = finished / "features.parquet"
    before = path.read_bytes()
    try:
        for n, shown in ((int(explorer.counts[j]), True), (5, False)):
            table = pd.read_parquet(path)
            table["n_active"], table["near_misses"] = n, [[4, 2]] * 48
            table.to_parquet(path)
            examples = Explorer(finished).card(j)["examples"]
            found = examples.get("near misses")
            assert (found is not None) == shown
            assert found is None or [line["row"] for line in found] == [4, 2]
    finally:
        path.write_bytes(before)


def test_a_row_has_its_text_columns_and_features(client, dense, planted):
    row = get(client, "/api/row/0")
    assert row["text"] == HOSTILE
    assert row["columns"]["group"] == planted.columns["group"][0]
    assert {j: a for j, _, a in row["features"]} == pytest.approx(
        {j: dense[0, j] for j in np.flatnonzero(dense[0]).tolist()}
    )
    assert client.get("/api/row/900").status_code == 400


def test_moved_features_rank_as_search_does_and_say_what_moved(client, explorer, dense):
    row = int(np.count_nonzero(dense, axis=1).argmax())
    j = int(dense[row].argmax())
    before = get(client, "/api/steer", row=row)
    after = get(client, "/api/steer", row=row, edit={str(j): 0})
    wanted = search(explorer.codes, row=row, edit={j: 0.0}, n=40)
    assert [hit["row"] for hit in after["hits"]] == [hit.row for hit in wanted.hits]
    assert [hit["row"] for hit in before["hits"]] != [hit["row"] for hit in after["hits"]]
    first = [hit.row for hit in search(explorer.codes, row=row, n=100).hits]
    for hit in after["hits"]:
        assert hit["was"] == (first.index(hit["row"]) if hit["row"] in first else None)
    assert "cosine" in after["note"]
    assert {i: a for i, _, a in after["features"]}[j] == pytest.approx(dense[row, j])


def test_a_query_is_ranked_by_its_features(client, planted):
    found = get(client, "/api/steer", query=planted.names[3])
    assert planted.names[3] in [name for _, name, _ in found["features"]]
    assert found["hits"]


def points(client, kind, **params):
    params = {k: json.dumps(v) for k, v in params.items()}
    data = client.get(f"/api/points/{kind}", params=params).content
    size = int(np.frombuffer(data, np.uint32, 1)[0])
    head = json.loads(data[4 : 4 + size])
    n, at = head["n"], 4 + size
    found = {}
    for name, kind_of, count in (("ids", "u4", n), ("xy", "f4", 2 * n), ("values", "f4", n)):
        found[name] = np.frombuffer(data, kind_of, count, at)
        at += 4 * count
    found["marks"] = np.frombuffer(data, "u1", n, at)
    found["density"] = np.frombuffer(data, "u1", -1, at + n).reshape(head["raster"][::-1])
    return head | found | {"xy": found["xy"].reshape(-1, 2)}


def test_a_map_holds_each_point_where_it_is(client, explorer, dense):
    for kind, n in (("rows", 900), ("features", 48)):
        found = points(client, kind)
        assert sorted(found["ids"]) == list(range(n))
        assert np.array_equal(found["xy"], explorer.map[kind][found["ids"]])
        x0, y0, x1, y1 = found["box"]
        wide, high = np.ptp(explorer.map[kind], axis=0)
        assert (x1 - x0, y1 - y0) == pytest.approx((1.06 * wide, 1.06 * high), rel=1e-4)
        wanted = np.histogram2d(*found["xy"].T, found["raster"], [[x0, x1], [y0, y1]])[0].T
        scaled = np.log1p(wanted) / np.log1p(wanted.max()) * 255
        assert np.abs(found["density"] - scaled).max() < 1


def test_a_map_is_coloured_by_feature_family_group_and_time(client, explorer, dense, planted):
    j = int(explorer.counts.argmax())
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
    assert [a in (b, "others") for a, b in zip(told, wanted, strict=True)] == [True] * 48
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
    told = {int(j): names[int(p)] for j, p in zip(found["ids"], found["values"], strict=True)}
    for j, odds in planted.group_odds.items():
        assert told[j] == ("B" if odds > 1 else "A")
    found = points(client, "features", color="column:year")
    mean = dict(zip(found["ids"].tolist(), found["values"].tolist(), strict=True))
    for j, slope in planted.year_slopes.items():
        assert (mean[j] > planted.columns["year"].mean()) == (slope > 0)


def test_a_box_and_a_selection_choose_the_points(client, explorer, dense):
    j = int(explorer.counts.argmax())
    xy = explorer.map["rows"]
    x, y = np.median(xy, axis=0)
    box = [float(v) for v in (x, y, xy[:, 0].max() + 1, xy[:, 1].max() + 1)]
    found = points(client, "rows", box=box, where={"features": [j]})
    wanted = np.flatnonzero((xy >= [x, y]).all(axis=1))
    assert sorted(found["ids"]) == wanted.tolist()
    assert found["inside"] == len(wanted)
    assert np.array_equal(found["marks"], dense[found["ids"], j] > 0)


def test_of_too_many_points_the_selection_is_sent_first(client, explorer, monkeypatch, dense):
    monkeypatch.setattr("nanosae.view.explorer.queries.POINTS", 60)
    j = int(np.abs(explorer.counts - 30).argmin())
    found = points(client, "rows", where={"features": [j]})
    assert found["n"] == 60
    assert found["marks"].sum() == min(30, explorer.counts[j])


def test_regions_are_named(client, explorer):
    for kind in ("rows", "features"):
        for region in get(client, f"/api/regions/{kind}"):
            assert region["text"]


def test_a_comparison_finds_what_was_planted(client, planted):
    found = get(client, "/api/contrast", where={"value": ["group", "B"]})
    assert found["rows"] == (planted.columns["group"] == "B").sum()
    told = {f["feature"]: f["odds_ratio"] for f in found["findings"]}
    assert set(told) <= set(planted.group_odds) | set(planted.length_features)
    assert len(set(told) & set(planted.group_odds)) >= 3
    for j in set(told) & set(planted.group_odds):
        assert (told[j] > 1) == (planted.group_odds[j] > 1)
    answer = client.get("/api/contrast", params={"where": "{}"})
    assert "nothing to compare" in answer.json()["error"]


# ── what people change ──


def post(client, path, body, **headers):
    return client.post(path, json=body, headers=headers)


def test_names_bookmarks_and_tags_are_kept(client, explorer, finished):
    name = "  “mine”\n<b>&amp;  "
    assert (
        post(client, "/api/rename", {"feature": 3, "name": name}).json()["name"]
        == "“mine” <b>&amp;"
    )
    assert post(client, "/api/bookmark", {"feature": 3, "on": True}).status_code == 200
    found = post(client, "/api/tag", {"tag": "odd", "where": {"features": [3]}}).json()
    assert found["tags"] == {"odd": int(explorer.counts[3])}
    again = Explorer(finished)
    assert again.card(3)["name"] == "“mine” <b>&amp;"
    assert again.card(3)["named"]
    marked = get(client, "/api/features", marked=True)["lines"]
    assert [line["feature"] for line in marked] == [3]
    row = rows_of(client, features=[3])[0]
    assert get(client, f"/api/row/{row}")["tags"] == ["odd"]
    post(client, "/api/tag", {"tag": "odd", "rows": [row], "on": False})
    assert get(client, f"/api/row/{row}")["tags"] == []
    post(client, "/api/rename", {"feature": 3, "name": ""})
    assert not again.card(3)["named"]
    for body in ({"feature": 48, "name": "x"}, {"name": "x"}, {"feature": "y", "name": "x"}):
        assert post(client, "/api/rename", body).status_code == 400


def test_a_selection_is_exported_as_csv(client, explorer, dense):
    j = int(explorer.counts.argmax())
    edits.tag(explorer.run, "default", 'a,"b"', [int(np.flatnonzero(dense[:, j])[0])])
    answer = client.get("/api/export", params={"where": json.dumps({"features": [j]})})
    assert answer.headers["content-disposition"] == 'attachment; filename="texts.csv"'
    table = pd.read_csv(io.StringIO(answer.text), keep_default_na=False)
    assert table["row"].tolist() == rows_of(client, features=[j])
    assert table["text"].tolist() == explorer.codes.texts(table["row"]).tolist()
    assert table[f"feature_{j}"].to_numpy() == pytest.approx(dense[table["row"], j])
    assert (table["tags"] == 'a,"b"').sum() == 1
    whole = client.get("/api/export").text
    lines = list(csv.reader(io.StringIO(whole)))
    assert len(lines) == 901
    assert lines[1][1] == HOSTILE
    empty = client.get("/api/export", params={"where": json.dumps({"tag": "no"})}).text
    assert empty.startswith("row,text,")
    assert len(empty.splitlines()) == 1


# ── who is let in ──


PATHS = [
    "/static/../answers.py", "/static/..%2fanswers.py", "/static/%2e%2e/answers.py", "/static/",
    "/static/explore.html/../../../../../../etc/passwd", "/static/....//answers.py", "/etc/passwd",
    "//etc/passwd", "/static/%00", "/static/explore.py", "/api/card/../../x", "/codes",
    "/user.sqlite", "/static/C:%5Cwindows",
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_no_path_leads_to_other_files(client, path):
    answer = client.get(path)
    assert answer.status_code in (400, 404)
    assert len(answer.text) < 100


@pytest.mark.parametrize("name", server.FILES)
def test_the_page_and_its_files_are_served(client, name):
    answer = client.get(f"/static/{name}")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith(server.KINDS[Path(name).suffix])


def test_the_page_runs_and_loads_nothing_from_elsewhere(client):
    text = client.get("/").text
    assert "<script>" not in text
    assert " style=" not in text
    assert "http" not in text.replace("http-equiv", "")


def test_all_answers_carry_the_policy(client, explorer, monkeypatch):
    monkeypatch.setattr(explorer, "card", lambda j: 1 / 0)
    with TestClient(
        server.make_app(explorer), base_url="http://127.0.0.1", raise_server_exceptions=False
    ) as broken:
        error = broken.get("/api/card/1")
    assert error.status_code == 500
    assert "Traceback" not in error.text
    assert "ZeroDivision" not in error.text
    answers = [client.get(path) for path in ("/", "/api/state", "/nosuch", "/static/base.css")]
    answers.append(client.get("/", headers={"host": "evil.example"}))
    answers.append(post(client, "/api/rename", {}))
    for answer in [*answers, error]:
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8765", 200), ("localhost:8765", 200), ("LOCALHOST", 200), ("[::1]:9", 200),
        ("evil.example", 403), ("127.0.0.1.evil.example", 403), ("evil.example:8765", 403),
        ("", 403), ("localhost.evil.example", 403), ("192.168.0.7:8765", 403),
    ],
)  # fmt: skip
def test_other_hosts_are_refused(client, host, status):
    assert client.get("/api/state", headers={"host": host}).status_code == status


def test_elsewhere_a_token_is_needed(explorer):
    token = "s3cret"
    app = server.make_app(explorer, "0.0.0.0", token)
    with TestClient(app, base_url="http://box.example:8765") as client:
        for path in ("/", "/api/state", "/static/explore.js", "/?token=wrong", "/?token="):
            assert client.get(path).status_code == 401
        assert post(client, "/api/bookmark", {"feature": 1, "on": True}).status_code == 401
        page = client.get("/", params={"token": token})
        assert page.status_code == 200
        assert {"HttpOnly", "SameSite=strict"} <= set(page.headers["set-cookie"].split("; "))
        assert client.get("/api/state").status_code == 200  # the cookie is enough
        client.cookies.clear()
        for wrong in (b"nanosae=wrong", "nanosae=wröng".encode(), b"nanosae"):
            assert client.get("/api/state", headers={"cookie": wrong}).status_code == 401
    assert edits.bookmarks(explorer.run) == []


def test_changes_of_other_sites_are_refused(client, explorer):
    body = {"feature": 1, "on": True}
    for origin in ("http://evil.example", "http://127.0.0.1:9999", "null"):
        assert post(client, "/api/bookmark", body, origin=origin).status_code == 403
    plain_form = {"content-type": "text/plain"}
    assert (
        client.post("/api/bookmark", content=json.dumps(body), headers=plain_form).status_code
        == 415
    )
    assert client.get("/api/bookmark").status_code == 405
    assert post(client, "/api/tag", {"tag": "x" * 2**20, "rows": [1]}).status_code == 413
    assert (
        client.post(
            "/api/tag", content=b"[1", headers={"content-type": "application/json"}
        ).status_code
        == 400
    )
    assert post(client, "/api/tag", [1]).status_code == 400
    assert edits.bookmarks(explorer.run) == []
    own = post(client, "/api/bookmark", body, origin="http://127.0.0.1:8765")
    assert own.status_code == 200
    assert edits.bookmarks(explorer.run) == [1]


# ── what is missing, damaged or busy ──


def test_a_run_without_codes_says_what_to_do(tmp_path, capsys):
    assert main(["explore", str(tmp_path), "--no-browser"]) == 2
    assert "no codes" in capsys.readouterr().err


def test_a_reduced_run_has_a_reduced_page_that_says_what_adds_the_rest(tmp_path, planted):
    run = make_run(tmp_path / "r", planted, model=False, texts=False, vectors=False, labels=False)
    explorer = Explorer(run)
    with TestClient(server.make_app(explorer), base_url="http://localhost") as client:
        state = get(client, "/api/state")
        assert (state["texts"], state["steer"], state["colors"]) == (False, False, [])
        assert state["adds"] == {
            "texts": f"nanosae encode {run} DATA --texts FILE",
            "steering": f"nanosae train DATA -o {run}",
            "families": f"nanosae families {run}",
        }
        assert state["jobs"] == {}  # no index without texts
        assert get(client, "/api/texts", where={"words": "x"})["total"] == 0
        assert get(client, "/api/texts")["lines"][0]["text"] == ""
        assert get(client, "/api/card/3")["near"] == []
        assert len(points(client, "features")["ids"]) == 48
        row = int(np.diff(planted.activations.indptr).argmax())
        assert get(client, "/api/steer", row=row)["hits"]
        edit = client.get("/api/steer", params={"row": row, "edit": '{"1": 1}'})
        assert "model" in edit.json()["error"]
    labelled = make_run(tmp_path / "s", planted, labels=False)
    assert set(Explorer(labelled).state()["adds"]) == {"labels", "families", "near misses"}


def test_labels_that_come_later_are_seen(tmp_path, planted):
    run = make_run(tmp_path / "r", planted, labels=False)
    explorer = Explorer(run)
    assert explorer.card(3)["name"] == ""
    pd.DataFrame({"feature": [3], "label": ["late"]}).to_parquet(run / "features.parquet")
    assert explorer.card(3)["name"] == "late"


def test_damage_is_named(tmp_path, planted):
    run = make_run(tmp_path / "r", planted)
    (run / "user.sqlite").write_bytes(b"not a database at all, whatever it says" * 50)
    with pytest.raises(ValueError, match=r"user\.sqlite is damaged"):
        Explorer(run)
    (run / "user.sqlite").unlink()
    explorer = Explorer(run)
    with TestClient(server.make_app(explorer), base_url="http://localhost") as client:
        (run / "user.sqlite").write_bytes(b"not a database at all, whatever it says" * 50)
        answer = client.get("/api/features")
        assert answer.status_code == 400
        assert "user.sqlite is damaged" in answer.json()["error"]
    (run / "user.sqlite").unlink()
    (run / "codes" / "default" / "manifest.json").write_text("{")
    with pytest.raises(ValueError, match=r"manifest\.json is damaged"):
        Explorer(run)


def test_map_and_index_are_made_when_missing_or_damaged(tmp_path, planted):
    run = make_run(tmp_path / "r", planted)
    codes = Codes.open(run)
    good = load_map(codes)
    (codes.path / "map.npz").write_bytes((codes.path / "map.npz").read_bytes()[:2000])
    assert load_map(codes) is None
    explorer = Explorer(run)
    assert explorer.state()["map"] is None
    assert not explorer.state()["index"]
    with pytest.raises(ValueError, match="not ready"):
        explorer.points("rows", "", {}, None)
    with pytest.raises(ValueError, match="not ready"):
        explorer.rows({"lasso": [[0, 0], [1, 0], [1, 1]]})
    for what in ("map", "index"):
        prepare(codes.path, what)
    assert explorer.state()["map"] == "PCA"
    assert explorer.state()["index"]
    assert np.array_equal(load_map(codes)["rows"], good["rows"])
    assert not list(codes.path.glob("*.part"))


def test_the_server_prepares_what_is_missing(tmp_path, planted, monkeypatch):
    run = make_run(tmp_path / "r", planted)
    started = []
    real = subprocess.Popen

    def popen(command, **options):
        started.append(command[-1])
        return real([sys.executable, "-c", "import sys; sys.exit('no room')"], **options)

    monkeypatch.setattr(subprocess, "Popen", popen)
    (run / "codes" / "default" / "map.npz").unlink()
    with TestClient(server.make_app(Explorer(run)), base_url="http://localhost") as client:
        assert started == ["map", "index"]
        while "working" in get(client, "/api/state")["jobs"].values():
            pass
        assert get(client, "/api/state")["jobs"] == {"map": "failed", "index": "failed"}
        assert get(client, "/api/texts")["total"] == 900  # usable meanwhile


def test_many_threads_get_the_same_answers(client, explorer):
    js = np.argsort(-explorer.counts)[:12].tolist()
    paths = [f"/api/card/{j}" for j in js] + [f"/api/row/{i}" for i in range(12)]
    paths += ["/api/points/rows?color=%22column:group%22", "/api/features?words=%22a%22"]
    alone = [client.get(path).content for path in paths]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda path: client.get(path).content, paths * 4))
    assert together == alone * 4


def test_missing_packages_and_busy_ports_are_named(finished, monkeypatch):
    with server._listen("127.0.0.1", 0) as busy:
        port = busy.getsockname()[1]
        with pytest.raises(OSError, match=rf"port {port}: .*choose another --port"):
            server._listen("127.0.0.1", port)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(ImportError, match=r'pip install "nanosae\[explore\]"'):
        server.explore(finished)


# ── real servers ──


def serve(run):
    """Start `nanosae explore`; return the process and its address."""
    command = [sys.executable, "-m", "nanosae", "explore", str(run), "--port", "0", "--no-browser"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    return process, process.stdout.readline().split()[0]


def change(url, path, body):
    data, kind = json.dumps(body).encode(), {"Content-Type": "application/json"}
    with urlopen(Request(f"{url}api/{path}", data, kind), timeout=60) as answer:
        return json.loads(answer.read())


def working(url):
    with urlopen(f"{url}api/state", timeout=60) as answer:
        return json.loads(answer.read())["jobs"]


@pytest.mark.slow
def test_two_explorers_on_one_run_lose_no_bookmark(tmp_path, planted):
    run = make_run(tmp_path / "r", planted)
    text_index(Codes.open(run))
    (one, here), (other, there) = serve(run), serve(run)
    with one, other, ThreadPoolExecutor(2) as pool:
        for url, first in ((here, 0), (there, 1)):
            mine = range(first, 48, 2)
            pool.submit(lambda url=url, mine=mine: [
                (change(url, "bookmark", {"feature": j, "on": True}),
                 change(url, "rename", {"feature": j, "name": f"{j} of {url}"})) for j in mine
            ])  # fmt: skip
        pool.shutdown()
        for process in (one, other):
            process.terminate()
        assert [one.wait(30), other.wait(30)] == [-signal.SIGTERM] * 2
    assert edits.bookmarks(run) == list(range(48))
    assert edits.names(run) == {j: f"{j} of {(here, there)[j % 2]}" for j in range(48)}


@pytest.mark.slow
@pytest.mark.parametrize("after", [0, 5, 25])
def test_a_killed_server_leaves_a_valid_run(tmp_path, planted, after):
    run = make_run(tmp_path / "r", planted)
    codes = Codes.open(run)
    (codes.path / "map.npz").unlink()
    process, url = serve(run)
    with process:
        for j in range(after):
            change(url, "bookmark", {"feature": j, "on": True})
        process.kill()
    known = edits.bookmarks(run)
    assert known == list(range(after))
    codes.verify()
    assert load_map(codes) is not None or not (codes.path / "map.npz").exists()
    process, url = serve(run)
    with process:
        while working(url):
            time.sleep(0.1)
        process.terminate()
    assert load_map(codes) is not None
    assert has_index(codes)
    assert not list(codes.path.glob("map.*.part"))
