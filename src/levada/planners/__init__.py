"""Planners: what compares a model with a ledger. `local` does it in DuckDB on this machine.

`samples` reads a plan's files for people. Import from the modules; this file imports nothing, since DuckDB
and Arrow take longer to load than most commands run.
"""
