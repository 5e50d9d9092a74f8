"""Checks of one value of any argument. Each returns the value to use, or raises ``InvalidRequestError``. No I/O.

DAG files import this module, so it imports little.
"""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from numbers import Number

from airflow_provider_grokvideo.api.redaction import invalid_field

_NUMBER = re.compile(r"\d{1,40}(\.\d{0,40})?|\.\d{1,40}")


def validate_text(name: str, value: object) -> None:
    """Check that a value is ``None`` or a text."""
    if value is not None and (not isinstance(value, str) or not value.strip()):
        raise invalid_field(name, value, "Use a text that is not empty, or leave it out.")


def validate_choice(name: str, value: object, allowed: tuple[str, ...]) -> None:
    """Check that a value is ``None`` or one of the allowed texts."""
    if value is not None and not (isinstance(value, str) and value in allowed):
        raise invalid_field(name, value, f"Use one of {', '.join(allowed)}.")


def validate_flag(name: str, value: object) -> bool | None:
    """Return a boolean, also from the text ``true`` or ``false``, which a template renders."""
    word = value.strip().lower() if isinstance(value, str) else value
    flag = {"true": True, "false": False}.get(word) if isinstance(word, str) else word
    if flag is None and value is None:
        return None
    if not isinstance(flag, bool):
        raise invalid_field(name, value, "Use True or False.")
    return flag


def to_number(value: object) -> Decimal | None:
    """Return a finite number of any numeric type, or from a text, as a decimal; ``None`` for other values."""
    if isinstance(value, str):
        value = value.strip()
        return Decimal(value) if _NUMBER.fullmatch(value) else None
    if isinstance(value, bool) or not isinstance(value, Number) or isinstance(value, complex):
        return None
    try:
        number = value if isinstance(value, Decimal) else Decimal(repr(float(value)))  # type: ignore[arg-type]
    except (InvalidOperation, ValueError, TypeError, OverflowError):
        return None
    return number if number.is_finite() else None


def validate_whole(name: str, value: object, shortest: int, longest: int) -> int:
    """Return a whole number within limits, given as any type of number or as text."""
    number = to_number(value)
    if number is None or not shortest <= number <= longest or number != int(number):
        raise invalid_field(name, value, f"Use whole seconds from {shortest} to {longest}.")
    return int(number)


def validate_seconds(name: str, value: object) -> float:
    """Return an interval or timeout in seconds, given as a number or as a ``timedelta``.

    :raises InvalidRequestError: it is not above 0; names the argument and the value.
    """
    number = value.total_seconds() if isinstance(value, timedelta) else value
    seconds = None if isinstance(number, str) else to_number(number)
    if seconds is None or seconds <= 0:
        raise invalid_field(name, value, "Use a number of seconds above 0, or a timedelta.")
    return float(seconds)
