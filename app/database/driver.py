"""SQLite asked through its driver, for what every search asks: SQLAlchemy's layers take longer than the answer."""

import sqlite3
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError


def asked(connection: Connection, text: str, values: tuple[Any, ...] = ()) -> sqlite3.Cursor:
    """What SQLite answers, within the transaction of the connection.

    Raises:
        DBAPIError: as SQLAlchemy raises it.
    """
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    try:
        return driver.execute(text, values)
    except sqlite3.Error as error:
        # Errors are logged, and values may be words that somebody asked with.
        hidden = DBAPIError.instance(
            text, values, error, sqlite3.Error, hide_parameters=True, dialect=connection.dialect
        )
        raise hidden from error
