"""Comparisons: of groups, over time, with an outcome; and their findings in plain words."""
