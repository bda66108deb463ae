"""Mistakes found in other tools, each with the test that keeps it out of this one.

`COVERED` names a test for every mistake that code like ours could make; those that had none are
tested below. Sources are the released code of HypotheSAEs 2.0.1, saerch (O'Neill et al. 2024),
latent-scope, latent-sae, nanoSAE (gwenlake), SAE-TM.
"""

import ast
import re
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from nanosae.analysis.cards import card
from nanosae.analysis.comparisons.explain import explain
from nanosae.analysis.describe import describe
from nanosae.analysis.groups.families import families
from nanosae.analysis.groups.topics import topics
from nanosae.analysis.matching import match, stability
from nanosae.analysis.search.search import search
from nanosae.codes import Codes, write_codes
from nanosae.config import TrainConfig
from nanosae.model.sae import SAEModel
from nanosae.train.trainer import SAETrainer

COVERED = {
    "the strongest rows of a rare feature are padded with silent ones (mask ≥ 0)": [
        "test_contrast::test_a_rare_perfect_feature_is_found_where_padded_top_rows_miss_it",
        "test_peer_mistakes::test_no_list_of_rows_is_padded",
    ],
    "a cache key without model, prompt or the middle of the text": [
        "test_chat::test_whatever_changes_the_answer_is_asked_anew",
        "test_chat::test_texts_that_differ_in_the_middle_are_different_questions",
    ],
    "a cache that is rewritten whole, so that a crash loses what was paid for": [
        "test_chat::test_a_server_that_dies_leaves_what_was_answered",
        "test_chat::test_after_a_kill_no_paid_call_is_repeated",
    ],
    "activations as a dense matrix of rows × features": [
        "test_peer_mistakes::test_a_corpus_whose_dense_matrix_would_not_fit_is_no_trouble",
    ],
    "another model's checkpoint or codes are taken without a word": [
        "test_peer_mistakes::test_codes_of_another_model_are_refused",
        "test_trainer::test_an_existing_run_is_neither_overwritten_nor_mixed_up",
    ],
    "features are selected and reported on the same rows": [
        "test_contrast::test_selection_and_report_on_the_same_rows_would_be_caught",
        "test_evaluate::test_noise_scores_no_better_than_chance_which_choosing_on_test_rows_would_not",
        "test_labels::test_held_out_texts_decide_the_score_and_not_the_name",
        "test_labels::test_shown_texts_are_the_strongest_and_judged_ones_are_unseen",
    ],
    "near-copies on both sides of a split": [
        "test_splits::test_no_near_copy_is_on_the_other_side",
        "test_contrast::test_copies_are_no_evidence",
    ],
    "targets of more than two classes are refused": [
        "test_explain::test_classes_each_against_the_rest",
    ],
    "features() returns one number, and a feature is read as all columns before it": [
        "test_reader::test_rows_and_features_are_those_written",
        "test_model::test_sparse_features_dense_encode_and_numpy_weights_agree",
    ],
    "loading a model runs what its file says (pickle)": [
        "test_model::test_a_pickle_without_the_class_known_is_refused",
    ],
    "a shuffled throw-away copy: the same first silent texts for every feature": [
        "test_labels::test_each_feature_gets_other_silent_texts",
        "test_describe::test_negatives_differ_between_features_and_seeds",
    ],
    "scores that rest on six texts": [
        "test_labels::test_defaults_are_enough_texts_to_decide_on",
        "test_scoring::test_a_perfect_ranking_of_few_texts_is_not_certain",
    ],
    "constant predictions make the correlation undefined": [
        "test_labels::test_a_model_that_guesses_is_found_out",
    ],
    "the printed activation is another text's": [
        "test_labels::test_the_activations_printed_are_those_of_their_texts",
        "test_cards::test_a_card_holds_the_examples_with_their_activations",
    ],
    "active texts among the silent ones": [
        "test_labels::test_shown_texts_are_the_strongest_and_judged_ones_are_unseen",
        "test_inactive::test_hard_inactive_rows_are_the_nearest_by_brute_force",
        "test_describe::test_hard_negatives_are_the_silent_rows_nearest_to_the_top_rows",
    ],
    "a click on a feature reads every row": [
        "test_peer_mistakes::test_a_feature_is_read_without_the_rows_and_a_row_without_the_features",
    ],
    "a row's features in no order": [
        "test_peer_mistakes::test_features_of_a_row_ascend"
    ],
    "family edges depend on the order of features": [
        "test_families::test_renumbering_features_changes_nothing",
        "test_families::test_label_order_dependent_weights_are_rejected",
    ],
    "names and numbers are sorted apart": [
        "test_peer_mistakes::test_names_follow_their_numbers_whatever_the_order_of_the_table",
    ],
    "the block ratio leaves out the first block": [
        "test_families::test_a_block_ratio_without_the_first_block_is_rejected",
    ],
    "of two equal overlapping families both are dropped": [
        "test_families::test_of_two_equal_overlapping_families_exactly_one_stays",
    ],
    "an argument is changed in place": [
        "test_peer_mistakes::test_no_argument_is_changed"
    ],
    "labels of neighbours off by one behind the feature itself": [
        "test_describe::test_names_of_neighbours_are_not_shifted_by_leaving_out_the_feature",
    ],
    "a missing label ends the program": [
        "test_cards::test_labels_are_optional",
        "test_peer_mistakes::test_features_without_a_name_are_no_trouble",
    ],
    "edits above 1 are cut off": [
        "test_peer_mistakes::test_an_edit_may_be_of_any_strength"
    ],
    "a descent that diverges is kept": [
        "test_steering::test_descent_without_a_guard_can_diverge",
        "test_steering::test_the_best_vector_is_kept_for_every_architecture",
    ],
    "similarities that flatter: many features with one partner": [
        "test_matching::test_stability_is_one_to_one",
    ],
    "rows without an embedding (all zero) count as copies of each other": [
        "test_peer_mistakes::test_zero_rows_are_no_copies_and_no_trouble",
    ],
    "a score without a baseline": [
        "test_evaluate::test_baselines_stand_beside_it_and_are_worse",
        "test_evaluate::test_a_dictionary_with_wrong_features_is_told_apart",
    ],
    "monosemanticity measured in the dictionary's own space": [
        "test_monosemanticity::test_planted_topics_are_monosemantic_and_shuffled_ones_are_not",
    ],
    "a bare except hides a mistake": ["test_peer_mistakes::test_no_error_is_swallowed"],
    "dead units are counted in elements, fired with the value 0, masked without a ReLU": [
        "test_objectives::test_auxk_reaches_encoder_and_decoder_of_dead_features_and_nothing_else",
        "test_measures::test_l0_density_and_quantiles_by_hand",
    ],
    "a batch's own mean in the denominator; errors of training rows as a result": [
        "test_measures::test_fvu_passes_the_five_checks",
        "test_trainer::test_the_last_metrics_are_those_of_the_exported_model_on_raw_rows",
    ],
    "the sparsity loss is taken of the reconstruction": [
        "test_objectives::test_losses_and_gradients_equal_the_dense_formulas",
    ],
}


