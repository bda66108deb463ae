"""Names of features from the corpus' own words, and how well they find their texts."""
