"""Trains, calibrates and exports the networks that Dorfman uses to test groups of images."""

import os

# Idle OpenMP threads spin by default. On shared cores this makes torch up to eight times slower.
# OpenMP reads these variables when torch is loaded, so they must be set before torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")