@pytest.mark.parametrize(
    "name", sorted({name for names in COVERED.values() for name in names})
)
def test_every_named_test_exists(name):
    module, function = name.split("::")
    texts = [
        path.read_text("utf-8") for path in Path(__file__).parent.rglob(f"{module}.py")
    ]
    assert any(re.search(rf"^def {function}\(", text, re.MULTILINE) for text in texts)


@pytest.fixture
def dense():
    rng = np.random.default_rng(0)
    return (rng.random((300, 24)) < 0.2) * rng.gamma(2, 1, (300, 24)).astype(np.float32)


@pytest.fixture
def codes(tmp_path, dense):
    model = SAEModel.load(_trained(tmp_path / "run"))
    path = tmp_path / "run" / "codes" / "c"
    rows = np.random.default_rng(1).normal(size=(300, 8)).astype(np.float32)
    return model.encode_corpus(
        rows,
        path,
        metadata=[f"text {chr(97 + i % 26) * (1 + i // 26)}" for i in range(300)],
    )


def _trained(run, seed=0):
    rows = np.random.default_rng(0).normal(size=(400, 8)).astype(np.float32)
    config = TrainConfig(hidden_size=24, k=4, steps=5, batch_size=64, seed=seed)
    SAETrainer(config, run=run).train(rows)
    return run


