"""The report's facts, what it leaves out and says so, its size, and texts that mean harm."""

import base64
import gzip
import html.parser
import json
import re
import shutil
import sys

import numpy as np
import pandas as pd
import pytest

from finished import HOSTILE, finished_run, line, training_files
from nanosae.codes import Codes, write_codes
from nanosae.config import TrainConfig
from nanosae.runs.results import load_contrasts
from nanosae.runs.tables import load_features, save_features
from nanosae.view.report import cards as module
from nanosae.view.report.render import report


class Page(html.parser.HTMLParser):
    """Read a page as a browser would: its elements, and its data blocks."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.blocks, self.code, self._id = [], {}, [], None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self._id = (tag, dict(attrs).get("id")) if tag == "script" else None

    def handle_data(self, data):
        if self._id and self._id[1]:
            self.blocks[self._id[1].removeprefix("data-")] = json.loads(data)
        elif self._id:
            self.code.append(data)

    def handle_endtag(self, tag):
        self._id = None

    def cards(self):
        found, texts = {}, {}
        for name, block in self.blocks.items():
            if name.startswith("cards-"):
                part = json.loads(gzip.decompress(base64.b64decode(block)))
                found |= {card["feature"]: card for card in part["cards"]}
                texts |= part["texts"]
        return found, texts


@pytest.fixture(scope="session")
def no_umap():
    """PCA instead: the map's own tests are elsewhere, and UMAP takes long to start."""
    patch = pytest.MonkeyPatch()
    patch.setitem(sys.modules, "umap", None)
    yield
    patch.undo()


@pytest.fixture(scope="session")
def run(tmp_path_factory, no_umap):
    return finished_run(tmp_path_factory.mktemp("finished") / "run")


@pytest.fixture(scope="session")
def page(run):
    return Page(report(run).read_text("utf-8"))


class TestFacts:
    def test_the_summary(self, page, run):
        facts = page.blocks["facts"]
        assert page.blocks["training"]["lines"][-1]["fvu"] == 0.25
        assert facts["config"]["hidden_size"] == 48
        assert facts["fingerprint"] == "0123abcd"
        assert facts["corpus"]["rows"] == 800
        assert facts["corpus"]["columns"] == ["group", "year", "topics"]
        assert facts["missing"] == []

    def test_the_table_is_the_run_s(self, page, run):
        shown = page.blocks["features"]
        codes, table = Codes.open(run), load_features(run).set_index("feature")
        assert sorted(shown["feature"]) == list(range(48))
        for i, j in enumerate(shown["feature"]):
            rows, acts = codes.feature(j)
            assert shown["n_active"][i] == len(rows)
            assert shown["max_activation"][i] == pytest.approx(acts.max(initial=0), rel=1e-3)
            label = HOSTILE[1] if j == 0 else table["label"][j]
            assert shown["label"][i] == (None if pd.isna(label) else label)

    def test_the_surest_labels_come_first(self, page, run):
        table = load_features(run).set_index("feature")["label_auc_low"]
        sure = table[page.blocks["features"]["feature"]].dropna().to_numpy()
        assert (np.diff(sure) <= 0).all()

    def test_cards_hold_the_strongest_rows_and_their_texts(self, page, run):
        cards, texts = page.cards()
        codes, table = Codes.open(run), load_features(run).set_index("feature")
        assert len(cards) == 48
        for j, card in cards.items():
            rows, acts = codes.top(j, 8)
            assert [row for row, _ in card["top"]] == rows.tolist()
            assert [act for _, act in card["top"]] == pytest.approx(acts.tolist(), rel=1e-2)
            assert [texts[str(row)] for row, _ in card["top"]] == codes.texts(rows).tolist()
            assert card["histogram"] == table["histogram"][j].tolist()
            assert all(act == 0 for _, act in card["near"])
            near = card["nearest"][0][0]
            cosine = codes.weights().directions() @ codes.weights().directions()[j]
            cosine[j] = -1
            assert near == cosine.argmax()

    def test_the_map_has_every_living_feature(self, page, run):
        found = page.blocks["map"]
        assert len(found["place"]) == len(found["x"]) == len(found["y"])
        ids = np.array(page.blocks["features"]["feature"])[found["place"]]
        assert sorted(ids) == np.flatnonzero(Codes.open(run).counts).tolist()

    def test_families_topics_contrasts_evaluation_and_training(self, page, run):
        for name in ("families", "topics", "contrasts", "evaluation"):
            assert page.blocks[name]
        assert len(page.blocks["topics"]) == 5
        (result,) = load_contrasts(run)
        assert page.blocks["contrasts"][0]["sentences"] == result.value["sentences"][:20]
        title = "contrast by group: A against B"
        assert page.blocks["contrasts"][0]["name"] == title
        assert {"density", "l0", title} <= set(page.blocks["figures"])
        assert len(page.blocks["training"]["snapshots"]) == 10
        assert page.blocks["training"]["lines"][-1]["final"]

    def test_the_commands_that_made_it(self, page, run):
        commands = [c.replace(str(run), "RUN") for c in page.blocks["facts"]["commands"]]
        assert commands[0] == (
            "nanosae train 'rows of it.npy' -o RUN --input-size 32 --hidden-size 48 --k 3 "
            "--activation topk --encoder 'an encoder'"
        )
        assert commands[2:] == [
            "nanosae describe RUN",
            "nanosae label RUN",
            "nanosae families RUN",
            "nanosae topics RUN -n 5",
            "nanosae contrast RUN --by group --a A --b B",
            "nanosae evaluate RUN --labels topics",
            "nanosae report RUN",
        ]

    def test_those_commands_are_understood(self, page):
        import shlex

        from nanosae.cli.app import app

        for command in page.blocks["facts"]["commands"]:
            words = shlex.split(command)[1:]
            verb, *_ = app.parse_args(words, exit_on_error=False, print_error=False)
            assert verb.__name__.replace("_", "-") == words[0]


