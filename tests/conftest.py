"""What every test process needs before it imports anything heavy."""

import os

from hypothesis import settings

# two processes share two cores: a library that starts a thread a core would only make them wait, and Numba's parallel
# loops set the number of OpenMP's threads for the rest of the process, for torch too
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
os.environ["MPLBACKEND"] = "Agg"
os.environ["HF_HUB_OFFLINE"] = "1"  # a test that would load a model from the network fails instead

# the same examples on every machine; no deadline, because a loaded machine must not turn a test red
settings.register_profile("skipopu", derandomize=True, deadline=None, database=None)
settings.load_profile("skipopu")
