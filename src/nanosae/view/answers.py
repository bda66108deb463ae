"""What the explorer's page asks: selections of rows, cards, maps, steering, comparisons.

A selection is a dict; all its conditions hold together:

    words      texts that hold all these words
    features   rows on which all these features are active
    value      [column, value]: rows with this value in a metadata column
    tag        rows with this tag
    lasso      rows inside a polygon on the text map, [[x, y], …]
    led        rows whose strongest feature lies inside a polygon on the decoder map

Everything is made to answer a click on a million rows: nothing of size rows × features is made. The
maps and the text index, which take longer, are made once by `prepare`, in a process of its own, and
kept beside the codes.
"""

from __future__ import annotations

import csv
import functools
import io
import json
import os
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from nanosae.analysis import edits
from nanosae.analysis.describe import known_labels, model_of, unit
from nanosae.analysis.search import find_texts, has_index, rows_with, search, text_index
from nanosae.analysis.tables import load_features
from nanosae.analysis.topics import leaders
from nanosae.codes import Codes
from nanosae.view import maps
from nanosae.view.style import COLORS, MUTED, SEQUENTIAL

if TYPE_CHECKING:
    import pandas as pd

BLOCK = 2**14  # rows read together
SAMPLE = 50_000  # rows that stand for all where every feature is summed up
POINTS = 20_000  # points of a map sent at once
RASTER = (320, 240)  # cells of the density behind the points
COMPARED = 5_000  # rows on either side of a comparison
RANKED = 1_000  # texts in the order of BM25; the others follow as they come
PAGE = 40  # lines sent at once
SHOWN = 600  # characters of a text in a list
PARTNERS = 2_000  # rows of a feature that say what it is active with
DENSE = 0.2  # share of rows above which a feature leads none


