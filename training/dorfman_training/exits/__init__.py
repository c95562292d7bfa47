"""Adds early exits and a screen network to a bundle, without a change of its network. See training/README.md.

An early exit is a small head on the features of one item after a stage. It clears an item before the
rest of the network runs. Running this needs the packages onnx and onnxruntime.
"""

from .command import add, add_arguments, run

__all__ = ["add", "add_arguments", "run"]