class TestHarm:
    def test_texts_stay_data(self, page, run):
        tags = {tag for tag, _ in page.elements}
        assert "img" not in tags
        assert all(not key.startswith("on") for _, attrs in page.elements for key in attrs)
        cards, texts = page.cards()
        first = [texts[str(row)] for row, _ in cards[0]["top"]][: len(HOSTILE)]
        assert all(text.startswith(hostile) for text, hostile in zip(first, HOSTILE, strict=True))

    def test_only_our_scripts_and_no_address_of_another_machine(self, page, run):
        policy = next(a["content"] for _, a in page.elements if a.get("http-equiv"))
        assert "default-src 'none'" in policy
        assert "connect-src 'none'" in policy
        assert len(re.findall("'sha256-", policy)) == len(page.code) == 5
        assert not [a for _, a in page.elements if a.get("src") or "http" in a.get("href", "")]

    def test_a_parser_sees_markup_that_is_not_escaped(self):
        naive = f"<script type='application/json' id='data-x'>{json.dumps(HOSTILE[1])}</script>"
        with pytest.raises(ValueError, match="Unterminated"):
            Page(naive)


class TestMissing:
    def test_a_run_that_has_just_begun(self, tmp_path):
        run = tmp_path / "run"
        run.mkdir()
        facts = {"requested": TrainConfig(k=3).to_dict(), "config": TrainConfig(k=3).to_dict()}
        (run / "config.json").write_text(json.dumps(facts))
        page = Page(report(run).read_text("utf-8"))
        assert page.blocks["features"]["feature"] == []
        whats = [what for what, _ in page.blocks["facts"]["missing"]]
        assert whats[:2] == ["the trained model", "the features of a corpus"]

    def test_a_killed_run(self, tmp_path):
        run = tmp_path / "run"
        training_files(run, TrainConfig(k=3))
        (run / "metrics.jsonl").write_text(line(10) + line(20)[:40])
        page = Page(report(run).read_text("utf-8"))
        assert [found["step"] for found in page.blocks["training"]["lines"]] == [10]
        whats, commands = zip(*page.blocks["facts"]["missing"], strict=True)
        assert "--resume" in commands[whats.index("the trained model")]

    @pytest.mark.parametrize(
        ("gone", "what", "verb"),
        [
            ("families.json", "families", "families"),
            ("topics.parquet", "topics", "topics"),
            ("contrasts", "contrasts", "contrast"),
            ("evaluation.json", "a comparison with baselines", "evaluate"),
            ("features.parquet", "feature cards", "describe"),
            ("codes", "the features of a corpus", "encode"),
            ("model", "the trained model", "train"),
            ("metrics.jsonl", None, None),
            ("snapshots", None, None),
            ("config.json", None, None),
        ],
    )
    def test_each_part_may_be_missing(self, run, tmp_path, gone, what, verb):
        copy = shutil.copytree(run, tmp_path / "run")
        path = copy / gone
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        missing = dict(Page(report(copy).read_text("utf-8")).blocks["facts"]["missing"])
        if what:
            assert missing[what].startswith(f"nanosae {verb} ")

    def test_codes_without_texts(self, tmp_path, no_umap):
        run = tmp_path / "run"
        write_codes(run / "codes" / "default", np.eye(4, 6, dtype=np.float32))
        from nanosae.analysis.describe import describe

        save_features(run, describe(Codes.open(run)))
        page = Page(report(run).read_text("utf-8"))
        cards, texts = page.cards()
        assert len(cards) == 4  # two features are dead
        assert set(texts.values()) == {""}
        assert "texts" in dict(page.blocks["facts"]["missing"])

    def test_no_run_at_all(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="nanosae train"):
            report(tmp_path)

    def test_a_damaged_file_is_named(self, run, tmp_path):
        copy = shutil.copytree(run, tmp_path / "run")
        (copy / "families.json").write_text("{")
        with pytest.raises(ValueError, match=r"families\.json is damaged"):
            report(copy)

    def test_an_old_report_stays_when_the_new_one_cannot_be_written(self, run, tmp_path):
        copy = shutil.copytree(run, tmp_path / "run")
        before = report(copy).read_bytes()
        (copy / "families.json").write_text("{")
        with pytest.raises(ValueError, match="damaged"):
            report(copy)
        assert (copy / "report.html").read_bytes() == before


