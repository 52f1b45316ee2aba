"""The report: its numbers, that each comes from the query beside it, currencies, absent marts and odd names."""

from __future__ import annotations

import json
import re
from datetime import date
from decimal import Decimal
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from pertask.cli import cli
from pertask.errors import QueryError
from pertask.home import Home
from pertask.query import as_text, connect
from publish.report import build_of, write_report
from tests.python.publish.published import TABLES, change, make_published

MINUS = "\N{MINUS SIGN}"
ROOT = Path(__file__).parents[3]


class Page(HTMLParser):
    """What a test asks of a page: its figures, queries, charts, headings and words."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.text = path.read_text(encoding="utf-8")
        self.figures: list[tuple[str, int, str, str, str]] = []
        """question, row, column, exact value, shown text"""
        self.queries: dict[str, str] = {}
        self.charts: dict[str, dict] = {}
        self.headings: list[tuple[int, str]] = []
        self.tags: list[tuple[str, dict]] = []
        self.words = ""
        self._open: list[tuple[str, dict, list[str]]] = []
        self.feed(self.text)
        self.words = " ".join(self.words.split())

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in ("data", "code", "script", "style", "h1", "h2", "h3"):
            self._open.append((tag, dict(attrs), []))

    def handle_data(self, data: str) -> None:
        for _, _, texts in self._open:
            texts.append(data)
        if not any(tag in ("script", "style", "code") for tag, _, _ in self._open):
            self.words += " ".join(data.split()) + " "

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open[-1][0] != tag:
            return
        _, attributes, texts = self._open.pop()
        text = "".join(texts)
        if tag == "data":
            place = attributes["data-question"], int(attributes["data-row"]), attributes["data-column"]
            self.figures.append((*place, attributes["value"], text))
        elif tag == "code" and "data-sql" in attributes:
            self.queries[attributes["data-sql"]] = text
        elif tag == "script" and attributes.get("type") == "application/json":
            self.charts[attributes["id"].removeprefix("chart-")] = json.loads(text)
        elif tag in ("h1", "h2", "h3"):
            self.headings.append((int(tag[1]), text))

    def shown(self, question: str, column: str) -> list[str]:
        """The texts of a question's column, one a row."""
        rows = {row: text for name, row, of, _, text in self.figures if (name, of) == (question, column)}
        return [rows[row] for row in sorted(rows)]


def page_of(home: Home, **options: object) -> Page:
    return Page(write_report(home, **options))


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_published(tmp_path / "home")


def amounts(page: Page) -> list[str]:
    """The bill's amounts as they are shown, in its order."""
    return page.shown("bill", "amount")


def test_the_month_adds_up_from_gpu_states_calls_and_bills(home):
    page = page_of(home)
    assert page.headings[0] == (1, "What LLM inference cost in August 2026")
    # 10 + 20 + 5 + 5 of GPUs and 1 more, 3 unused, 200 of calls, 30 no log has, 6 + 2 other, 7, -4, -1, 5 - 3 of timing
    assert amounts(page) == [
        *("$11.00", "$20.00", "$5.00", "$5.00", "$3.00", "$200.00", "$30.00", "$8.00", "$7.00"),
        *("\N{MINUS SIGN}$4.00", "\N{MINUS SIGN}$1.00", "$2.00", "$0.00", "$286.00", "$60.00"),
    ]
    assert "The month is complete: 1\N{EN DASH}31 August 2026." in page.words
    assert "Nothing in this month is provisional" in page.words
    assert "Build 20260903T020000-abc123" in page.words


def test_what_the_parts_do_not_tell_is_named(home):
    change(home, "update core.fct_gpu_hours set loaded_idle_usd = 17 where loaded_idle_usd = 20")
    assert amounts(page_of(home))[12] == "$3.00"


