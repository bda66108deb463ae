"""Texts to rows and to words."""
