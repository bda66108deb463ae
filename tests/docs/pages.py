"""The pages of the documentation, and the small files that their blocks take for granted."""

from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).parents[2]
PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")),
]
EMBEDDINGS_PAGES = (
    "README.md",
    "docs/choosing.md",
    "docs/elsewhere.md",
    "docs/scale.md",
)
N_ROWS = 400
WIDTH = 24
SUBJECTS = {
    "garden": "rose tree leaf seed soil",
    "kitchen": "soup bread salt oven pan",
    "travel": "train ticket station hotel map",
    "music": "violin song choir drum tune",
}
COMMON = ["the", "a", "small", "old", "new", "with", "and", "good"]


def prepare(page: str, folder: Path) -> None:
    """Write the files that the blocks of a page read."""
    if page == "README.md":
        write_dataset(folder, "dataset.csv")
        written_texts().to_csv(folder / "reviews.csv", index=False)
    if page in EMBEDDINGS_PAGES:
        write_embeddings(folder)
    if page == "docs/scale.md":
        write_dataset(folder, "big.csv")


def written_texts(seed: int = 0) -> pd.DataFrame:
    """Return made-up reviews: text, product, country, rating, written."""
    rng = np.random.default_rng(seed)
    names = list(SUBJECTS)
    subject = rng.choice(names, N_ROWS)
    texts = []
    for name in subject:
        words = [*rng.choice(SUBJECTS[name].split(), 4), *rng.choice(COMMON, 5)]
        texts.append(" ".join(rng.permutation(words)))
    return pd.DataFrame(
        {
            "text": texts,
            "product": subject,
            "country": rng.choice(["France", "Spain", "Italy"], N_ROWS),
            "rating": np.where(subject == "music", 4, 2) + rng.integers(0, 2, N_ROWS),
            "written": pd.Timestamp("2026-01-01")
            + pd.to_timedelta(rng.integers(0, 300, N_ROWS), unit="D"),
        }
    )


def vectors_of(table: pd.DataFrame, seed: int = 1) -> np.ndarray:
    """Return rows in which the words of a text lie in directions of their own."""
    rng = np.random.default_rng(seed)
    words = sorted(set(" ".join(table["text"]).split()))
    directions = pd.DataFrame(rng.normal(size=(len(words), WIDTH)), index=words)
    sums = [directions.loc[text.split()].sum() for text in table["text"]]
    return np.asarray(sums, np.float32)


def write_embeddings(folder: Path) -> None:
    """Write `embeddings.parquet`: vectors beside texts and other columns."""
    table = written_texts()
    table["embedding"] = list(vectors_of(table))
    table.to_parquet(folder / "embeddings.parquet")


def write_dataset(folder: Path, name: str) -> None:
    """Write a CSV of 100 rows of 1,024 numbers."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(100, 8)) @ rng.normal(size=(8, 1024))
    columns = [f"e{i}" for i in range(1024)]
    pd.DataFrame(rows, columns=columns).round(5).to_csv(folder / name, index=False)
