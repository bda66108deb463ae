"""Semantic analysis of saved codes; imports no torch."""
