"""DuckDB as every part of Levada uses it: how a connection is opened, what its types are, how values are written.

Below all other packages, so that a value has one form wherever it leaves. Not here: what is computed.
"""