def test_gpu_time_billed_in_another_month_counts_where_it_was_used(home):
    change(home, "update core.fct_bill_lines set effective_cost_usd = 6, billed_cost_usd = 6 where line_id = 'late'")
    change(home, "insert into core.fct_gpu_line_days values ('cloud', 'late', '2026-09-01', 'gpu_usage', 5)")
    page = page_of(home)
    assert amounts(page)[11:15] == ["$2.00", "$5.00", "$0.00", "$291.00"]
    september = page_of(home, month=date(2026, 9, 1))
    # 8 of estimated GPU time less the 5 of it that August's bill has; the estimate is no invoice
    assert "GPU time of other months: billed" in september.words
    assert f"{MINUS}$5.00" in amounts(september)


def test_tasks_have_their_cost_tail_and_multiple(home):
    page = page_of(home)
    assert page.shown("tasks", "cost") == ["$11.00", "$0.50"]
    # 9 / 5 priced tasks, 9 of known outcome / 3 successes, (4 x 2 + 1 x 4) / 5 with idle time, 9 / 3 of the headline
    assert page.shown("tasks", "cost_per_task") == ["$1.800"]
    assert page.shown("tasks", "cost_per_successful_task") == ["$3.000"]
    assert page.shown("tasks", "fully_loaded_cost_per_task") == ["$2.400"]
    assert page.shown("tasks", "cost_multiple") == ["3.00\N{MULTIPLICATION SIGN}"]
    # of 1, 2 and 3: what has no id of its own, or no full price, is in no percentile
    assert [page.shown("tasks", f"p{n}_cost") for n in (50, 90, 99)] == [["$2.000"], ["$2.800"], ["$2.980"]]
    assert page.shown("multiple", "cost_multiple") == ["3.00\N{MULTIPLICATION SIGN}"]
    assert "Support ticket" in page.words


def test_idle_dollars_leave_out_what_is_unknown(home):
    page = page_of(home)
    # 20 x 25 / 41 idle; 20 x 5 / 41 unknown
    assert page.shown("idle", "idle_of_twenty")[-1] == "$12.20"
    assert "Of every $20 spent on GPUs, $12.20 bought nothing ; what $2.44 more bought is unknown" in page.words
    assert page.shown("idle", "unused_commitment_cost")[-1] == "$3.00"
    assert page.shown("idle", "effective_cost")[-1] == "$41.00"


def test_failed_attempts_stand_by_cause(home):
    page = page_of(home)
    assert page.shown("retries", "failed_cost") == ["$4.00", "$0.00"]
    assert page.shown("retry_overhead", "failed_ratio") == ["12.5%"]
    assert "8 of 80 attempts failed and cost $4.00 . Most of it: Timeout, $4.00" in page.words


def test_coverage_is_told_in_calls_and_gpu_hours(home):
    assert page_of(home).shown("coverage", "covered_ratio") == ["90.0%", "98.8%", "91.7%"]


@pytest.mark.parametrize("currency", ["USD", "INR"])
def test_every_figure_is_what_the_query_beside_it_gives(home, currency):
    change(home, "update core.dim_fx_rates set usd_per_unit = 0.0117 where rate_day = '2026-08-31'")
    page = page_of(home, currency=currency)
    assert {"bill", "tasks", "multiple", "retries", "retry_overhead", "idle", "utilisation", "coverage"} <= set(
        page.queries
    )
    answers = {}
    with connect(home) as connection:
        for name, command in page.queries.items():
            sql = re.fullmatch(r'pertask query "(.*)"', command, re.DOTALL)[1]
            assert not set(sql) & set('"$`\\'), "a shell would read it otherwise"
            answer = connection.execute(sql)
            columns = [column[0] for column in answer.description]
            answers[name] = [dict(zip(columns, row, strict=True)) for row in answer.fetchall()]
    assert len(page.figures) > 80
    for question, row, column, value, text in page.figures:
        assert as_text(answers[question][row][column]) == value
        number = Decimal(re.sub(r"[^\d.]", "", text))
        scale = 100 if text.endswith("%") else 1
        places = len(text.partition(".")[2].rstrip("%\N{MULTIPLICATION SIGN}"))
        assert abs(abs(Decimal(value)) * scale - number) <= Decimal("0.5000001").scaleb(-places), (text, value)


