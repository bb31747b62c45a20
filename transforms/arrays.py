"""Define type aliases for NumPy arrays, one per element type."""

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
IntegerArray = npt.NDArray[np.integer]  # of any width
Float32Array = npt.NDArray[np.float32]
