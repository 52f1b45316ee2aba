"""The ``pertask`` command.

Everything heavy is imported inside the command that needs it, so that help, query and status start at once.

Exit codes: 0 done; 1 a check failed or a step could not be finished, and nothing was published; 2 wrong usage or
configuration; 3 done, but not all that was delivered got in: more rows were quarantined than pertask.yml allows, or a
delivery could not be read at all. One unreadable delivery holds back nothing else: the rest is ingested, built and
published, and the code says that somebody should look.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pertask.errors import ConfigError, ExportError, QueryError, TargetError
from pertask.home import Home

if TYPE_CHECKING:
    from ingest.runner import BatchResult, IngestRequest
    from pertask.config import Config
    from pertask.screen import Screen
    from publish.conditions import Outcome
    from publish.exports.marts import MartsExport, PublishedMart

FAILED, WRONG_USAGE, INCOMPLETE = 1, 2, 3

_REFUSED = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)
"""What a disk or its owner says no with."""


class _Refusal(click.ClickException):
    """An error for people, with its exit code."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code

    def show(self, file: Any = None) -> None:
        """Print the message as it is: it begins with its place, which editors and terminals make clickable."""
        click.echo(self.message, err=True)


class _Group(click.Group):
    """Turns the errors that people can mend into a message and an exit code; others are bugs and keep their trace."""

    def invoke(self, context: click.Context) -> Any:
        from ingest.errors import IngestError, LakeError

        try:
            return super().invoke(context)
        except (ConfigError, QueryError, TargetError, IngestError) as error:
            raise _Refusal(str(error), WRONG_USAGE) from error
        except (LakeError, ExportError) as error:
            raise _Refusal(str(error), FAILED) from error
        except OSError as error:
            if error.errno not in _REFUSED:
                raise
            place = error.filename or Home.current().root
            raise _Refusal(f"{place}: cannot be written: {error.strerror}. Nothing was published.", FAILED) from error


class _Moment(click.ParamType):
    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> datetime:
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is no time. Write it as 2026-09-01T00:00:00Z.", param, context)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


class _Day(click.ParamType):
    name = "date"

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> date:
        try:
            return date.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is no date. Write it as 2026-08-31.", param, context)


class _Month(click.ParamType):
    name = "month"

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> date:
        try:
            return datetime.strptime(value, "%Y-%m").date()
        except ValueError:
            self.fail(f"{value!r} is no month. Write it as 2026-08.", param, context)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="pertask")
def cli() -> None:
    """What one LLM task costs, end to end, from request logs and GPU bills.

    PERTASK_HOME (default: the current folder) holds pertask.yml, company/, landing/, lake/, warehouse/ and published/.

    Exit codes: 0 done; 1 a check failed or a step could not finish, nothing was published; 2 wrong usage or
    configuration; 3 done, but rows were quarantined beyond the limit or a delivery could not be read.
    """


def main() -> None:
    """Run the command with the arguments of the process."""
    cli(prog_name="pertask")


@cli.command()
@click.argument("folder", metavar="[DIR]", required=False, type=click.Path(file_okay=False, path_type=Path))
def init(folder: Path | None) -> None:
    """Make an empty home: a commented pertask.yml and the company's files. Nothing is overwritten."""
    from pertask.scaffold import create_home

    home = Home(folder.absolute()) if folder else Home.current()
    for path, is_new in create_home(home):
        click.echo(f"{'wrote' if is_new else 'kept '} {path}")
    click.echo(
        "\nNext: name your sources in pertask.yml and run `pertask run`, or try one file with `pertask ingest PATH`."
    )
    if home != Home.current():
        click.echo(f"      export PERTASK_HOME={home.root}")


@cli.command()
def run() -> None:
    """Ingest the sources of pertask.yml, build, check and publish: the whole graph once."""
    home = _home()
    if not home.config_file.exists():
        raise _Refusal(
            f"{home.config_file}: there is no such file, so this folder is no home. Set PERTASK_HOME to one, or make "
            "one with pertask init.",
            WRONG_USAGE,
        )
    sys.exit(_run_graph(home, ("ingest", "build", "publish")))


