"""What stops a cut."""

from __future__ import annotations


class CutError(Exception):
    """Says in one line what is wrong with the model, the data or the arguments, and what would be right."""
