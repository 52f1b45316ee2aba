"""What the ties to published figures share: mapping files in, and how concentrated the reported cost is."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tests.realdata.conftest import MAPPINGS, Home


def ingest(home: Home, path: Path, mapping: str, source: str) -> None:
    """Bring a file into the lake as a mapping file describes it."""
    home.run("ingest", path, "--format", "mapping", "--mapping", MAPPINGS / f"{mapping}.yml", "--source", source)


def company_prices(home: Home, rows: Iterable[tuple[str, str, str, str]]) -> None:
    """Prices of the company's own: provider, model, component, USD per million."""
    lines = ["provider,model,component,usd_per_million", *(",".join(row) for row in rows)]
    (home.folder / "company" / "prices.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def dearest_share(home: Home, where: str = "true") -> float:
    """Share in percent of the reported cost that the dearest fifth (rounded up) of the tasks has."""
    (row,) = home.query(
        f"""
        with tasks as (
            select task_id, sum(reported_cost_usd) as cost_usd
            from core.fct_call_attempts where {where} group by task_id
        ),
        ranked as (
            select
                cost_usd,
                row_number() over (order by cost_usd desc nulls last) as place,
                count(*) over () as tasks
            from tasks
        )
        select 100 * sum(cost_usd) filter (where place <= ceil(0.2 * tasks)) / sum(cost_usd) as share from ranked
        """
    )
    return float(row["share"])
