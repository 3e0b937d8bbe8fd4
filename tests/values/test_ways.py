"""Each claim about values, for each way in which they leave: see the table on the page of guarantees.

`shows` gives a test its ways, and so the table its cells: what no test is given for is not claimed. A way that a
claim does not concern is named with the reason, here and on the page.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import claims
from levada import Project
from levada_process import Ended, environment
from servers.mariadb import MariadbServer, fresh_mariadb
from servers.postgres import PostgresServer, fresh_database
from values import test_zones, ways
from values.ways import PLAIN, SHAPES, TIMES, WAYS, Told
from values.witnesses import Addresses, tape

pytestmark = [pytest.mark.needs("postgres", "mariadb"), pytest.mark.xdist_group("ways"), pytest.mark.timeout(1_800)]

SECONDS = 600
"""How long a run of all ways may take, on a machine that does other things as well."""
ZONES = ("Asia/Tokyo", "America/St_Johns")
SMALL = ("seen", "half", "naive", "day", "clock", "real", "precise", "huge", "mood", "span")
VALUES = tuple(PLAIN) if claims.full() else SMALL
DIGITS = ("precise", "huge", "ratio", "money", "long")
CLAIMS: dict[str, str] = {
    "zone": "the machine's zone changes no instant, time or day",
    "alone": "a value alone arrives exactly, in its form",
    "inside": "the same inside of lists, structs and maps",
    "real": "reals of 32 bits: the fewest digits that mean the same",
    "digits": "decimals and integers with all their digits",
    "nonfinite": "NaN and infinities: exact or refused by name, inside too",
}
SHOWN: dict[tuple[str, str], str] = {}
"""By claim and way: the test that shows it."""
ELSEWHERE: dict[tuple[str, str], str] = {
    ("inside", "template"): "a template prints text: row `template-inside`",
    ("inside", "transform"): "a transform takes text: lists and structs are refused",
    ("alone", "template-inside"): "row `template`",
}
"""Where a claim does not concern a way, and why."""


def shows(claim: str, names: Sequence[str]) -> Callable[[Any], Any]:
    """A test of one way at a time: it shows the claim for these ways, and for no other."""
    assert claim in CLAIMS

    def mark(test: Any) -> Any:
        for name in names:
            SHOWN[claim, name] = test.__name__
        return pytest.mark.parametrize("way", names)(test)

    return mark


def concerned(claim: str) -> list[str]:
    return [name for name in WAYS if (claim, name) not in ELSEWHERE]


@dataclass(frozen=True, slots=True)
class Arrived:
    """What a run brought, by way, for these values. `errors`: of ways that could not be read."""

    values: tuple[str, ...]
    told: Mapping[str, Told]
    talk: str

    def wrong(self, name: str, columns: Sequence[str]) -> list[str]:
        """A sentence for every column that is not as it was meant."""
        way, told = WAYS[name], self.told[name]
        return [
            f"{name}: {column} is {told.get(column)!r:.120} instead of {ways.WANTED[column]!r:.120}"
            for column in columns
            if column not in told or not ways.same(way, column, told[column])
        ]


@pytest.fixture(scope="module")
def servers(postgres_server: PostgresServer, mariadb_server: MariadbServer) -> Iterator[Callable[[], Addresses]]:
    """Fresh databases for each project."""
    with ExitStack() as stack:

        def fresh() -> Addresses:
            return Addresses(
                stack.enter_context(fresh_database(postgres_server)),
                stack.enter_context(fresh_mariadb(mariadb_server)),
                stack.enter_context(tape()),
            )

        yield fresh


def _run(folder: Path, zone: str, *syncs: str) -> Ended:
    """`levada run` on a machine of a zone. It has longer than other commands: it is some twenty syncs."""
    done = subprocess.run(
        [sys.executable, "-m", "levada", "run", *syncs],
        cwd=folder,
        env=environment(TZ=zone),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def sent(folder: Path, addresses: Addresses, zone: str, values: tuple[str, ...]) -> Arrived:
    """All ways, on a machine of this zone: one run of everything, and a change for what is told of before."""
    ways.lay_out(folder, addresses, values)
    done = _run(folder, zone)
    assert done.code == 0, [line for line in done.talk.splitlines() if ": notice" not in line and "planned" not in line]
    ways.touch(folder)
    again = _run(folder, zone, "http-before")
    assert again.code == 0, again.talk
    return Arrived(values, {name: way.read(folder, addresses) for name, way in WAYS.items()}, done.talk)


@pytest.fixture(scope="module")
def in_tokyo(servers: Callable[[], Addresses], tmp_path_factory: pytest.TempPathFactory) -> Arrived:
    """All values, on a machine in Tokyo."""
    return sent(tmp_path_factory.mktemp("tokyo"), servers(), ZONES[0], VALUES)


@pytest.fixture(scope="module")
def on_machines(
    servers: Callable[[], Addresses], tmp_path_factory: pytest.TempPathFactory, in_tokyo: Arrived
) -> list[Arrived]:
    """Times, on machines of two zones; the second one's is 2½ hours behind for half of the year. One in `make test`."""
    if not (claims.full() or claims.campaign()):
        return [in_tokyo]
    return [in_tokyo, sent(tmp_path_factory.mktemp("st-johns"), servers(), ZONES[1], ("seen", "naive"))]


