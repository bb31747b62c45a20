"""Import TensorFlow with native logging silenced, and set its threads."""

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Discard output to stderr in the block, including that of native code."""
    sys.stderr.flush()
    stderr = os.dup(2)
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(null)


def import_tensorflow(*, threads_per_operation: int = 1) -> Any:
    """Import and initialise TensorFlow, and return the module.

    With one thread per operation, floating-point sums do not depend on the number of
    cores; inference runs several batches in parallel instead. The thread settings have
    no effect if TensorFlow is already initialised in this process. GPU memory is
    allocated as it is needed.

    Args:
      threads_per_operation: threads per operation; 0 uses every core, for training.
    """
    if "tensorflow" not in sys.modules:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with _silence():
        import tensorflow as tf

        with contextlib.suppress(RuntimeError):
            tf.config.threading.set_intra_op_parallelism_threads(threads_per_operation)
            for gpu in tf.config.list_physical_devices("GPU"):
                # Otherwise the launcher would reserve all GPU memory.
                tf.config.experimental.set_memory_growth(gpu, enable=True)
        tf.config.list_logical_devices()  # initialises TensorFlow, which logs to stderr
    return tf
