"""Files as people have them: shapes met in public, texts made up with planted differences."""

import csv
import gzip
import json
from pathlib import Path

import numpy as np
import pandas as pd

N = 400
SUBJECTS = {
    "delivery": "parcel arrived late courier left the box outside delivery driver",
    "price": "expensive price discount refund invoice charged money cost",
    "screen": "screen display bright pixels crack glass resolution touch",
}
# subjects of many things, each of which few texts are about
THINGS = {
    "food": (
        "soup bread cheese salad pasta rice curry stew pancakes omelette noodles pizza burger "
        "sandwich pie cake biscuits porridge dumplings sausage pickles jam yoghurt butter honey"
    ),
    "animals": (
        "dog cat horse rabbit sheep goat donkey hamster parrot canary goose duck turtle lizard "
        "snake frog fox badger hedgehog squirrel owl pigeon sparrow swan hen"
    ),
    "clothes": (
        "shirt trousers skirt dress coat jacket scarf gloves hat socks shoes boots sandals belt "
        "tie blouse sweater cardigan pyjamas apron jeans shorts vest cape cap"
    ),
    "vehicles": (
        "car bus tram train bicycle scooter lorry van taxi motorbike ferry boat yacht canoe "
        "tractor plane helicopter glider wagon sledge truck minibus trolley caravan kayak"
    ),
}
OPENINGS = ("I think", "Honestly,", "In my view", "To be fair,", "As before,", "Well,")


def drawn(n=N, seed=0):
    """Return the subject of each row and a text about it."""
    rng = np.random.default_rng(seed)
    subjects = rng.choice(list(SUBJECTS), n)
    texts = []
    for subject in subjects:
        words = rng.choice(SUBJECTS[subject].split(), 5, replace=False)
        texts.append(f"{rng.choice(OPENINGS)} the {' '.join(words)} again")
    return subjects, texts, rng


def by_subject(subjects, values):
    return np.array([values[subject] for subject in subjects])


def semicolons(folder: Path) -> Path:
    """Exported by a German Excel: semicolons, decimal commas, byte order mark, days first."""
    subjects, texts, rng = drawn()
    scores = by_subject(subjects, {"delivery": 2.5, "price": 1.5, "screen": 4.0})
    days = pd.date_range("2023-01-01", periods=N).strftime("%d.%m.%Y")
    path = folder / "bewertungen.csv"
    frame = pd.DataFrame(
        {
            "Nr": range(1, N + 1),
            "Kommentar": texts,
            "Note": scores + rng.choice([0, 0.5], N),
            "Datum": days,
            "Filiale": by_subject(
                subjects, {"delivery": "Köln", "price": "Ulm", "screen": "Ulm"}
            ),
        }
    )
    frame.to_csv(path, sep=";", decimal=",", index=False, encoding="utf-8-sig")
    return path


def excel(folder: Path) -> Path:
    """A sheet with a title above its header."""
    subjects, texts, rng = drawn()
    teams = by_subject(
        subjects, {"delivery": "Logistics", "price": "Sales", "screen": "R&D"}
    )
    frame = pd.DataFrame(
        {"Feedback": texts, "Team": teams, "Score": rng.integers(1, 6, N)}
    )
    titled = pd.concat(
        [
            pd.DataFrame(
                [["Feedback 2023", None, None], [None] * 3, list(frame.columns)]
            ),
            frame.set_axis(range(3), axis="columns"),
        ]
    )
    path = folder / "feedback.xlsx"
    titled.to_excel(path, header=False, index=False)
    return path


def reviews(folder: Path) -> Path:
    """Reviews of a shop: title and body, stars, a date, votes."""
    subjects, texts, rng = drawn()
    stars = by_subject(subjects, {"delivery": 1, "price": 2, "screen": 4})
    frame = pd.DataFrame(
        {
            "review_id": [f"R{i:06d}" for i in range(N)],
            "title": [" ".join(text.split()[:3]) for text in texts],
            "review": texts,
            "rating": stars + rng.integers(0, 2, N),
            "verified_purchase": rng.random(N) < 0.7,
            "helpful_votes": rng.poisson(2, N),
            "review_date": pd.date_range("2022-03-01", periods=N).strftime("%B %d, %Y"),
        }
    )
    frame.to_csv(folder / "reviews.csv", index=False)
    return folder / "reviews.csv"


