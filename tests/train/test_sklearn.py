"""SAETrainer under scikit-learn's own estimator checks, and in its tools."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from nanosae import SAETrainer, TrainConfig

EXPECTED = {
    "check_n_features_in_after_fitting": "the error names both widths, but not in these words",
}


def estimator():
    return SAETrainer(TrainConfig(hidden_size=8, k=2, steps=4))


# scikit-learn announces with this warning that it skips a check that needs another package
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks([estimator()], expected_failed_checks=lambda e: EXPECTED)
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
