"""The SAE during training: parameters on normalised rows, kept pairs, losses, export.

The loop and its counters are in `train`, the files in `runs`.
"""