def test_a_shown_query_runs_as_a_command(home, monkeypatch):
    page = page_of(home, currency="INR")
    monkeypatch.setenv("PERTASK_HOME", str(home.root))
    sql = page.queries["bill"].removeprefix('pertask query "').removesuffix('"')
    result = CliRunner().invoke(cli, ["query", sql, "--format", "json"])
    assert result.exit_code == 0, result.output
    [total] = [row for row in json.loads(result.output) if row["part"] == "total"]
    assert total["amount"] == 25790


def test_rupees_are_converted_at_each_days_rate_and_grouped_as_in_india(home):
    page = page_of(home, currency="INR")
    # (42 + 5 - 4 + 100) x 80, (1 + 6 + 7 + 100 + 30) x 100, -1 x 50
    assert amounts(page)[13] == "₹25,790.00"
    # percentiles of 80, 160 and 300
    assert page.shown("tasks", "p50_cost") == ["₹160.0"]
    # dollars are shown where a bill's check is in dollars, and the invoice in its own money
    assert page.shown("invoices", "unexplained_usd") == ["$0.00"]
    assert page.shown("invoices", "invoice_amount") == ["EUR\N{NO-BREAK SPACE}1,234.50"]
    money = [text for name, _, _, _, text in page.figures if name not in ("invoices", "coverage", "utilisation")]
    assert not any(text.startswith(("$", "£")) for text in money)
    change(home, "update core.fct_call_attempts set cost_usd = 1234567.89 where cost_usd = 100")
    assert page_of(home, currency="INR").shown("bill", "amount")[5] == "₹9,87,75,431.20"


def test_a_day_without_a_rate_is_counted_in_dollars_and_in_no_figure(home):
    change(home, "delete from core.dim_fx_rates where rate_day = '2026-08-31'")
    page = page_of(home, currency="INR")
    assert amounts(page)[-1] == "₹11,390.00"
    assert "Cost of August 2026 at least ₹11,390.00" in page.words
    told = "part of GPU time, lines of bills, metered calls is of days without a rate to INR"
    assert f"is not complete: {told}" in page.words
    assert "Not in the INR figures" in page.words
    assert "GPU time and lines of bills are partly the same dollars: these amounts do not add up." in page.words
    # 1 + 6 + 7 + 90 of lines, 100 of calls, 1 of GPU time
    assert page.shown("unconverted", "amount_usd") == ["$1.00", "$104.00", "$100.00"]
    # tasks of the day are in neither side of a ratio: 6 / 4 x 80
    assert page.shown("tasks", "cost_per_task") == ["₹120.0"]


def test_without_any_rate_of_the_month_there_is_no_page(home):
    with pytest.raises(QueryError, match=r"no GBP rate of 2026-08.*ecb_rates"):
        write_report(home, currency="GBP")
    assert not (home.published / "report").exists() or not list((home.published / "report").iterdir())


def test_the_hours_of_a_site_are_its_own(home):
    page = page_of(home, time_zones={})
    busy = {(row["site"], row["hour"]): row["ratio"] for row in page.charts["utilisation"]["data"]["values"]}
    # 18:00 UTC is 23:30 in Mumbai, 23:00 UTC is midnight in London's summer; half of the time is unknown in Mumbai
    assert busy == {
        ("ap-south-1 (Kolkata)", 23): 0.5,
        ("eu-west-2 (London)", 0): 1.0,
        ("pune-1 (UTC)", 5): 0.0,
    }
    assert "In UTC, because no time zone is known: pune-1." in page.words
    told = page_of(home, time_zones={"pune-1": "Asia/Kolkata"})
    assert {"site": "pune-1 (Kolkata)", "hour": 10, "ratio": 0.0, "step": "0\N{EN DASH}10%"} in told.charts[
        "utilisation"
    ]["data"]["values"]
    assert "no time zone is known" not in told.words


