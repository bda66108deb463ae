"""Numbers in the pages are those that benchmarks wrote and that the code holds."""

import inspect
import json
from statistics import mean, stdev

import pytest

from nanosae import defaults, evaluate, label
from nanosae.analysis import describe as statistics_of_features
from nanosae.analysis import splits
from nanosae.analysis.comparisons import joint_model, overview
from nanosae.analysis.comparisons.repeated import MIN_COPIES
from nanosae.analysis.groups import topics
from nanosae.analysis.names import label_scorer, labels, scoring
from nanosae.config import TrainConfig
from nanosae.data import dataset
from nanosae.sources import rows
from nanosae.trainable import export, objectives
from pages import ROOT

RESULTS = ROOT / "bench" / "results"
SHOWN_PEERS = {
    "sparsify TopK": "sparsify-topk",
    "dictionary_learning TopK": "dictionary_learning-topk",
    "SAELens TopK": "saelens-topk",
    "HypotheSAEs TopK": "hypothesaes-topk",
}
LIBRARIES = (
    "nanosae",
    "nanosae, nested",
    "sparsify",
    "hypothesaes",
    "saelens",
    "dictionary_learning",
)
CORPORA = {"CLINC150": "clinc150", "Debian packages": "debian", "WordNet": "wordnet"}
TOPIC_METHODS = {
    "nanoSAE": "nanosae",
    "k-means on the embeddings": "k-means",
    "BERTopic with k-means": "BERTopic, k-means",
    "BERTopic, topics merged to 20": "BERTopic, HDBSCAN merged",
    "the same, outliers reduced": "BERTopic, HDBSCAN merged, outliers reduced",
}
TOPIC_CORPORA = (
    "clinc150",
    "debian",
    "stackoverflow",
    "wordnet",
    "banking77",
    "agnews",
)
TOPIC_RESULTS = ("topics-20261201T022947Z.json", "topics-20261201T024131Z.json")


def result(name):
    return json.loads((RESULTS / name).read_text(encoding="utf-8"))


