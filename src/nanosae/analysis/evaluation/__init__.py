"""How good a dictionary is, beside what needs no training."""
