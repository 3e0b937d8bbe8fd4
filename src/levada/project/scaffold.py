"""The project that `levada init` writes: small, whole, and running at once without an account or a server."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from string import Template

from levada.declaration.yaml import plain_scalar
from levada.errors import ConfigError
from levada.model import NAME_PATTERN
from levada.project.listing import root_above

_LEVADA = """\
# The folder of this file is the project. See README.md.
name: $name
timezone: UTC
"""

_GITIGNORE = """\
# Levada's state, secrets, and the database that the example writes to
.levada/
.env
.env.*
/crm.db*
"""

_SOURCE = """\
# Every CSV, Parquet or JSON-lines file in the folder is a table named after it.
type: files
path: data
description: The example's data. Your warehouse goes into a file beside this one.
"""

_CSV = """\
customer_id,email,first_name,last_name,country,lifetime_value,last_order_on
1,ada@example.com,Ada,Marsh,PT,1240.50,2026-05-02
2,bela@example.com,Bela,Novak,CZ,310.00,2026-04-18
3,chika@example.com,Chika,Obi,NG,89.90,2026-01-30
4,dario@example.com,Dario,Leone,IT,2045.25,2026-05-20
5,elif@example.com,Elif,Kaya,TR,15.00,2025-12-11
6,femke@example.com,Femke,Visser,NL,640.75,2026-03-07
7,goran@example.com,Goran,Ilic,RS,0.00,2025-11-29
8,hana@example.com,Hana,Sato,JP,975.10,2026-05-11
"""

_MODEL = """\
/*
source: shop
key: customer_id
description: One row for each customer.
columns:
  email: {personal: email}
  first_name: {personal: name}
  last_name: {personal: name}
*/
select
  customer_id,
  email,
  first_name,
  last_name,
  country,
  lifetime_value,
  case when lifetime_value >= 1000 then 'gold' else 'standard' end as tier
from customers
"""

_DESTINATION = """\
# A database file stands for the tool that receives the records.
type: sqlite
path: crm.db
create_tables: true
"""

_SYNC = """\
model: customers
to: crm.contacts
mode: mirror                          # also removes the records of customers who left the model
match: {customer_id: customer_id}     # how a record is found: field of the destination: column of the model
fields:
  customer_id: customer_id
  email: {column: email, apply: [normalize_email]}
  full_name: {sql: "first_name || ' ' || last_name"}
  country: country
  lifetime_value: {sql: "round(lifetime_value, 2)"}
  tier: tier
tags: [example]
"""

_README = """\
# $name

A Levada project: it keeps tools equal to the models in a warehouse.

| file | what it is |
|---|---|
| `levada.yml` | the project and its defaults |
| `sources/shop.yml` | where the data is: here the CSV file in `data/` |
| `models/customers.sql` | a query with a key |
| `destinations/crm.yml` | where records go: here a database file, `crm.db` |
| `syncs/customers_to_crm.yml` | the standing order: which model goes where, and how |

```sh
levada check                      # is everything right?
levada plan customers_to_crm      # what would be sent, before anything is
levada run customers_to_crm       # send it
```

Change a line of `data/customers.csv` and run again: only what changed is sent. Secrets go into `.env`, which git
ignores, and into files as `${NAME}`.
"""

_FILES = {
    "levada.yml": _LEVADA,
    ".gitignore": _GITIGNORE,
    "sources/shop.yml": _SOURCE,
    "data/customers.csv": _CSV,
    "models/customers.sql": _MODEL,
    "destinations/crm.yml": _DESTINATION,
    "syncs/customers_to_crm.yml": _SYNC,
    "README.md": _README,
}
EXAMPLE_SYNC = "customers_to_crm"
"""The sync of a fresh project."""


@dataclass(frozen=True, slots=True)
class Scaffolded:
    """What was written and what was already there and stayed as it was, as paths relative to `root`."""

    root: Path
    written: tuple[str, ...]
    kept: tuple[str, ...]


def scaffold(root: Path, name: str) -> Scaffolded:
    """Write a project called `name` into `root`, which is made if it is not there. No file is overwritten.

    `root` is a whole path. Raises ConfigError if there is a project already, in it or above it, or if a file cannot be
    written.
    """
    if there := root_above(root):
        inside = f"there is a project in {root} already" if there == root else f"{root} lies in the project {there}"
        raise ConfigError(
            inside,
            code="config.project_exists",
            hint="work with the one that is there, or name a folder outside of it: `levada init OTHER/FOLDER`",
        )
    written: list[str] = []
    kept: list[str] = []
    quoted = name if re.fullmatch(NAME_PATTERN, name) and plain_scalar(name) == name else json.dumps(name)
    for relative, text in _FILES.items():
        path = root / relative
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # "x": whatever appeared there in the meantime is not overwritten either
            with path.open("x", encoding="utf-8", newline="\n") as file:
                shown = name if relative == "README.md" else quoted
                file.write(Template(text).safe_substitute(name=shown))
            written.append(relative)
        except FileExistsError:
            kept.append(relative)
        except OSError as error:
            message = f"{path} cannot be written: {error.strerror}"
            raise ConfigError(message, code="config.unwritable", hint="choose a folder that you may write to") from None
    return Scaffolded(root, tuple(written), tuple(kept))
