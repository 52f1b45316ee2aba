"""Usage and cost reports of model vendors: pages of time buckets, each with a list of results.

OpenAI's and Anthropic's administration interfaces answer alike: ``{"data": [bucket, ...], "has_more": ...}``, a bucket
being a start, an end and ``results``. A file may hold one page, a list of pages, a page a line, or bare buckets. Here
such files become one row per result; what a result means is the format's business.
"""

from __future__ import annotations

import re
from pathlib import Path

from ingest.reading import Head, Reader, Structure, parsed

_RESULTS = ("results", "result")
"""What the list of results is called; OpenAI's written specification has the second name."""

_FOLLOWING_PAGES = "the last page says that more follow (has_more), and they are not here: save them all"


def is_report(head: Head, start: str, end: str, *mine: str) -> bool:
    """Whether a file is a report, by its text: a document may be longer than what is read of it here.

    Args:
        head: the beginning of the file.
        start: name of a bucket's start.
        end: name of a bucket's end.
        mine: regular expressions, all of which are found in this report's results. A report without any result might
            be any of the vendor's.
    """
    if head.kind not in ("json", "jsonl"):
        return False
    if not all(re.search(f'"{key}"\\s*:', head.text) for key in (start, end, "results?")):
        return False
    is_empty = not re.search('"results?"\\s*:\\s*\\[\\s*[^\\s\\]]', head.text)
    return is_empty or all(re.search(text, head.text) for text in mine)


def results(reader: Reader, start: str, end: str, structure: dict[str, Structure], known: tuple[str, ...] = ()) -> str:
    """SQL of one row per result, and a notice for each file whose last page is not the report's last.

    Besides the place columns the rows have ``bucket_start`` and ``bucket_end`` as text, ``result`` as a struct, and
    ``_found``: what is wrong with the page, the bucket or the result, as ``Extract.problem`` wants it. A record that is
    no page gives one row, an empty bucket none. ``_content`` is the result's own text and its bucket's times, so that
    the same result in another file has the same hash.

    Args:
        reader: the open reader.
        start: name of a bucket's start.
        end: name of a bucket's end.
        structure: the keys to read of a result.
        known: further keys of a page that are left.
    """
    # Results have no ids: their text is needed for a hash from the start.
    reader.is_careful = True
    lists = {name: ["JSON"] for name in _RESULTS}
    rows = reader.rows(
        ("has_more", start, end),
        nested={"data": [{start: "VARCHAR", end: "VARCHAR", **lists}], **lists},
        known=("object", "next_page", *known),
    )
    bucket = f"[{{'{start}': \"{start}\", '{end}': \"{end}\", 'results': results, 'result': \"result\"}}]"
    pages = f"{reader.catalog}.report_pages"
    # A page's text is long; it goes no further where its results are there.
    reader.connection.execute(
        f"""
        create or replace table {pages} as
        select
            _file,
            _broken,
            _line,
            has_more,
            coalesce(data, case when results is not null or "result" is not null then {bucket} end) as buckets,
            case when _broken is not null or buckets is null then _content end as _content
        from ({rows})
        """
    )
    for (file,) in reader.connection.execute(
        f"select _file from {pages} group by _file having arg_max(has_more, rowid) = 'true' order by _file"
    ).fetchall():
        reader.tell(Path(file), _FOLLOWING_PAGES)
    return f"""
        select
            _file,
            coalesce(_content, concat(bucket_start, ' ', bucket_end, ' ', result_text)) as _content,
            _broken,
            _line,
            bucket_start,
            bucket_end,
            result,
            case
                when is_no_page then '|not a page of a report'
                when is_no_bucket then '|a bucket without results'
                when result is null or not starts_with(result_text, '{{') then '|not a result of a report'
            end as _found
        from (
            select *, {parsed("result_text", structure)} as result
            from (
                select
                    * exclude (bucket),
                    bucket is null or coalesce(bucket.results, bucket."result") is null as is_no_bucket,
                    bucket."{start}" as bucket_start,
                    bucket."{end}" as bucket_end,
                    unnest(cast(coalesce(bucket.results, bucket."result", [null]) as varchar[])) as result_text
                from (
                    select
                        * exclude (buckets, has_more),
                        buckets is null as is_no_page,
                        unnest(coalesce(buckets, [null])) as bucket
                    from {pages}
                )
            )
        )"""


def utc_from_seconds(seconds: str) -> str:
    """SQL of the time that a text of whole Unix seconds says; the text itself where it is none."""
    return f"coalesce(cast(try(make_timestamptz(try_cast({seconds} as bigint) * 1000000)) as varchar), {seconds})"


def utc_date(time: str) -> str:
    """SQL of the UTC date of a time given as text; the text itself where it is no time."""
    return f"coalesce(cast(cast(timezone('UTC', try_cast({time} as timestamptz)) as date) as varchar), {time})"