@shows("zone", concerned("zone"))
def test_times_are_the_same_on_a_machine_of_another_zone(way: str, on_machines: list[Arrived]) -> None:
    """Instants, times without a zone, days and clocks, alone and inside, in zones east and, in CI, west."""
    for arrived in on_machines:
        columns = WAYS[way].columns([name for name in arrived.values if name in TIMES])
        assert arrived.wrong(way, columns) == []


@shows("alone", concerned("alone"))
def test_a_value_alone_arrives_in_its_form(way: str, in_tokyo: Arrived) -> None:
    """Times, numbers, identifiers, choices and spans."""
    assert arrived_alone(way, in_tokyo.values) <= set(in_tokyo.told[way])
    assert in_tokyo.wrong(way, sorted(arrived_alone(way, in_tokyo.values))) == []


def arrived_alone(way: str, values: Sequence[str]) -> set[str]:
    return {name for name in WAYS[way].columns(values) if name in PLAIN}


@shows("inside", concerned("inside"))
def test_a_value_inside_arrives_in_the_form_that_it_has_alone(way: str, in_tokyo: Arrived) -> None:
    """In a list, in a list of lists of structs of lists, in a struct in a map, and as a map's key."""
    columns = [name for name in WAYS[way].columns(in_tokyo.values) if name not in PLAIN]
    assert columns
    assert in_tokyo.wrong(way, columns) == []


@shows("real", concerned("real"))
def test_a_real_has_the_fewest_digits(way: str, in_tokyo: Arrived) -> None:
    """0.1 is 0.1. Where a column holds 32 bits itself, the bits are the same."""
    columns = WAYS[way].columns([name for name in in_tokyo.values if name in ways.REALS])
    assert columns
    assert in_tokyo.wrong(way, columns) == []


@shows("digits", concerned("digits"))
def test_numbers_keep_all_their_digits(way: str, in_tokyo: Arrived) -> None:
    """38 digits, 21 places, and integers beyond 2^53."""
    columns = WAYS[way].columns([name for name in in_tokyo.values if name in DIGITS])
    assert columns
    assert in_tokyo.wrong(way, columns) == []


ODD: dict[str, str] = {
    "nan": "'nan'::double", "inf": "'inf'::float", "ever": "'infinity'::timestamptz", "never": "'-infinity'::date",
}  # fmt: skip
HOLD: dict[str, tuple[str, ...]] = {
    "postgres": ("nan", "inf"), "duckdb": ("nan", "inf"), "csv": ("nan", "inf"), "parquet": ("nan", "inf"),
}  # fmt: skip
"""Ways whose own columns hold NaN and the infinities of numbers. Nobody is sent those of dates."""
HELD_INSIDE: dict[str, tuple[str, ...]] = {"postgres": ("l",), "duckdb": ("l", "k"), "parquet": ("l", "k")}
"""The shapes that are columns of their own there, and not JSON."""


