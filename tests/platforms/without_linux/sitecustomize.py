"""Remove what Python has on Linux and not on macOS.

Python imports a module of this name at its start.
"""

import os
import select
import signal

for name in (
    "copy_file_range", "eventfd", "getrandom", "getxattr", "listxattr", "memfd_create",
    "pidfd_open", "pipe2", "posix_fadvise", "posix_fallocate",
    "sched_getaffinity", "sched_setaffinity", "setxattr", "splice",
    "O_DIRECT", "O_TMPFILE",
):  # fmt: skip
    if hasattr(os, name):
        delattr(os, name)
for name in ("sigtimedwait", "sigwaitinfo"):
    delattr(signal, name)
del select.epoll
if hasattr(os, "process_cpu_count"):  # from Python 3.13; there it counts all cores
    os.process_cpu_count = os.cpu_count
