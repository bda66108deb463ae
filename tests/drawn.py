"""What several tests of figures share."""

import numpy as np

from nanosae import plot
from nanosae.analysis.comparisons.contrast import contrast
from nanosae.analysis.comparisons.explain import explain
from nanosae.model.weights import Weights

HOSTILE = '<img src=x onerror="alert(1)"> <b>b</b> %{x} &amp; שלום 👩‍👧'


def dense(codes):
    return codes.rows(0, codes.n_rows).toarray()


def every_figure(run, codes, trend):
    yield plot.training(run)
    yield plot.weights(run)
    yield plot.weights(Weights.load(run))
    yield plot.density(run)
    yield plot.activations(codes)
    yield plot.activations(run, int(codes.counts.argmax()))
    yield plot.l0(run)
    yield plot.frontier([run])
    yield plot.frontier({"a": run}, "probe_f1@2")
    yield plot.probing(run)
    yield plot.cooccurrence(run, n=20)
    yield plot.family_tree(run)
    yield plot.contrast(contrast(codes, "noun.plant", by="kind"))
    yield plot.contrast(explain(codes, "kind"))
    yield plot.contrast(trend)
    yield plot.over_time(trend)
    yield plot.over_time(run, "year")
    yield plot.dictionary(run)
    yield plot.texts(run)


def strings(value):
    """Every text inside nested dictionaries, lists and arrays."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from strings(part)
    elif isinstance(value, list | tuple | np.ndarray):
        for part in value:
            yield from strings(part)
