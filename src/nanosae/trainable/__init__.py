"""The SAE as training sees it: parameters on normalised rows, kept pairs, losses, export.

No loop, no counters and no files: those are `train`'s and `runs`'.
"""
