"""Screened selection for tests: at any size, and on machines without 8-bit dot products, too."""

import torch

SELECTION = "nanosae.kernels.cpu.selection"
SCREENING = "nanosae.kernels.cpu.screening"
SMALLEST = ("MIN_TERMS", "MIN_WEIGHTS", "LATENTS_PER_KEPT")


def force_screening(monkeypatch, screens=True):
    """Screen every selection on a CPU, however small it is; or none."""
    monkeypatch.setattr(f"{SELECTION}.selects_by_screening", lambda: screens)
    if screens:
        monkeypatch.setattr(torch, "_int_mm", exact_product)
        monkeypatch.setattr(f"{SCREENING}.LARGEST_ERROR", float("inf"))
        for name in SMALLEST:
            monkeypatch.setattr(f"{SELECTION}.{name}", 0)


def exact_product(codes, other, *, out):
    """Multiply integers exactly on any machine."""
    return out.copy_((codes.double() @ other.double()).to(torch.int32))
