"""Makes ``direct``, ``small_models`` and the oracle of the K/V rounds importable under --import-mode=importlib."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "numerics")]
