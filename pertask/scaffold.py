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
