"""What SQLite is taught, so that a statement means there what it means on PostgreSQL."""

import json
import sqlite3
from decimal import Decimal

COMPARE_NUMBER = "descry_compare_number"


def compare_number(attributes: str, key: str, number: str) -> int | None:
    """How the number under a key of a JSON object compares with another, as decimals: -1, 0 or 1; None if it is none.

    SQLite reads numbers of JSON as 64-bit integers or as floating point; big integers would lose their last digits.
    """
    found = json.loads(attributes, parse_int=Decimal, parse_float=Decimal).get(key)
    if not isinstance(found, Decimal):
        return None
    other = Decimal(number)
    return (found > other) - (found < other)


def install(connection: sqlite3.Connection) -> None:
    """Register the functions on a connection."""
    connection.create_function(COMPARE_NUMBER, 3, compare_number, deterministic=True)
