"""Embedding and tokenising texts, and activations of language models."""
