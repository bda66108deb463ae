"""Figures of training, features and corpora."""
