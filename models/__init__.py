"""Dynamic-computation models in PyTorch: SkipGPT on Llama-style decoders, its training, and trace export.

Importing this package loads no PyTorch; its modules do.
"""
