"""Make the data of one size: `python generate.py ROWS FOLDER`.

FOLDER gets v1.parquet (the first day) and v2.parquet (1 % of the rows changed, 0.1 % gone, 0.1 % new), each
with 12 columns, and v1.duckdb and v2.duckdb with the same as a table `customers`. Values follow from the row
number through a mixing function of plain arithmetic, so that every machine gets the same rows.
"""

from __future__ import annotations

import sys
from pathlib import Path

import duckdb

COLUMNS = {
    "id": "bigint",
    "email": "varchar",
    "first_name": "varchar",
    "last_name": "varchar",
    "country": "varchar",
    "lifetime_value": "decimal(12,2)",
    "orders": "integer",
    "active": "boolean",
    "created_at": "timestamp",
    "updated_at": "timestamp",
    "note": "varchar",
    "born_on": "date",
}

# `mixed(i, salt)`: a number below a million that looks random
MIXING = """
create macro mixed(i, salt) as ((i * 2654435761 + salt * 40503) % 4294967291 * 48271) % 2147483647 % 1000000;
"""
ROW = """
select
    i::bigint as id,
    'person.' || i || '@example' || (mixed(i, 1) % 50) || '.com' as email,
    ['Alma', 'Bastian', 'Carla', 'Dörte', 'Emil', 'Françoise', 'Goran', 'Hiroko', 'Ivan', 'Jorge', 'Luz', 'Mina']
        [(1 + mixed(i, 2) % 12)::integer] as first_name,
    ['Albrecht', 'Bianchi', 'Chen', 'D''Arcy', 'Eze', 'Fernández', 'Gruber', 'Horváth', 'Ito', 'Johansson', 'Kaya']
        [(1 + mixed(i, 3) % 11)::integer] || (mixed(i, 4) % 1000) as last_name,
    ['GB', 'DE', 'FR', 'PT', 'ES', 'IT', 'JP', 'BR', 'KE', 'IN', 'US'][(1 + mixed(i, 5) % 11)::integer] as country,
    ((mixed(i, 6) * 7 + i % 97) / 100)::decimal(12, 2) as lifetime_value,
    (mixed(i, 7) % 300)::integer as orders,
    mixed(i, 8) % 6 <> 0 as active,
    timestamp '2019-01-01' + to_seconds(mixed(i, 9) * 180) as created_at,
    timestamp '2025-03-01' + to_seconds(mixed(i, 10) * 20) as updated_at,
    case when mixed(i, 11) % 3 = 0 then 'asked about ' || mixed(i, 12) || ', wants "express" \\ delivery' end as note,
    date '1945-01-01' + (mixed(i, 13) % 23000)::integer as born_on
"""


def generate(rows: int, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    done = folder / "complete"
    if done.exists():
        return
    new = rows // 1000
    for version in (1, 2):
        path = folder / f"v{version}.duckdb"
        path.unlink(missing_ok=True)
        with duckdb.connect(str(path)) as connection:
            connection.execute(MIXING)
            first = f"{ROW} from range(1, {rows} + 1) as numbers(i)"
            if version == 1:
                connection.execute(f"create table customers as {first}")
            else:
                later = f"{ROW} from range({rows} + 1, {rows + new} + 1) as numbers(i)"
                connection.execute(
                    f"""
                    create table customers as
                    select * replace (
                        case when id % 100 = 37 then (lifetime_value + 1)::decimal(12, 2) else lifetime_value end
                            as lifetime_value,
                        case when id % 100 = 37 then orders + 1 else orders end as orders,
                        case when id % 100 = 37 then updated_at + interval 40 day else updated_at end as updated_at
                    )
                    from ({first}) where id % 1000 <> 500
                    union all {later}
                    """
                )
            connection.execute(f"copy customers to '{folder}/v{version}.parquet' (format parquet)")
    done.touch()


if __name__ == "__main__":
    generate(int(sys.argv[1]), Path(sys.argv[2]))
