"""Nothing → TensorFlow, imported without a word."""

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Send to nowhere what native code says on stderr."""
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def import_tensorflow(*, threads_per_operation: int = 1) -> Any:  # noqa: ANN401  # a module, which has no types
    """Import TensorFlow.

    With one thread for each operation no sum depends on how many cores there are;
    models are asked for several batches at once instead. A process that has used
    TensorFlow before keeps what it has.

    Args:
      threads_per_operation: 0: as many as there are cores, for training.
    """
    if "tensorflow" not in sys.modules:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with _silence():
        import tensorflow as tf  # noqa: PLC0415  # takes seconds that --help has not

        with contextlib.suppress(RuntimeError):
            tf.config.threading.set_intra_op_parallelism_threads(threads_per_operation)
            for gpu in tf.config.list_physical_devices("GPU"):
                # Else the launcher would take all its memory from its workers.
                tf.config.experimental.set_memory_growth(gpu, enable=True)
        tf.config.list_logical_devices()  # starts it, which is told on stderr too
    return tf