def test_the_latest_complete_month_is_shown_unless_another_is_asked_for(home):
    page = page_of(home, month=date(2026, 9, 1))
    assert page.headings[0][1].endswith("September 2026")
    assert "September 2026 is not complete:" in page.words
    assert "GPU time ends on 1 September 2026" in page.words
    assert "part of the GPU time is estimated" in page.words
    # what is estimated is in the month, and told
    assert page.shown("bill", "amount")[-2:] == ["$17.00", "$8.00"]
    assert "Provisional: $8.00 of GPU time on 1 day (1 September 2026)" in page.words
    with pytest.raises(QueryError, match=r"no data of 2025-01. Months with data: 2026-08, 2026-09\."):
        write_report(home, month=date(2025, 1, 1))


def test_a_month_that_a_kind_of_data_has_not_finished_is_not_complete(home):
    change(home, "delete from capacity.idle_dollars_daily where usage_date > '2026-08-01'")
    page = page_of(home)
    assert "is not complete" in page.words


INCOMPLETE = "August 2026 is not complete:"
COMPLETE = "The month is complete: 1\N{EN DASH}31 August 2026"


@pytest.mark.parametrize(("currency", "total"), [("USD", "$280.00"), ("INR", "₹25,190.00")])
def test_bill_lines_without_a_dollar_rate_are_told_and_make_a_lower_bound(home, currency, total):
    change(
        home,
        "update core.fct_bill_lines set billed_cost_usd = null, effective_cost_usd = null, billing_currency = 'INR', "
        "billed_cost = 986895.9 where line_id = 'disk'",
    )
    page = page_of(home, currency=currency)
    without = "without ₹9,86,895.90 on 1 bill line that has no exchange rate"
    assert f"{INCOMPLETE} 1 bill line has no exchange rate." in page.words
    assert COMPLETE not in page.words
    assert f"Cost of August 2026 at least {total} invoices with tax, and metered model calls; {without}" in page.words
    assert page.shown("missing", "amount") == ["₹9,86,895.90"]
    assert page.shown("bill", "amount")[13] == total
    # what is missing may be a credit: then the rest is no lower bound
    change(home, "update core.fct_bill_lines set billed_cost = -1 where line_id = 'disk'")
    assert f"Cost of August 2026 known: {total}" in page_of(home, currency=currency).words


def test_calls_without_a_price_are_counted_but_for_tools_and_what_gpus_have(home):
    assert INCOMPLETE not in page_of(home).words
    change(
        home,
        "insert into core.fct_call_attempts values ('2026-08-09', 'unpriced', null, 1204, 'no_price_for_model'), "
        "('2026-08-09', 'unpriced', null, 1, 'weight_missing'), ('2026-07-09', 'unpriced', null, 7, 'usage_missing')",
    )
    page = page_of(home)
    assert f"{INCOMPLETE} 1,204 calls have no price." in page.words
    assert "at least $286.00 invoices with tax, and metered model calls; without 1,204 calls that have no price" in (
        page.words
    )
    # a month whose days are all there stays the one to show
    assert page.headings[0][1].endswith("August 2026")


def test_gpu_hours_without_a_rate_are_told_beside_the_lines_that_they_are_on(home):
    for where in ("usage_date = '2026-08-31'", "is_provisional"):
        change(
            home,
            "update core.fct_gpu_hours set effective_cost_usd = null, active_usd = null, loaded_idle_usd = null, "
            f"unallocated_usd = null, unknown_usd = null, unused_commitment_usd = null where {where}",
        )
    change(home, "update core.fct_gpu_hours set usage_date = '2026-08-30' where is_provisional")
    change(home, "update core.fct_bill_lines set billed_cost_usd = null, billed_cost = 1 where line_id = 'late'")
    words = page_of(home).words
    assert (
        "without EUR 1.00 on 1 bill line that has no exchange rate; so 1 GPU-hour has no cost, which is on such lines; "
        "without 1 estimated GPU-hour that has no exchange rate"
    ) in words
    assert "1 estimated GPU-hour has no cost, for want of an exchange rate" in words


