"""The style of figures and pages: colours, a light and a dark theme, and plotly templates.

The series colours work in both themes: their contrast against either background is at least 3 : 1,
and any two remain distinguishable for readers with deutan, protan or tritan vision (both are
tested). Figures never encode anything by colour alone: lines have names, clusters have labels.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import plotly.graph_objects as go

COLORS = ["#0077bb", "#dd6600", "#8040ff", "#995555", "#bb7799", "#8877ff", "#cc7755"]
MUTED = "#808590"  # unclustered points, reference lines
FONT = (
    "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
)
LIGHT = {
    "background": "#ffffff",
    "panel": "#f6f7f9",
    "text": "#1a2027",
    "grid": "#dfe3e8",
}
DARK = {
    "background": "#1a2027",
    "panel": "#232c36",
    "text": "#e6eaef",
    "grid": "#2e3742",
}
SEQUENTIAL = {
    False: ["#f6f7f9", "#b8d4ea", "#5ea3d3", "#0077bb", "#004a7c", "#00233f"],
    True: ["#232c36", "#123a58", "#0b5c91", "#2b8fd0", "#83c0ea", "#e3f2fd"],
}


LAYOUT = {  # common to both themes
    "colorway": COLORS,
    "coloraxis": {
        "colorbar": {"thickness": 12, "outlinewidth": 0, "tickfont": {"size": 11}}
    },
    "title": {"x": 0, "xanchor": "left", "pad": {"l": 12}, "font": {"size": 17}},
    "legend": {
        "orientation": "h",
        "x": 0,
        "y": -0.12,
        "yanchor": "top",
        "title": {"text": ""},
    },
    "margin": {"l": 60, "r": 24, "t": 64, "b": 56},
    "hovermode": "closest",
}


@functools.cache
def template(dark: bool = False) -> go.layout.Template:
    """Return the plotly template of the light or the dark theme."""
    import plotly.graph_objects as go

    theme = DARK if dark else LIGHT
    scale = SEQUENTIAL[dark]
    axis = {
        "gridcolor": theme["grid"],
        "linecolor": theme["grid"],
        "zerolinecolor": theme["grid"],
        "ticks": "",
        "title": {"font": {"size": 12}, "standoff": 8},
        "tickfont": {"size": 11},
        "automargin": True,
    }
    layout = LAYOUT | {
        "colorscale": {"sequential": scale, "sequentialminus": scale[::-1]},
        "paper_bgcolor": theme["background"],
        "plot_bgcolor": theme["background"],
        "font": {"family": FONT, "size": 13, "color": theme["text"]},
        "xaxis": axis,
        "yaxis": axis,
        "hoverlabel": {
            "bgcolor": theme["panel"],
            "font": {"color": theme["text"], "size": 12},
            "align": "left",
            "bordercolor": theme["grid"],
        },
        "annotationdefaults": {
            "arrowcolor": MUTED,
            "bgcolor": theme["background"] + "bf",
        },
    }
    return go.layout.Template(layout=layout)