def tickets(folder: Path) -> Path:
    """Tickets of a help desk: times, tags in one cell, open ones without an end."""
    subjects, texts, rng = drawn()
    created = pd.date_range("2024-01-01", periods=N, freq="11h")
    closed = created + pd.to_timedelta(rng.integers(1, 90, N), unit="h")
    tags = by_subject(
        subjects,
        {"delivery": "shipping|late", "price": "billing", "screen": "billing|hardware"},
    )
    frame = pd.DataFrame(
        {
            "ticket_id": range(90_000, 90_000 + N),
            "created_at": created.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "closed_at": np.where(
                rng.random(N) < 0.8, closed.strftime("%Y-%m-%dT%H:%M:%SZ"), ""
            ),
            "description": texts,
            "priority": rng.choice(["low", "normal", "high"], N),
            "tags": tags,
            "agent": rng.choice([f"agent{i}" for i in range(120)], N),
        }
    )
    frame.to_csv(folder / "tickets.csv", index=False)
    return folder / "tickets.csv"


def tweets(folder: Path) -> Path:
    """Tweets: ids of 19 digits, times as Twitter writes them, few languages."""
    subjects, texts, rng = drawn()
    times = pd.date_range("2023-02-01", periods=N, freq="3h")
    frame = pd.DataFrame(
        {
            "id": 1_620_000_000_000_000_000 + rng.integers(0, 10**15, N),
            "created_at": times.strftime("%a %b %d %H:%M:%S +0000 %Y"),
            "text": [f"{text} #shop https://t.co/x{i}" for i, text in enumerate(texts)],
            "user": [f"@user{i % 150}" for i in range(N)],
            "lang": by_subject(
                subjects, {"delivery": "en", "price": "und", "screen": "en"}
            ),
            "retweet_count": rng.poisson(1, N),
        }
    )
    frame.to_csv(folder / "tweets.csv", index=False, quoting=csv.QUOTE_NONNUMERIC)
    return folder / "tweets.csv"


def survey(folder: Path) -> Path:
    """A survey: questions as names, an empty column, answers left out."""
    subjects, texts, rng = drawn()
    answers = [text if rng.random() < 0.9 else "" for text in texts]
    groups = by_subject(
        subjects, {"delivery": "18-34", "price": "35-54", "screen": "55+"}
    )
    frame = pd.DataFrame(
        {
            "Timestamp": pd.date_range("2024-05-01", periods=N, freq="7min").strftime(
                "%m/%d/%Y %H:%M:%S"
            ),
            "How old are you?": groups,
            "How likely is it that you would recommend us to a friend or colleague?": (
                rng.integers(0, 11, N)
            ),
            "What should we do better?": answers,
            "Unnamed: 4": [None] * N,
        }
    )
    frame.to_csv(folder / "survey.csv", index=False)
    return folder / "survey.csv"


def lines(folder: Path) -> Path:
    """One text a line, some of them empty."""
    _, texts, _ = drawn()
    path = folder / "notes.txt"
    path.write_text("\n\n".join(texts) + "\n", "utf-8")
    return path


def chats(folder: Path) -> Path:
    """Logs of an assistant: a conversation per line."""
    subjects, texts, rng = drawn()
    path = folder / "chats.jsonl"
    with path.open("w", encoding="utf-8") as stream:
        for i, (subject, text) in enumerate(zip(subjects, texts, strict=True)):
            record = {
                "conversation_id": f"{i:032x}",
                "model": "small" if subject == "price" else "large",
                "messages": [
                    {"role": "user", "content": text},
                    {"role": "assistant", "content": "Thank you, I will look into it."},
                ],
                "metadata": {"tokens": int(rng.integers(50, 500))},
            }
            stream.write(json.dumps(record) + "\n")
    return path


