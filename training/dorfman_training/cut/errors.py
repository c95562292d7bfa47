"""The error that stops a cut."""

from __future__ import annotations


class CutError(Exception):
    """One line: the problem with the model, the data or the arguments, and how to fix it."""