def test_no_list_of_rows_is_padded(tmp_path):
    active = np.zeros((50, 3))
    active[[7, 20], 0] = [0.5, 2.0]
    active[:, 2] = 1
    codes = write_codes(
        tmp_path / "c", sp.csr_array(active), vectors=np.eye(50, 8) + 0.1
    )
    assert codes.top(0, 100)[0].tolist() == [20, 7]
    assert codes.top(1, 100)[0].tolist() == []
    line = describe(codes).iloc[0]
    assert line["top_rows"].tolist() == [20, 7]
    assert set(line["quantile_rows"]) == {20, 7}
    assert [hit.row for hit in search(codes, feature=0, n=100).hits] == [20, 7]


@pytest.mark.slow
def test_a_corpus_whose_dense_matrix_would_not_fit_is_no_trouble(tmp_path):
    n, width = 100_000, 200_000  # 80 GB as float32
    rng = np.random.default_rng(0)
    cols = np.sort(rng.integers(0, width, (n, 3)), axis=1).ravel()
    acts = sp.csr_array(
        (rng.random(3 * n, dtype=np.float32) + 0.1, cols, np.arange(n + 1) * 3)
    )
    acts.resize((n, width))
    codes = write_codes(tmp_path / "c", acts)
    few = np.argsort(-codes.counts)[:20]
    assert len(describe(codes, features=few)) == 20
    assert search(codes, feature={int(few[0]): 1.0, int(few[1]): 1.0}).hits
    parity = np.arange(n) % 2
    assert explain(codes, parity, covariates=()).about["n_rows"] == n


def test_codes_of_another_model_are_refused(tmp_path, codes):
    assert codes.weights().hidden_size == 24
    other = SAEModel.load(_trained(tmp_path / "other", seed=1))
    other.save(codes.run / "model")
    with pytest.raises(
        ValueError, match=r"was encoded by model \w+, but .+model is \w+"
    ):
        codes.weights()
    with pytest.raises(ValueError, match="Encode the corpus again"):
        describe(codes)
    rows = np.ones((5, 8), np.float32)
    with pytest.raises(ValueError, match="encoded by another model"):
        other.encode_corpus(rows, codes.path, metadata=["a"] * 5, append=True)


def test_a_feature_is_read_without_the_rows_and_a_row_without_the_features(
    tmp_path, dense
):
    path = write_codes(tmp_path / "c", sp.csr_array(dense)).path
    for kept, gone in (("feature", "row"), ("row", "feature")):
        for file in path.glob(f"*/{gone}_*.npy"):
            file.rename(file.with_suffix(".away"))
        codes = Codes.open(path)
        if kept == "feature":
            assert codes.top(3, 5)[0].tolist() == np.argsort(-dense[:, 3])[:5].tolist()
        else:
            assert codes.row(9)[0].tolist() == np.flatnonzero(dense[9]).tolist()
        with pytest.raises(ValueError, match="cannot be read"):
            codes.row(9) if kept == "feature" else codes.top(3, 5)
        for file in path.glob("*/*.away"):
            file.rename(file.with_suffix(".npy"))


