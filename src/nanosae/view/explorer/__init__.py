"""A run on a local page."""
