"""Slow and plain computations that several test files compare with."""

import math

import numpy as np


def saturated(texts, term):
    """BM25's term frequency of one word, straight from its definition, ÷ √ of relative length."""
    docs = [text.lower().split() for text in texts]
    mean, scores = sum(map(len, docs)) / len(docs), []
    for doc in docs:
        tf = doc.count(term)
        tf *= 2.2 / (tf + 1.2 * (0.25 + 0.75 * len(doc) / mean))
        scores.append(tf / math.sqrt(0.3 + len(doc) / mean))
    return np.array(scores)


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def dense_rows(codes):
    return codes.rows(0, codes.n_rows).toarray().astype(np.float64)


def cosines(codes, vector):
    x = codes.vectors().astype(np.float64)
    return x @ vector / np.linalg.norm(x, axis=1) / np.linalg.norm(vector)


def order_of(scores, n=10, leave=()):
    return [i for i in np.argsort(-scores, kind="stable").tolist() if i not in leave][
        :n
    ]