def test_where_nothing_is_priced_the_sections_stay_and_say_why(tmp_path):
    calls = {"main.publication", "core.fct_call_attempts", "unit_economics.cost_per_task_daily"}
    home = make_published(tmp_path / "home", only=calls)
    change(
        home,
        "update core.fct_call_attempts set cost_usd = null, cost_basis = 'unpriced', "
        "unpriced_reason = 'no_price_for_model'",
    )
    change(
        home,
        "update unit_economics.cost_per_task_daily set cost_usd = null, fully_priced_cost_usd = null, "
        "fully_priced_tasks = 0, fully_loaded_cost_per_task_usd = null, known_outcome_cost_usd = null, "
        "headline_cost_usd = null, headline_task_cost_usd = null",
    )
    page = page_of(home)
    assert "Cost of August 2026 \N{EN DASH} No part of it is known: without 6 calls that have no price" in page.words
    assert (2, "Where the money went") in page.headings and (2, "What a task costs") in page.headings
    assert "no part of the month's cost is known" in page.words
    assert set(page.shown("tasks", "cost")) <= {"\N{EN DASH}"}
    assert "$0.00" not in page.words


def test_tokens_that_no_log_has_are_a_part_of_the_cost_and_the_rest_stands_beside_it(home):
    page = page_of(home)
    invoices = 42 + 1 + 5 + 6 + 7 - 4 - 1 + 90
    matched, calls, total = 60, 200, 286
    assert invoices - matched + calls == total
    assert "Tokens on bills that no log has $30.00" in page.words
    assert "tokens on cloud bills that the metered calls have: compared and not added $60.00" in page.words
    # logged, but without a price: the bill is all that knows
    change(home, "update quality.bill_reconciliation_daily set priced_usd = null where model = 'claude'")
    assert amounts(page_of(home))[6] == "$90.00"
    # the 30 of one provider, for a month: its log is of another day of the month
    change(
        home,
        "update quality.bill_reconciliation_daily set suspects = 'not_in_log, wide_charge_period' where model = 'nova'",
    )
    change(
        home,
        "insert into quality.bill_reconciliation_daily values "
        "('2026-08-07', 'bedrock', 'cloud_bill', 'nova', 0, 29, 'not_billed, wide_charge_period', 0, 0)",
    )
    assert amounts(page_of(home))[6] == "$60.00"


def test_tokens_under_a_commitment_leave_nothing_unexplained(home):
    change(home, "delete from quality.bill_reconciliation_daily")
    change(
        home,
        "update core.fct_bill_lines set billed_cost_usd = 0, is_under_commitment = true where line_id = 'tokens'",
    )
    assert amounts(page_of(home))[-3:] == ["$2.00", "$0.00", "$256.00"]


def test_a_day_of_tokens_on_bills_of_two_months_is_shared(home):
    change(
        home,
        "insert into core.fct_bill_lines select * replace (timestamp '2026-07-01' as billing_period_start, "
        "30 as billed_cost_usd, 'mid-month' as line_id) from core.fct_bill_lines where line_id = 'tokens'",
    )
    with connect(home) as connection:
        sql = page_of(home).queries["trend"].removeprefix('pertask query "').removesuffix('"')
        rows = connection.execute(f"select bill_month, amount from ({sql}) where part = 'unlogged_tokens'").fetchall()
    # 30 by 90 and 30
    assert rows == [(date(2026, 7, 1), Decimal("7.5")), (date(2026, 8, 1), Decimal("22.5"))]


