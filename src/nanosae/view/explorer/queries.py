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

# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pandas' stubs see arrays for columns, and tuples for rows

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from nanosae.analysis.reading import run_model
from nanosae.analysis.search import search
from nanosae.analysis.text_index import find_texts, has_index, rows_with, text_index
from nanosae.analysis.topics import leaders
from nanosae.codes import Codes
from nanosae.runs import annotations as edits
from nanosae.runs.tables import known_labels, load_features, tag
from nanosae.view import maps
from nanosae.view.files import changed, read_arrays, read_json
from nanosae.view.pages import to_json
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

Answer = dict[str, Any]


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
        self.run, self.codes = Path(run), Codes.open(run, name)
        self._jobs: dict[str, subprocess.Popen] = {}
        self.path = self.codes.path
        self.counts, self.model = self.codes.counts, run_model(self.codes)
        self.directions = None if self.model is None else self.model.directions()
        self.order = np.random.default_rng(0).permutation(self.codes.n_rows).astype(np.uint32)
        edits.names(self.run)
        once: Any = functools.lru_cache
        self._table = once(1)(lambda _: load_features(self.run).set_index("feature"))
        self._names = once(1)(lambda *_: known_labels(self.codes))
        self._map = once(1)(lambda _: load_map(self.codes))
        self._shuffled = once(1)(lambda _: np.ascontiguousarray(self.map["rows"][self.order].T))
        self._rows, self._column = once(16)(self._select), once(8)(self._read_column)
        self._places = once(4)(self._find_regions)
        self._base = once(32)(lambda row, query, *_: search(self.codes, query, row=row, n=100))

    @property
    def table(self) -> pd.DataFrame:
        """The run's feature table, read again when it has changed."""
        return self._table(changed(self.run / "features.parquet"))

    @property
    def names(self) -> dict[int, str]:
        """Names and labels of features, read again when they have changed."""
        return self._names(*self._version())

    @property
    def map(self) -> Any:
        """What `make_map` keeps, or None."""
        return self._map(changed(self.path / "map.npz"))

    def state(self) -> Answer:
        """Say what the run holds, and which command adds what it lacks."""
        codes, table, jobs = self.codes, self.table, self._jobs.items()
        lacks = (
            ("texts", not codes.has_texts, "encode {} DATA --texts FILE"),
            ("steering", self.model is None, "train DATA -o {}"),
            ("labels", codes.has_texts and "label" not in table, "label {}"),
            ("families", "family" not in table, "families {}"),
            ("near misses", codes.has_vectors and "near_misses" not in table, "describe {}"),
        )
        return {
            "run": self.run.resolve().name,
            "corpus": codes.name,
            "rows": codes.n_rows,
            "features": int((self.counts > 0).sum()),
            "texts": codes.has_texts,
            "steer": self.model is not None,
            "colors": [name for name in ("family", "topic") if name in table],
            "columns": codes.columns,
            "adds": {w: f"nanosae {how.format(self.run)}" for w, lacking, how in lacks if lacking},
            "tags": edits.tags(self.run, codes.name),
            "map": self.map["method"].item() if self.map else None,
            "index": has_index(codes) if codes.has_texts else None,
            "jobs": {w: "failed" if j.returncode else "working" for w, j in jobs if j.poll() != 0},
        }

    def start(self) -> None:
        """Start making what is missing, the map and the index, in processes of their own.

        What goes wrong there is said on the terminal.
        """
        state = self.state()
        code = (
            "import sys; from nanosae.view.explorer.queries import prepare; prepare(*sys.argv[1:])"
        )
        for what in ["map"] * (not state["map"]) + ["index"] * (state["index"] is False):
            command = [sys.executable, "-c", code, str(self.path), what]
            self._jobs[what] = subprocess.Popen(command, stdin=subprocess.DEVNULL)

    def stop(self) -> None:
        """End what is still running; nothing half-made stays under its final name."""
        for job in self._jobs.values():
            job.terminate()
            job.wait()

    # ── features ──

    def features(
        self, words: str = "", sort: str = "score", marked: bool = False, at: int = 0
    ) -> Answer:
        """List features whose name holds the words (or whose number it is), a page of lines.

        `sort` is "score" (of the label), "rows" or "name"; `marked` asks for bookmarks only.
        """
        names, kept = self.names, edits.bookmarks(self.run)
        known = self.table.reindex(index=range(len(self.counts)), columns=["label_auc"])
        scores = known["label_auc"].to_numpy(float)  # how well its words find unseen texts, or NaN
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
        fields = ("feature", "name", "rows", "score", "marked")
        lines = [(j, names.get(j, ""), self.counts[j], scores[j], j in kept) for j in page]
        return {"total": len(ids), "lines": [dict(zip(fields, x, strict=True)) for x in lines]}

    def card(self, j: int) -> Answer:
        """Say what is known of a feature."""
        rows, acts = self.codes.feature(j)
        n, order, peak = len(rows), np.argsort(-acts, kind="stable"), float(acts.max(initial=0))
        middles = order[((np.arange(min(n, 10)) + 0.5) * n / 10).astype(np.int64)]
        examples = {"strongest": rows[order[:10]], "from strong to weak": rows[middles]}
        line = self.table.loc[j].to_dict() if j in self.table.index else {}
        if line.get("n_active") == n:  # this corpus was described, not another
            kinds = ("near_misses", "hard_negatives")
            examples |= {k.replace("_", " "): np.array(line.get(k, []), int) for k in kinds}
        said = ("label", "label_auc", "label_f1", "llm_label", "keywords", "health")
        family = self._groups("family")
        return {
            "feature": j,
            "name": self.names.get(j, ""),
            "named": j in edits.names(self.run),
            "marked": j in edits.bookmarks(self.run),
            "rows": n,
            "density": n / max(self.codes.n_rows, 1),
            "mean": acts.mean() if n else 0.0,
            "max": peak,
            "histogram": np.histogram(acts, 20, (0, peak or 1))[0],
            "facts": {name: line[name] for name in said if name in line},
            "family": None if family is None else family[1].get(int(family[0][j])),
            "examples": {what: self._texts(r, j) for what, r in examples.items() if len(r)},
            "near": self._neighbours(j),
            "partners": self._partners(j, rows),
        }

    def _neighbours(self, j: int) -> list:
        """Return the features with the most alike directions and their cosines."""
        if self.directions is None:
            return []
        cosine = self.directions @ self.directions[j]
        cosine[self.counts == 0] = cosine[j] = -1
        return self._best(cosine)

    def _partners(self, j: int, rows: np.ndarray) -> list:
        """Return what is most surely active with a feature (NPMI), on a sample of its rows."""
        some = rows[:: max(1, -(-len(rows) // PARTNERS))]
        met = np.bincount(self.codes.take(some).indices, minlength=len(self.counts))
        n, share = self.codes.n_rows, met / max(len(some), 1)
        with np.errstate(divide="ignore", invalid="ignore"):
            both = share * len(rows) / n
            npmi = np.log(share * n / self.counts) / -np.log(both)
        npmi[(met < 5) | (both >= 1) | ~(npmi > 0)] = -1
        npmi[j] = -1
        return self._best(npmi)

    def _best(self, values: np.ndarray) -> list:
        best = np.argsort(-values, kind="stable")[:8].tolist()
        return [[i, self.names.get(i, ""), values[i]] for i in best if values[i] > -1]

    # ── rows ──

    def rows(self, where: Answer | None) -> np.ndarray:
        """Return the rows of a selection, int32: best first, or ascending if none is better."""
        where = where or {}
        if self.map is None and where.keys() & {"lasso", "led"}:
            raise ValueError("The map is not ready yet.")
        files = self.run / "user.sqlite", self.path / "map.npz"
        return self._rows(json.dumps(where, sort_keys=True), *map(changed, files))

    def texts(self, where: Answer | None = None, at: int = 0) -> Answer:
        """List rows of a selection, a page of lines."""
        rows = self.rows(where)
        names = {j: self.names.get(j, "") for j in (where or {}).get("features", [])}
        return {"total": len(rows), "names": names, "lines": self._texts(rows[at : at + PAGE])}

    def row(self, i: int) -> Answer:
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

    def steer(
        self, row: int | None = None, query: str | None = None, edit: Answer | None = None
    ) -> Answer:
        """Rank rows by a row or a text, with some of its features changed.

        Each hit says where it was in the ranking before the change, if it was among the first 100.
        """
        before = self._base(row, query, *self._version())
        moved: Any = {int(j): float(value) for j, value in (edit or {}).items()}
        after = search(self.codes, query, row=row, edit=moved, n=PAGE) if moved else before
        place = {hit.row: i for i, hit in enumerate(before.hits)}
        hits = [
            {"row": h.row, "score": h.score, "text": h.text[:SHOWN], "was": place.get(h.row)}
            for h in after.hits[:PAGE]
        ]
        names = {j: self.names.get(j, "") for j in moved}
        return {"note": after.note, "features": before.features, "names": names, "hits": hits}

    def contrast(self, where: Answer | None = None) -> Answer:
        """Say which features tell a selection from the other rows, on a sample of both."""
        from nanosae.analysis.contrast import contrast

        inside = self.rows(where)
        others = np.setdiff1d(np.arange(self.codes.n_rows, dtype=np.int32), inside)
        if min(len(inside), len(others)) < 2:
            raise ValueError(f"{len(inside):,} rows against {len(others):,}: nothing to compare.")
        rng = np.random.default_rng(0)
        a, b = (r[rng.permutation(len(r))[:COMPARED]].astype(np.int64) for r in (inside, others))
        found = contrast(self.codes, a, b, labels=self.names)
        table = found.findings
        table = table[~table["feature"].isin((where or {}).get("features", []))].head(30)
        sizes = {"rows": len(inside), "compared": [len(a), len(b)], "notes": found.about["notes"]}
        sizes |= {"held_out": found.about["n_held_out"], "tests": found.about["n_tested"]}
        return sizes | {"findings": table.to_dict(orient="records")}

    def export(self, where: Answer | None = None) -> Iterator[str]:
        """Return a CSV of a selection: row, text, columns, activations of its features, tags."""
        rows, asked, name = self.rows(where), (where or {}).get("features", []), self.codes.name
        tags = {t: edits.tagged(self.run, name, t) for t in edits.tags(self.run, name)}

        def part(at: int) -> str:
            table = tag(self.codes, asked, rows=rows[at : at + BLOCK])
            has = {t: table["row"].isin(known).to_list() for t, known in tags.items()}
            table["tags"] = ["|".join(t for t in has if has[t][i]) for i in range(len(table))]
            return table.to_csv(index=False, header=at == 0)

        return map(part, range(0, max(len(rows), 1), BLOCK))

    def _select(self, key: str, *_: int) -> np.ndarray:
        where, codes = json.loads(key), self.codes
        columns = [codes.feature(j) for j in where.get("features", [])]
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
            ids, names = self._column(value[0])
            return np.flatnonzero(ids == (names.index(value[1]) if value[1] in names else -2))
        if kind == "lasso":
            return np.flatnonzero(inside(self.map["rows"], value))
        if kind == "led":
            led = np.append(inside(self.map["features"], value), False)
            return np.flatnonzero(led[self.map["led"]])
        raise ValueError(f"no condition {kind!r} is known.")

    def _texts(self, rows: np.ndarray, j: int | None = None) -> list[Answer]:
        """Return rows with their texts, strongest features and the activation of feature `j`."""
        codes, names, lines = self.codes, self.names, []
        block: Any = codes.take(rows)
        texts = codes.texts(rows) if codes.has_texts else [""] * len(rows)
        acts = [None] * len(rows) if j is None else block[:, [j]].toarray().ravel().tolist()
        for i, (row, text) in enumerate(zip(np.asarray(rows).tolist(), texts, strict=True)):
            here = slice(block.indptr[i], block.indptr[i + 1])
            best = block.indices[here][np.argsort(-block.data[here], kind="stable")[:3]].tolist()
            line = {"row": row, "text": text[:SHOWN], "activation": acts[i]}
            lines.append(line | {"features": [[b, names.get(b, "")] for b in best]})
        return lines

    def _version(self) -> tuple[int, ...]:
        return tuple(changed(self.run / name) for name in ("features.parquet", "user.sqlite"))

    # ── what people change ──

    def rename(self, feature: int, name: str) -> Answer:
        """Give a feature a name, at most 200 characters; an empty one gives its label back."""
        self.codes.features([feature])  # it must exist
        edits.rename(self.run, feature, " ".join(name.split())[:200])
        return {"name": self.names.get(feature, "")}

    def bookmark(self, feature: int, on: bool) -> Answer:
        """Set or remove a bookmark."""
        self.codes.features([feature])
        edits.bookmark(self.run, feature, on)
        return {"marked": on}

    def tag(
        self, tag: str, where: Answer | None = None, rows: list[int] | None = None, on: bool = True
    ) -> Answer:
        """Put a tag on rows, or on all of a selection; or take it off."""
        chosen = self.rows(where) if rows is None else np.asarray(rows, np.int64)
        edits.tag(self.run, self.codes.name, str(tag), chosen.tolist(), on)
        return {"tags": edits.tags(self.run, self.codes.name), "rows": len(chosen)}

    # ── maps ──

    def points(
        self, kind: str, color: str = "", where: Answer | None = None, box: list | None = None
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
            ids, (x, y) = self.order, self._shuffled(changed(self.path / "map.npz"))
            marked = np.zeros(len(ids), bool)
            marked[self._preferred(color, where)] = True
            marked = marked[ids]
        else:
            ids = np.flatnonzero(self.counts).astype(np.uint32)
            x, y = np.ascontiguousarray(self.map["features"][ids].T)
            marked = np.isin(ids, (where or {}).get("features", []))
        low, high = ([end(v) if len(v) else 0 for v in (x, y)] for end in (np.min, np.max))
        edge = 0.03 * np.subtract(high, low) + 1e-9
        whole = [*(low - edge), *(high + edge)]
        x0, y0, x1, y1 = map(float, box or whole)
        here = np.flatnonzero((x >= x0) & (x <= x1) & (y >= y0) & (y <= y1))
        first = here[marked[here]][: POINTS // 2]
        then = here[~marked[here]][: POINTS - len(first)]
        sent, (w, h) = np.concatenate([then, first]), RASTER
        legend, values = self._colors(kind, color, ids[sent].astype(np.int64))
        right = np.minimum(((x[here] - x0) * (w / (x1 - x0))).astype(np.int32), w - 1)
        up = np.minimum(((y[here] - y0) * (h / (y1 - y0))).astype(np.int32), h - 1)
        dense = np.log1p(np.bincount(up * w + right, minlength=w * h))
        head = {"n": len(sent), "inside": len(here), "total": len(ids), "legend": legend}
        head |= {"box": [x0, y0, x1, y1], "whole": whole, "raster": RASTER, "marked": len(first)}
        text = to_json(head).encode()
        text += b" " * (-len(text) % 4)
        xy, values = np.stack([x[sent], y[sent]], 1), values.astype(np.float32)
        dense = (255 * dense / max(dense.max(), 1e-9)).astype(np.uint8)
        arrays = (ids[sent], xy, values, marked[sent], dense)
        parts = [np.uint32(len(text)).tobytes(), text, *(array.tobytes() for array in arrays)]
        return b"".join(parts)

    def regions(self, kind: str) -> list[Answer]:
        """Return words for the dense places of a map, and where to write them."""
        return self._places(kind, changed(self.path / "map.npz"), *self._version())

    def _find_regions(self, kind: str, *_: int) -> list[Answer]:
        if kind == "rows":
            return json.loads(self.map["regions"].item())
        ids = np.flatnonzero(self.counts)
        names = {i: self.names.get(j, "") for i, j in enumerate(ids.tolist())}
        return name_regions(self.map["features"][ids], names)

    def _preferred(self, color: str, where: Answer | None) -> np.ndarray:
        """Return the rows to show before others."""
        how, _, what = color.partition(":")
        if where:
            return self.rows(where)
        return self.codes.feature(int(what))[0] if how == "feature" else np.zeros(0, np.int64)

    def _colors(self, kind: str, color: str, ids: np.ndarray) -> tuple[Answer, np.ndarray]:
        """Return a legend, and each point's place in it or value; NaN or −1: none of these."""
        how, _, what = color.partition(":")
        if how == "feature":
            j, values = int(what), np.full(len(ids), np.nan)
            called = f"“{self.names[j]}”" if j in self.names else f"feature {j}"
            if kind == "rows":
                values = np.full(self.codes.n_rows, np.nan, np.float32)
                rows, acts = self.codes.feature(j)
                values[rows] = acts
                return _legend(f"activation of {called}", values[ids], [])
            if self.directions is not None:
                values = (self.directions @ self.directions[j])[ids]
            return _legend(f"cosine to {called}", values, [])
        if how == "column":
            values, names = self._column(what)
            if kind == "rows":
                return _legend(what, values[ids], names)
            title = f"{what}: {'most typical' if names else 'mean'}"
            return _legend(title, self._of_features(what)[ids], names)
        groups = self._groups(how)
        if groups is None:
            return {"kind": "none", "title": ""}, np.zeros(len(ids))
        of, names = groups
        places = of if kind == "features" else np.append(of, -1)[self.map["led"]]
        return _legend(how, places[ids], list(names.values()))

    def _groups(self, how: str) -> tuple[np.ndarray, dict[int, str]] | None:
        """Return each feature's family or topic, largest first (−1: none), and their names."""
        if how not in ("family", "topic") or how not in self.table:
            return None
        of, known = np.full(len(self.counts), -1), self.table[how].fillna(-1).astype(np.int64)
        of[known.index] = known
        sizes, names = np.bincount(of[of >= 0], minlength=1), {}
        order = np.argsort(-sizes, kind="stable")
        if how == "family" and (found := read_json(self.run / "families.json")):
            names = {line["family"]: line["label"] for line in found["families"]}
        if how == "topic" and (path := self.run / "topics.parquet").exists():
            import pandas as pd

            lines = pd.read_parquet(path, columns=["Topic", "Representation"]).itertuples()
            names = {line.Topic: ", ".join(line.Representation[:3]) for line in lines}
        shown = {i: names.get(int(g), f"{how} {g}") for i, g in enumerate(order) if sizes[g]}
        return np.append(np.argsort(order), -1)[of], shown

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
        return np.append(np.argsort(order), -1).astype(np.int32)[ids], [
            str(names[i]) for i in order
        ]

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


def _legend(title: str, values: np.ndarray, names: list[str]) -> tuple[Answer, np.ndarray]:
    """Return a legend of groups, the largest of which have colours, or without names of numbers."""
    if names:
        entries = [{"name": n, "color": c} for n, c in zip(names, COLORS, strict=False)]
        entries += [{"name": "others", "color": MUTED}] * (len(names) > len(COLORS))
        groups = {"kind": "groups", "title": title, "entries": entries}
        return groups, np.minimum(values, len(COLORS))
    known = values[np.isfinite(values)]
    low, high = (known.min(), known.max()) if len(known) else (0.0, 1.0)
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
    found = read_arrays(codes.path / "map.npz") or {}
    try:
        json.loads(found["regions"].item())
        sizes = len(found["rows"]), len(found["led"]), len(found["features"])
    except (KeyError, ValueError):
        return None
    return found if sizes == (codes.n_rows, codes.n_rows, codes.n_features) else None


def name_regions(points: np.ndarray, names: dict[int, str]) -> list[Answer]:
    """Return words for the dense places among points, and where to write them."""
    found = maps.labels(points, maps.clusters(points), names, 900, 600)
    return [{"text": text, "x": x, "y": y} for text, (x, y) in found]


def make_map(codes: Codes) -> Path:
    """Place rows and features in the plane and find each row's strongest feature.

    Written beside the codes in one step, `map.npz`: `rows` (n_rows, 2) and `features` (n_features,
    2) float32, `led` (n_rows,) int32 (−1: nothing is active), `regions` of rows (JSON), `method`.
    Rows lie by their embeddings, or without those by what the codes decode to; features by their
    directions, or without a model at the middle of their rows.
    """
    model, n = run_model(codes), codes.n_rows
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
        features = maps.project(model.W_dec)[0]
    texts = codes.texts(sample).tolist() if codes.has_texts else []
    regions = name_regions(xy[sample], dict(enumerate(texts)))
    path = codes.path / "map.npz"
    part = path.with_name(f"map.{os.getpid()}.part")
    with part.open("wb") as file:
        found: Any = {"rows": xy, "features": features.astype(np.float32), "led": led}
        np.savez(file, method=method, regions=json.dumps(regions), **found)
    part.replace(path)
    return path


def prepare(path: str | Path, what: str) -> None:
    """Make the "map" or the text "index" of a corpus, if it is missing."""
    codes = Codes(path)
    for stale in (*codes.path.glob("map.*.part"), *codes.path.glob("texts.*.part")):
        if time.time() - stale.stat().st_mtime > 3600:  # of a process that was killed
            stale.unlink()
    if what == "index":
        text_index(codes)
    elif load_map(codes) is None:
        make_map(codes)
