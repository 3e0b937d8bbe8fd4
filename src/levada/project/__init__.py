"""The files of a project: found, read with the place of every key and value, validated, selected, and begun.

`files.load` is the way in. What the files describe is opened and run elsewhere.
"""