def test_a_gap_of_three_days_makes_a_month_incomplete_and_a_shorter_one_is_told(home):
    change(home, "delete from unit_economics.cost_per_task_daily where started_date in ('2026-08-08', '2026-08-09')")
    assert f"{COMPLETE} (calls on 29 of 31 days)." in page_of(home).words
    change(home, "delete from unit_economics.cost_per_task_daily where started_date = '2026-08-10'")
    assert f"{INCOMPLETE} calls on 28 of 31 days." in page_of(home, month=date(2026, 8, 1)).words
    change(home, "delete from capacity.idle_dollars_daily where usage_date between '2026-08-20' and '2026-08-31'")
    assert "GPU time on 19 of 31 days" in page_of(home, month=date(2026, 8, 1)).words


def test_an_account_that_had_a_bill_in_the_month_before_needs_one(home):
    change(
        home,
        "insert into core.fct_bill_lines select * replace (billing_period_start - interval 1 month as "
        "billing_period_start, billing_period_end - interval 1 month as billing_period_end, '0043' as "
        "billing_account_id, 'before' || line_id as line_id) from core.fct_bill_lines where line_id = 'tax'",
    )
    assert f"{INCOMPLETE} no bill of cloud, account 0043, which has one of July 2026." in (
        page_of(home, month=date(2026, 8, 1)).words
    )


def test_a_bill_of_tax_alone_tells_of_its_whole_period_up_to_its_delivery(home):
    change(home, "delete from core.fct_bill_lines where line_id != 'tax'")
    change(home, "update core.fct_bill_lines set usage_date = '2026-08-01'")
    assert COMPLETE in page_of(home).words
    change(home, "update core.fct_bill_lines set delivered_at = '2026-08-12 09:00'")
    assert f"{INCOMPLETE} bills end on 12 August 2026." in page_of(home, month=date(2026, 8, 1)).words


def test_a_row_of_a_day_after_the_newest_delivery_ends_no_month(home):
    for mart, day in {
        "capacity.idle_dollars_daily": "usage_date",
        "unit_economics.cost_per_task_daily": "started_date",
    }.items():
        change(
            home,
            f"insert into {mart} select * replace (date '2031-01-01' as {day}) from {mart} where {day} = '2026-09-01'",
        )
    change(home, "update core.fct_bill_lines set billing_period_end = '2031-01-01', delivered_at = '2031-01-01'")
    page = page_of(home)
    assert page.headings[0][1].endswith("August 2026")
    assert "calls end on 1 September 2026" in page_of(home, month=date(2026, 9, 1)).words
    with pytest.raises(QueryError, match=r"Months with data: 2026-08, 2026-09\."):
        write_report(home, month=date(2031, 1, 1))


def test_teams_and_task_types_of_one_name_stay_apart(home):
    change(home, "update core.dim_teams set display_name = 'Same'")
    change(home, "insert into core.dim_task_types values ('other', 'Support ticket', 'ticket')")
    change(
        home,
        "insert into core.fct_tasks values ('2026-08-01', 'other', 'task', 9, true); "
        "insert into unit_economics.cost_per_task_daily values "
        "('2026-08-01', 'other', 1, 1, 1, 9, 9, 9, 9, 9, 9, false)",
    )
    page = page_of(home)
    idle = {row["name"]: row["amount"] for row in page.charts["idle"]["data"]["values"] if row["part"] == "at work"}
    assert idle == {"Same (support)": 10, "Same (research)": 1}
    tails = {row["task"]: row["p50"] for row in page.charts["tails"]["data"]["values"]}
    assert tails == {"Support ticket (ticket)": 2, "Support ticket (other)": 9}
    assert "Same (support)" in page.words and "All teams" in page.words


def test_a_month_of_kinds_that_do_not_overlap_has_no_range_of_days(home):
    change(
        home,
        "update unit_economics.cost_per_task_daily set started_date = '2026-07-25' where cost_usd = 0.5; "
        "update capacity.idle_dollars_daily set usage_date = '2026-07-20' where team = 'research'; "
        "insert into core.fct_call_attempts values ('2026-07-25', 'metered', 3, 1, null)",
    )
    trend = page_of(home, month=date(2026, 8, 1)).charts["trend"]["data"]["values"]
    assert "Jul 2026, in part" in {row["month"] for row in trend}


