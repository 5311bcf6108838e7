"""The svm job: train and compare linear support vector machines."""

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
