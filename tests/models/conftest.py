"""Makes ``tiny_model`` importable under --import-mode=importlib, and keeps torch on one core."""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))
torch.set_num_threads(1)
