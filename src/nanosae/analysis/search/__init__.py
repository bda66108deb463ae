"""Search by meaning, words and features, and steering by features."""
