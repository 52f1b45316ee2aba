"""Amounts as people write them: totals to two places, costs of one thing to four significant figures."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

SYMBOLS = {"USD": "$", "INR": "₹", "GBP": "£"}
"""The report's currencies, by ISO 4217 code."""

NOTHING = "\N{EN DASH}"
_MINUS = "\N{MINUS SIGN}"
_SPACE = "\N{NO-BREAK SPACE}"


def total(amount: Any, currency: str) -> str:
    """A total, to two places; rupees are grouped the Indian way, and currencies without a sign carry their code."""
    return _signed(amount, currency, 2)


def unit_cost(amount: Any, currency: str) -> str:
    """The cost of one thing, to four significant figures."""
    if amount is None:
        return NOTHING
    value = _decimal(amount)
    places = 3 - value.adjusted() if value else 2
    # Rounding may carry into a further digit: 9.9996 is 10.00.
    rounded = value.quantize(Decimal(1).scaleb(-places), ROUND_HALF_EVEN)
    if rounded and rounded.adjusted() > value.adjusted():
        places -= 1
    if places < 0:
        return _signed(value.quantize(Decimal(1).scaleb(-places), ROUND_HALF_EVEN), currency, 0)
    return _signed(amount, currency, places)


def count(number: Any) -> str:
    """A whole number."""
    return NOTHING if number is None else f"{_decimal(number).quantize(Decimal(1), ROUND_HALF_EVEN):,f}"


def share(ratio: Any) -> str:
    """A ratio as a percentage, to one place; what is not quite all is not shown as all, nor little as nothing."""
    if ratio is None:
        return NOTHING
    value = _decimal(ratio) * 100
    rounded = value.quantize(Decimal("0.1"), ROUND_HALF_EVEN)
    if value < 100 <= rounded:
        return "> 99.9%"
    if value and not rounded:
        return "< 0.1%" if value > 0 else f"{_MINUS}0.0%"
    return f"{_without_sign_of_zero(rounded):f}%".replace("-", _MINUS)


def times(ratio: Any) -> str:
    """A multiple, to three significant figures."""
    if ratio is None:
        return NOTHING
    value = Decimal(f"{float(ratio):.2e}")
    return f"{value:,f}\N{MULTIPLICATION SIGN}"


def _signed(amount: Any, currency: str, places: int) -> str:
    if amount is None:
        return NOTHING
    value = _without_sign_of_zero(_decimal(amount).quantize(Decimal(1).scaleb(-places), ROUND_HALF_EVEN))
    whole, _, rest = f"{abs(value):f}".partition(".")
    grouped = _grouped(whole, currency) + (f".{rest}" if rest else "")
    symbol = SYMBOLS.get(currency, currency + _SPACE)
    return f"{_MINUS if value < 0 else ''}{symbol}{grouped}"


def _grouped(whole: str, currency: str) -> str:
    if currency != "INR" or len(whole) <= 3:
        return f"{int(whole):,}"
    head, tail = whole[:-3], whole[-3:]
    first = len(head) % 2 or 2
    pairs = [head[:first]] + [head[start : start + 2] for start in range(first, len(head), 2)]
    return ",".join([*pairs, tail])


def _decimal(value: Any) -> Decimal:
    return value if isinstance(value, Decimal) else Decimal(str(value))


def _without_sign_of_zero(value: Decimal) -> Decimal:
    return value if value else abs(value)
