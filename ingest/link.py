"""A thread's own connection to the database: made when it is needed, and anew where it broke."""

from typing import Any

import psycopg

Connection = psycopg.Connection[Any]


class Link:
    """One connection, in autocommit, for one thread.

    A worker that is stopped in the midst of a transaction would hold the fence for ever, so the
    server ends an idle transaction after ten seconds.

    Args:
        url: libpq URL of the database.
        name: What the server's list of activity shows.
    """

    def __init__(self, url: str, name: str) -> None:
        self._url = url
        self._name = name
        self._conn: Connection | None = None

    def connect(self) -> Connection:
        """Return the connection.

        Raises:
            psycopg.OperationalError: The database cannot be reached.
        """
        if self._conn is None or self._conn.closed:
            self._conn = psycopg.connect(
                self._url,
                autocommit=True,
                application_name=self._name,
                connect_timeout=5,
                tcp_user_timeout=15_000,
            )
            self._conn.execute("SET idle_in_transaction_session_timeout = '10s'")
        return self._conn

    def close(self) -> None:
        """Let the connection go; an open transaction is gone with it."""
        if self._conn is not None:
            self._conn.close()
            self._conn = None