@cli.command()
@click.argument("paths", metavar="[PATH ...]", nargs=-1, type=click.Path(path_type=Path))
@click.option("--format", "format_name", metavar="NAME", help="Format of the files; default: auto, which looks.")
@click.option("--mapping", type=click.Path(path_type=Path), help="Mapping file of an in-house log.")
@click.option(
    "--source",
    metavar="NAME",
    help="Name stamped on the rows; default: the name of the format (of a mapping: its `source`, else its file name). "
    "What pertask.yml says of a source of this name holds, unless an option says otherwise.",
)
@click.option("--delivered-at", type=_Moment(), help="When the vendor delivered (UTC without an offset).")
def ingest(
    paths: tuple[Path, ...],
    format_name: str | None,
    mapping: Path | None,
    source: str | None,
    delivered_at: datetime | None,
) -> None:
    """Bring files, folders or globs into the lake; without PATH, the sources of pertask.yml.

    What is in the lake already is passed over. Exit code 3 says that a delivery could not be read or that too many
    rows were quarantined; everything else is in the lake all the same.
    """
    from pertask.config import load_config

    home = _home()
    config = load_config(home)
    if paths:
        requests = [_request(config, home, path, format_name, mapping, source, delivered_at) for path in paths]
    elif format_name or mapping or source or delivered_at:
        raise click.UsageError(
            "--format, --mapping, --source and --delivered-at say how to read PATH, and there is none."
        )
    else:
        requests = config.requests(home)
    sys.exit(_ingest(home, config, requests, is_everything=not paths))


@cli.command()
@click.option("--full-refresh", is_flag=True, help="Recompute every date.")
@click.option("--from", "first", type=_Day(), help="Recompute from this date on, besides what changed.")
@click.option("--to", "last", type=_Day(), help="Recompute until this date, itself included.")
@click.option(
    "--target",
    type=click.Choice(("duckdb", "spark")),
    default="duckdb",
    show_default=True,
    help="The engine: spark builds the same marts beside these, as tables of Spark (docs/scale-out.md).",
)
def build(full_refresh: bool, first: date | None, last: date | None, target: str) -> None:
    """Build the warehouse from the lake and check it; only the dates that changed are recomputed."""
    options = {"full_refresh": full_refresh, "dates": _dates(first, last)}
    home = _home()
    sys.exit(_build_on_spark(home, **options) if target == "spark" else _run_graph(home, ("build",), **options))


@cli.command()
@click.option("--rollback", is_flag=True, help="Put the publication before the current one in its place instead.")
def publish(rollback: bool) -> None:
    """Write the marts of the last good build into published/pertask.duckdb, which replaces the last one whole.

    With --rollback the publication before the current one is put back, and the withdrawn build is not published again
    by itself: the next run publishes what it builds anew, and pertask publish without --rollback takes it back.
    """
    home = _home()
    sys.exit(_roll_back(home) if rollback else _run_graph(home, ("publish",)))


@cli.command()
@click.argument("sql", metavar='"SQL"')
@click.option(
    "--format", "output_format", type=click.Choice(("table", "csv", "json")), default="table", show_default=True
)
def query(sql: str, output_format: str) -> None:
    """Ask the published marts, read-only. CSV and JSON keep all rows and every digit; times are UTC.

    CSV has null as an empty field and an empty text as "". Its texts are as they are, also those that a spreadsheet
    would run as a formula: to open marts in one, use `pertask export xlsx` or `csv`.
    """
    from pertask.query import query as ask

    ask(_home(), sql, output_format, sys.stdout)


@cli.group()
def export() -> None:
    """Write the published marts where other tools read them: files, a spreadsheet, a server.

    Each replaces what an earlier export left at its place, whole. If it cannot be finished, what was there stays.
    Nothing is written over other files of the home: within it, exports go to published/exports/ alone.
    """


