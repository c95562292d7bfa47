"""All kinds of faults, by name."""

from . import kinds_broker, kinds_store, kinds_worker
from .fault import KINDS

__all__ = ["KINDS", "kinds_broker", "kinds_store", "kinds_worker"]
