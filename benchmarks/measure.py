"""One whole process, measured: wall time, processor time, peak memory.

The process that measures stays small on purpose: Linux counts what a parent held at the fork into its child's peak.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Measurement:
    """`cpu_seconds` and `peak_mib` are the process's and its children's (the peak: of the largest single one).

    `foreign_cpu_seconds`: what everything else on the machine used meanwhile, the server included: a wall time with
    much of it is worth little.
    """

    wall_seconds: float
    cpu_seconds: float
    peak_mib: float
    foreign_cpu_seconds: float
    exit_code: int


def measured(command: list[str], log: Path, *, cwd: Path | None = None, timeout_seconds: float = 3600) -> Measurement:
    """Run a command to its end; what it says goes to the end of `log`."""
    with log.open("ab") as output:
        output.write(f"\n$ {' '.join(command)}\n".encode())
        output.flush()
        busy = _busy_seconds()
        began = time.perf_counter()
        child = subprocess.Popen(
            command, cwd=cwd, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
        timer = threading.Timer(timeout_seconds, os.killpg, (child.pid, signal.SIGKILL))
        timer.start()
        try:
            _, status, usage = os.wait4(child.pid, 0)
        except BaseException:  # whoever stops the measuring stops what is measured
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            raise
        finally:
            timer.cancel()
        wall = time.perf_counter() - began
        child.returncode = os.waitstatus_to_exitcode(status)
    cpu = usage.ru_utime + usage.ru_stime
    return Measurement(
        round(wall, 3),
        round(cpu, 3),
        round(usage.ru_maxrss / 1024, 1),
        round(max(0.0, _busy_seconds() - busy - cpu), 2),
        child.returncode,
    )


def _busy_seconds() -> float:
    """Processor time that the whole machine has used so far, waiting left out."""
    try:
        with open("/proc/stat", encoding="ascii") as file:
            user, nice, system, _idle, _waiting, irq, soft = map(int, file.readline().split()[1:8])
    except OSError:
        return 0.0
    return (user + nice + system + irq + soft) / TICKS
