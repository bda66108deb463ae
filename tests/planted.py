"""A small corpus whose every fact is known: the ground truth of most tests.

Rows are sparse non-negative sums of known unit directions, plus noise. Each feature is a topic
with its own words; background words follow Zipf's law and are partly not ASCII. Parents fire
whenever one of their children does. Columns differ by planted odds, and by nothing else.
"""

from dataclasses import dataclass, field

import numpy as np
from scipy import sparse

SYLLABLES = [
    "ba",
    "co",
    "di",
    "fu",
    "ge",
    "hi",
    "jo",
    "ka",
    "lu",
    "me",
    "no",
    "pi",
    "ra",
    "su",
]
ACCENTED = ["čá", "dé", "fü", "gå", "hø", "ka", "lõ", "mí"]
FOREIGN = [
    "café",
    "naïve",
    "für",
    "日本語",
    "мир",
    "λόγος",
    "señor",
    "ação",
    "Übung",
    "שלום",
]
WORDS_PER_TOPIC = 6


@dataclass
class Planted:
    """A planted corpus.

    Attributes:
        texts: One text a row, (n_rows,) object.
        embeddings: Dense rows, (n_rows, width) float32.
        activations: True strengths, (n_rows, n_features) csr_array float32.
        directions: Unit direction of each feature, (n_features, width) float32.
        names: Topic name of each feature: its two commonest words.
        words: The words that only this topic uses, most used first.
        parent: Parent feature, (n_features,) int64; -1 if none.
        families: Parent feature to its children.
        columns: `group` (A, B), `year` (2015 to 2024), `score` (number), `channel` (short, long:
            depends on text length alone), `source` (near-duplicates share it), `topics` (the names
            of the active features, joined by "|").
        group_odds: Feature to odds ratio of being active, B against A. All others: 1.
        year_slopes: Feature to change of log-odds per year. All others: 0.
        score_weights: Feature to weight of its strength in `score`. All others: 0.
        length_features: Features that are likelier in long texts, so that `channel` seems to
            matter to them.
        duplicate_of: The earlier row of which this row is a near-copy, (n_rows,); -1 if none.
    """

    texts: np.ndarray
    embeddings: np.ndarray
    activations: sparse.csr_array
    directions: np.ndarray
    names: list[str]
    words: list[list[str]]
    parent: np.ndarray
    families: dict[int, list[int]]
    columns: dict[str, np.ndarray]
    group_odds: dict[int, float]
    year_slopes: dict[int, float]
    score_weights: dict[int, float]
    length_features: list[int]
    duplicate_of: np.ndarray = field(repr=False)


