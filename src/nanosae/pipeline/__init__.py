"""From texts to findings in one command."""
