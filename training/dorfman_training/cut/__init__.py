"""Cuts somebody's own ONNX classifier into a bundle: `list` where it can be cut, then cut, check and calibrate it. See docs/cut.md.

Importing this needs neither onnx nor onnxruntime; running it needs both.
"""

from .command import add_arguments, run

__all__ = ["add_arguments", "run"]
