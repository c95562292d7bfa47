"""Trains, calibrates and exports the networks that Dorfman pools images with."""

import os

# Idle OpenMP threads spin by default. On shared cores that slows torch down by up to eight times.
# The runtime reads these when torch is loaded, so they must be set before anything imports it.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")
