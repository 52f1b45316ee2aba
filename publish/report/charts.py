"""The report's charts, as Vega-Lite specifications.

Colours are the page's CSS variables, which the SVG renderer hands to the browser: a chart follows the reader's light or
dark scheme, and print, without being drawn again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from itertools import pairwise
from typing import Any

from publish.report.money import SYMBOLS

Rows = Iterable[dict[str, Any]]

COST_GROUPS = {
    "GPUs at work": ("var(--work)", ("gpu_active",)),
    "GPUs idle": ("var(--idle)", ("gpu_loaded_idle", "gpu_unallocated", "unused_commitment")),
    "GPUs unknown": ("var(--unknown)", ("gpu_unknown",)),
    "Model calls": ("var(--calls)", ("metered_calls", "unlogged_tokens")),
    "Other usage": ("var(--other)", ("other", "commitment_timing", "other_months", "unexplained")),
    "Tax less credits": ("var(--tax)", ("tax", "credits", "refunds")),
}
"""How a trend adds up the parts of a bill: colour and parts of each group, in the order of the stack."""

HEAT_STEPS = (0.1, 0.2, 0.4, 0.6, 0.8)


def trend(rows: Rows, month_names: dict[date, str], symbol: str) -> dict:
    """Cost by month, stacked by what it went to."""
    alt = _altair()
    group_of = {part: group for group, (_, parts) in COST_GROUPS.items() for part in parts}
    sums: dict[tuple[date, str], float] = {}
    for row in rows:
        if row["part"] in group_of and row["amount"] is not None:
            key = (row["bill_month"], group_of[row["part"]])
            sums[key] = sums.get(key, 0.0) + float(row["amount"])
    values = [
        {"month": month_names[month], "group": group, "amount": amount, "place": list(COST_GROUPS).index(group)}
        for (month, group), amount in sums.items()
    ]
    return _spec(
        alt.Chart(alt.Data(values=values))
        .mark_bar(width={"band": 0.55})
        .encode(
            x=alt.X(
                "month:N",
                sort=list(month_names.values()),
                title=None,
                axis=alt.Axis(labelAngle=0, labelOverlap="greedy"),
            ),
            y=alt.Y("amount:Q", title=None, axis=_money_axis(alt, symbol)),
            color=_colours(alt, "group", {group: colour for group, (colour, _) in COST_GROUPS.items()}),
            order=alt.Order("place:O"),
            tooltip=[
                alt.Tooltip("month:N", title="Month"),
                alt.Tooltip("group:N", title="Part"),
                alt.Tooltip("amount:Q", title="Amount", format=",.2f"),
            ],
        )
        .properties(height=260),
        symbol,
    )


def bill(rows: Sequence[dict[str, Any]], labels: dict[str, str], symbol: str) -> dict:
    """The parts of one month's cost, a bar each."""
    alt = _altair()
    colour_of = {part: colour for colour, parts in COST_GROUPS.values() for part in parts}
    values = [
        {"part": labels[row["part"]], "amount": float(row["amount"]), "colour": colour_of[row["part"]]}
        for row in rows
        if row["part"] in colour_of and row["amount"] is not None and abs(row["amount"]) >= 0.005
    ]
    return _spec(
        alt.Chart(alt.Data(values=values))
        .mark_bar(height={"band": 0.7})
        .encode(
            x=alt.X("amount:Q", title=None, axis=_money_axis(alt, symbol)),
            y=alt.Y(
                "part:N",
                sort=[value["part"] for value in values],
                title=None,
                axis=alt.Axis(labelLimit=alt.ExprRef("width < 420 ? 160 : 240")),
            ),
            color=alt.Color("colour:N", scale=None),
            tooltip=[alt.Tooltip("part:N", title="Part"), alt.Tooltip("amount:Q", title="Amount", format=",.2f")],
        )
        .properties(height=26 * len(values)),
        symbol,
    )


def tails(rows: Rows, symbol: str) -> dict:
    """From the median to the costliest hundredth of each task type's tasks, on a log scale."""
    alt = _altair()
    values = [
        {
            "task": row["task_name"],
            **{name: float(row[f"{name}_cost"]) for name in ("p50", "p90", "p99")},
        }
        for row in rows
        if row["p50_cost"]
    ]
    names = [value["task"] for value in values]
    base = alt.Chart(alt.Data(values=values)).encode(y=alt.Y("task:N", sort=names, title=None))
    scale = alt.Scale(type="log", nice=False, padding=12)
    axis = _money_axis(alt, symbol, pattern="~f", ticks=[float(f"1e{power}") for power in range(-9, 10)])
    line = base.mark_rule(strokeWidth=3, color="var(--grid-strong)").encode(
        x=alt.X("p50:Q", scale=scale, title=None, axis=axis), x2="p99:Q"
    )
    points = (
        base.transform_fold(["p50", "p90", "p99"], as_=["which", "cost"])
        .mark_point(filled=True, size=110, opacity=1)
        .encode(
            x=alt.X("cost:Q", scale=scale, title=None, axis=axis),
            color=_colours(alt, "which", {"p50": "var(--work)", "p90": "var(--calls)", "p99": "var(--idle)"}),
            shape=alt.Shape(
                "which:N", scale=alt.Scale(domain=["p50", "p90", "p99"], range=["circle", "square", "diamond"])
            ),
            tooltip=[
                alt.Tooltip("task:N", title="Task"),
                alt.Tooltip("which:N", title="Percentile"),
                alt.Tooltip("cost:Q", title="Cost", format=",.4~g"),
            ],
        )
    )
    return _spec((line + points).properties(height=28 * len(values)), symbol)


