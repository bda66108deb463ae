"""SAETrainer under scikit-learn's own estimator checks, and in its tools."""

import numpy as np
import pytest
import sklearn
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from nanosae import SAETrainer, TrainConfig
from nanosae.errors import ConfigError

EXPECTED = {
    "check_do_not_raise_errors_in_init_or_set_params": "a keyword that is no setting is refused",
    "check_n_features_in_after_fitting": "the error names both widths, but not in these words",
}


def estimator():
    # of its rule no entry lies within rounding of a threshold, where batches may differ
    return SAETrainer(TrainConfig(hidden_size=8, k=2, steps=4, activation="topk"))


def of_every_check(test):
    """Run a test for each of scikit-learn's checks, where these have names of their own."""
    version = tuple(map(int, sklearn.__version__.split(".")[:2]))
    if version < (1, 9):
        return pytest.mark.skip("names of checks repeat, which pytest refuses")(test)
    checks = parametrize_with_checks(
        [estimator()], expected_failed_checks=lambda e: EXPECTED
    )
    return checks(test)


# scikit-learn announces with this warning that it skips a check that needs another package
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@of_every_check
def test_scikit_learn_s_estimator_checks(estimator, check):
    check(estimator)


def test_it_works_in_a_pipeline_and_names_its_features():
    x = np.random.default_rng(0).normal(size=(60, 5))
    pipeline = make_pipeline(StandardScaler(), estimator())
    pipeline.set_params(saetrainer__config__k=3)
    assert pipeline.fit(x).transform(x).shape == (60, 8)
    assert pipeline[-1].config.k == 3
    assert pipeline.get_feature_names_out().tolist() == [
        f"feature{i}" for i in range(8)
    ]


def test_a_clone_has_the_same_settings_and_no_model():
    trainer = estimator().fit(np.random.default_rng(0).normal(size=(60, 5)))
    copy = clone(trainer)
    assert copy.config == trainer.config
    assert not hasattr(copy, "model_")


@pytest.mark.parametrize("name", ["config__k", "k"])
@pytest.mark.parametrize("trainer", [estimator(), SAETrainer()], ids=["config", "none"])
def test_a_grid_searches_a_setting_by_either_name(name, trainer):
    x = np.random.default_rng(0).normal(size=(90, 5))
    trainer = clone(trainer).set_params(hidden_size=8, steps=4)
    before = trainer.config.k
    search = GridSearchCV(trainer, {name: [1, 4]}, cv=2).fit(x)
    assert search.best_params_ == {name: 4}
    assert search.best_estimator_.config.k == 4
    assert search.best_estimator_.model_.features(x).nnz > 2 * len(x)
    assert trainer.config.k == before
    with pytest.raises(ValueError, match="Invalid parameter 'kk'"):
        trainer.set_params(kk=3)


def test_settings_may_be_given_as_keywords():
    trainer = SAETrainer(k=2, hidden_size=8, steps=4)
    assert trainer.config == TrainConfig(k=2, hidden_size=8, steps=4)
    changed = SAETrainer(trainer.config, k=3)
    assert (changed.config.k, changed.config.hidden_size) == (3, 8)
    assert clone(changed).get_params()["config__k"] == 3
    with pytest.raises(TypeError, match="no_such_setting"):
        SAETrainer(no_such_setting=1)


def test_score_and_inverse_transform_against_plain_arithmetic(monkeypatch):
    monkeypatch.setattr("nanosae.model.measures.BLOCK_ROWS", 64)  # several blocks
    x = np.random.default_rng(0).normal(size=(300, 5)).astype(np.float32)
    trainer = SAETrainer(k=2, hidden_size=8, steps=30).fit(x)
    acts = trainer.transform(x)
    decoder = trainer.model_.W_dec.detach().numpy().astype(np.float64)
    recon = acts.toarray() @ decoder + trainer.model_.b_dec.detach().numpy()
    np.testing.assert_allclose(trainer.inverse_transform(acts), recon, atol=1e-5)
    dense = trainer.inverse_transform(acts.toarray())
    np.testing.assert_allclose(dense, recon, atol=1e-5)
    unexplained = ((x - recon) ** 2).sum() / ((x - x.mean(axis=0)) ** 2).sum()
    assert trainer.score(x) == pytest.approx(1 - unexplained, abs=1e-5)
    assert 0 < trainer.score(x) < 1
    for dtype in (torch.float64, torch.float16, torch.bfloat16):
        trainer.model_.to(dtype)
        assert trainer.score(x) == pytest.approx(1 - unexplained, abs=0.02)
    with pytest.raises(ValueError, match=r"needed: \(n_rows, 8\)"):
        trainer.inverse_transform(np.ones((2, 5)))


def test_frames_are_refused_with_what_to_do():
    assert estimator().set_output(transform="default") is not None
    with pytest.raises(ValueError, match=r"pandas output .*csr_array"):
        estimator().set_output(transform="pandas")


def test_features_stay_sparse_where_frames_are_asked_for_globally():
    x = np.random.default_rng(0).normal(size=(200, 5))
    expected = make_pipeline(StandardScaler(), estimator()).fit_transform(x)
    with sklearn.config_context(transform_output="pandas"):
        features = make_pipeline(StandardScaler(), estimator()).fit_transform(x)
        again = estimator().set_output(transform="default").fit(x).transform(x)
    assert (features != expected).nnz == 0
    assert again.shape == (200, 8)


def test_settings_of_the_default_config_may_be_set_and_searched():
    trainer = SAETrainer().set_params(config__k=3)
    assert trainer.config == TrainConfig(k=3)
    assert clone(SAETrainer()).config is None


def test_names_are_asked_for_after_fitting():
    with pytest.raises(NotFittedError):
        estimator().get_feature_names_out()


def test_a_transcoder_has_no_score_on_its_rows():
    x = np.random.default_rng(0).normal(size=(200, 5)).astype(np.float32)
    trainer = SAETrainer(k=2, hidden_size=8, steps=5)
    trainer.model_ = trainer.train(x, x[:, :3], progress=False)
    with pytest.raises(ConfigError, match="a transcoder predicts targets"):
        trainer.score(x)
