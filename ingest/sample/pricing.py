"""What the attempts cost, in integers of 1e-12 USD: the truth that the marts are held against.

Nothing here is shared with the warehouse: prices come from ``world``, the arithmetic is numpy's.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import numpy as np
import polars as pl

from ingest.sample.world import MODELS, PRICE_CUT, epoch_ms

UNITS_PER_USD = 10**12
_COMPONENTS = (
    "input_tokens",
    "cache_read_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
    "output_tokens",
)


def price(attempts: pl.DataFrame) -> pl.DataFrame:
    """Add ``cost`` (1e-12 USD, null where unpriced), ``unpriced_reason`` and ``list_cost`` (before the price cut).

    Calls to the company's own servers have no price: ``allocation`` works out what they cost.
    """
    started = attempts["started_ms"].to_numpy()
    is_later = started >= epoch_ms(PRICE_CUT)
    models = attempts["model"].to_numpy()
    tokens = {name: attempts[name].to_numpy() for name in _COMPONENTS}
    cached = tokens["cache_read_tokens"] + tokens["cache_write_5m_tokens"] + tokens["cache_write_1h_tokens"]
    if (cached > tokens["input_tokens"]).any():
        raise AssertionError("an attempt has more cached tokens than input tokens")
    tokens["input_tokens"] = tokens["input_tokens"] - cached
    cost = np.zeros(len(attempts), np.int64)
    early_cost = np.zeros(len(attempts), np.int64)
    is_priced = np.zeros(len(attempts), dtype=bool)
    for model in MODELS.values():
        is_model = models == model.name
        if not model.prices:
            continue
        is_priced |= is_model
        early, late = _units(model.prices), _units(model.later or model.prices)
        for name, before, after in zip(_COMPONENTS, early, late, strict=True):
            if before is None and tokens[name][is_model].any():
                raise AssertionError(f"{model.name} has {name} but no price for them")
            of_model = np.where(is_model, tokens[name], 0)
            early_cost += of_model * (before or 0)
            cost += of_model * np.where(is_later, after or 0, before or 0)
    is_own = attempts["model"].is_in([model.name for model in MODELS.values() if model.provider == "hosted_vllm"])
    return attempts.with_columns(
        cost=pl.when(pl.Series(is_priced)).then(pl.Series(cost)),
        list_cost=pl.when(pl.Series(is_priced)).then(pl.Series(early_cost)),
        unpriced_reason=pl.when(~pl.Series(is_priced) & ~is_own).then(pl.lit("no_price")),
    )


def _units(prices: tuple[str | None, ...]) -> list[int | None]:
    """USD per million tokens -> 1e-12 USD per token."""
    return [None if value is None else int(Decimal(value) * 1_000_000) for value in prices]


def usd(units: int | None) -> str | None:
    """A decimal string of an amount in 1e-12 USD."""
    if units is None:
        return None
    sign, units = ("-" if units < 0 else ""), abs(int(units))
    return f"{sign}{units // UNITS_PER_USD}.{units % UNITS_PER_USD:012d}"


def usd_column(name: str) -> pl.Expr:
    """The same for a whole column."""
    units = pl.col(name)
    whole, rest = units.abs() // UNITS_PER_USD, units.abs() % UNITS_PER_USD
    sign = pl.when(units < 0).then(pl.lit("-")).otherwise(pl.lit(""))
    return pl.format("{}{}.{}", sign, whole, rest.cast(pl.String).str.zfill(12)).alias(name)


def moment(milliseconds: int) -> datetime:
    """A UTC-naive datetime of milliseconds since 1970."""
    return datetime.fromtimestamp(milliseconds / 1_000)