class Explorer:
    """Answer questions about one corpus of a run; several threads may ask.

    Args:
        run: The run folder.
        name: Which corpus of the run.

    Raises:
        FileNotFoundError: If the run has no codes.
        ValueError: If the codes or user.sqlite are damaged.
    """

    def __init__(self, run: str | Path, name: str | None = None) -> None:
        self.run, self._local = Path(run), threading.local()
        self.path = Codes.open(run, name).path
        self.counts, self.model = self.codes.counts, model_of(self.codes)
        self.directions = None if self.model is None else self.model.directions()
        self.order = np.random.default_rng(0).permutation(self.codes.n_rows).astype(np.uint32)
        edits.names(self.run)
        once: Any = functools.lru_cache
        self._table = once(1)(lambda _: load_features(self.run).set_index("feature"))
        self._names = once(1)(lambda *_: known_labels(self.codes))
        self._map = once(1)(lambda _: load_map(self.codes))
        self._shuffled = once(1)(lambda _: self.map["rows"][self.order])
        self._rows, self._column = once(16)(self._select), once(8)(self._read_column)
        self._places, self._base = once(4)(self._find_regions), once(32)(self._search)

    @property
    def codes(self) -> Codes:
        """This thread's codes: readers of Parquet files are not to be shared."""
        if not hasattr(self._local, "codes"):
            self._local.codes = Codes(self.path)
        return self._local.codes

    @property
    def table(self) -> pd.DataFrame:
        """The run's feature table, read again when it has changed."""
        return self._table(_changed(self.run / "features.parquet"))

    @property
    def names(self) -> dict[int, str]:
        """Names and labels of features, read again when they have changed."""
        return self._names(*(_changed(self.run / f) for f in ("features.parquet", "user.sqlite")))

    @property
    def map(self) -> Any:
        """What `make_map` keeps, or None."""
        return self._map(_changed(self.path / "map.npz"))

    def state(self) -> dict[str, Any]:
        """Say what the run holds, and which command adds what it lacks."""
        codes, table, run = self.codes, self.table, self.run
        lacks = {
            "texts": (not codes.has_texts, f"nanosae encode {run} DATA --texts FILE"),
            "steering": (self.model is None, f"nanosae train DATA -o {run}"),
            "labels": ("label" not in table and codes.has_texts, f"nanosae label {run}"),
            "families": ("family" not in table, f"nanosae families {run}"),
            "near misses": (
                "near_misses" not in table and codes.has_vectors,
                f"nanosae describe {run}",
            ),
        }
        return {
            "run": run.resolve().name,
            "corpus": codes.name,
            "rows": codes.n_rows,
            "features": int((self.counts > 0).sum()),
            "texts": codes.has_texts,
            "steer": self.model is not None,
            "colors": [name for name in ("family", "topic") if name in table],
            "columns": codes.columns,
            "adds": {what: command for what, (lacking, command) in lacks.items() if lacking},
            "tags": edits.tags(run, codes.name),
            "map": self.map["method"].item() if self.map else None,
            "index": codes.has_texts and has_index(codes),
        }

    # ── features ──

    def features(
        self, words: str = "", sort: str = "score", marked: bool = False, at: int = 0
    ) -> dict[str, Any]:
        """List features whose name holds the words (or whose number it is), a page of lines.

        `sort` is "score" (of the label), "rows" or "name"; `marked` asks for bookmarks only.
        """
        names, kept, scores = self.names, edits.bookmarks(self.run), self._scores()
        ids, wanted = kept if marked else np.flatnonzero(self.counts).tolist(), words.casefold()
        if wanted.isdecimal():
            ids = [j for j in ids if j == int(wanted)]
        elif wanted:
            parts = wanted.split()
            ids = [j for j in ids if all(part in names.get(j, "").casefold() for part in parts)]
        keys = {
            "score": lambda j: (-scores[j] if scores[j] > 0 else 0, -self.counts[j]),
            "rows": lambda j: -self.counts[j],
            "name": lambda j: names.get(j, "\uffff").casefold(),
        }
        page = sorted(ids, key=keys[sort])[at : at + PAGE]
        lines = [
            {
                "feature": j,
                "name": names.get(j, ""),
                "rows": self.counts[j],
                "score": scores[j],
                "marked": j in kept,
            }
            for j in page
        ]
        return {"total": len(ids), "lines": lines}

    def _scores(self) -> np.ndarray:
        """Return how well each label's words find unseen texts, NaN where nobody measured."""
        scores = np.full(self.codes.n_features, np.nan)
        if "label_auc" in self.table:
            known = self.table["label_auc"]
            scores[known.index] = known
        return scores

    def card(self, j: int) -> dict[str, Any]:
        """Say what is known of a feature."""
        codes, names = self.codes, self.names
        rows, acts = codes.feature(j)
        order = np.argsort(-acts, kind="stable")
        middles = ((np.arange(10) + 0.5) * len(rows) / 10).astype(np.int64)
        peak = float(acts.max(initial=0))
        found = {"strongest": order[:10], "from strong to weak": order[middles[: len(rows)]]}
        line = self.table.loc[j].to_dict() if j in self.table.index else {}
        said = ("label", "label_auc", "label_f1", "llm_label", "keywords", "health", "topic")
        examples = {what: self._texts(rows[o], acts[o]) for what, o in found.items() if len(rows)}
        if line.get("n_active") == len(rows):  # this corpus was described, not another
            for kind in ("near_misses", "hard_negatives"):
                examples[kind.replace("_", " ")] = self._texts(np.array(line.get(kind, []), int))
        family = self._groups("family")
        return {
            "feature": j,
            "name": names.get(j, ""),
            "named": j in edits.names(self.run),
            "marked": j in edits.bookmarks(self.run),
            "rows": len(rows),
            "density": len(rows) / max(codes.n_rows, 1),
            "mean": float(acts.mean()) if len(rows) else 0.0,
            "max": peak,
            "histogram": np.histogram(acts, 20, (0, peak or 1))[0],
            "facts": {name: line[name] for name in said if name in line},
            "family": None if family is None else family[1].get(int(family[0][j])),
            "examples": {what: lines for what, lines in examples.items() if lines},
            "near": self._neighbours(j),
            "partners": self._partners(j, rows),
        }

    def _neighbours(self, j: int) -> list:
        """Return the features with the most alike directions and their cosines."""
        if self.directions is None:
            return []
        cosine = self.directions @ self.directions[j]
        cosine[self.counts == 0] = cosine[j] = -1
        best = np.argsort(-cosine)[:8]
        return [[int(i), self.names.get(int(i), ""), float(cosine[i])] for i in best]

    def _partners(self, j: int, rows: np.ndarray) -> list:
        """Return what is most surely active with a feature (NPMI), on a sample of its rows."""
        some = rows[:: max(1, -(-len(rows) // PARTNERS))]
        met = np.bincount(self.codes.take(some).indices, minlength=len(self.counts))
        n, share = self.codes.n_rows, met / max(len(some), 1)
        with np.errstate(divide="ignore", invalid="ignore"):
            both = share * len(rows) / n
            npmi = np.log(share * n / self.counts) / -np.log(both)
        npmi[(met < 5) | (both >= 1) | ~(npmi > 0)] = 0
        npmi[j] = 0
        best = [int(i) for i in np.argsort(-npmi, kind="stable")[:8] if npmi[i] > 0]
        return [[i, self.names.get(i, ""), float(npmi[i])] for i in best]

    # ── rows ──

    def rows(self, where: dict[str, Any]) -> np.ndarray:
        """Return the rows of a selection, int32: best first, or ascending if none is better."""
        for j in where.get("features", []):
            if not 0 <= int(j) < len(self.counts):
                raise ValueError(f"feature {j}: there are 0 … {len(self.counts) - 1}.")
        if self.map is None and where.keys() & {"lasso", "led"}:
            raise ValueError("The map is not ready yet.")
        files = self.run / "user.sqlite", self.path / "map.npz"
        return self._rows(json.dumps(where, sort_keys=True), *map(_changed, files))

    def list_rows(self, where: dict[str, Any], at: int = 0) -> dict[str, Any]:
        """List rows of a selection, a page of lines."""
        rows = self.rows(where)
        names = {j: self.names.get(j, "") for j in where.get("features", [])}
        lines = self._texts(rows[at : at + PAGE])
        return {"total": len(rows), "names": names, "lines": lines}

    def row(self, i: int) -> dict[str, Any]:
        """Say what is known of a row."""
        codes, names = self.codes, self.names
        ids, acts = codes.row(i)
        order = np.argsort(-acts, kind="stable")
        pairs = zip(ids[order].tolist(), acts[order].tolist(), strict=True)
        return {
            "row": i,
            "text": codes.texts([i])[0] if codes.has_texts else "",
            "columns": {name: str(codes.column(name, [i])[0]) for name in codes.columns},
            "tags": edits.tags_of(self.run, codes.name, i),
            "features": [[j, names.get(j, ""), a] for j, a in pairs],
        }

    def steer(self, start: dict[str, Any], edit: dict[str, float]) -> dict[str, Any]:
        """Rank rows by a row or a text (`start`), with some of its features changed.

        Each hit says where it was in the ranking before the change, if it was among the first 100.
        """
        before = self._base(json.dumps(start), *self._version())
        changed: Any = {int(j): float(value) for j, value in edit.items()}
        after = search(self.codes, **start, edit=changed, n=PAGE) if changed else before
        place = {hit.row: i for i, hit in enumerate(before.hits)}
        hits = [
            {
                "row": hit.row,
                "score": hit.score,
                "text": hit.text[:SHOWN],
                "was": place.get(hit.row),
                "shared": hit.shared[:4],
            }
            for hit in after.hits[:PAGE]
        ]
        features = [list(f) for f in before.features]
        return {"note": after.note, "features": features, "hits": hits}

    def contrast(self, where: dict[str, Any]) -> dict[str, Any]:
        """Say which features tell a selection from the other rows, on a sample of both."""
        from nanosae.analysis.contrast import contrast

        inside = self.rows(where)
        others = np.setdiff1d(np.arange(self.codes.n_rows, dtype=np.int32), inside)
        if min(len(inside), len(others)) < 2:
            raise ValueError(f"{len(inside):,} rows against {len(others):,}: nothing to compare.")
        rng = np.random.default_rng(0)
        a, b = (r[rng.permutation(len(r))[:COMPARED]].astype(np.int64) for r in (inside, others))
        found = contrast(self.codes, a, b, labels=self.names)
        asked, table = set(map(int, where.get("features", []))), found.findings
        fields = ["feature", "label", "share", "share_rest", "odds_ratio", "odds_low", "odds_high"]
        lines = table[~table["feature"].isin(asked)].head(30).filter([*fields, "q"])
        return {
            "rows": len(inside),
            "compared": [len(a), len(b)],
            "held_out": found.about["n_held_out"],
            "tests": found.about["n_tested"],
            "notes": found.about["notes"],
            "findings": lines.to_dict(orient="records"),
        }

    def rename(self, j: int, name: str) -> dict[str, Any]:
        """Give a feature a name, at most 200 characters; an empty one gives its label back."""
        self.codes.features([j])  # it must exist
        edits.rename(self.run, j, " ".join(name.split())[:200])
        return {"feature": j, "name": self.names.get(j, "")}

    def bookmark(self, j: int, on: bool) -> dict[str, Any]:
        """Set or remove a bookmark."""
        self.codes.features([j])
        edits.bookmark(self.run, j, on)
        return {"feature": j, "marked": on}

    def tag(self, name: str, where: dict[str, Any], rows: list[int], on: bool) -> dict[str, Any]:
        """Put a tag on rows, or on all of a selection; or take it off."""
        chosen = rows or self.rows(where).tolist()
        edits.tag(self.run, self.codes.name, name, chosen, on)
        return {"tags": edits.tags(self.run, self.codes.name), "rows": len(chosen)}

    def export(self, where: dict[str, Any]) -> Iterator[str]:
        """Yield a CSV of a selection: row, text, columns, tags, activations of its features."""
        codes, rows, asked = self.codes, self.rows(where), where.get("features", [])
        tags = {t: edits.tagged(self.run, codes.name, t) for t in edits.tags(self.run, codes.name)}
        beside = ["text"] * codes.has_texts + codes.columns
        sheet = io.StringIO()
        line = csv.writer(sheet)
        line.writerow(["row", *beside, "tags", *(f"feature_{j}" for j in asked)])
        for at in range(0, len(rows), BLOCK):
            block = rows[at : at + BLOCK]
            has = {t: np.isin(block, known) for t, known in tags.items()}
            joined = ["|".join(t for t in has if has[t][i]) for i in range(len(block))]
            acts = codes.take(block)[:, asked].toarray() if asked else np.zeros((len(block), 0))
            columns = [codes.column(name, block).tolist() for name in beside]
            for values in zip(block.tolist(), *columns, joined, *acts.T.tolist(), strict=True):
                line.writerow(values)
            yield sheet.getvalue()
            sheet.seek(0)
            sheet.truncate()
        yield sheet.getvalue()

    def _select(self, key: str, *_: int) -> np.ndarray:
        where, codes = json.loads(key), self.codes
        columns = [codes.feature(int(j)) for j in where.get("features", [])]
        sets = [rows for rows, _ in columns]
        sets += [self._meeting(kind, where[kind]) for kind in where if kind != "features"]
        if not sets:
            return np.arange(codes.n_rows, dtype=np.int32)
        rows = functools.reduce(functools.partial(np.intersect1d, assume_unique=True), sets)
        if columns:
            shares = (acts[np.searchsorted(r, rows)] / acts.max(initial=0) for r, acts in columns)
            rows = rows[np.argsort(-sum(shares, np.zeros(len(rows))), kind="stable")]
        elif where.keys() == {"words"} and len(rows):
            best = find_texts(codes, where["words"], RANKED, every=True)[0]
            rows = np.concatenate([best, np.setdiff1d(rows, best)])
        return rows.astype(np.int32)

    def _meeting(self, kind: str, value: Any) -> np.ndarray:
        """Return the rows that meet one condition, ascending."""
        if kind == "words":
            return rows_with(self.codes, value) if self.codes.has_texts else np.zeros(0, np.int64)
        if kind == "tag":
            return edits.tagged(self.run, self.codes.name, value)
        if kind == "value":
            ids, names = self._column(value[0])[:2]
            return np.flatnonzero(ids == names.index(value[1]) if value[1] in names else ids < -1)
        if kind == "lasso":
            return np.flatnonzero(inside(self.map["rows"], value))
        if kind == "led":
            return np.flatnonzero(
                np.append(inside(self.map["features"], value), False)[self.map["led"]]
            )
        raise ValueError(f"no condition {kind!r} is known.")

    def _texts(self, rows: np.ndarray, acts: Any = None) -> list[dict[str, Any]]:
        """Return some rows with their texts and their strongest features."""
        codes, names, lines = self.codes, self.names, []
        block: Any = codes.take(rows)
        texts = codes.texts(rows) if codes.has_texts else [""] * len(rows)
        for i, (row, text) in enumerate(zip(np.asarray(rows).tolist(), texts, strict=True)):
            here = slice(block.indptr[i], block.indptr[i + 1])
            best = np.argsort(-block.data[here], kind="stable")[:3]
            ids = block.indices[here][best].tolist()
            line = {
                "row": row,
                "text": text[:SHOWN],
                "features": [[j, names.get(j, "")] for j in ids],
            }
            lines.append(line if acts is None else line | {"activation": float(acts[i])})
        return lines

    def _search(self, key: str, *_: int) -> Any:
        return search(self.codes, **json.loads(key), n=100)

    def _version(self) -> tuple[int, ...]:
        return tuple(_changed(self.run / name) for name in ("features.parquet", "user.sqlite"))

    # ── maps ──

    def points(
        self, kind: str, color: str, where: dict[str, Any], box: list[float] | None
    ) -> bytes:
        """Return the points of a map inside a box, and how densely all of them lie.

        Bytes: length of a JSON head (uint32), the head, padded to 4, ids (uint32), positions
        (float32 x, y), colours (float32: place in the legend or value), marks (uint8: whether it is
        in the selection), density (uint8, rows of cells from below). Of more points than are sent
        those in the selection come first, then a fixed sample.
        """
        if self.map is None:
            raise ValueError("The map is not ready yet.")
        if kind == "rows":
            ids, xy = self.order, self._shuffled(_changed(self.path / "map.npz"))
            marked = np.zeros(len(ids), bool)
            marked[self._prefer(color, where)] = True
            marked = marked[ids]
        else:
            ids = np.flatnonzero(self.counts).astype(np.uint32)
            xy = self.map["features"][ids]
            marked = np.isin(ids, where.get("features", []))
        low, high = np.min(xy, axis=0), np.max(xy, axis=0)
        whole = [*(low - 0.03 * (high - low + 1e-9)), *(high + 0.03 * (high - low + 1e-9))]
        x0, y0, x1, y1 = box or whole
        here = (xy[:, 0] >= x0) & (xy[:, 0] <= x1) & (xy[:, 1] >= y0) & (xy[:, 1] <= y1)
        first = np.flatnonzero(here & marked)[: POINTS // 2]
        then = np.flatnonzero(here & ~marked)[: POINTS - len(first)]
        sent = np.concatenate([then, first])
        legend, values = self._colors(kind, color, ids[sent].astype(np.int64))
        cells = ((xy[here] - [x0, y0]) / [x1 - x0, y1 - y0] * RASTER).astype(np.int64)
        cells = np.minimum(cells, np.array(RASTER) - 1) @ [1, RASTER[0]]
        dense = np.log1p(np.bincount(cells, minlength=RASTER[0] * RASTER[1]))
        head = {"n": len(sent), "inside": int(here.sum()), "total": len(ids), "legend": legend}
        head |= {"box": [x0, y0, x1, y1], "whole": whole, "raster": RASTER, "marked": len(first)}
        text = json.dumps(plain(head)).encode()
        text += b" " * (-len(text) % 4)
        arrays = (ids[sent], xy[sent], values.astype(np.float32), marked[sent])
        dense = (255 * dense / max(dense.max(), 1e-9)).astype(np.uint8)
        return b"".join(
            [np.uint32(len(text)).tobytes(), text, *(a.tobytes() for a in (*arrays, dense))]
        )

    def regions(self, kind: str) -> list[dict[str, Any]]:
        """Return words for the dense places of a map, and where to write them."""
        files = self.path / "map.npz", self.run / "features.parquet", self.run / "user.sqlite"
        return self._places(kind, *map(_changed, files)) if self.map else []

    def _find_regions(self, kind: str, *_: int) -> list[dict[str, Any]]:
        if kind == "rows":
            ids = np.sort(self.order[: maps.SAMPLE]).astype(np.int64)
            texts = self.codes.texts(ids).tolist() if self.codes.has_texts else []
            names = dict(enumerate(texts))
        else:
            ids = np.flatnonzero(self.counts)
            names = {i: self.names.get(j, "") for i, j in enumerate(ids.tolist())}
        points = self.map[kind][ids]
        found = maps.labels(points, maps.clusters(points), names, 900, 600)
        return [{"text": text, "x": x, "y": y} for text, (x, y) in found]

    def _prefer(self, color: str, where: dict[str, Any]) -> np.ndarray:
        """Return the rows to show before others."""
        how, _, what = color.partition(":")
        if where:
            return self.rows(where)
        return self.codes.feature(int(what))[0] if how == "feature" else np.zeros(0, np.int64)

    def _colors(self, kind: str, color: str, ids: np.ndarray) -> tuple[dict, np.ndarray]:
        """Return a legend, and each point's place in it or value; NaN or −1: none of these."""
        how, _, what = color.partition(":")
        if how == "feature":
            j = int(what)
            title, values = f"cosine to {self._call(j)}", np.full(len(ids), np.nan)
            if kind == "rows":
                title, (rows, acts) = f"activation of {self._call(j)}", self.codes.feature(j)
                place = np.minimum(np.searchsorted(rows, ids), max(len(rows) - 1, 0))
                if len(rows):
                    values = np.where(rows[place] == ids, acts[place], np.nan)
            elif self.directions is not None:
                values = (self.directions @ self.directions[j])[ids]
            return _scale(title, values)
        if how == "column":
            values, names = self._column(what)
            if kind == "features":
                title = f"{what}: {'most typical' if names else 'mean'}"
                return _legend(title, self._of_features(what)[ids], names)
            return _legend(what, values[ids], names)
        groups = self._groups(how)
        if groups is None:
            return {"kind": "none", "title": ""}, np.zeros(len(ids))
        of, names = groups
        places = of if kind == "features" else np.append(of, -1)[self.map["led"]]
        return _legend(how, places[ids], list(names.values()))

    def _call(self, j: int) -> str:
        return f"“{self.names[j]}”" if j in self.names else f"feature {j}"

    def _groups(self, how: str) -> tuple[np.ndarray, dict[int, str]] | None:
        """Return each feature's family or topic, largest first (−1: none), and their names."""
        if how not in ("family", "topic") or how not in self.table:
            return None
        of = np.full(len(self.counts), -1)
        known = self.table[how].fillna(-1).astype(np.int64)
        of[known.index] = known
        sizes = np.bincount(of[of >= 0], minlength=1)
        order = np.argsort(-sizes, kind="stable")
        labels = self._group_names(how)
        names = {i: labels.get(int(g), f"{how} {g}") for i, g in enumerate(order) if sizes[g]}
        return np.append(np.argsort(order), -1)[of], names

    def _group_names(self, how: str) -> dict[int, str]:
        if how == "family" and (path := self.run / "families.json").exists():
            lines = json.loads(path.read_text("utf-8"))["families"]
            return {line["family"]: line["label"] for line in lines}
        if how == "topic" and (path := self.run / "topics.parquet").exists():
            import pandas as pd

            table = pd.read_parquet(path, columns=["Topic", "Representation"])
            words = (", ".join(w[:3]) for w in table["Representation"])
            return dict(zip(table["Topic"].tolist(), words, strict=True))
        return {}

    def _read_column(self, name: str) -> tuple[np.ndarray, list[str]]:
        """Return numbers (times in years) and no names, or places among names, commonest first."""
        import pandas as pd

        values = pd.Series(self.codes.column(name))
        if not pd.api.types.is_numeric_dtype(values):
            some = values[values.notna() & (values != "")].head(200).astype(str)
            if len(some) and some.str.match(r"\d{4}-\d\d").all():
                values = pd.to_datetime(values, format="ISO8601", errors="coerce", utc=True)
        if pd.api.types.is_datetime64_any_dtype(values):
            days = (values - pd.Timestamp(0, tz=values.dt.tz)) / pd.Timedelta(days=1)
            return (1970 + days / 365.2425).to_numpy(np.float32), []
        if pd.api.types.is_numeric_dtype(values) and values.nunique() > len(COLORS):
            return values.to_numpy(np.float32), []
        ids, names = pd.factorize(values.where(values.notna() & (values != "")))
        order = np.argsort(-np.bincount(ids[ids >= 0], minlength=len(names)), kind="stable")
        place = np.append(np.argsort(order), -1).astype(np.int32)[ids]
        return place, [str(names[i]) for i in order]

    def _of_features(self, name: str) -> np.ndarray:
        """Return the mean of a column on each feature's rows, or the most typical of its groups.

        On a sample of rows; the most typical group has the largest share of the feature's rows,
        compared with its share of all rows. Fewer than three rows say nothing.
        """
        rows = np.sort(self.order[:SAMPLE]).astype(np.int64)
        values, names = self._column(name)
        known = rows[values[rows] >= 0] if names else rows[np.isfinite(values[rows])]
        on: Any = self.codes.take(known).astype(bool).astype(np.float64)
        seen = np.asarray(on.sum(axis=0)).ravel()
        if not names:
            return np.where(seen < 3, np.nan, on.T @ values[known] / np.maximum(seen, 1))
        top = np.minimum(values[known], len(COLORS))
        groups = sp.csr_array((np.ones(len(known)), (np.arange(len(known)), top)))
        lift = (on.T @ groups).toarray() / np.maximum(groups.sum(axis=0), 1)
        return np.where(seen < 3, -1, lift.argmax(axis=1))


def _legend(title: str, values: np.ndarray, names: list[str]) -> tuple[dict, np.ndarray]:
    """Return a legend of groups, the largest of which have colours; of numbers without names."""
    if not names:
        return _scale(title, values)
    entries = [{"name": n, "color": c} for n, c in zip(names, COLORS, strict=False)]
    entries += [{"name": "others", "color": MUTED}] * (len(names) > len(COLORS))
    return {"kind": "groups", "title": title, "entries": entries}, np.minimum(values, len(COLORS))


def _scale(title: str, values: np.ndarray) -> tuple[dict, np.ndarray]:
    known = values[np.isfinite(values)]
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    stops = {"light": SEQUENTIAL[False][1:], "dark": SEQUENTIAL[True][1:]}
    return {"kind": "scale", "title": title, "low": low, "high": high, **stops}, values


def inside(points: np.ndarray, polygon: Any) -> np.ndarray:
    """Return which points lie inside a polygon (even-odd rule), bool (n,).

    Example:
        >>> inside(np.array([[1, 1], [3, 1]]), [[0, 0], [2, 0], [2, 2], [0, 2]]).tolist()
        [True, False]
    """
    corners = np.asarray(polygon, np.float64)
    if corners.ndim != 2 or corners.shape[1] != 2 or not np.isfinite(corners).all():
        raise ValueError("a polygon is a list of [x, y] pairs.")
    found = np.zeros(len(points), bool)
    near = np.flatnonzero(((points >= corners.min(0)) & (points <= corners.max(0))).all(axis=1))
    x, y = points[near].T.astype(np.float64)
    odd = np.zeros(len(near), bool)
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        if y0 != y1:
            odd ^= ((y0 > y) != (y1 > y)) & (x < (x1 - x0) * (y - y0) / (y1 - y0) + x0)
    found[near] = odd
    return found


def load_map(codes: Codes) -> dict[str, np.ndarray] | None:
    """Return what `make_map` wrote, or None if it is missing, damaged or of fewer rows."""
    try:
        with (codes.path / "map.npz").open("rb") as stream, np.load(stream) as file:
            found = {name: file[name] for name in file.files}
        sizes = len(found["rows"]), len(found["led"]), len(found["features"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    return found if sizes == (codes.n_rows, codes.n_rows, codes.n_features) else None


def make_map(codes: Codes) -> Path:
    """Place rows and features in the plane and find each row's strongest feature.

    Written beside the codes in one step, `map.npz`: `rows` (n_rows, 2) and `features` (n_features,
    2) float32, `led` (n_rows,) int32 (−1: nothing is active), `method`. Rows lie by their
    embeddings, or without those by what the codes decode to; features by their directions, or
    without a model at the middle of their rows.
    """
    model, n = model_of(codes), codes.n_rows
    mix = np.random.default_rng(0).standard_normal((codes.n_features, 64)).astype(np.float32)
    decoder = mix if model is None else model.W_dec

    def read(rows: np.ndarray) -> np.ndarray:
        return codes.vectors(rows) if codes.has_vectors else codes.take(rows) @ decoder

    sample = np.sort(np.random.default_rng(0).permutation(n)[: maps.SAMPLE])
    _, place, method = maps.fit(read(sample))
    xy, led = np.zeros((n, 2), np.float32), np.full(n, -1, np.int32)
    weighted, mass = np.zeros((codes.n_features, 2)), np.zeros(codes.n_features)
    common = codes.density > DENSE
    for at in range(0, n, BLOCK):
        rows = np.arange(at, min(at + BLOCK, n))
        xy[rows] = place(read(rows))
        block = codes.take(rows)
        weighted, mass = weighted + block.T @ xy[rows], mass + block.sum(axis=0)
        block.data[common[block.indices]] = 0
        block.eliminate_zeros()
        some, best = leaders(block)
        led[at + some] = best
    features = weighted / np.maximum(mass, 1e-12)[:, None]
    if model is not None:
        features = maps.project(unit(model.W_dec))[0]
    path = codes.path / "map.npz"
    part = path.with_name(f"map.{os.getpid()}.part")
    with part.open("wb") as file:
        found: Any = {"rows": xy, "features": features.astype(np.float32), "led": led}
        np.savez(file, method=method, **found)
    part.replace(path)
    return path


def prepare(path: str | Path, what: str) -> None:
    """Make the "map" or the text "index" of a corpus, if it is missing."""
    codes = Codes(path)
    if what == "index":
        text_index(codes)
    elif load_map(codes) is None:
        make_map(codes)


def plain(value: Any) -> Any:
    """Return a value as JSON knows it: lists and numbers of Python, null for NaN."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _changed(path: Path) -> int:
    """Return when a file was last written, in nanoseconds; 0 if there is none."""
    return path.stat().st_mtime_ns if path.exists() else 0
