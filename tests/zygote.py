"""Starts commands of Levada by forking a process that has imported everything and opened nothing.

So a start costs a hundredth of a second instead of one, and thousands of crash points can be tried. Reads one JSON
document a line: arguments, folder, the whole environment, input and output files; for those who count steps also the
file of the trace, the step to be struck at, constants to be set. Answers `{"pid": …}` at once and
`{"pid": …, "code": …}` when the command has ended (negative: the signal).
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import pkgutil
import selectors
import sys
from typing import Any

import levada

NOT_OURS = ("levada.testing", "levada.demo", "levada.__main__")
ALSO = ("duckdb", "pyarrow.parquet", "pyarrow.csv", "aiohttp", "psycopg", "adbc_driver_postgresql.dbapi")


def warm_up() -> None:
    for module in pkgutil.walk_packages(levada.__path__, "levada."):
        if not module.name.startswith(NOT_OURS):
            importlib.import_module(module.name)
    for name in ALSO:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()


def run(asked: dict[str, Any]) -> int:
    """In the child: become the command."""
    from levada.cli.app import execute

    for number, name in ((1, "out"), (2, "talk")):
        os.dup2(os.open(asked[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
    os.dup2(os.open(asked.get("input", os.devnull), os.O_RDONLY), 0)
    os.chdir(asked["folder"])
    sys.path[0] = ""  # as `python -m levada` has it
    os.environ.clear()
    os.environ.update(asked["environment"])
    for name, value in asked.get("constants", {}).items():
        module, _, constant = name.rpartition(".")
        assert hasattr(sys.modules[module], constant), name
        setattr(sys.modules[module], constant, value)
    if "trace" in asked:
        steps = ctypes.CDLL(os.environ["LD_PRELOAD"])
        strike = asked["strike"] or {"number": -1, "after": False, "signal": 0, "only": ""}
        steps.steps_arm(
            ctypes.c_char_p(asked["folder"].encode()),
            ctypes.c_char_p(asked["trace"].encode()),
            ctypes.c_long(strike["number"]),
            ctypes.c_int(strike["after"]),
            ctypes.c_int(strike["signal"]),
            ctypes.c_char_p(strike["only"].encode()),
        )
        steps.steps_clocks(*(ctypes.c_long(number) for number in asked["clocks"]))
        steps.steps_fail(ctypes.c_int(strike.get("error", 0)), ctypes.c_int(strike.get("on", False)))
    code = execute(asked["arguments"])
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def fork(asked: dict[str, Any]) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        code = run(asked)
    except BaseException:  # noqa: BLE001 - whatever it is, it must not come back into the loop below
        sys.excepthook(*sys.exc_info())
        sys.stderr.flush()
    finally:
        os._exit(code)


def tell(**words: int) -> None:
    os.write(1, json.dumps(words).encode() + b"\n")


def main() -> None:
    warm_up()
    tell(ready=os.getpid())
    selector = selectors.DefaultSelector()
    selector.register(0, selectors.EVENT_READ)
    pids: dict[int, int] = {}
    rest = b""
    while True:
        for key, _ in selector.select():
            if key.fd:
                pid = pids.pop(key.fd)
                selector.unregister(key.fd)
                os.close(key.fd)
                _, status, usage = os.wait4(pid, 0)
                tell(pid=pid, code=os.waitstatus_to_exitcode(status), peak=usage.ru_maxrss)
                continue
            read = os.read(0, 65_536)
            if not read:
                os._exit(0)
            *lines, rest = (rest + read).split(b"\n")
            for line in lines:
                pid = fork(json.loads(line))
                watched = os.pidfd_open(pid)
                pids[watched] = pid
                selector.register(watched, selectors.EVENT_READ)
                tell(pid=pid)


if __name__ == "__main__":
    main()
