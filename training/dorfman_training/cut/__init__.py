"""Cuts an ONNX classifier into a bundle. See docs/cut.md.

Without --at, it lists the points where the network can be cut. With --at, it cuts the network, checks
it and calibrates it. Running it needs the packages onnx and onnxruntime.
"""

from .command import add_arguments, run

__all__ = ["add_arguments", "run"]
