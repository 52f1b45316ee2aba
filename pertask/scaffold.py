"""A new home: a commented pertask.yml, the company's files with their headers, and what they mean."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pertask.company import FILES
from pertask.home import Home

CONFIGURATION = """\
# What pertask reads every day (`pertask run`). Paths are relative to this file's folder, or absolute.
# Errors in this file are reported with line and column.

sources:
  # A name of your choice: it stands on every row that comes from here, so keep it.
  # gateway:
  #   path: landing/gateway            # a file, a folder (with its sub-folders) or a glob
  #   format: litellm_spend_logs       # or auto, which looks at each file
  # bot:
  #   path: landing/bot/*.jsonl
  #   format: mapping                  # an in-house log; docs/add-a-format.md says how to write its mapping
  #   mapping: mappings/bot.yml
  #   time_zone: Asia/Kolkata          # of times that carry no offset; UTC when left out
  # cloud_bill:
  #   path: landing/bill
  #   format: focus
  #   delivered_at: 2026-09-01T00:00:00Z   # only if the files' own times do not say when the vendor delivered
  # aws_bill:
  #   path: s3://my-billing/cur/       # a folder, object or glob in a bucket; docs/buckets.md
  #   format: aws_cur
  #   region: eu-west-1
  #   endpoint: https://minio.internal:9000   # only if the store is not AWS's. Keys come from the environment:
  #                                           # AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY
  # other_gateway:
  #   path: landing/other
  #   format: litellm_spend_logs
  #   # Only where this source differs from its format:
  #   token_convention: {input_includes_cached: false, output_includes_reasoning: true}
  # tracer:
  #   path: landing/tracer
  #   # A call that stands in two sources, such as a gateway and a tracer, is costed once, from the source that goes
  #   # first; the other one's row stays, without a cost. 1 goes first; sources without a number follow in the order of
  #   # this file. A change recomputes everything.
  #   precedence: 2
  # telemetry:
  #   path: landing/telemetry
  #   # An alert says when nothing has been delivered for this long, or nothing newer.
  #   stale_after_hours: 36

# How GPU bills are shared out. A change recomputes everything.
allocation:
  # The calls in flight on a GPU share its active dollars by time (each instant evenly among them) or by tokens.
  weights: time
  # How many tokens of uncached input an output token weighs; also in the cross-check of time against tokens.
  output_token_weight: 2
  # Who carries idle dollars in fully_loaded_cost_usd: the calls of the same GPU and day by_use (by their cost) or even
  # (each alike), or nobody but the owner of the GPU. In cost_usd nobody does.
  idle: by_use
  # Share of a machine's price that its GPUs carry; the rest is other cost on the invoice.
  gpu_share_of_node_ratio: 1

limits:
  # A run ends with exit code 3 when more of its new rows than this share were quarantined (0 to 1).
  quarantined_ratio: 0.01
  # A day of a source is compared with its earlier days. A run warns when a day lacks more than this share of its usual
  # rows or has as many times more (0.5: half to twice), when the share of rows without a value rises by more than this,
  # and when the share of a value, such as a model, moves by more than this.
  row_count_change_ratio: 0.5
  null_ratio_change: 0.1
  category_share_change: 0.3
  # A mart warns when more than this share of its last published rows is gone, and no delivery or edit explains it.
  mart_drop_ratio: 0.1
  # Checks that keep a run from publishing instead of warning: row_count, null_ratio, range, categories, volume.
  blocking: []

# When the graph runs by itself, once Dagster's services are up (docs/operate.md).
schedule:
  # Time of day, UTC. On Sundays the run also recomputes the months whose bill may still change, and tests every date.
  daily_at: "02:15"
  # How many days after a month's end its bill may still change.
  open_bill_days: 10

publication:
  # How many publications to keep, the current one included, for `pertask publish --rollback`.
  keep: 7

# Messages to the webhook (Slack or compatible) whose URL is in the environment variable PERTASK_ALERT_WEBHOOK; without
# it nothing is sent. `pertask alerts test` tries it.
alerts:
  # Idle GPU dollars of a day, in USD, above which a message is sent; none when left out.
  # idle_usd_per_day: 500
  # What lasts is told again after this long. 20 reminds once a day when a run takes longer on some days than on others.
  repeat_hours: 20
  # How old the publication may be when runs fail.
  publication_stale_after_hours: 48

# The report (`pertask report`).
report:
  # USD, INR or GBP; amounts are converted at each day's published rate.
  currency: USD
  # Sites of your own: the zone of the hours of their day. The regions of AWS, Google Cloud and Azure are known.
  # time_zones:
  #   pune-1: Asia/Kolkata
"""


def create_home(home: Home) -> Iterator[tuple[Path, bool]]:
    """Make the folders and files of a home that are not there yet; existing ones are never touched.

    Yields:
        Each file, and whether it was written.
    """
    home.landing.mkdir(parents=True, exist_ok=True)
    home.company.mkdir(exist_ok=True)
    texts = {home.config_file: CONFIGURATION, home.company / "README.md": company_guide()}
    for file in FILES:
        texts[home.company / f"{file.name}.csv"] = ",".join(column.name for column in file.columns) + "\n"
    for path, text in texts.items():
        try:
            with open(path, "x", encoding="utf-8") as file_:
                file_.write(text)
        except FileExistsError:
            yield path, False
        else:
            yield path, True


def company_guide() -> str:
    """What the company's files hold, in Markdown: CSV has no comments."""
    lines = [
        "# What the company says of itself",
        "",
        "CSV, UTF-8, commas. Each file may stay empty or be absent; optional columns may be left out.",
        "",
    ]
    for file in FILES:
        lines += [f"## {file.name}.csv", "", file.about, ""]
        lines += [
            f"- `{column.name}`{' (needed)' if column.is_required else ''}: {column.about}" for column in file.columns
        ]
        header = ",".join(column.name for column in file.columns)
        lines += ["", "For example:", "", "```", header, file.example, "```", ""]
    lines.append(
        "A change that holds from a day on is two rows: the old one ends (`valid_to`) on the day on which the new one "
        "begins (`valid_from`)."
    )
    return "\n".join(lines) + "\n"