@pytest.fixture(scope="module")
def refused(servers: Callable[[], Addresses], tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    """By way: what became of records that hold one odd value each, by its column."""
    folder, addresses = tmp_path_factory.mktemp("odd"), servers()
    shapes = {"": "{}", **{shape: around for shape, (around, _) in SHAPES.items()}}
    ways.lay_out(folder, addresses, ("ratio", "seen"))
    rows = [(name, shape, value) for name, value in ODD.items() for shape in ("", "l", "k")]
    import duckdb

    with duckdb.connect(str(folder / "warehouse.duckdb")) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("DELETE FROM model")
        for number, (_, shape, value) in enumerate(rows, 1):
            column = f"{shape}_" * bool(shape) + ("ratio" if "'::d" in value or "'::f" in value else "seen")
            column = column if "'::date" not in value else column.replace("ratio", "seen")
            connection.execute(f"INSERT INTO model (id, {column}) VALUES ({number}, {shapes[shape].format(value)})")
    found: dict[str, Any] = {}
    with Project.open(folder) as project:
        for name in WAYS:
            project.run(name)
            outcomes = {int(record.key): record for record in project.records(name)}
            found[name] = [(odd, shape, outcomes.get(number)) for number, (odd, shape, _) in enumerate(rows, 1)]
    return found


@shows("nonfinite", [name for name in concerned("nonfinite") if name != "template-inside"])
def test_what_has_no_form_is_refused_by_name(way: str, refused: Mapping[str, Any]) -> None:
    """NaN, infinite numbers and infinite dates, alone, in a list, and in a struct in a map: the record is invalid and
    the field is named, or the way holds just this value."""
    for odd, shape, record in refused[way]:
        if shape not in WAYS[way].holds:
            continue
        assert record is not None, (odd, shape)
        name = "ratio" if odd in ("nan", "inf") else "seen"
        held = odd in HOLD.get(way, ()) and (not shape or shape in HELD_INSIDE.get(way, ()))
        if held:
            assert record.outcome == "delivered", (odd, shape, record)
        else:
            assert record.outcome == "invalid", (odd, shape, record)
            assert record.field == (f"{shape}_{name}" if shape else name), (odd, shape, record)


ELSEWHERE["nonfinite", "template-inside"] = "row `template`: a template is refused by the columns that it names"


# -- the table


PAGE = Path(__file__).parents[2] / "docs/guarantees.md"
BEGIN, END = "<!-- ways -->", "<!-- end of ways -->"


def table() -> str:
    """Claim by way: the letter of a note where the claim does not concern the way."""
    notes = sorted(set(ELSEWHERE.values()))
    lines = [f"| way | {' | '.join(CLAIMS.values())} |", "|---" * (len(CLAIMS) + 1) + "|"]
    for name in WAYS:
        cells = []
        for claim in CLAIMS:
            shown = "shown" if (claim, name) in SHOWN else "**not shown**"
            note = ELSEWHERE.get((claim, name))
            cells.append(shown if note is None else f"not applicable ({'abcdefgh'[notes.index(note)]})")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += ["", *(f"({'abcdefgh'[number]}) {note}." for number, note in enumerate(notes))]
    return "\n".join(lines)


def test_the_page_claims_what_is_shown() -> None:
    """The table is that of these tests: every cell has a test, or a reason why there is none."""
    assert set(SHOWN).isdisjoint(ELSEWHERE)
    assert set(SHOWN) | set(ELSEWHERE) == {(claim, name) for claim in CLAIMS for name in WAYS}
    text = PAGE.read_text(encoding="utf-8")
    assert text.partition(BEGIN)[2].partition(END)[0].strip() == table()


@pytest.mark.claim("H12")
@pytest.mark.timeout(20_000)
def test_every_way_on_a_machine_of_any_zone(
    tmp_path: Path, servers: Callable[[], Addresses], on_machines: list[Arrived], figure: claims.Figure
) -> None:
    """In full: each zone of the IANA database, each way. Else the zones of the tests above."""
    zones: Sequence[str] = [zone for zone in test_zones.ZONES if zone not in ZONES] if claims.full() else ()
    for number, zone in enumerate(zones):
        (tmp_path / str(number)).mkdir()
        arrived = sent(tmp_path / str(number), servers(), zone, ("seen", "naive", "day"))
        for name, way in WAYS.items():
            assert arrived.wrong(name, way.columns(arrived.values)) == [], zone
    machines = f"a machine set to each of {len(zones) + len(on_machines)} zones"
    figure("H12", f"{len(WAYS)} ways on {machines}: every day, time and instant as in the model")
