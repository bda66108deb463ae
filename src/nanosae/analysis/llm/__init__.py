"""Names of features by a language model."""
