"""The names of the merges, as in bundle.json. merges.py explains them."""

MAX, CAM, MEAN = "max", "cam", "mean"
OF_FEATURES = (MAX, CAM)
