"""Seeded schedules of faults over the whole engine on a virtual clock, judged by an oracle that never imports it.

`python -m simulation --seed N` replays one schedule; see docs/internals/simulation.md.
"""
