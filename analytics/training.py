"""Training of class models (离线训练): stored readings in, a file of arrays out.

scikit-learn grows the forest; the trees are then taken out as arrays, and scikit-learn is never
needed to judge by them, nor is anything ever unpickled.
"""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import psycopg
from psycopg import sql

from analytics.forest import ClassForest, Floats, usual_depth, write_model
from core.errors import ConfigError, NotFoundError
from core.model import Quality
from devices import KINDS
from devices.class_model import ClassModel
from devices.kind import DeviceKind

LEAST_ROWS: Final = 1_000
_MOST_ROWS: Final = 200_000
_SAMPLE: Final = 256  # of each tree; Liu, Ting and Zhou
_SEED: Final = 7
_BAD: Final = int(Quality.OUT_OF_RANGE | Quality.SENSOR_FAULT)

SELECT_ROWS: Final = sql.SQL("""
SELECT {features} FROM {table} WHERE ts >= %(begin)s AND ts < %(end)s AND quality & {bad} = 0
   AND {whole} AND {when} ORDER BY md5(device_no::text || ts::text) LIMIT %(most)s
""")
INSERT_MODEL: Final = """
INSERT INTO hub.model (model_hash, kind, features, trained_at, window_from, window_to, row_count,
                       library, file_name)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (model_hash) DO UPDATE SET trained_at = excluded.trained_at, state = 'active'
"""


@dataclass(frozen=True, slots=True)
class Trained:
    """What training made.

    Attributes:
        model_hash: SHA-256 of the file.
        path: The file.
        rows: Training rows.
        library: What grew the forest, with its version.
    """

    model_hash: str
    path: Path
    rows: int
    library: str


def watch_of(kind_name: str) -> tuple[DeviceKind, ClassModel]:
    """Return a kind and its class model.

    Raises:
        NotFoundError: There is no such kind, or it has no class model.
    """
    able = {
        kind.name: (kind, watch)
        for kind in KINDS.values()
        for watch in kind.watches
        if isinstance(watch, ClassModel)
    }
    if kind_name not in able:
        raise NotFoundError(f"{kind_name!r} has no class model; these have: {', '.join(able)}")
    return able[kind_name]


def train(
    conn: psycopg.Connection[Any],
    kind_name: str,
    *,
    begin: datetime,
    end: datetime,
    folder: Path,
    now: datetime,
    trees: int = 100,
) -> Trained:
    """Train on the readings of a window, write the file and let the database know its hash.

    Args:
        conn: The database.
        kind_name: Of which kind.
        begin: Of the window.
        end: Of the window, not included.
        folder: Where models are kept.
        now: When this is.
        trees: How many.

    Raises:
        ConfigError: scikit-learn is not installed, or there are too few readings.
        NotFoundError: There is no such kind, or it has no class model.
    """
    library = find_library()
    kind, watch = watch_of(kind_name)
    query = SELECT_ROWS.format(
        features=sql.SQL(", ").join(
            sql.SQL("{}::float8").format(sql.Identifier(name)) for name in watch.features
        ),
        table=kind.table.identifier,
        bad=sql.Literal(_BAD),
        whole=sql.SQL(" AND ").join(
            sql.SQL("{} IS NOT NULL").format(sql.Identifier(name)) for name in watch.features
        ),
        when=sql.SQL("{} >= 0.5").format(sql.Identifier(watch.when))
        if watch.when
        else sql.SQL("true"),
    )
    rows = conn.execute(query, {"begin": begin, "end": end, "most": _MOST_ROWS}).fetchall()
    if len(rows) < LEAST_ROWS:
        raise ConfigError(
            f"{len(rows)} readings of {kind_name} in this window; training wants {LEAST_ROWS}"
        )
    model = grow(np.array(rows, np.float64), trees=trees)
    digest, path = write_model(model, folder)
    window = (begin, end, len(rows), library, path.name)
    conn.execute(INSERT_MODEL, [digest, kind_name, list(watch.features), now, *window])
    return Trained(digest, path, len(rows), library)


def find_library() -> str:
    """Return the library that grows forests, with its version.

    Raises:
        ConfigError: It is not installed.
    """
    try:
        import sklearn  # noqa: PLC0415 - an extra that only training needs
    except ImportError as error:
        raise ConfigError(
            "training needs scikit-learn, which is an extra: pip install 'cityhub[train]'"
        ) from error
    return f"scikit-learn {sklearn.__version__}"


def grow(x: Floats, *, trees: int) -> ClassForest:
    """Fit whitening and forest to rows ``(n, k)``; the same rows give the same model."""
    from sklearn.ensemble import IsolationForest  # noqa: PLC0415 - likewise

    mean = x.mean(axis=0)
    spread = np.atleast_2d(np.cov(x.T)) + np.diag(np.maximum(x.var(axis=0), 1e-12) * 1e-6)
    white = np.linalg.inv(np.linalg.cholesky(spread))
    sample = min(_SAMPLE, len(x))
    forest = IsolationForest(n_estimators=trees, max_samples=sample, random_state=_SEED)
    forest.fit((x - mean) @ white.T)
    arrays: dict[str, list[Any]] = {"feature": [], "cut": [], "left": [], "right": [], "depth": []}
    roots = [0]
    for estimator in forest.estimators_:
        tree = estimator.tree_
        leaf = tree.children_left < 0
        arrays["feature"].append(np.where(leaf, -1, tree.feature).astype(np.int32))
        arrays["cut"].append(tree.threshold)
        arrays["left"].append(tree.children_left.astype(np.int32))
        arrays["right"].append(tree.children_right.astype(np.int32))
        parted = usual_depth(tree.n_node_samples.astype(np.float64))
        arrays["depth"].append(np.where(leaf, _depths(tree) + parted, 0.0))
        roots.append(roots[-1] + len(leaf))
    nodes = {name: np.concatenate(parts) for name, parts in arrays.items()}
    numbers = {"sample": np.array(float(sample)), "roots": np.array(roots, np.int32)}
    model = ClassForest(mean=mean, white=white, far=mean[0], odd=mean[0], **numbers, **nodes)
    far, odd = np.quantile(model.distance(x), 0.95), np.quantile(model.score(x), 0.99)
    return ClassForest(mean, white, np.array(far), np.array(odd), **numbers, **nodes)


def _depths(tree: Any) -> Floats:
    """Return the depth of each node; children come after their parent."""
    depth = np.zeros(tree.node_count)
    for node in range(tree.node_count):
        for child in (tree.children_left[node], tree.children_right[node]):
            if child > 0:
                depth[child] = depth[node] + 1
    return depth
