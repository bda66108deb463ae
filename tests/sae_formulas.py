"""What each library computes, in float64 and as its documentation writes it."""

import numpy as np

D, F, K = 5, 8, 3


def parameters(seed=0):
    """Draw weights that no symmetry hides: no unit rows, no zero biases, F ≠ d."""
    rng = np.random.default_rng(seed)
    shapes = {
        "encoder": (D, F),
        "decoder": (F, D),
        "encoder_bias": (F,),
        "decoder_bias": (D,),
        "gate_bias": (F,),
        "log_gain": (F,),
    }
    drawn = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    drawn["threshold"] = rng.uniform(0.1, 0.6, F)
    return {name: array.astype(np.float32) for name, array in drawn.items()}


def rows(n=40, seed=1):
    return np.random.default_rng(seed).normal(size=(n, D)).astype(np.float32)


def standardised(x):
    """Return rows of mean 0 and deviation 1, and the means and deviations that they had."""
    x = x.astype(np.float64)
    mean = x.mean(axis=1, keepdims=True)
    deviation = x.std(axis=1, ddof=1, keepdims=True)
    return (x - mean) / (deviation + 1e-5), mean, deviation


def linear(p, x, *, centred):
    x = x.astype(np.float64)
    if centred:
        x = x - p["decoder_bias"]
    return x @ p["encoder"].astype(np.float64)


def relu(z):
    return np.maximum(z, 0)


def keep_topk(z, k=K, by=None):
    """Keep the k entries of each row that are largest by another matrix."""
    kept = np.zeros_like(z)
    for i, scores in enumerate(z if by is None else by):
        largest = np.argsort(-scores, kind="stable")[:k]
        kept[i, largest] = z[i, largest]
    return kept


def above(z, threshold):
    return np.where(z > threshold, relu(z), 0)


def standard(p, x, *, centred=True):
    return relu(linear(p, x, centred=centred) + p["encoder_bias"])


def topk(p, x, *, centred=True):
    return relu(keep_topk(linear(p, x, centred=centred) + p["encoder_bias"]))


def jumprelu(p, x, *, centred=True, threshold=None):
    threshold = p["threshold"] if threshold is None else threshold
    return above(linear(p, x, centred=centred) + p["encoder_bias"], threshold)


def gated(p, x):
    z = linear(p, x, centred=True)
    magnitude = relu(z * np.exp(p["log_gain"].astype(np.float64)) + p["encoder_bias"])
    return magnitude * (z + p["gate_bias"] > 0)


def decode(p, acts):
    return acts @ p["decoder"].astype(np.float64) + p["decoder_bias"]


def norms(p):
    return np.linalg.norm(p["decoder"].astype(np.float64), axis=1)


def assert_equal(model, x, acts, recon):
    """Compare a model's dense, sparse and numpy ways with activations and reconstructions."""
    import torch

    from nanosae.model.weights import Weights

    rows = torch.from_numpy(x)
    with torch.no_grad():
        np.testing.assert_allclose(model.encode(rows), acts, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(model(rows), recon, rtol=1e-5, atol=1e-5)
    sparse = model.features(x).toarray()
    np.testing.assert_allclose(sparse, acts, rtol=1e-5, atol=1e-5)
    tensors = {name: tensor.numpy() for name, tensor in model.tensors().items()}
    in_numpy = Weights(cfg=model.cfg, **tensors)
    found = in_numpy.encode(x).toarray()
    np.testing.assert_allclose(found, acts, rtol=1e-5, atol=1e-5)
    assert (acts > 0).any(axis=1).mean() > 0.5
