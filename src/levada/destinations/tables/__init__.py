"""What the databases among the destinations share: names, facts about tables, statements, marks, and the writer.

Each database's own module (`levada.destinations.postgres` …) brings an `Engine` (what it is called and how
its types map) and a `Session` (how it is spoken to). Nothing here imports a driver.
"""
