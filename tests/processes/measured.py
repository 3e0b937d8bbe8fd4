"""`python measured.py REPORT GROUP WORD…`: a command of Levada that joins a control group, and its peak memory.

The peak is the kernel's for this very program (VmHWM), mapped files included, in bytes. REPORT gets it at the end.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path


def main() -> int:
    report, group, *words = sys.argv[1:]
    (Path(group) / "cgroup.procs").write_text(str(os.getpid()), encoding="ascii")
    from levada.cli.app import execute

    code = execute(words)
    status = Path("/proc/self/status").read_text(encoding="ascii")
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    Path(report).write_text(str(int(peak.split()[1]) * 1024), encoding="ascii")
    return code


if __name__ == "__main__":
    sys.exit(main())
