"""Which calls find their prompt's beginning in the vendor's cache, and which have to write it there."""

from __future__ import annotations

import numpy as np
import polars as pl


def is_warm(attempts: pl.DataFrame, of_interest: pl.Expr, lifetime_seconds: int) -> pl.Series:
    """Whether each attempt of interest comes within the cache's lifetime after the one before it on the same model.

    A cache entry's life starts anew with each use. False for all other attempts.

    Args:
        attempts: any order; ``model``, ``started_ms`` and ``input_tokens`` are read.
        of_interest: the attempts that share the prefix; those without input never reached the vendor.
        lifetime_seconds: how long an unused entry lives.
    """
    ordered = (
        attempts.with_row_index("row")
        .filter(of_interest & (pl.col("input_tokens") > 0))
        .sort("model", "started_ms", "row")
        .with_columns(gap=pl.col("started_ms").diff().over("model"))
    )
    warm = np.zeros(len(attempts), dtype=bool)
    warm[ordered["row"].to_numpy()] = (ordered["gap"] <= lifetime_seconds * 1_000).fill_null(False).to_numpy()
    return pl.Series("is_warm", warm)
