"""How long a test waits, in real time, for what should take a moment."""

LONGEST_S = 300.0
"""What takes longer hangs: far more than a loaded machine needs, so that only a fault breaks it."""
