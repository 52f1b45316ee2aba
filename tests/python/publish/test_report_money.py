"""Amounts as people write them."""

from __future__ import annotations

from decimal import Decimal

import pytest

from publish.report import money

MINUS = "\N{MINUS SIGN}"


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        ("1234567.891", "USD", "$1,234,567.89"),
        ("1234567.891", "GBP", "£1,234,567.89"),
        ("1234567.891", "INR", "₹12,34,567.89"),
        ("12345678901.2", "INR", "₹12,34,56,78,901.20"),
        ("99999", "INR", "₹99,999.00"),
        ("100000", "INR", "₹1,00,000.00"),
        ("999", "INR", "₹999.00"),
        ("-1234.5", "INR", f"{MINUS}₹1,234.50"),
        ("-0.001", "USD", "$0.00"),
        ("0.005", "USD", "$0.00"),
        ("5", "EUR", "EUR\N{NO-BREAK SPACE}5.00"),
    ],
)
def test_totals_have_two_places(amount, currency, text):
    assert money.total(Decimal(amount), currency) == text


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        ("0.0555", "$0.05550"),
        ("0.000012345", "$0.00001234"),
        ("0.99996", "$1.000"),
        ("9.9996", "$10.00"),
        ("99.996", "$100.0"),
        ("1234.4", "$1,234"),
        ("123456", "$123,500"),
        ("0", "$0.00"),
    ],
)
def test_costs_of_one_thing_have_four_figures(amount, text):
    assert money.unit_cost(Decimal(amount), "USD") == text


@pytest.mark.parametrize(
    ("ratio", "text"),
    [
        (0.1234, "12.3%"),
        (1, "100.0%"),
        (0.99999, "> 99.9%"),
        (0.00001, "< 0.1%"),
        (-0.00001, f"{MINUS}0.0%"),
        (-0.024, f"{MINUS}2.4%"),
        (0, "0.0%"),
    ],
)
def test_shares_do_not_round_to_all_or_nothing(ratio, text):
    assert money.share(ratio) == text


def test_what_is_not_known_is_a_dash_and_not_zero():
    dash = "\N{EN DASH}"
    assert money.total(None, "USD") == money.unit_cost(None, "USD") == money.share(None) == dash
    assert money.count(None) == money.times(None) == dash
