"""The data docs: one page that lists what both gates found last, and the pages of their tables beside it."""

from __future__ import annotations

import json
import os
import uuid
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from pertask.checks.results import CheckResult
from pertask.home import Home

_GATES = {"batches": "What deliveries brought", "marts": "The marts before they are published"}

_INDEX = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Checks</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; margin: 1rem auto; max-width: 75rem; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; }
th, td { border-bottom: 1px solid #ccc; padding: .3rem .6rem; text-align: left; vertical-align: top; }
td:last-child { white-space: pre-line; overflow-wrap: anywhere; }
.failed { color: #b00020; font-weight: 600; }
@media (prefers-color-scheme: dark) { body { background: #181818; color: #ddd; } a { color: #8ab4f8; } }
</style>
</head>
<body>
<h1>Checks</h1>
{% for gate in gates %}
<h2>{{ gate.title }}</h2>
<p>Checked {{ gate.checked_at }} UTC: {{ gate.failed }} of {{ gate.results | length }} failed.
{% for page in gate.pages %}<a href="{{ gate.name }}/{{ page }}.html">{{ page }}</a> {% endfor %}</p>
<table>
<thead><tr><th>What</th><th>Check</th><th>Outcome</th><th>Found</th></tr></thead>
<tbody>
{% for result in gate.results %}
<tr><td>{{ result.asset | join(".") }}</td><td>{{ result.check }}</td>
<td{% if not result.passed %} class="failed"{% endif %}>
{{- "passed" if result.passed else "blocks" if result.severity == "error" else "warns" }}</td>
<td>{{ result.message }}</td></tr>
{% endfor %}
</tbody>
</table>
{% endfor %}
</body>
</html>
"""


def folder(home: Home, gate: str) -> Path:
    """Where the pages of a gate's tables are."""
    return home.data_docs / gate


def page(home: Home, gate: str, suite: str) -> Path:
    """The page of one table."""
    return folder(home, gate) / f"{suite}.html"


def write(home: Home, gate: str, results: list[CheckResult]) -> None:
    """Keep a gate's results and write the page that lists them beside those of the other gate."""
    from jinja2 import Environment

    home.data_docs.mkdir(parents=True, exist_ok=True)
    record = {"checked_at": f"{datetime.now(UTC):%Y-%m-%d %H:%M}", "results": [asdict(result) for result in results]}
    _replace(_record(home, gate), json.dumps(record))
    gates = []
    for name, title in _GATES.items():
        if not _record(home, name).exists():
            continue
        kept = json.loads(_record(home, name).read_bytes())
        # failures first, those that block before those that warn
        kept["results"].sort(key=lambda result: (result["passed"], result["severity"] != "error"))
        failed = sum(not result["passed"] for result in kept["results"])
        pages = sorted(path.stem for path in folder(home, name).glob("*.html"))
        gates.append({**kept, "name": name, "title": title, "failed": failed, "pages": pages})
    text = Environment(autoescape=True, trim_blocks=True).from_string(_INDEX).render(gates=gates)
    _replace(home.data_docs / "index.html", text)


def _record(home: Home, gate: str) -> Path:
    return home.data_docs / f"{gate}.json"


def _replace(path: Path, text: str) -> None:
    scratch = path.with_name(f".{path.name}-{uuid.uuid4().hex[:8]}")
    scratch.write_text(text, encoding="utf-8")
    os.replace(scratch, path)