def table(page, header):
    """Return the rows below a table's header, as lists of cells."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    _, found, below = text.partition(header)
    assert found, header
    lines = below.partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_table_of_topics_is_that_of_the_benchmark():
    measured = [one for name in TOPIC_RESULTS for one in result(name)["results"]]
    shown = table("comparison.md", "| NMI | CLINC150 domain |")
    assert [method for method, *_ in shown] == list(TOPIC_METHODS)
    for method, *cells in shown:
        for corpus, cell in zip(TOPIC_CORPORA, cells, strict=True):
            nmi = [
                one["nmi"]
                for one in measured
                if one["method"] == TOPIC_METHODS[method] and one["corpus"] == corpus
            ]
            assert len(nmi) == 3
            assert cell == f"{mean(nmi):.3f} ± {stdev(nmi):.3f}", (method, corpus)


def test_the_table_of_sizes_is_that_of_the_benchmark():
    measured = result("choosing-20261129T033201Z.json")["results"]
    shown = table("choosing.md", "| features | k | FVU |")
    assert len(shown) == len(measured) == 15
    for cells, one in zip(shown, measured, strict=True):
        assert [cells[0].replace(",", ""), cells[1]] == [
            str(one["hidden_size"]),
            str(one["k"]),
        ]
        assert float(cells[3].removesuffix(" %")) == pytest.approx(
            100 * one["dead"], abs=0.051
        )
        names = ("fvu", "best_feature_f1", "probe_f1@5", "label_auc")
        for cell, name in zip([cells[2], *cells[4:]], names, strict=True):
            assert float(cell) == pytest.approx(one[name], abs=0.00051), (cells, name)


def test_the_table_of_steps_is_that_of_the_benchmark():
    shown = {
        cells[0]: cells[1:]
        for cells in table("comparison.md", "| | 4,096 features | 10 % dead |")
    }
    for first, size in enumerate((4096, 16384)):
        measured = result(f"step-peers-{size}-20261129.json")
        peers = measured["peers"]
        of_size = {name: cells[2 * first :][:2] for name, cells in shown.items()}
        alone = [measured["ratio"], measured["ratio_dead10"]]
        assert_rounded(of_size["nanoSAE batchtopk, timed alone"], alone)
        beside = [peers["nanosae"]["ratio"], None]
        assert_rounded(of_size["nanoSAE batchtopk"], beside)
        for shown_name, name in SHOWN_PEERS.items():
            ratios = [peers[name]["ratio"], peers[f"{name}_dead10"]["ratio"]]
            assert_rounded(of_size[shown_name], ratios)


def assert_rounded(cells, ratios):
    expected = ["–" if ratio is None else f"{ratio:.1f}" for ratio in ratios]
    assert cells == expected


def test_the_table_of_errors_is_that_of_the_benchmark():
    measured = {}
    for path in sorted(RESULTS.glob("quality-*.json"), reverse=True):
        for one in result(path.name)["results"]:
            nested = ", nested" if one["activation"] == "nested" else ""
            # the first measurement
            measured[one["data"], one["library"] + nested] = one
    shown = table("comparison.md", "| corpus | nanoSAE, plain | nanoSAE, default |")
    for corpus, *cells in shown:
        for cell, library in zip(cells, LIBRARIES, strict=True):
            one = measured.get((CORPORA[corpus], library))
            if one is None:
                assert cell == "–"
                continue
            fvu, dead = cell.removesuffix(" %)").split(" (")
            assert float(fvu) == pytest.approx(one["fvu"], abs=0.00051)
            assert float(dead) == pytest.approx(100 * one["dead"], abs=0.51)


def default(function, parameter):
    return inspect.signature(function).parameters[parameter].default


@pytest.mark.parametrize(
    ("page", "words", "number"),
    [
        (
            "scale.md",
            "labels and the monosemanticity in `describe`: {:,} rows",
            labels.MOST_ROWS,
        ),
        (
            "scale.md",
            "`evaluate`: {:,} rows (`max_rows`)",
            default(evaluate, "max_rows"),
        ),
        ("scale.md", "{:,} rows for all targets together", joint_model.MAX_ROWS),
        ("scale.md", "but at least {:,} for each", joint_model.MIN_ROWS),
        ("scale.md", "topics: {:,} rows are smoothed", topics.SAMPLE_ROWS),
        ("scale.md", "the tree is built on {:,} of these", topics.TREE_ROWS),
        (
            "scale.md",
            "what the texts are about as a whole: {:,} rows",
            overview.SAMPLE_ROWS,
        ),
        ("scale.md", "Above {:,} rows, near-duplicates", splits.EXACT_ROWS),
        ("scale.md", "otherwise a sample of {:,} rows", dataset.SAMPLED_ROWS),
        ("scale.md", "or of {} from Parquet", 3 * rows.SAMPLE_ROWS),
        ("metrics.md", "It uses at most {:,} rows", default(evaluate, "max_rows")),
        ("metrics.md", "Above {:,} rows, most but not all", splits.EXACT_ROWS),
        ("metrics.md", "Of more than {:,} held-out texts", label_scorer.SCORED),
        ("metrics.md", "and on up to {} of a feature's", label_scorer.LEAST_ACTIVE),
        ("metrics.md", "none of up to {:,} training rows", export.SAMPLE_ROWS),
        ("metrics.md", "does not lie above {}, the usual bound", scoring.SURE_AUC),
        ("metrics.md", "and their F1 is below {}.", scoring.SURE_F1),
        ("metrics.md", "texts that at least {} rows repeat", MIN_COPIES),
        ("metrics.md", "a cosine above {}, and above the value", splits.MIN_COSINE),
        ("recipes.md", "with $c = {:.0f}$", objectives.L1_UNIT),
        ("recipes.md", "linear warm-up over {:.0%} of the steps", TrainConfig.warmup),
        ("recipes.md", "over the last {:.0%}", TrainConfig.decay),
    ],
)
def test_a_number_of_the_code_is_the_one_in_the_page(page, words, number):
    text = " ".join((ROOT / "docs" / page).read_text(encoding="utf-8").split())
    assert words.format(number).replace("%", " %") in text


def test_the_numbers_in_words_are_those_of_the_code():
    assert labels.MOST_ROWS == statistics_of_features.MOST_TEXTS  # named together
    assert default(label, "min_texts") == 5  # metrics.md: fewer than five texts
    assert default(label, "heldout_share") == 1 / 3  # metrics.md: the other third
    assert labels.TOP_ROWS == 10  # metrics.md: of the ten texts
    assert scoring.SURE_SHARE == 1 / 5  # metrics.md: fewer than a fifth of the ten
    assert defaults.noise(14_999) > defaults.noise(15_000) == 0  # recipes.md