def test_features_of_a_row_ascend(tmp_path):
    shuffled = sp.csr_array(
        (np.array([1.0, 2, 3]), np.array([4, 0, 2]), np.array([0, 3]))
    )
    codes = write_codes(tmp_path / "c", shuffled)
    assert codes.row(0)[0].tolist() == [0, 2, 4]
    assert codes.row(0)[1].tolist() == [2, 3, 1]


def test_names_follow_their_numbers_whatever_the_order_of_the_table(tmp_path):
    import pandas as pd

    rng = np.random.default_rng(0)
    active = np.zeros((600, 8))
    for i in range(600):
        half = 4 * (i % 2)
        active[i, half] = 1
        active[i, half + rng.integers(1, 4)] = 1
    codes = write_codes(tmp_path / "c", sp.csr_array(active))
    names = ["a x", "a b", "a c", "a d", "e y", "e f", "e g", "e h"]
    labels = pd.DataFrame({"feature": range(8), "label": names})
    options = {"min_children": 3}
    found = families(codes, labels, **options).table
    mixed = families(codes, labels.sample(frac=1, random_state=3), **options).table
    assert found["label"].tolist() == mixed["label"].tolist()
    for members, label in zip(found["members"], found["label"], strict=True):
        assert label == ("a" if set(members) == {0, 1, 2, 3} else "e")


def test_no_argument_is_changed(codes):
    W = codes.weights()
    a, b = W.directions(), W.directions()[::-1].copy()
    kept = a.copy(), b.copy()
    match(a, b)
    stability(a, [b])
    topics(codes, 2, directions=a)
    families(codes, directions=a, prefixes=[8, 24])
    y = np.array(["u", "v"] * 150, dtype=object)
    explain(codes, y)
    assert np.array_equal(a, kept[0])
    assert np.array_equal(b, kept[1])
    assert y.tolist() == ["u", "v"] * 150
    codes.verify()  # nor is what is mapped


def test_features_without_a_name_are_no_trouble(codes):
    assert "no label" in str(card(codes, 3))
    assert str(search(codes, row=0))
    assert families(codes).table is not None
    assert topics(codes, 3).table["Name"].str.len().min() > 0


def test_an_edit_may_be_of_any_strength(codes):
    j = int(codes.row(0)[0][0])
    found = search(codes, row=0, edit={j: 50.0})
    assert {f: act for f, _, act in found.features}[j] == 50.0
    assert found.vector is not None
    W = codes.weights()
    expected = codes.vectors([0])[0] + (50.0 - codes.row(0)[1][0]) * W.W_dec[j]
    np.testing.assert_allclose(found.vector, expected, rtol=1e-4, atol=1e-4)


def test_zero_rows_are_no_copies_and_no_trouble(tmp_path):
    from nanosae.analysis.splits import duplicate_groups

    rng = np.random.default_rng(0)
    rows = rng.normal(size=(40, 8)).astype(np.float32)
    rows[:10] = 0  # what a failed call leaves
    active = sp.csr_array((rng.random((40, 5)) < 0.4).astype(np.float32))
    codes = write_codes(tmp_path / "c", active, vectors=rows)
    assert len(set(duplicate_groups(codes))) == 40
    assert np.isfinite([hit.score for hit in search(codes, rows[20]).hits]).all()
    assert len(describe(codes)) == 5


@pytest.mark.slow
def test_no_error_is_swallowed():
    for path in (Path(__file__).parents[1] / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ExceptHandler):
                broad = node.type is None or getattr(node.type, "id", "") in (
                    "Exception",
                    "BaseException",
                )
                inside = list(ast.walk(node))
                raises = any(isinstance(inner, ast.Raise) for inner in inside)
                calls = [inner.func for inner in inside if isinstance(inner, ast.Call)]
                # the server logs a defect and answers the page with it
                notes = any(getattr(call, "id", "") == "note_defect" for call in calls)
                assert not broad or raises or notes, f"{path.name}:{node.lineno}"
