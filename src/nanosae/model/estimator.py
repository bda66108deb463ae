"""The scikit-learn interface of a fitted model: everything except `fit`."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from nanosae.errors import ConfigError
from nanosae.model.measures import explained_variance
from nanosae.model.sae import SAEModel


class FeatureTransformer(TransformerMixin, BaseEstimator, auto_wrap_output_keys=None):
    """Transform rows into feature activations and back; `fit` of a subclass sets `model_`.

    Activations stay sparse where `sklearn.set_config` asks for DataFrames.
    """

    model_: SAEModel

    def transform(self, X: Any) -> Any:
        """Return the feature activations of X as a csr_array (n_rows, hidden_size)."""
        check_is_fitted(self, "model_")
        return self.model_.features(X)

    def inverse_transform(self, X: Any) -> np.ndarray:
        """Reconstruct rows, (n_rows, input_size), from feature activations X."""
        check_is_fitted(self, "model_")
        return self.model_.reconstruct(X)

    def score(self, X: Any, y: Any = None) -> float:
        """Return the share of X's variance that the reconstruction explains, 1 − FVU."""
        check_is_fitted(self, "model_")
        return explained_variance(self.model_, X)

    def set_output(  # pyright: ignore[reportIncompatibleVariableOverride]
        self, *, transform: str | None = None
    ) -> FeatureTransformer:
        """Accept "default" only: features are sparse, and a DataFrame of them would be huge.

        Raises:
            ConfigError: If `transform` is anything but "default" or None.
        """
        if transform in (None, "default"):
            return self
        raise ConfigError(
            f"{transform} output cannot hold sparse features.",
            remedy="`transform` returns a csr_array, Codes.to_frame a table of the active pairs.",
        )

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return feature0, feature1 and so on."""
        check_is_fitted(self, "model_")
        n_features = self.model_.cfg["d_sae"]
        names = [f"feature{number}" for number in range(n_features)]
        return np.array(names, dtype=object)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = []  # activations are float32
        return tags
