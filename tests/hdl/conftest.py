"""Makes the modules beside the tests importable, here and in the simulator that cocotb starts."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
