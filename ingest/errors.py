"""Errors that ingest raises for people: each says what is wrong, where, and what to do."""

from __future__ import annotations


class IngestError(Exception):
    """A delivery that cannot be read at all; the message names the file and says what to do."""


class LakeError(Exception):
    """A lake that contradicts its own ledger; reading on would give wrong numbers."""
