"""Rows of a file in a temporary table beside the city's own: what needs both is asked there."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

import psycopg
from psycopg import sql

from core.model import Text
from devices.intake.problems import Problems
from devices.intake.sheet import Reference, Sheet

_STAGED: Final = sql.Identifier("staged_import")


class Staging:
    """A temporary table of one file; lives within the caller's transaction.

    Args:
        sheet: What the file says.
        types: SQL type of each column to be written.
    """

    def __init__(self, sheet: Sheet, types: Mapping[str, str]) -> None:
        self._sheet = sheet
        self._types = types
        self._names = list(types)
        self._table = sql.Identifier("hub", sheet.table)
        nullable = {field.name for field in sheet.fields if not field.required}
        self._same_key = sql.SQL(" AND ").join(
            sql.SQL(
                "t.{0} IS NOT DISTINCT FROM s.{0}" if name in nullable else "t.{0} = s.{0}"
            ).format(sql.Identifier(name))
            for name in sheet.key
        )

    def fill(
        self, conn: psycopg.Connection[Any], rows: Iterable[tuple[int, bool, Mapping[str, Any]]]
    ) -> None:
        """Take all rows of the file: line, whether its key is good, values."""
        conn.execute(
            sql.SQL(
                "CREATE TEMPORARY TABLE {} (line int4, good boolean, {}) ON COMMIT DROP"
            ).format(
                _STAGED,
                sql.SQL(", ").join(
                    sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(kind))
                    for name, kind in self._types.items()
                ),
            )
        )
        statement = sql.SQL("COPY {} (line, good, {}) FROM STDIN").format(
            _STAGED, sql.SQL(", ").join(map(sql.Identifier, self._names))
        )
        with conn.cursor() as cursor, cursor.copy(statement) as copy:
            for line, good, values in rows:
                copy.write_row([line, good, *(_plain(values.get(name)) for name in self._names)])
        conn.execute(sql.SQL("ANALYZE {}").format(_STAGED))

    def find_problems(self, conn: psycopg.Connection[Any], problems: Problems) -> None:
        """Note duplicates within the file, references to nothing, and devices that change kind.

        From here on no other import and no registration comes in between.
        """
        conn.execute(sql.SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE").format(self._table))
        self._find_duplicates(conn, problems)
        for reference in self._sheet.references:
            if reference.column in self._types:
                self._find_strays(conn, reference, problems)
        if self._sheet.table == "device":
            self._find_changed_kinds(conn, problems)

    def _find_duplicates(self, conn: psycopg.Connection[Any], problems: Problems) -> None:
        key = sql.SQL(", ").join(map(sql.Identifier, self._sheet.key))
        statement = sql.SQL(
            "SELECT line, first FROM (SELECT line, min(line) OVER (PARTITION BY {}) AS first"
            " FROM {} WHERE good) AS all_rows WHERE line > first ORDER BY line"
        ).format(key, _STAGED)
        for line, first in conn.execute(statement):
            problems.add(
                line,
                self._sheet.key[0],
                Text(f"与第 {first} 行重复", f"the same as in line {first}"),
            )

    def _find_strays(
        self, conn: psycopg.Connection[Any], reference: Reference, problems: Problems
    ) -> None:
        column = sql.Identifier(reference.column)
        there = sql.SQL("SELECT FROM {} AS t WHERE t.{} = s.{}").format(
            sql.Identifier("hub", reference.table), sql.Identifier(reference.key), column
        )
        known = sql.SQL("EXISTS ({})").format(there)
        if reference.kind:
            kind = sql.Literal(reference.kind)
            known = sql.SQL(
                "EXISTS ({} AND t.kind = {})"
                " OR EXISTS (SELECT FROM {} AS f WHERE f.device_id = s.{} AND f.kind = {})"
            ).format(there, kind, _STAGED, column, kind)
        statement = sql.SQL(
            "SELECT s.line, s.{} FROM {} AS s WHERE s.{} IS NOT NULL AND NOT ({}) ORDER BY s.line"
        ).format(column, _STAGED, column, known)
        for line, value in conn.execute(statement):
            problems.add(
                line,
                reference.column,
                Text(
                    f"没有编码为 {value} 的{reference.label.zh}",
                    f"there is no {reference.label.en} {value}",
                ),
            )

    def _find_changed_kinds(self, conn: psycopg.Connection[Any], problems: Problems) -> None:
        statement = sql.SQL(
            "SELECT s.line, t.kind, s.kind FROM {} AS s JOIN hub.device AS t USING (device_id)"
            " WHERE t.kind <> s.kind ORDER BY s.line"
        ).format(_STAGED)
        for line, old, new in conn.execute(statement):
            problems.add(
                line,
                "kind",
                Text(
                    f"该设备已登记为 {old}，不能改为 {new}；请换用新的设备编号",
                    f"this device is a {old} and cannot become a {new}; give it a new id",
                ),
            )

    def keep_rotated_secrets(self, conn: psycopg.Connection[Any]) -> None:
        """Leave the login of a device that has another than its first secret as it is."""
        conn.execute(
            sql.SQL(
                "UPDATE {} AS s SET secret_hash = t.secret_hash FROM hub.device AS t"
                " WHERE t.device_id = s.device_id AND t.secret_no > 0"
            ).format(_STAGED)
        )

    def compare(self, conn: psycopg.Connection[Any]) -> tuple[int, int, int]:
        """Return how many rows are new, changed and unchanged."""
        statement = sql.SQL(
            "SELECT count(*) FILTER (WHERE t.{0} IS NULL),"
            " count(*) FILTER (WHERE t.{0} IS NOT NULL AND ({1})),"
            " count(*) FILTER (WHERE t.{0} IS NOT NULL AND NOT ({1}))"
            " FROM {2} AS s LEFT JOIN {3} AS t ON {4}"
        ).format(
            sql.Identifier(self._sheet.key[0]),
            self._differs(),
            _STAGED,
            self._table,
            self._same_key,
        )
        row = conn.execute(statement).fetchone()
        assert row is not None  # noqa: S101 - an aggregate always gives a row
        return (row[0], row[1], row[2])

    def write(self, conn: psycopg.Connection[Any]) -> None:
        """Change what differs and add what is new.

        Two statements and no ON CONFLICT, which would use up a number of the device for each row
        that is there already.
        """
        rest = [name for name in self._names if name not in self._sheet.key]
        if rest:
            changes: list[sql.Composable] = [
                sql.SQL("{0} = s.{0}").format(sql.Identifier(name)) for name in rest
            ]
            if self._sheet.table == "device":
                changes.append(sql.SQL("version = t.version + 1"))
            conn.execute(
                sql.SQL("UPDATE {} AS t SET {} FROM {} AS s WHERE {} AND ({})").format(
                    self._table,
                    sql.SQL(", ").join(changes),
                    _STAGED,
                    self._same_key,
                    self._differs(),
                )
            )
        names = sql.SQL(", ").join(map(sql.Identifier, self._names))
        conn.execute(
            sql.SQL(
                "INSERT INTO {} ({}) SELECT {} FROM {} AS s"
                " WHERE NOT EXISTS (SELECT FROM {} AS t WHERE {}) ORDER BY s.line"
            ).format(self._table, names, names, _STAGED, self._table, self._same_key)
        )

    def _differs(self) -> sql.Composable:
        """Return the condition under which a row says something else than the table."""
        rest = [
            sql.SQL("t.{0} IS DISTINCT FROM s.{0}").format(sql.Identifier(name))
            for name in self._names
            if name not in self._sheet.key
        ]
        return sql.SQL(" OR ").join(rest) if rest else sql.SQL("false")


def _plain(value: Any) -> Any:
    """Return a value as COPY takes it."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else value
