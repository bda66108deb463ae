"""Rows prepared for training."""
