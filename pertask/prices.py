"""Observed prices: what an imported list brought, and what became of the observations in the last publication."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from pertask.errors import QueryError
from pertask.query import as_text, connect
from pertask.screen import Screen, print_table

if TYPE_CHECKING:
    from ingest.runner import BatchResult
    from pertask.home import Home

FORMAT = "litellm_prices"
SOURCE = "prices"
"""The source that an imported list is stamped with unless another one is named."""

_LINES = 200
_COLUMNS = {
    "observed (UTC)": "strftime(observed_at, '%Y-%m-%d %H:%M')",
    "provider": "provider",
    "model": "model",
    "for": """concat_ws(', ', nullif(service_tier, 'standard'), nullif(region, ''), case
        when context_above_tokens > 0 then 'above ' || format('{:,}', context_above_tokens) || ' tokens' end)""",
    "component": "component",
    ">USD per million": "usd_per_million",
    "state": "state",
    "why": "held_reason",
}


def report_import(screen: Screen, results: list[BatchResult]) -> None:
    """Say how many observations came in, and what makes them count."""
    new = [result for result in results if result.state in ("committed", "replaced")]
    count = sum(result.rows_loaded for result in new)
    if any(result.state == "unchanged" for result in results):
        screen.say("prices: these observations are in the lake already")
    if new:
        screen.say(f"prices: {count:,} observation{'' if count == 1 else 's'} came in; {_left_out(new)}")
    if count:
        screen.say(
            "prices: pertask run checks them and prices calls with those that hold; then see pertask prices list"
        )


def _left_out(results: list[BatchResult]) -> str:
    skipped = sum(result.rows_skipped for result in results)
    quarantined = sum(result.rows_quarantined for result in results)
    return f"{skipped:,} of the list are nothing to price calls with, {quarantined:,} were quarantined"


def print_observations(home: Home, screen: Screen, *, only_held: bool) -> None:
    """Print what became of the observed prices, those that are held back first.

    Raises:
        QueryError: nothing is published yet, or the publication has no observed prices.
    """
    import duckdb

    columns = ", ".join(_COLUMNS.values())
    condition = "where state = 'held'" if only_held else ""
    with connect(home) as connection:
        try:
            counts = dict(
                connection.execute("select state, count(*) from quality.price_observations group by state").fetchall()
            )
            rows = connection.execute(
                f"""
                select {columns} from quality.price_observations {condition}
                order by
                    state != 'held', observed_at desc, provider, model, component, service_tier, region,
                    context_above_tokens
                limit {_LINES}
                """
            ).fetchall()
        except (duckdb.CatalogException, duckdb.BinderException) as error:
            raise QueryError(
                f"{home.published_file}: the publication has no observed prices (quality.price_observations); it is of "
                "an earlier version of pertask. Run pertask run, which replaces it."
            ) from error
    if not counts:
        screen.say("prices: none were observed. pertask prices import FILE brings in a list of prices.")
        return
    total = sum(counts.values())
    screen.say(
        f"prices: {total:,} observed: "
        + ", ".join(f"{counts.get(state, 0):,} {words}" for state, words in _STATES.items())
    )
    if rows:
        print_table(screen.console, list(_COLUMNS), [["" if v is None else as_text(v) for v in row] for row in rows])
    asked = counts.get("held", 0) if only_held else total
    if asked > len(rows):
        screen.console.print(
            Text(f'{asked - len(rows):,} more are not shown: pertask query "from quality.price_observations"')
        )
    if counts.get("held"):
        screen.say(
            f"A held price is not used until you decide: write the right price into {home.company / 'prices.csv'}."
        )


_STATES = {"used": "used", "not_needed": "not needed", "held": "held back"}