@export.command()
@click.option("--from", "first", type=_Day(), help="First day of the charges.")
@click.option("--to", "last", type=_Day(), help="Last day of the charges, itself included.")
@click.option(
    "--output",
    metavar="PATH",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where to; default: published/exports/focus.csv (or .parquet).",
)
@click.option("--format", "output_format", type=click.Choice(("csv", "parquet")), default="csv", show_default=True)
def focus(first: date | None, last: date | None, output: Path | None, output_format: str) -> None:
    """The whole cost as FOCUS 1.2, for tools that read cloud bills: models, GPUs and every other bill line, in USD.

    Each dollar is there once. Tokens on a cloud's bill are left out: the metered calls are the same dollars, and what
    no log has of them is said at the end. x_Team,
    x_TaskType and x_Model say whom a charge serves; x_CostBasis whether it is metered by the price list, allocated of
    a GPU bill, or a charge of the bill; x_IdleState what a GPU did: active (for the calls of the row),
    active_without_calls, loaded_idle, unallocated, unknown or unused_commitment; x_IsProvisional that the bill has
    not come. BilledCost is what the invoices ask, shared by a GPU's rows as their effective cost is; it is 0 where the
    bill has not come.

    A self-hosted call is on the day on which it starts, its GPU's hours are on their own days: one row a day, without
    team and task type, holds the difference and makes the day add up. Prices of a unit are left open where a row adds
    up many.

    In CSV, a text that begins with =, +, -, @, a tab or a carriage return gets an apostrophe before it, so that no
    spreadsheet runs it as a formula; Parquet has texts as they are.
    """
    from pertask.demo import dollars
    from publish.focus_export import export_focus

    done = export_focus(_home(), output_format, output=output, dates=_dates(first, last))
    click.echo(
        f"wrote {done.path}: {done.row_count:,} rows, {dollars(done.billed_cost_usd)} USD billed, "
        f"{dollars(done.effective_cost_usd)} USD effective"
    )
    if done.model_charge_lines:
        click.echo(
            f"left out: {done.model_charge_lines:,} bill lines of {dollars(done.model_charges_usd)} USD for tokens, of "
            f"which the metered calls have {dollars(done.model_charges_usd - done.unlogged_charges_usd)} USD already"
        )
    if done.unlogged_charges_usd:
        click.echo(
            f"no log has {dollars(done.unlogged_charges_usd)} USD of those tokens, so they are in no figure; look with "
            '`pertask query "select usage_date, provider, model, billed_usd, attempts, suspects from '
            "quality.bill_reconciliation_daily where basis = 'cloud_bill' and billed_lines > 0 and "
            'coalesce(priced_usd, 0) = 0"`'
        )
    if done.unpriced_attempts:
        click.echo(f"left out: {done.unpriced_attempts:,} attempts without a price; see quality.price_coverage_daily")
    if done.unconverted_lines:
        click.echo(f"left out: {done.unconverted_lines:,} bill lines without an exchange rate; see quality.findings")
    if done.unconverted_hours:
        click.echo(f"left out: {done.unconverted_hours:,} estimated GPU-hours without an exchange rate")


_mart_option = click.option(
    "--mart",
    "marts",
    metavar="SCHEMA.TABLE",
    multiple=True,
    help="Only this mart, such as core.fct_tasks; may be given several times. Default: all.",
)