def planted_corpus(
    n_rows: int = 2000, n_features: int = 48, width: int = 64, seed: int = 0
) -> Planted:
    """Make a corpus with known topics, words, families, group differences and near-duplicates.

    Args:
        n_rows: Rows; one in ten is a near-copy of an earlier row.
        n_features: Features, at least 36. A third belongs to families of one parent and three
            children; the others are independent of each other.
        width: Width of the embeddings.
        seed: Everything follows from it.
    """
    if n_features < 36:
        raise ValueError(
            f"n_features={n_features} must be at least 36 to hold every planted fact."
        )
    rng = np.random.default_rng(seed)
    families, parent, free, log_odds = _features(n_features, rng)
    group_odds = dict(zip(free[0:6], [5.0, 0.2, 4.0, 0.25, 5.0, 0.2], strict=True))
    year_slopes = dict(zip(free[6:10], [0.3, -0.3, 0.35, -0.35], strict=True))
    score_weights = dict(zip(free[10:14], [1.0, -1.0, 1.5, -1.5], strict=True))
    length_features = free[14:17]

    # Columns that features depend on come first, then features, texts, and what depends on those.
    group = rng.choice(np.array(["A", "B"], dtype=object), n_rows)
    year = rng.integers(2015, 2025, n_rows)
    n_background = np.clip(rng.lognormal(2.7, 0.5, n_rows).astype(np.int64), 4, 80)
    longer = (np.log(n_background) - 2.7) / 0.5
    logits = np.tile(log_odds, (n_rows, 1))
    for j, odds in group_odds.items():
        logits[:, j] += np.where(group == "B", 0.5, -0.5) * np.log(odds)
    for j, slope in year_slopes.items():
        logits[:, j] += slope * (year - 2019.5)
    logits[:, length_features] += longer[:, None]
    active = rng.random((n_rows, n_features)) < 1 / (1 + np.exp(-logits))
    for mother, children in families.items():
        active[:, children] &= active[:, [mother]]
    strengths = np.where(active, 0.5 + 1.5 * rng.beta(1, 2, active.shape), 0).astype(
        np.float32
    )

    duplicate_of = np.full(n_rows, -1)
    copies = np.flatnonzero(rng.random(n_rows) < 0.1)
    copies = copies[copies > 0]
    originals = np.setdiff1d(np.arange(n_rows), copies)
    # how many originals come before each copy
    rank = np.searchsorted(originals, copies)
    duplicate_of[copies] = originals[(rng.random(len(copies)) * rank).astype(np.int64)]
    origin = np.where(duplicate_of < 0, np.arange(n_rows), duplicate_of)
    strengths = strengths[origin]

    words = _topic_words(n_features, rng)
    names = [f"{w[0]} {w[1]}" for w in words]
    texts = _texts(strengths, words, n_background, origin, rng)
    length = np.array([len(text) for text in texts])
    length_z = (np.log(length) - np.log(length).mean()) / np.log(length).std()
    channel = np.where(
        rng.random(n_rows) < 1 / (1 + np.exp(-2 * length_z)), "long", "short"
    )
    weights = np.zeros(n_features)
    weights[list(score_weights)] = list(score_weights.values())
    score = strengths @ weights + rng.normal(size=n_rows)
    source_of = rng.integers(0, max(1, 2 * n_rows // 3), n_rows)[origin]
    topics = [
        "|".join(names[j] for j in np.flatnonzero(row)) if row.any() else ""
        for row in strengths
    ]
    directions = rng.normal(size=(n_features, width)).astype(np.float32)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    # Length 0.5: rows that share their only topic stay below a cosine of 0.95; copies are above it.
    noise = rng.normal(size=(n_rows, width)) * (0.5 / np.sqrt(width))
    noise = np.where(duplicate_of[:, None] < 0, noise, noise[origin] + 0.2 * noise)
    return Planted(
        texts=texts,
        embeddings=strengths @ directions + noise.astype(np.float32),
        activations=sparse.csr_array(strengths),
        directions=directions,
        names=names,
        words=words,
        parent=parent,
        families=families,
        columns={
            "group": group[origin],
            "year": year[origin],
            "score": score,
            "channel": channel.astype(object),
            "source": np.array([f"s{s:05d}" for s in source_of], dtype=object),
            "topics": np.array(topics, dtype=object),
        },
        group_odds=group_odds,
        year_slopes=year_slopes,
        score_weights=score_weights,
        length_features=length_features,
        duplicate_of=duplicate_of,
    )


def _features(n_features, rng):
    """Families, parents, the other features from frequent to rare, and everyone's log-odds."""
    n_families = n_features // 12
    ids = rng.permutation(n_features)
    members = ids[: 4 * n_families].reshape(n_families, 4)
    families = {int(m[0]): sorted(int(j) for j in m[1:]) for m in members}
    parent = np.full(n_features, -1)
    rates = np.zeros(n_features)
    free = [int(j) for j in ids[4 * n_families :]]
    rates[free] = 0.2 / np.arange(1, len(free) + 1) ** 0.7  # Zipf
    for place, (mother, children) in enumerate(families.items()):
        rates[mother] = 0.2 / (place + 1) ** 0.7
        rates[children] = [0.5, 0.4, 0.3]  # given the parent
        parent[children] = mother
    return families, parent, free, np.log(rates / (1 - rates))


def _topic_words(n_features, rng):
    """Six invented words for each feature, one of them not ASCII; no word twice."""
    seen: set[str] = set()

    def invent(first):
        while True:
            word = str(rng.choice(first)) + "".join(rng.choice(SYLLABLES, 2)) + "n"
            if word not in seen:
                seen.add(word)
                return word

    slots = [SYLLABLES] * (WORDS_PER_TOPIC - 1) + [ACCENTED]
    return [[invent(slot) for slot in slots] for _ in range(n_features)]


def _texts(strengths, words, n_background, origin, rng):
    """Topic words (two to four per active feature) shuffled into background words."""
    background = np.array([f"w{i}" for i in range(200)] + FOREIGN, dtype=object)
    rng.shuffle(background)
    zipf = 1 / np.arange(1, len(background) + 1)
    pools = np.split(
        rng.choice(background, n_background.sum(), p=zipf / zipf.sum()),
        np.cumsum(n_background),
    )
    # a topic's first words are its commonest
    use = 1 / np.arange(1, WORDS_PER_TOPIC + 1)
    drawn = rng.choice(
        WORDS_PER_TOPIC, (int((strengths > 0).sum()), 4), p=use / use.sum()
    ).tolist()
    n_drawn = rng.integers(2, 5, len(drawn)).tolist()
    texts = np.empty(len(strengths), dtype=object)
    at = 0
    for i, row in enumerate(strengths):
        pieces = list(pools[i])
        for j in np.flatnonzero(row):
            pieces += [words[j][w] for w in drawn[at][: n_drawn[at]]]
            at += 1
        if origin[i] != i:  # a near-copy: the original's text and one more word
            texts[i] = f"{texts[origin[i]]} {background[i % len(background)]}"
        else:
            texts[i] = " ".join(
                pieces[p] for p in rng.permutation(len(pieces)).tolist()
            )
    return texts