def test_parts_of_nothing_are_not_among_the_largest(tmp_path):
    calls = {"main.publication", "core.fct_call_attempts", "unit_economics.cost_per_task_daily", "core.fct_gpu_hours"}
    home = make_published(tmp_path / "home", only=calls)
    change(
        home,
        "update core.fct_gpu_hours set active_usd = 0, loaded_idle_usd = 0, unallocated_usd = 0, unknown_usd = 0, "
        "unused_commitment_usd = 0",
    )
    assert "The largest part is Model calls, metered, $200.00 . Cost of" in page_of(home).words


def test_the_page_says_which_build_it_is_of(home):
    assert build_of(home) is None
    path = write_report(home)
    assert build_of(home) == "20260903T020000-abc123"
    change(home, "update main.publication set build_id = 'a \"quoted\" & <odd> build'")
    write_report(home)
    assert build_of(home) == 'a "quoted" & <odd> build'
    path.write_text("<html>another page</html>")
    assert build_of(home) is None


def test_sampled_logs_are_told(home):
    change(home, "update unit_economics.cost_per_task_daily set is_estimated = true")
    assert "counts and totals are estimates" in page_of(home).words


@pytest.mark.parametrize("name", sorted(set(TABLES) - {"main.publication"}))
def test_a_mart_that_is_absent_takes_only_its_own_sections_away(tmp_path, name):
    page = page_of(make_published(tmp_path / "home", without={name}))
    assert page.headings[0][1] == "What LLM inference cost in August 2026"
    assert all(name not in sql for sql in page.queries.values())
    gone = {
        "unit_economics.retry_causes_daily": "What failed attempts cost",
        "unit_economics.cost_per_task_daily": "What a task costs",
        "capacity.idle_dollars_daily": "GPU money that bought nothing",
        "capacity.gpu_utilisation_hourly": "When the GPUs are busy",
        "quality.invoice_walk_monthly": "The invoices, in their own currencies",
    }
    for mart, title in gone.items():
        assert (title in page.words) == (mart != name)


def test_a_gateway_alone_makes_a_page(tmp_path):
    calls = {"main.publication", "core.fct_call_attempts", "unit_economics.cost_per_task_daily"}
    home = make_published(tmp_path / "home", only=calls)
    change(
        home,
        "update unit_economics.cost_per_task_daily "
        "set fully_loaded_cost_per_task_usd = fully_priced_cost_usd / fully_priced_tasks",
    )
    page = page_of(home)
    assert amounts(page) == ["$200.00", "$0.00", "$200.00"]
    assert "GPU" not in page.words and "bills" not in page.words
    links = [attributes["href"][1:] for tag, attributes in page.tags if tag == "a"]
    ids = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    assert set(links) <= ids


@pytest.mark.parametrize("options", [{"is_empty": True}, {"only": ()}])
def test_an_empty_publication_says_so(tmp_path, options):
    page = page_of(make_published(tmp_path / "home", **options))
    assert "Nothing to show yet" in page.words
    assert not page.figures and not page.charts


def test_without_a_publication_there_is_an_error_that_says_what_to_do(tmp_path):
    with pytest.raises(QueryError, match="Run `pertask run`"):
        write_report(Home(tmp_path))


def test_names_of_the_data_are_text_everywhere(home):
    evil = "<script>alert(1)</script>\"'&</details>"
    quoted = evil.replace("'", "''")
    change(home, f"insert into core.dim_teams values ('{quoted}', null)")
    change(home, f"update capacity.idle_dollars_daily set team = '{quoted}' where team = 'support'")
    change(home, f"update core.dim_task_types set display_name = '{quoted}'")
    change(home, f"update quality.invoice_walk_monthly set source = '{quoted}'")
    change(home, f"update capacity.gpu_utilisation_hourly set region = '{quoted}' where region = 'pune-1'")
    change(home, f"update unit_economics.retry_causes_daily set cause = '{quoted}' where cause = 'timeout'")
    page = page_of(home)
    assert "<script>alert" not in page.text
    assert page.words.count("<script>alert(1)</script>") >= 5
    for chart, field in {"idle": "name", "tails": "task", "utilisation": "site", "retries": "name"}.items():
        assert any(row[field].startswith(evil) for row in page.charts[chart]["data"]["values"])
    assert sum(tag == "script" for tag, _ in page.tags) == len(page.charts) + 2


