"""The program of a process that writes shards, one after the other.

    python -m transforms.shards.process

The first line that it reads has its settings; each further one names a shard, and is
answered by one line: what came of it. It ends with its input, and so with the process
that started it, however that ended.
"""

import dataclasses
import json
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from typing import Any, TextIO

from transforms.images.settings import ImageSettings
from transforms.records import JobError, Shard, UsageError
from transforms.shards.maker import ShardMaker, ShardSettings

_TIME_TO_STOP_S = 2.0


def to_line(settings: ShardSettings) -> str:
    """Write settings as `main` reads them."""
    return json.dumps(dataclasses.asdict(settings)) + "\n"


def from_line(line: str) -> ShardSettings:
    """Read what `to_line` wrote."""
    told = json.loads(line)
    return ShardSettings(**{**told, "images": ImageSettings(**told["images"])})


def main() -> None:
    """Write shards as long as there are any."""
    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # else ignored by jobs of a shell
    answers = _take_stdout()
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    try:
        threading.Thread(target=_read_lines, args=(lines,), daemon=True).start()
        maker = ShardMaker(from_line(lines.get()))
        while True:
            answer = _make(maker, Shard(*json.loads(lines.get())))
            answers.write(json.dumps(answer) + "\n")
            answers.flush()
    except KeyboardInterrupt:
        os._exit(0)  # nobody waits for it, and nothing of it is left


def _take_stdout() -> TextIO:
    """Keep the pipe for answers; what else is printed goes to stderr."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return answers


def _read_lines(lines: queue.SimpleQueue[str]) -> None:
    for line in sys.stdin:
        lines.put(line)
    os.kill(os.getpid(), signal.SIGINT)  # a shard that is being written is discarded
    time.sleep(_TIME_TO_STOP_S)
    os._exit(1)


def _make(maker: ShardMaker, shard: Shard) -> Mapping[str, Any]:
    try:
        part = maker.make(shard)
    except UsageError as error:
        return {"usage_error": str(error)}
    except (JobError, OSError) as error:
        return {"job_error": str(error)}
    except Exception as error:  # noqa: BLE001  # told to whoever waits
        traceback.print_exc()
        return {"job_error": f"{type(error).__name__}: {error}"}
    return {"num_images": part.num_images, "num_failures": len(part.failures)}


if __name__ == "__main__":
    main()
