"""The topics of a run, and their numbers of partitions."""

GROUP = "faults"
SOURCE, FLAGGED, VERDICTS, DEAD = "images", "images.flagged", "images.verdicts", "images.dead"
SOURCE_PARTITIONS = 6
OUTPUTS = {FLAGGED: 3, VERDICTS: 3, DEAD: 3}
PARTITIONS = {SOURCE: SOURCE_PARTITIONS} | OUTPUTS
# The topic that has a second record of an item with this verdict.
ALSO_IN = {"flagged": FLAGGED, "failed": DEAD}
