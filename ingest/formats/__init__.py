"""The supported delivery formats, one module each.

A format module has the same few names, whatever the vendor:

- ``NAME``, ``VERSION`` (raised whenever the same file would load differently), ``CONTRACTS`` (what it fills);
- ``DELIVERY``: ``file`` when each file is a delivery, ``folder`` when all parts in one folder are one (or what an
  optional ``delivery_place(path)`` says);
- ``REPLACES_PERIOD``: whether a newer delivery replaces the billing periods it contains;
- ``sniff(head)``: is this file mine?
- ``read(reader)``: the reader's files, of one delivery or several, as extracts of contract columns, with a table that
  says how each field maps.
"""

from __future__ import annotations

import importlib
from types import ModuleType

from ingest.errors import IngestError
from ingest.reading import Head, names_seen

FORMATS = (
    "litellm_spend_logs",
    "litellm_payload",
    "copilot_traces",
    "focus",
    "aws_cur",
    "gcp_billing",
    "prometheus",
    "openmetrics",
    "nvidia_smi",
    "kubernetes_nodes",
    "otlp",
    "helicone",
    "langfuse",
    "openai_usage",
    "openai_costs",
    "anthropic_usage",
    "anthropic_costs",
    "ecb_rates",
    "resource_links",
    "tasks",
    "litellm_prices",
    "skypilot_catalog",
)
"""Formats in the order in which ``auto`` asks them."""

MAPPING = "mapping"
"""The format of in-house files: the mapping file says what the columns are."""


def load_format(name: str) -> ModuleType:
    """Return the module of a format.

    Raises:
        IngestError: there is no format of that name.
    """
    if name == MAPPING:
        return importlib.import_module("ingest.mapping")
    if name not in FORMATS:
        raise IngestError(f"format {name!r} is not known. Known formats: auto, {', '.join(FORMATS)}, {MAPPING}.")
    return importlib.import_module(f"ingest.formats.{name}")


def sniff(head: Head) -> str:
    """Name the format of a file by its beginning.

    Raises:
        IngestError: no format recognises it.
    """
    for name in FORMATS:
        if load_format(name).sniff(head):
            return name
    raise IngestError(
        f"{head.path}: no known format (a {head.kind} file with: {names_seen(head)}). Name the format, or describe the "
        "file in a mapping file (docs/add-a-format.md)."
    )