def _output_option(default: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    help_text = f"Where to; default: published/exports/{default}."
    return click.option("--output", metavar="PATH", type=click.Path(path_type=Path), help=help_text)


@export.command()
@_mart_option
@_output_option("parquet/")
def parquet(marts: tuple[str, ...], output: Path | None) -> None:
    """A folder of Parquet files, one a mart: every digit, times in UTC."""
    from publish.exports.folders import export_folder

    _report_export(export_folder(_home(), "parquet", output=output, names=marts, on_mart=_say_mart))


@export.command("csv")
@_mart_option
@_output_option("csv/")
def csv_files(marts: tuple[str, ...], output: Path | None) -> None:
    """A folder of CSV files, one a mart: every digit, ISO times in UTC, null as an empty field.

    A text that begins with =, +, -, @, a tab or a carriage return gets an apostrophe before it, so that no spreadsheet
    runs it as a formula.
    """
    from publish.exports.folders import export_folder

    _report_export(export_folder(_home(), "csv", output=output, names=marts, on_mart=_say_mart))


@export.command()
@_mart_option
@_output_option("pertask.xlsx")
def xlsx(marts: tuple[str, ...], output: Path | None) -> None:
    """One Excel workbook, a sheet a mart; its first sheets say what the marts and columns are.

    Excel keeps 15 digits of a number. A mart of more rows than a sheet holds (1,048,576) is left out and said.
    """
    from publish.exports.workbook import export_workbook

    _report_export(export_workbook(_home(), output=output, names=marts, on_mart=_say_mart))


@export.command()
@_mart_option
@click.option("--schema", metavar="NAME", default="pertask", show_default=True, help="Schema that holds the marts.")
def postgres(marts: tuple[str, ...], schema: str) -> None:
    """Tables of a PostgreSQL server, such as pertask.core__fct_tasks; readers see all old rows or all new ones.

    PERTASK_POSTGRES_URL says where: postgresql://USER:PASSWORD@HOST:5432/DATABASE. Grants, policies and views on the
    tables stay. A mart that is not in this export, and was in the last one, is dropped.
    """
    from publish.exports.postgres import export_postgres

    _report_export(export_postgres(_home(), schema=schema, names=marts, on_mart=_say_mart))


@export.command()
@_mart_option
@_output_option("pertask.hyper")
def hyper(marts: tuple[str, ...], output: Path | None) -> None:
    """One Tableau extract, a table a mart. Needs Tableau's library: the extra `tableau`."""
    from publish.exports.hyper import export_hyper

    _report_export(export_hyper(_home(), output=output, names=marts, on_mart=_say_mart))


def _say_mart(mart: PublishedMart) -> None:
    click.echo(f"{mart.name}: {mart.row_count:,} rows")


def _report_export(done: MartsExport) -> None:
    click.echo(f"wrote {done.place}: {done.mart_count:,} marts, {done.row_count:,} rows")
    for line in done.shortfalls:
        click.echo(f"warning: {line}")


@cli.command()
@click.option(
    "--currency",
    type=click.Choice(("USD", "INR", "GBP"), case_sensitive=False),
    help="Default: `report: {currency: ...}` in pertask.yml, else USD.",
)
@click.option("--month", type=_Month(), help="As 2026-08; default: the latest month whose days are all there.")
def report(currency: str | None, month: date | None) -> None:
    """Write published/report/index.html: one page on what a month cost, from the published marts.

    It needs no network to be read. Amounts in INR or GBP are converted at each day's published rate.
    """
    from time import monotonic

    from pertask.config import load_config
    from publish.report import ReportError, write_report

    home = _home()
    settings = load_config(home, with_mappings=False).report
    started = monotonic()
    try:
        path = write_report(home, currency=currency or settings.currency, time_zones=settings.time_zones, month=month)
    except ReportError as error:
        raise _Refusal(str(error), FAILED) from error
    click.echo(f"wrote {path} in {monotonic() - started:.1f} s")


@cli.group()
def prices() -> None:
    """Prices that were observed: bring in a list of them, and see what became of them."""


@prices.command("import")
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path))
@click.option(
    "--observed-at",
    type=_Moment(),
    help="When the list said so (UTC without an offset); default: the file's own time. A list of changes says itself.",
)
@click.option("--source", metavar="NAME", help="Name stamped on the rows; default: prices.")
def import_prices(path: Path, observed_at: datetime | None, source: str | None) -> None:
    """Bring a list of prices into the lake: LiteLLM's model_prices_and_context_window.json, or a CSV of changes to it.

    A list does not price anything by itself: the next run checks each price, and holds back what looks like a mistake.
    The CSV has the columns observed_at, model, field and new; old, provider and commit if they are known.
    """
    from ingest.runner import ingest as bring
    from pertask.config import load_config
    from pertask.ingesting import report_deliveries
    from pertask.prices import FORMAT, SOURCE, report_import
    from pertask.screen import Screen

    home = _home()
    config = load_config(home)
    request = _request(config, home, path, FORMAT, None, source or SOURCE, observed_at)
    with Screen() as screen:
        results = bring(home.lake, [request], progress=screen.delivery)
    report_deliveries(screen, results)
    report_import(screen, results)
    sys.exit(_end(config, results))


@prices.command("list")
@click.option("--held", is_flag=True, help="Only those that are held back, with the reason.")
def list_prices(held: bool) -> None:
    """What became of the observed prices in the last publication."""
    from pertask.prices import print_observations
    from pertask.screen import Screen

    print_observations(_home(), Screen(), only_held=held)


@cli.command()
def status() -> None:
    """Last batches, quarantine, coverage, the last publication, and what is stale or provisional."""
    from pertask.screen import Screen
    from pertask.status import print_status

    print_status(_home(), Screen().console)


@cli.group()
def alerts() -> None:
    """Messages to the webhook of PERTASK_ALERT_WEBHOOK."""


@alerts.command("test")
def test_alerts() -> None:
    """Send a test message, and say whether it arrived; exit code 1 when it did not."""
    from publish.alerts import send_test

    problem = send_test(_home())
    if problem:
        raise _Refusal(f"the test message did not reach the webhook: {problem}.", FAILED)
    click.echo("the test message arrived")


@cli.command()
def dev() -> None:
    """The graph in Dagster's UI, on 127.0.0.1."""
    from pertask.config import load_config
    from pertask.dev import serve

    home = _home()
    load_config(home)
    sys.exit(serve(home))


