"""Great Expectations: small tables against expectations, and the pages (Data Docs) that show both.

Great Expectations takes seconds to import, so that only ``run`` imports it. Its context lives in memory; of its own
site only the page of a validation is used, made readable without the style sheets and scripts that it would load from
the network.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pertask.checks.results import Severity

if TYPE_CHECKING:
    from great_expectations.core import ExpectationSuiteValidationResult
    from great_expectations.expectations.expectation import Expectation

PLACE = "place"
"""The column that names a row of a table; no two rows share it."""


@dataclass(frozen=True)
class Rule:
    """What is expected of one column of a table; rows in which the column or its bound is null are passed over.

    Attributes:
        check: name of the check that the rule belongs to.
        column: the column.
        bound: a number, or the column that holds each row's own bound.
        is_floor: whether the bound is the least that is expected, instead of the most.
        severity: whether a failure blocks.
        about: what the rule is for, shown beside it.
    """

    check: str
    column: str
    bound: float | str
    severity: Severity
    about: str
    is_floor: bool = False


@dataclass(frozen=True)
class Suite:
    """A table and the rules that it must obey; ``rows`` all have the same keys, ``place`` among them."""

    name: str
    rows: list[dict[str, Any]]
    rules: list[Rule]


@dataclass(frozen=True)
class Failure:
    """A row that breaks a rule."""

    suite: str
    rule: Rule
    place: str


def run(suites: list[Suite], folder: Path) -> list[Failure]:
    """Validate tables and write a page for each.

    Args:
        suites: what to validate; those without rows or rules are passed over.
        folder: where the pages go, one ``<suite>.html`` each; what is in it is replaced.

    Returns:
        Every row that breaks a rule.
    """
    shutil.rmtree(folder, ignore_errors=True)
    suites = [suite for suite in suites if suite.rows and suite.rules]
    if not suites:
        return []
    # Great Expectations reads it at import
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    with _without_spark():
        import great_expectations as gx
        import great_expectations.expectations
        import great_expectations.render.view
        import pandas as pd
        from great_expectations.data_context.types.base import (
            DataContextConfig,
            InMemoryStoreBackendDefaults,
            ProgressBarsConfig,
        )

    context = gx.get_context(
        mode="ephemeral",
        project_config=DataContextConfig(
            store_backend_defaults=InMemoryStoreBackendDefaults(init_temp_docs_sites=False),
            progress_bars=ProgressBarsConfig(globally=False),
            analytics_enabled=False,
        ),
    )
    source = context.data_sources.add_pandas("profiles")
    folder.mkdir(parents=True)
    failures = []
    for suite in suites:
        asset = source.add_dataframe_asset(suite.name)
        validation = context.validation_definitions.add(
            gx.ValidationDefinition(
                name=suite.name,
                data=asset.add_batch_definition_whole_dataframe("run"),
                suite=context.suites.add(
                    gx.ExpectationSuite(name=suite.name, expectations=[_expectation(rule) for rule in suite.rules])
                ),
            )
        )
        result = validation.run(
            # objects keep whole numbers, exact decimals and nulls as they are
            batch_parameters={"dataframe": pd.DataFrame(suite.rows, dtype=object)},
            result_format={"result_format": "COMPLETE", "unexpected_index_column_names": [PLACE]},
        )
        failures.extend(_failures(suite, result))
        (folder / f"{suite.name}.html").write_text(_page(result), encoding="utf-8")
    return failures


@contextlib.contextmanager
def _without_spark() -> Iterator[None]:
    """Keep imports within from finding pyspark, which Great Expectations imports where it is installed.

    It is of no use for pandas' tables, takes a second, and ends the whole process where the main module has no file.
    """
    known = sys.modules.get("pyspark")
    # what the import system takes for a package that is not there
    sys.modules["pyspark"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules["pyspark"]
        if known is not None:
            sys.modules["pyspark"] = known


def _expectation(rule: Rule) -> Expectation:
    import great_expectations.expectations as gxe

    said = {
        "severity": "critical" if rule.severity == "error" else "warning",
        "meta": {"check": rule.check},
        "notes": rule.about,
    }
    if isinstance(rule.bound, str):
        larger, smaller = (rule.column, rule.bound) if rule.is_floor else (rule.bound, rule.column)
        return gxe.ExpectColumnPairValuesAToBeGreaterThanB(
            column_A=larger, column_B=smaller, or_equal=True, ignore_row_if="either_value_is_missing", **said
        )
    bounds = {"min_value": rule.bound} if rule.is_floor else {"max_value": rule.bound}
    return gxe.ExpectColumnValuesToBeBetween(column=rule.column, **bounds, **said)


def _failures(suite: Suite, result: ExpectationSuiteValidationResult) -> list[Failure]:
    failures = []
    by_key = {_key(_expectation(rule)): rule for rule in suite.rules}
    for outcome in result.results:
        if outcome.success:
            continue
        if "unexpected_index_list" not in outcome.result:
            raise RuntimeError(f"{suite.name}: an expectation could not be computed: {outcome.exception_info}")
        rule = by_key[_key(outcome.expectation_config.to_domain_obj())]
        failures.extend(Failure(suite.name, rule, row[PLACE]) for row in outcome.result["unexpected_index_list"])
    return failures


def _key(expectation: Expectation) -> tuple:
    config = expectation.configuration.kwargs
    names = ("column", "column_A", "column_B", "min_value", "max_value")
    return tuple(config.get(name) for name in names)


_LOADS = re.compile(
    r"<(script|style|iframe)\b.*?</\1>|<(link|img)\b[^>]*>|<p>Stay current.*?</p>", re.DOTALL | re.IGNORECASE
)
"""What a page would load, style sheets among it as they name fonts and pictures, and its advertisement."""
_SUITE_LINK = re.compile(r'<a\s+href="[./]*expectations/[^"]*"\s*>(.*?)</a>', re.DOTALL)
_HOME_LINK = re.compile(r'href="[./]*index\.html"')
_STYLE = """<style>
body { font: 15px/1.5 system-ui, sans-serif; margin: 1rem auto; max-width: 75rem; padding: 0 1rem; }
table { border-collapse: collapse; margin: .5rem 0 1rem; }
th, td { border: 1px solid #ccc; padding: .25rem .6rem; text-align: left; vertical-align: top; }
ul { padding-left: 1.2rem; } nav, .sticky, .cooltip .top, [data-toggle=collapse] { display: none; }
.text-danger { color: #b00020; } td .fa-check-circle::before { content: "passed"; }
td .fa-times::before, td .fa-exclamation-triangle::before { content: "failed"; }
@media (prefers-color-scheme: dark) { body { background: #181818; color: #ddd; } a { color: #8ab4f8; } }
</style>
"""


def _page(result: ExpectationSuiteValidationResult) -> str:
    """Great Expectations' own page of a validation, without what it loads from the network."""
    from great_expectations.render.renderer import ValidationResultsPageRenderer
    from great_expectations.render.view import DefaultJinjaPageView

    page = DefaultJinjaPageView().render(ValidationResultsPageRenderer().render(result))
    page = _HOME_LINK.sub('href="../index.html"', _SUITE_LINK.sub(r"\1", _LOADS.sub("", page)))
    return page.replace("</head>", f"{_STYLE}</head>", 1)
