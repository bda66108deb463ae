"""Colours as eyes see them."""

import numpy as np

from nanosae.view import style


def test_colours_stay_apart_for_every_eye_and_from_both_backgrounds():
    assert apart(style.COLORS) > 14
    # matplotlib's: red, green
    assert apart(["#1f77b4", "#ff7f0e", "#2ca02c", "#d62728"]) < 8
    for theme in (style.LIGHT, style.DARK):
        ratios = [contrast_ratio(c, theme["background"]) for c in style.COLORS]
        assert min(ratios) > 2.95
        assert contrast_ratio(theme["text"], theme["background"]) > 12
        assert contrast_ratio(style.MUTED, theme["background"]) > 3


def linear(color):
    c = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def contrast_ratio(a, b):
    """WCAG 2: (L1 + 0.05) / (L2 + 0.05)."""
    low, high = sorted(
        float(linear(c) @ [0.2126, 0.7152, 0.0722]) + 0.05 for c in (a, b)
    )
    return high / low


SEEN = [  # normal, protan, deutan, tritan: Machado, Oliveira and Fernandes 2009, severity 1
    np.eye(3),
    [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
]


XYZ = [[0.4125, 0.3576, 0.1804], [0.2127, 0.7152, 0.0722], [0.0193, 0.1192, 0.9503]]


def apart(colors):
    """Smallest distance in CIELAB (ΔE 1976) of any two colours, as any of four eyes sees them."""
    least = np.inf
    for matrix in SEEN:
        seen = np.clip([np.array(matrix) @ linear(c) for c in colors], 0, 1)
        t = seen @ np.array(XYZ).T / [0.9505, 1, 1.0888]
        f = np.where(t > 0.008856, np.cbrt(t), 7.787 * t + 16 / 116)
        lab = np.c_[
            116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])
        ]
        gaps = np.linalg.norm(lab[:, None] - lab, axis=-1) + 1e3 * np.eye(len(lab))
        least = min(least, gaps.min())
    return least
