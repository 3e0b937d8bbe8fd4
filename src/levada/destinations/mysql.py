"""MySQL and MariaDB as a destination, by PyMySQL: multi-row INSERTs into a temporary table, then joins.

`INSERT … ON DUPLICATE KEY UPDATE` is not used: it changes whatever row any unique index finds, not just the
one that the match fields name. Tables must be InnoDB, or a batch would not be one transaction.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import pyarrow as pa
from pydantic import Field

from levada.addresses import OWN_MACHINE, AddressPolicy, reach, unreached
from levada.database import DatabaseAddress, DatabaseOptions, Parameters, database_address
from levada.destination import DestinationSpec, DestinationType, Surroundings
from levada.destinations.tables.destination import SqlDestination, swap_rows
from levada.destinations.tables.engine import Grammar, Refused, TableColumn, TableFacts, Transient
from levada.destinations.tables.names import TableName, quoted
from levada.destinations.tables.statements import quoted_table
from levada.destinations.tables.values import as_json, columns_of, is_nested, simple, simplified, widened
from levada.errors import AccessError, ConfigError, DestinationError, FullError, LevadaError, UnavailableError
from levada.limits import Limits
from levada.mapping import FieldType, ValueLimits

TITLE = "MySQL"
DOCS = "docs/reference/table-destinations.md"
RECORDS_PER_BATCH = 20_000
STATEMENT_BYTES_MAX = 8_000_000
CONNECT_SECONDS = 10
ANSWER_SECONDS = 600
LOCK_SECONDS = 60
INDEX_CHARACTERS_MAX = 768
"""InnoDB indexes hold 3,072 bytes, four for a character."""
FILES = frozenset({"ssl_ca", "ssl_cert", "ssl_key"})
PARAMETERS = Parameters(("mysql", "mariadb"), 3306, FILES | {"ssl_mode"}, FILES)
SQL_MODE = "STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION"

GRAMMAR = Grammar(
    mark="`",
    name_bytes_max=256,
    joins="join",
    same="<=>",
    exact="CAST({} AS BINARY) = CAST({} AS BINARY)",
    plain="CAST({} AS BINARY)",
    unlimited="decimal(65,30)",
    uuid="char(36)",
    create_suffix=" ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
    placeholder="%s",
    marks_columns=(
        "sync varchar(200) NOT NULL, plan_id varchar(250) NOT NULL, batch bigint NOT NULL, first_row bigint NOT NULL,"
        " row_count bigint NOT NULL, detail longtext, applied_at datetime(6) NOT NULL,"
        " PRIMARY KEY (plan_id, first_row, row_count)"
    ),
)

INTEGERS = {"tinyint": 8, "smallint": 16, "mediumint": 24, "int": 32, "bigint": 64}
TEXT_BYTES = {"tinytext": 255, "text": 65_535, "mediumtext": 16_777_215, "longtext": 4_294_967_295}
NAME_CHARACTERS_MAX = 64

LOST = (2006, 2013, 2055, 1053, 1927, 3169)
REFUSED_LOGIN = (1044, 1045, 1698, 1227, 1142, 1143, 1370, 1410, 1290, 1836)
TRANSIENT = (1205, 1213)
UNAVAILABLE = (1040, 1203, 1226, 2002, 2003, 2005, 1129, 1130, 3)
FULL = (1021, 1114, 28)
DATA = (
    1022, 1048, 1062, 1153, 1169, 1216, 1217, 1264, 1265, 1292, 1300, 1364, 1366, 1367, 1406, 1411, 1416, 1451, 1452,
    1557, 1586, 1644, 1690, 3140, 3819, 3988, 4025, 4079,
)  # fmt: skip
"""The data is at fault: a constraint, or a value outside its column."""


class MysqlOptions(DatabaseOptions):
    """Tables of a MySQL or MariaDB database."""

    create_tables: bool = False
    """Make tables and columns that are missing, and say so."""
    schema_: str = Field(default="", alias="schema")
    """The database of tables that are named without one; by default the url's."""
    marks: bool = True
    """Keep the small table `_levada_marks` beside the tables, by which no batch is ever written twice."""