@cli.command()
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
def demo(folder: Path) -> None:
    """Make the sample company in DIR, run the whole graph on it, and say what it found."""
    from ingest.sample import generate
    from pertask.demo import report_findings
    from pertask.screen import Screen

    home = Home(folder.absolute())
    click.echo(f"sample: writing sixty days of a small company into {home.root}")
    try:
        generate(home.root)
    except FileExistsError as error:
        raise _Refusal(str(error), WRONG_USAGE) from error
    code = _run_graph(home, ("ingest", "build", "publish"))
    if code != FAILED:
        report_findings(home, Screen())
    sys.exit(code)


def _dates(first: date | None, last: date | None) -> tuple[date, date] | None:
    if (first is None) != (last is None):
        raise click.UsageError("--from and --to go together.")
    if first and last and first > last:
        raise click.UsageError(f"--from {first} is after --to {last}.")
    return (first, last) if first and last else None


def _home() -> Home:
    home = Home.current()
    if set("*?[") & set(str(home.root)):
        raise _Refusal(
            f"{home.root}: a home's path cannot hold *, ? or [, which stand for other names. Move it elsewhere.",
            WRONG_USAGE,
        )
    if not home.root.is_dir():
        raise _Refusal(
            f"{home.root}: there is no such folder. Set PERTASK_HOME to a home, or make one with pertask init.",
            WRONG_USAGE,
        )
    return home


def _request(
    config: Config,
    home: Home,
    path: Path,
    format_name: str | None,
    mapping: Path | None,
    source: str | None,
    delivered_at: datetime | None,
) -> IngestRequest:
    """What to ingest from a PATH: what pertask.yml says of the source, then what the options say."""
    from dataclasses import replace

    from ingest.formats import FORMATS, MAPPING
    from ingest.mapping import load_mapping
    from ingest.runner import IngestRequest
    from pertask.config import holds_files

    if mapping and format_name not in (None, MAPPING):
        raise click.UsageError(f"--mapping is for --format {MAPPING}.")
    if format_name == MAPPING and not mapping:
        raise click.UsageError("--format mapping needs --mapping FILE, the file that says what the columns are.")
    if format_name not in (None, "auto", *FORMATS, MAPPING):
        from pertask.errors import did_you_mean

        raise click.UsageError(
            f"there is no format {format_name}.{did_you_mean(str(format_name), (*FORMATS, MAPPING))}"
        )
    if path.parts[:1] == ("s3:",):
        # A path has lost one of the slashes of s3://.
        from ingest.buckets import without_credentials

        address = without_credentials(f"s3://{Path(*path.parts[1:])}")
        raise click.UsageError(
            f"{address}: a bucket is read as a source. Name it in pertask.yml (path: s3://...), and "
            "run pertask ingest without PATH."
        )
    if not holds_files(path):
        raise click.UsageError(f"{path}: there is no such file or folder, or there are no files in it.")
    request = IngestRequest(source or "", path)
    if source in config.sources:
        request = replace(config.sources[source].request(source, home), path=path, bucket=None)
    if mapping:
        request = replace(request, format=MAPPING, mapping_path=mapping.absolute())
    elif format_name:
        request = replace(request, format=format_name, mapping_path=None)
    if delivered_at:
        request = replace(request, delivered_at=delivered_at)
    named_by_mapping = load_mapping(request.mapping_path).source if request.mapping_path else None
    return request if source else replace(request, source=named_by_mapping or _default_source(request))


def _default_source(request: IngestRequest) -> str:
    """The name of the format: it stays the same from one delivery to the next, as a file's name does not."""
    from ingest.errors import IngestError
    from ingest.formats import sniff
    from ingest.reading import read_head
    from ingest.runner import find_deliveries

    if request.mapping_path:
        return request.mapping_path.stem
    if request.format != "auto":
        return request.format
    found: dict[str, None] = {}
    for delivery in find_deliveries(request):
        try:
            found[sniff(read_head(delivery.paths[0]))] = None
        except IngestError:
            # The runner meets it again and reports it as a delivery that cannot be read.
            continue
    if len(found) > 1:
        raise click.UsageError(
            f"{request.path}: several formats are in it ({', '.join(found)}). Name the source with --source, or give "
            "each format its own PATH."
        )
    return next(iter(found), "unknown")


def _ingest(home: Home, config: Config, requests: list[IngestRequest], *, is_everything: bool) -> int:
    from ingest.runner import ingest as bring
    from pertask.ingesting import report_deliveries, report_undelivered
    from pertask.screen import Screen

    with Screen() as screen:
        if is_everything:
            _say_what_is_missing(screen, home, config)
        results = bring(home.lake, requests, progress=screen.delivery, say=screen.say)
        if is_everything:
            report_undelivered(screen, home, config, results)
    report_deliveries(screen, results)
    return _end(config, results)


