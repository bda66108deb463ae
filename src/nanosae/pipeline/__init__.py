"""From texts to findings in one call."""