@dataclass(slots=True)
class MysqlSession:
    """One connection. Statements outside a transaction commit by themselves."""

    connection: Any
    shown: str
    statement_bytes: int
    alive: bool = True
    _staged: tuple[str, ...] = field(default=())

    def begin(self, *, reads: bool = False) -> None:
        self.run("START TRANSACTION")

    def run(self, statement: str, parameters: Sequence[object] = ()) -> None:
        with self._translated(), self.connection.cursor() as cursor:
            cursor.execute(statement, list(parameters) or None)

    def fetch(self, statement: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        with self._translated(), self.connection.cursor() as cursor:
            cursor.execute(statement, list(parameters) or None)
            return list(cursor.fetchall())

    def columns(self, statement: str) -> pa.Table:
        with self._translated(), self.connection.cursor() as cursor:
            cursor.execute(statement)
            return columns_of(tuple(str(each[0]) for each in cursor.description), list(cursor.fetchall()))

    def commit(self) -> None:
        try:
            self.run("COMMIT")
        except UnavailableError as error:
            raise ConnectionError("the answer to COMMIT was lost") from error

    def rollback(self) -> None:
        try:
            self.run("ROLLBACK")
        except (LevadaError, Refused, Transient):
            self.alive = False

    def stage(self, name: str, table: pa.Table, types: Sequence[str]) -> None:
        columns = ", ".join(f"{c} {kind}" for c, kind in zip(table.column_names, types, strict=True))
        stage = quoted(name, "`")
        if self._staged == (columns,):
            self.run(f"DELETE FROM {stage}")
        else:
            self.run(f"DROP TEMPORARY TABLE IF EXISTS {stage}")
            self.run(f"CREATE TEMPORARY TABLE {stage} ({columns}){GRAMMAR.create_suffix}")
            self._staged = (columns,)
        self._insert(stage, table)

    def append(self, target: TableName, table: pa.Table) -> None:
        self._insert(quoted_table(GRAMMAR, target), table)

    def _insert(self, target: str, table: pa.Table) -> None:
        columns = ", ".join(
            quoted(name, "`", bytes_max=GRAMMAR.name_bytes_max).replace("%", "%%") for name in table.column_names
        )
        places = ", ".join(["%s"] * table.num_columns)
        rows = list(zip(*(column.to_pylist() for column in table.columns), strict=True))
        with self._translated(), self.connection.cursor() as cursor:
            cursor.max_stmt_length = self.statement_bytes
            cursor.executemany(f"INSERT INTO {target.replace('%', '%%')} ({columns}) VALUES ({places})", rows)

    def close(self) -> None:
        self.alive = False
        with contextlib.suppress(Exception):
            self.connection.close()

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        """The driver's errors in our words."""
        import pymysql

        try:
            yield
        except pymysql.Error as error:
            ours = _ours(error, self.shown)
            if isinstance(ours, UnavailableError) and error.args and error.args[0] in (*LOST, 0):
                self.alive = False
            raise ours from error
        except (UnicodeError, ValueError) as error:
            raise Refused(str(error), "value") from error
        except RuntimeError as error:
            # a server that asks for a file of this machine (LOAD DATA LOCAL) is answered by nobody
            self.alive = False
            raise DestinationError(f"{TITLE} at {self.shown}: {error}", code="destination.statement") from error
        except OSError as error:
            self.alive = False
            raise UnavailableError(
                f"{TITLE} at {self.shown}: {unreached(error)}", hint="it is tried again later"
            ) from error


def _ours(error: Any, shown: str) -> Exception:
    import pymysql

    number = int(error.args[0]) if error.args and isinstance(error.args[0], int) else 0
    text = " ".join(str(error.args[1] if len(error.args) > 1 else error).split())
    if number in TRANSIENT:
        return Transient(text)
    if number in DATA or (isinstance(error, pymysql.err.DataError | pymysql.err.IntegrityError) and number not in LOST):
        return Refused(text, str(number), duplicate=number in (1022, 1062, 1169, 1557, 1586))
    if number in REFUSED_LOGIN:
        return AccessError(
            f"{TITLE} at {shown}: {text}", code="access.permission", hint="grant the user what is needed"
        )
    if number in (1146, 1049, 1054):
        return ConfigError(f"{TITLE} at {shown}: {text}", code="destination.missing_table")
    if number in FULL:
        return FullError(
            f"{TITLE} at {shown}: {text}", hint="make room at the destination, and run again: nothing is lost"
        )
    if number in (*LOST, *UNAVAILABLE, 0):
        return UnavailableError(f"{TITLE} at {shown}: {unreached(text)}", hint="it is tried again later")
    return DestinationError(f"{TITLE} at {shown}: {text} ({number})", code="destination.statement")


@dataclass(frozen=True, slots=True)
class MysqlEngine:
    address: DatabaseAddress
    policy: AddressPolicy = OWN_MACHINE
    title: str = TITLE
    grammar: Grammar = GRAMMAR

    def connect(self) -> MysqlSession:
        try:
            import pymysql
        except ImportError as error:
            raise ConfigError(
                "the MySQL driver is not installed",
                code="destination.driver",
                hint="pip install 'levada[mysql]', or in a clone make setup",
            ) from error
        try:
            connection = pymysql.connect(
                defer_connect=True,
                host=self.address.host,
                port=self.address.port,
                user=self.address.user,
                password=self.address.password or "",
                database=self.address.database,
                charset="utf8mb4",
                autocommit=True,
                local_infile=False,
                connect_timeout=CONNECT_SECONDS,
                read_timeout=ANSWER_SECONDS,
                write_timeout=ANSWER_SECONDS,
                sql_mode=SQL_MODE,
                init_command="SET time_zone = '+00:00'",
                **self._tls(),
            )
            connection.connect(reach(self.address.host, self.address.port, self.policy, CONNECT_SECONDS))
        except pymysql.Error as error:
            raise _ours(error, self.address.shown) from error
        except OSError as error:
            raise UnavailableError(
                f"{TITLE} at {self.address.shown}: {unreached(error)}", hint="see the destination's file"
            ) from error
        session = MysqlSession(connection, self.address.shown, STATEMENT_BYTES_MAX)
        try:
            session.run("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
            session.run(f"SET SESSION innodb_lock_wait_timeout = {LOCK_SECONDS}")
            packet = int(session.fetch("SELECT @@max_allowed_packet")[0][0])
            session.statement_bytes = min(STATEMENT_BYTES_MAX, max(1, packet // 2))
        except BaseException:
            session.close()
            raise
        return session

    def look(self) -> MysqlSession:
        return self.connect()

    def _tls(self) -> dict[str, Any]:
        """What the driver is told of TLS: `ssl_mode` is disabled, required, verify_ca or verify_identity."""
        settings = self.address.settings
        mode = settings.get("ssl_mode", "disabled" if self.address.is_loopback else "verify_identity").lower()
        if mode not in ("disabled", "required", "verify_ca", "verify_identity"):
            raise ConfigError(
                f"ssl_mode {mode} is not known",
                code="destination.url",
                hint="known are disabled, required, verify_ca, verify_identity",
            )
        if mode == "disabled":
            return {"ssl_disabled": True}
        if mode == "required":
            return {"ssl": {"check_hostname": False, "verify_mode": "none"}}
        import ssl

        context = ssl.create_default_context(cafile=settings.get("ssl_ca"))
        context.check_hostname = mode == "verify_identity"
        if "ssl_cert" in settings:
            context.load_cert_chain(settings["ssl_cert"], settings.get("ssl_key"))
        return {"ssl": context}

    def facts(self, session: Any, name: TableName) -> TableFacts | None:
        schema = name.schema or self.address.database
        found = session.fetch(
            "SELECT column_name, column_type, is_nullable, column_default, extra,"
            " character_set_name, collation_name FROM information_schema.columns"
            " WHERE table_schema = %s AND table_name = %s ORDER BY ordinal_position",
            (schema, name.table),
        )
        if not found:
            return None
        engine = session.fetch(
            "SELECT engine FROM information_schema.tables WHERE table_schema = %s AND table_name = %s",
            (schema, name.table),
        )[0][0]
        if engine is not None and str(engine).lower() != "innodb":
            raise ConfigError(
                f"the table {name} is kept by {engine}, which has no transactions",
                code="destination.engine",
                hint=f"ALTER TABLE {quoted_table(GRAMMAR, name)} ENGINE=InnoDB",
            )
        checked = self._json_columns(session, schema, name.table)
        columns = tuple(_column(row, checked) for row in found)
        indexes = session.fetch(
            "SELECT index_name, column_name, sub_part FROM information_schema.statistics"
            " WHERE table_schema = %s AND table_name = %s AND non_unique = 0",
            (schema, name.table),
        )
        groups: dict[str, set[str]] = {}
        for index, column, part in indexes:
            groups.setdefault(str(index), set()).add("" if column is None or part is not None else str(column))
        uniques = tuple(frozenset(names) for names in groups.values() if "" not in names)
        return TableFacts(name, columns, uniques)

    def _json_columns(self, session: Any, schema: str, table: str) -> set[str]:
        """MariaDB's JSON is long text with a check."""
        if not session.fetch(
            "SELECT 1 FROM information_schema.columns WHERE table_schema = 'information_schema'"
            " AND table_name = 'CHECK_CONSTRAINTS' AND column_name = 'TABLE_NAME'"
        ):
            return set()
        rows = session.fetch(
            "SELECT check_clause FROM information_schema.check_constraints"
            " WHERE constraint_schema = %s AND table_name = %s",
            (schema, table),
        )
        clauses = (re.fullmatch(r"json_valid\(`((?:[^`]|``)*)`\)", str(row[0])) for row in rows)
        return {found[1].replace("``", "`") for found in clauses if found}

    def tables(self, session: Any, schema: str) -> tuple[str, ...]:
        rows = session.fetch(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = %s ORDER BY 1",
            (schema or self.address.database,),
        )
        return tuple(str(row[0]) for row in rows)

    def may_create(self, session: Any, schema: str) -> bool:
        # grants come by roles and patterns too: opening a writer tries it
        return True

    def native(self, kind: pa.DataType, matches: int) -> str | None:
        form = simple(kind)
        types = pa.types
        if form is None:
            return None
        if types.is_decimal(form):
            decimal = cast("Any", form)
            fits = decimal.precision <= 65 and 0 <= decimal.scale <= 30
            return f"decimal({decimal.precision},{decimal.scale})" if fits else None
        if types.is_string(form):
            characters = min(255, INDEX_CHARACTERS_MAX // max(matches, 1))
            return f"varchar({characters})" if matches else "longtext"
        if types.is_binary(form):
            return "varbinary(255)" if matches else "longblob"
        if types.is_timestamp(form):
            return "datetime(6)"
        if is_nested(form):
            return "json"
        plain: dict[pa.DataType, str] = {
            pa.bool_(): "tinyint(1)", pa.int16(): "smallint", pa.int32(): "int", pa.int64(): "bigint",
            pa.float32(): "float", pa.float64(): "double", pa.date32(): "date", pa.time64("us"): "time(6)",
        }  # fmt: skip
        return plain.get(form)

    def field(self, column: TableColumn, wanted: pa.DataType | None) -> tuple[FieldType, ValueLimits]:
        native = column.native.lower()
        name = re.split(r"[ (]", native, maxsplit=1)[0]
        numbers = [int(found) for found in re.findall(r"\d+", native.partition("(")[2].partition(")")[0])]
        if name == "tinyint" and numbers == [1]:
            return "boolean", ValueLimits()
        if name in INTEGERS:
            return "integer", ValueLimits(integer_bits=INTEGERS[name] + ("unsigned" in native))
        if name == "decimal":
            return "decimal", ValueLimits(decimal_digits=numbers[0], decimal_scale=numbers[1])
        if name in ("varchar", "char"):
            limits = ValueLimits(text_characters=numbers[0], nul_character=True, trailing_spaces=name != "char")
            return "text", limits
        if name in TEXT_BYTES:
            return "text", ValueLimits(text_bytes=TEXT_BYTES[name], nul_character=True)
        if name in ("datetime", "timestamp"):
            zoned = wanted is not None and pa.types.is_timestamp(wanted) and cast("Any", wanted).tz
            return ("timestamp_tz" if zoned or name == "timestamp" else "timestamp"), ValueLimits()
        if name.endswith(("blob", "binary")):
            return "binary", ValueLimits()
        kinds: dict[str, FieldType] = {
            "float": "number", "double": "number", "date": "date", "time": "time", "json": "json", "uuid": "uuid",
        }  # fmt: skip
        return kinds.get(name, "text"), ValueLimits()

    def staged(self, kind: pa.DataType, native: str) -> str:
        """The target's own type, so that comparisons use its index and its collation."""
        return native or "bigint"

    def value(self, expression: str, kind: pa.DataType, native: str) -> str:
        return expression

    def compared(self, expression: str, native: str) -> str:
        return expression

    def stored(self, expression: str, native: str) -> str:
        name = re.split(r"[ (]", native.lower(), maxsplit=1)[0]
        if name == "float":
            # as it stands, the server would say six digits of it
            return f"({expression} + 0e0)"
        plain = name in INTEGERS or name in TEXT_BYTES or name in ("varchar", "char", "double")
        return expression if plain or name.endswith(("blob", "binary")) else f"CAST({expression} AS CHAR)"

    def direct(self, kind: pa.DataType, native: str) -> bool:
        return True

    def shaped(self, table: pa.Table, natives: Sequence[str]) -> pa.Table:
        columns: list[pa.ChunkedArray[Any]] = []
        for name, column, native in zip(table.column_names, table.columns, natives, strict=True):
            columns.append(_shaped(simplified(column, name), name, native))
        return pa.table(columns, names=table.column_names)

    def lock(self, session: Any, target: TableName) -> None:
        session.fetch("SELECT GET_LOCK(%s, %s)", (f"levada:{target}"[:64], LOCK_SECONDS))

    def held(self, session: Any, target: TableName) -> str:
        return " FOR UPDATE"

    def place(self, name: TableName) -> str:
        return self.address.place(name.schema or self.address.database, name.table)

    def identity(self, session: Any, name: TableName) -> str:
        return ""

    def like(self, session: Any, original: TableName, copy: TableName) -> None:
        session.run(f"CREATE TABLE {quoted_table(GRAMMAR, copy)} LIKE {quoted_table(GRAMMAR, original)}")

    def swap(self, session: Any, target: TableName, staging: TableName, retired: TableName) -> bool:
        """RENAME TABLE changes both names at once. Where triggers or foreign keys hang on the table, the rows
        change places instead."""
        schema = target.schema or self.address.database
        hanging = session.fetch(
            "SELECT 1 FROM information_schema.triggers WHERE event_object_schema = %s AND event_object_table = %s"
            " UNION ALL SELECT 1 FROM information_schema.referential_constraints"
            " WHERE (constraint_schema = %s AND table_name = %s)"
            " OR (unique_constraint_schema = %s AND referenced_table_name = %s)",
            (schema, target.table) * 3,
        )
        if hanging:
            swap_rows(self, session, target, staging)
            return False
        old, new, away = (quoted_table(GRAMMAR, name) for name in (target, staging, retired))
        session.run(f"RENAME TABLE {old} TO {away}, {new} TO {old}")
        return True


def _column(row: tuple[Any, ...], checked: set[str]) -> TableColumn:
    name, native, empty, default, extra, charset, collation = (None if part is None else str(part) for part in row)
    assert name is not None
    assert native is not None
    # MariaDB tells how wide an integer is shown; only of tinyint does it mean something
    native = re.sub(r"^((?:small|medium|big)?int|year)\(\d+\)", r"\1", native)
    native = re.sub(r"^tinyint\((?!1\))\d+\)", "tinyint", native)
    found = re.findall(r"'((?:[^']|'')*)'", native) if native.lower().startswith("enum(") else None
    generated = (extra or "").upper()
    return TableColumn(
        name,
        "json" if name in checked else native,
        nullable=empty == "YES",
        default=(default is not None and default != "NULL") or "AUTO_INCREMENT" in generated,
        writable="GENERATED" not in generated or "DEFAULT_GENERATED" in generated,
        choices=tuple(choice.replace("''", "'") for choice in found) if found is not None else None,
        base=f"{native} CHARACTER SET {charset} COLLATE {collation}" if collation and name not in checked else "",
        # even the binary collations pass over trailing spaces
        seen="{}" if collation else "",
    )


def _shaped(column: pa.ChunkedArray[Any], name: str, native: str) -> pa.ChunkedArray[Any]:
    """A column in what the driver writes exactly; refuses what MySQL would round or has no value for."""
    import pyarrow.compute as pc

    kind, compute = column.type, cast("Any", pc)
    if is_nested(kind):
        return as_json(column, name)
    if pa.types.is_floating(kind):
        finite = compute.is_finite(compute.drop_null(column))
        if not compute.all(finite).as_py() and len(finite):
            raise Refused(f"{name}: MySQL cannot hold NaN or infinity", "1264")
    if pa.types.is_timestamp(kind) or pa.types.is_time(kind):
        digits = re.match(r"(?:datetime|timestamp|time)(?:\((\d)\))?$", native.lower())
        step = 10 ** (6 - int(digits[1] or 0)) if digits else 1
        whole: Any = column.cast(pa.int64())
        if compute.any(compute.not_equal(compute.multiply(compute.divide(whole, step), step), whole)).as_py():
            raise Refused(f"{name}: the column {native} would round the time", "1292")
        texts = column.cast(pa.string())
        return cast("pa.ChunkedArray[Any]", compute.replace_substring_regex(texts, "Z$", ""))
    # the driver writes the digits of a Python number, which has 64 bits
    return widened(column)


def open_mysql(name: str, options: MysqlOptions, surroundings: Surroundings) -> SqlDestination:
    root, policy = surroundings.root, surroundings.policy
    address = database_address(options, PARAMETERS, code="destination.url", root=root, policy=policy)
    spec = DestinationSpec("mysql", TITLE, DOCS, Limits(records_per_request=RECORDS_PER_BATCH, concurrent_requests=1))
    return SqlDestination(
        name, MysqlEngine(address, policy), spec, options.create_tables, schema=options.schema_, marks=options.marks
    )


TYPE = DestinationType("mysql", TITLE, DOCS, MysqlOptions, open_mysql)