def stacked(
    rows: Rows, name_column: str, parts: dict[str, tuple[str, str]], symbol: str, names: dict[str, str] | None = None
) -> dict:
    """A bar a row, stacked by columns.

    Args:
        rows: the rows, in the order of the bars.
        name_column: what a bar is called.
        parts: label and colour of each column.
        symbol: the currency's sign.
        names: what a name is written as; others are written as they are.
    """
    alt = _altair()
    values = []
    order: dict[str, None] = {}
    for row in rows:
        name = (names or {}).get(row[name_column], row[name_column])
        order[name] = None
        for place, (column, (label, _)) in enumerate(parts.items()):
            if row[column]:
                values.append({"name": name, "part": label, "amount": float(row[column]), "place": place})
    kept = {value["name"] for value in values}
    return _spec(
        alt.Chart(alt.Data(values=values))
        .mark_bar(height={"band": 0.7})
        .encode(
            x=alt.X("amount:Q", title=None, axis=_money_axis(alt, symbol)),
            y=alt.Y("name:N", sort=[name for name in order if name in kept], title=None),
            color=_colours(alt, "part", dict(parts.values())),
            order=alt.Order("place:O"),
            tooltip=[
                alt.Tooltip("name:N", title="Name"),
                alt.Tooltip("part:N", title="Part"),
                alt.Tooltip("amount:Q", title="Amount", format=",.2f"),
            ],
        )
        .properties(height=28 * len(kept)),
        symbol,
    )


def heat(rows: Rows) -> dict:
    """How busy the GPUs of a site are by hour of its day."""
    alt = _altair()
    values = [{"site": site_name(row), "hour": row["local_hour"], "ratio": row["utilisation_ratio"]} for row in rows]
    steps = [0, *HEAT_STEPS, 1]
    labels = [f"{low * 100:.0f}\N{EN DASH}{high:.0%}" for low, high in pairwise(steps)]
    for value in values:
        value["step"] = labels[sum(value["ratio"] >= step for step in HEAT_STEPS)]
    return _spec(
        alt.Chart(alt.Data(values=values))
        .mark_rect(stroke="var(--card)", strokeWidth=1)
        .encode(
            x=alt.X(
                "hour:O",
                title="hour of the day, local time",
                scale=alt.Scale(domain=list(range(24)), paddingInner=0, paddingOuter=0),
                axis=alt.Axis(labelAngle=0, values=[0, 3, 6, 9, 12, 15, 18, 21], grid=False),
            ),
            y=alt.Y("site:N", title=None, scale=alt.Scale(paddingInner=0)),
            color=_colours(alt, "step", {label: f"var(--heat-{place})" for place, label in enumerate(labels)}),
            tooltip=[
                alt.Tooltip("site:N", title="Site"),
                alt.Tooltip("hour:O", title="Hour"),
                alt.Tooltip("ratio:Q", title="Busy", format=".1%"),
            ],
        )
        .properties(height=44 * len({value["site"] for value in values}))
    )


def site_name(row: dict[str, Any]) -> str:
    """A site, with the place that its clock is named after."""
    zone = row["time_zone"]
    return f"{row['site']} ({'UTC' if zone == 'UTC' else zone.split('/')[-1].replace('_', ' ')})"


def _altair() -> Any:
    import altair

    return altair


def _money_axis(alt: Any, symbol: str, pattern: str = ",~f", ticks: Sequence[float] = ()) -> Any:
    number = f"format(abs(datum.value), '{pattern}')"
    return alt.Axis(
        labelExpr=f"(datum.value < 0 ? '\N{MINUS SIGN}' : '') + '{symbol}' + {number}",
        **({"values": list(ticks)} if ticks else {"tickCount": 5}),
        labelOverlap=True,
    )


def _colours(alt: Any, column: str, colour_of: dict[str, str]) -> Any:
    return alt.Color(
        f"{column}:N",
        scale=alt.Scale(domain=list(colour_of), range=list(colour_of.values())),
        legend=alt.Legend(title=None, orient="top", columns=alt.ExprRef("width < 420 ? 2 : 6")),
    )


def _spec(chart: Any, symbol: str | None = None) -> dict:
    alt = _altair()
    text = {"labelColor": "var(--text-soft)", "titleColor": "var(--text-soft)", "labelFontSize": 13}
    font = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', sans-serif"
    spec = (
        chart.properties(width="container", autosize=alt.AutoSizeParams(type="fit-x", contains="padding"))
        .configure(background="transparent", font=font, padding={"left": 2, "top": 2, "right": 22, "bottom": 2})
        .configure_view(stroke=None)
        .configure_axis(
            **text,
            titleFontSize=13,
            titleFontWeight="normal",
            gridColor="var(--grid)",
            domainColor="var(--grid-strong)",
            tickColor="var(--grid-strong)",
            labelLimit=160,
        )
        .configure_axisY(ticks=False, domain=False, labelPadding=8)
        .configure_legend(**text, symbolType="square", labelLimit=200)
        .to_dict()
    )
    if symbol == SYMBOLS["INR"]:
        locale = {"decimal": ".", "thousands": ",", "grouping": [3, 2, 2, 2, 2, 2], "currency": [symbol, ""]}
        spec["usermeta"] = {"embedOptions": {"formatLocale": locale}}
    return spec