def papers(folder: Path) -> Path:
    """Abstracts: tab-separated and compressed, with years and several categories in a cell."""
    subjects, texts, rng = drawn()
    path = folder / "papers.tsv.gz"
    frame = pd.DataFrame(
        {
            "id": [f"23{i % 12 + 1:02d}.{i:05d}" for i in range(N)],
            "title": [text[:20] for text in texts],
            "abstract": [f"{text}, as we show. {text}." for text in texts],
            "categories": by_subject(
                subjects,
                {
                    "delivery": "cs.RO; cs.AI",
                    "price": "econ.GN",
                    "screen": "cs.CV; cs.AI",
                },
            ),
            "year": rng.integers(2012, 2024, N),
        }
    )
    with gzip.open(path, "wt", encoding="utf-8") as stream:
        frame.to_csv(stream, sep="\t", index=False)
    return path


def shards(folder: Path) -> Path:
    """A folder of Parquet shards with vectors and tags beside the texts."""
    subjects, texts, rng = drawn()
    directions = dict(zip(SUBJECTS, rng.normal(size=(3, 32)), strict=True))
    rows = [directions[subject] + rng.normal(size=32) for subject in subjects]
    frame = pd.DataFrame(
        {
            "text": texts,
            "tags": [[subject, "all"] for subject in subjects],
            "embedding": [row.astype(np.float32) for row in rows],
        }
    )
    path = folder / "shards"
    path.mkdir()
    frame[: N // 2].to_parquet(path / "part-0.parquet")
    frame[N // 2 :].to_parquet(path / "part-1.parquet")
    return path


def headerless(folder: Path) -> Path:
    """A collection of tweets without a header, every cell in quotes."""
    subjects, texts, _ = drawn()
    frame = pd.DataFrame(
        {
            "polarity": by_subject(subjects, {"delivery": 0, "price": 0, "screen": 4}),
            "id": 1_467_810_369 + np.arange(N),
            "date": pd.date_range("2009-04-06", periods=N, freq="1h").strftime(
                "%a %b %d %H:%M:%S PDT %Y"
            ),
            "query": "NO_QUERY",
            "user": [f"user{i}" for i in range(N)],
            "text": texts,
        }
    )
    path = folder / "training.csv"
    frame.to_csv(path, header=False, index=False, quoting=csv.QUOTE_ALL)
    return path


def vectors_as_text(folder: Path) -> Path:
    """A notebook's CSV: vectors written as lists beside the texts."""
    subjects, texts, rng = drawn()
    directions = dict(zip(SUBJECTS, rng.normal(size=(3, 24)), strict=True))
    rows = [directions[subject] + rng.normal(size=24) for subject in subjects]
    frame = pd.DataFrame(
        {
            "combined": texts,
            "Score": by_subject(subjects, {"delivery": 1, "price": 3, "screen": 5}),
            "embedding": [json.dumps(row.tolist()) for row in rows],
        }
    )
    frame.to_csv(folder / "with_embeddings.csv")
    return folder / "with_embeddings.csv"


def letters(folder: Path) -> Path:
    """Letters of two editions: one writes more of vehicles, but seldom of any one of them."""
    rng = np.random.default_rng(0)
    things = {subject: words.split() for subject, words in THINGS.items()}
    shared = dict(zip(things, rng.normal(size=(len(things), 48)), strict=True))
    own = {word: rng.normal(size=48) for words in things.values() for word in words}
    rows = []
    for edition in rng.choice(["morning", "evening"], N):
        vehicles = 0.5 if edition == "evening" else 0.2
        others = [(1 - vehicles) / 3] * 3
        subject = rng.choice(list(things), p=[*others, vehicles])
        first, second = rng.choice(things[subject], 2, replace=False)
        vector = 0.7 * shared[subject] + own[first] + own[second]
        rows.append(
            {
                "letter": f"a letter on the {first} and the {second}",
                "edition": edition,
                "embedding": (vector + 0.3 * rng.normal(size=48)).tolist(),
            }
        )
    pd.DataFrame(rows).to_parquet(folder / "letters.parquet")
    return folder / "letters.parquet"


def questions_and_answers(folder: Path) -> Path:
    """Two columns that are equally likely to be the text."""
    _, questions, _ = drawn()
    _, replies, _ = drawn(seed=1)
    frame = pd.DataFrame({"question": questions, "answer": replies})
    frame.to_json(folder / "faq.json", orient="records")
    return folder / "faq.json"
