"""What stands in a declared file: read with the place of every key and value, and checked by its class.

`keys.keys_of` has the facts of a class's keys, which errors, pages, lists and forms show. Which files there are, and
what is done with what they declare, is for the packages above.
"""
