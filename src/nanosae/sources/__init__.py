"""Rows of vectors, and the columns that come with them, out of anything."""