def test_charts_say_in_words_what_they_show(home):
    page = page_of(home)
    assert set(page.charts) == {"bill", "tails", "idle", "utilisation", "retries"}
    ids = {attributes.get("id") for _, attributes in page.tags}
    places = [attributes for _, attributes in page.tags if "data-chart" in attributes]
    assert len(places) == 5
    for attributes in places:
        assert attributes["role"] == "img" and attributes["aria-labelledby"] in ids
    change(home, "update unit_economics.cost_per_task_daily set started_date = '2026-07-20' where cost_usd = 0.5")
    change(home, "insert into core.fct_call_attempts values ('2026-07-20', 'metered', 3, 1, null)")
    trend = page_of(home).charts["trend"]["data"]["values"]
    assert {row["month"] for row in trend} == {"Jul 2026, 20\N{EN DASH}20", "Aug 2026"}


def test_headings_are_in_order_and_the_page_has_landmarks(home):
    page = page_of(home)
    levels = [level for level, _ in page.headings]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    tags = [tag for tag, _ in page.tags]
    assert [tags.count(tag) for tag in ("main", "header", "footer", "nav")] == [1, 1, 1, 1]
    assert dict(page.tags)["html"] == {"lang": "en"}
    for tag, attributes in page.tags:
        assert "src" not in attributes
        if tag == "link":
            assert attributes["href"] == "data:,"


def test_the_page_is_replaced_whole_and_nothing_is_left_beside_it(home):
    path = write_report(home)
    first = path.read_text()
    write_report(home)
    assert path.read_text() == first
    assert [found.name for found in path.parent.iterdir()] == ["index.html"]
    assert path.stat().st_mode & 0o777 == 0o644


def test_the_hand_made_marts_are_like_the_real_ones():
    for name, (columns, _) in TABLES.items():
        schema, table = name.split(".")
        if schema == "main":
            continue
        [model] = yaml.safe_load((ROOT / "models" / "marts" / schema / f"{table}.yml").read_text())["models"]
        real = {column["name"]: column["data_type"] for column in model["columns"]}
        for column, kind in columns.items():
            assert real[column].replace("string", "varchar") == kind, (name, column)


def test_the_command_says_where_and_how_long(home, monkeypatch):
    monkeypatch.setenv("PERTASK_HOME", str(home.root))
    home.config_file.write_text("report: {currency: INR}\n")
    result = CliRunner().invoke(cli, ["report"])
    assert result.exit_code == 0, result.output
    path = home.published / "report" / "index.html"
    assert re.fullmatch(rf"wrote {re.escape(str(path))} in \d+\.\d s\n", result.output)
    assert "₹25,790.00" in path.read_text()
    assert CliRunner().invoke(cli, ["report", "--currency", "usd", "--month", "2026-09"]).exit_code == 0
    assert "$17.00" in path.read_text()
    assert CliRunner().invoke(cli, ["report", "--month", "9/2026"]).exit_code == 2
    home.published_file.unlink()
    assert CliRunner().invoke(cli, ["report"]).exit_code == 2


def test_a_publication_of_another_version_is_an_error_for_people(home):
    change(home, "alter table capacity.idle_dollars_daily drop column idle_usd")
    with pytest.raises(QueryError, match="run pertask build and pertask publish"):
        write_report(home)


def test_nothing_but_reading_is_done_to_the_publication(home):
    before = home.published_file.read_bytes()
    write_report(home)
    assert home.published_file.read_bytes() == before
    assert {found.name for found in home.published.iterdir()} == {"pertask.duckdb", "report"}
