"""Real processes of the command line, stopped at every step that outlives them: docs/internals/crash-points.md."""
