"""The FOCUS converters' sample of a real, anonymised AWS report: 1,281 lines of an open month, taxes among them."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import duckdb

from tests.realdata.conftest import Home


def test_sums_by_type_and_product_are_the_files_own(home: Home, real_data: Path):
    path = real_data / "aws_cur_sample" / "sample-anonymous-aws-export-dataset.csv"
    own = duckdb.sql(
        f"""
        select "lineItem/LineItemType", "product/ProductName", count(*),
            sum(cast("lineItem/UnblendedCost" as decimal(38, 12))),
            sum(cast("pricing/publicOnDemandCost" as decimal(38, 12))),
            sum(cast("lineItem/UsageAmount" as decimal(38, 12)))
                filter (where "lineItem/LineItemType" = 'Usage')
        from read_csv('{path}', all_varchar = true, header = true) group by all
        """
    ).fetchall()
    expected = {row[:2]: row[2:] for row in own}
    assert sum(lines for lines, *_ in expected.values()) == 1281

    home.run("ingest", path, "--source", "aws")
    home.publish()
    rows = home.query(
        """
        select json_extract_string(vendor_columns, '$.line_item_line_item_type') as type, service_name,
            count(*) as lines, cast(sum(billed_cost) as varchar) as billed, cast(sum(list_cost) as varchar) as list,
            cast(sum(consumed_quantity) as varchar) as quantity,
            cast(sum(effective_cost) as varchar) as effective
        from core.fct_bill_lines group by 1, 2
        """
    )
    found = {
        (row["type"], row["service_name"]): (
            row["lines"],
            *(text and Decimal(text) for text in (row["billed"], row["list"], row["quantity"])),
        )
        for row in rows
    }
    assert found == expected
    # under no commitment, and the month goes on
    assert all(Decimal(row["effective"]) == Decimal(row["billed"]) for row in rows)
    status = "select distinct billing_period_status as status from core.fct_bill_lines where billed_cost != 0"
    assert home.query(status) == [{"status": "Open"}]

    total = sum(billed for _, billed, *_ in expected.values())
    tax = sum(billed for (kind, _), (_, billed, *_) in expected.items() if kind == "Tax")
    (walk,) = home.query(
        """
        select cast(invoice_usd as varchar) as invoice, cast(tax_usd as varchar) as tax,
            cast(other_usd as varchar) as other, cast(unexplained_usd as varchar) as unexplained,
            billing_account_id, cast(billing_month as varchar) as month
        from quality.invoice_walk_monthly
        """
    )
    assert (walk["billing_account_id"], walk["month"][:10]) == ("123412340534", "2023-11-01")
    assert Decimal(walk["invoice"]) == total
    assert Decimal(walk["tax"]) == tax
    assert Decimal(walk["other"]) == total - tax
    assert Decimal(walk["unexplained"]) == 0