def _run_graph(home: Home, steps: tuple[str, ...], **options: Any) -> int:
    """Run steps of the graph and say how it went; returns the exit code."""
    from pertask.config import load_config
    from pertask.ingesting import report_deliveries, report_undelivered
    from pertask.screen import Screen

    # Before anything starts: what is wrong in pertask.yml and company/ ends the command with its own exit code.
    config = load_config(home)
    if "build" in steps:
        from pertask.company import load_company

        load_company(home)
    with Screen() as screen:
        if "ingest" in steps:
            _say_what_is_missing(screen, home, config)
        execute, problems = _graph()
        try:
            outcome = execute(home, steps, say=screen.say, on_delivery=screen.delivery, **options)
        except problems as error:
            raise _Refusal(str(error), FAILED) from error
        if "ingest" in steps:
            report_undelivered(screen, home, config, outcome.deliveries or ())
    report_deliveries(screen, outcome.deliveries or ())
    _say_checks(screen, outcome)
    if not outcome.succeeded:
        stays = "The last publication stays as it was." if home.published_file.exists() else "Nothing was published."
        click.echo(stays, err=True)
        return FAILED
    if "build" in steps:
        screen.say("build: every check passed" + (", with the warnings above" if outcome.warnings else ""))
    return _end(config, outcome.deliveries or ())


def _say_checks(screen: Screen, outcome: Outcome) -> None:
    for warning in outcome.warnings:
        screen.say(f"warning: {warning.name}: {warning.message}")
    if not outcome.succeeded:
        for failure in outcome.failed_checks:
            click.echo(f"check failed: {failure.name}: {failure.message}", err=True)
        click.echo(outcome.message, err=True)


def _build_on_spark(home: Home, **options: Any) -> int:
    """Build on Spark and say how it went; returns the exit code."""
    from ingest.errors import LakeError
    from orchestration.lib import spark
    from orchestration.lib.locks import HomeInUse
    from pertask.screen import Screen

    with Screen() as screen:
        try:
            outcome = spark.build(home, say=screen.say, **options)
        except spark.SparkMissing as error:
            raise _Refusal(str(error), WRONG_USAGE) from error
        except (HomeInUse, LakeError) as error:
            raise _Refusal(str(error), FAILED) from error
    _say_checks(screen, outcome)
    if outcome.succeeded:
        screen.say("build: every check passed; the marts are tables of Spark")
    return 0 if outcome.succeeded else FAILED


def _roll_back(home: Home) -> int:
    from orchestration.lib.locks import HomeInUse, hold
    from pertask.config import load_config
    from publish.publication import PublishError, roll_back, withdrawn_builds
    from publish.report import ReportError, write_report

    config = load_config(home, with_mappings=False)
    try:
        with hold(home):
            publication = roll_back(home)
    except (HomeInUse, PublishError) as error:
        raise _Refusal(str(error), FAILED) from error
    click.echo(
        f"published again: build {publication.build_id} of {publication.published_at:%Y-%m-%d %H:%M} UTC, "
        f"{publication.mart_count} marts, {publication.row_count:,} rows"
    )
    click.echo(
        f"withdrawn: build {withdrawn_builds(home)[-1]}. The next run publishes what it builds anew; pertask publish "
        "takes the last build back."
    )
    try:
        write_report(home, currency=config.report.currency, time_zones=config.report.time_zones)
    except (QueryError, ReportError) as error:
        click.echo(f"warning: the report is still of the withdrawn build: {error}", err=True)
    return 0


def _graph() -> tuple[Callable[..., Any], tuple[type[Exception], ...]]:
    """The graph's entry, and the errors of it that people can mend. Dagster takes seconds to import."""
    from orchestration.lib.builds import BuildError
    from orchestration.lib.locks import HomeInUse
    from orchestration.lib.runs import execute
    from publish.publication import PublishError

    return execute, (HomeInUse, BuildError, PublishError)


def _say_what_is_missing(screen: Screen, home: Home, config: Config) -> None:
    if not config.sources:
        screen.say(f"ingest: no sources in {home.config_file}")


def _end(config: Config, results: Sequence[BatchResult]) -> int:
    from pertask.ingesting import shortfalls

    lines = shortfalls(results, config.limits.quarantined_ratio)
    for line in lines:
        click.echo(line, err=True)
    return INCOMPLETE if lines else 0