class TestSize:
    """Scaled down a hundredfold: as many texts per feature, limits in the same proportion."""

    @pytest.fixture
    def large(self, tmp_path, monkeypatch, no_umap):
        rng = np.random.default_rng(0)
        rows, features = 10_000, 512
        acts = np.zeros((rows, features), np.float32)
        for i in range(rows):
            acts[i, rng.choice(features, 16, replace=False)] = rng.random(16) + 0.1
        words = np.array([rng.bytes(6).hex() for _ in range(3000)])
        texts = [" ".join(rng.choice(words, 150)) for _ in range(rows)]
        run = tmp_path / "run"
        write_codes(run / "codes" / "default", acts, texts=texts)
        from nanosae.analysis.describe import describe

        save_features(run, describe(Codes.open(run), texts=False))
        return run

    def test_texts_become_fewer_and_shorter_until_they_fit(self, large, monkeypatch):
        sizes = []
        for limit in (module.TEXT_BYTES, 2_000_000, 400_000):
            monkeypatch.setattr(module, "TEXT_BYTES", limit)
            page = Page(report(large).read_text("utf-8"))
            cards, texts = page.cards()
            assert len(cards) == 512
            sizes.append(sum(map(len, texts.values())))
            assert max(map(len, texts.values())) <= 502
        assert sizes[0] > 2_500_000
        assert sizes[1] <= 2_000_000
        assert sizes[2] <= 400_000

    def test_the_weakest_cards_go_last(self, large, monkeypatch):
        monkeypatch.setattr(module, "CARD_BYTES", 200_000)
        page = Page(report(large).read_text("utf-8"))
        packed = sum(len(v) for k, v in page.blocks.items() if k.startswith("cards-"))
        assert packed < 200_000 + max(len(page.blocks["cards-0"]), 1)
        cards, _ = page.cards()
        assert list(cards) == page.blocks["features"]["feature"][: len(cards)]
        assert 0 < len(cards) < 512

    def test_long_texts_are_cut_at_a_letter(self):
        assert module.cut("é" * 10, 5) == "éé …"
        assert module.cut("short", 5) == "short"


def test_the_page_s_files_are_in_the_package():
    from importlib.resources import files

    names = {path.name for path in (files("nanosae.view") / "static").iterdir()}
    assert {"base.css", "nano.js", "report.html", "report.js", "live.js", "training.js"} <= names
