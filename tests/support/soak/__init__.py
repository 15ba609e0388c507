"""A proxy under changes, faults and users at the same time, for minutes; tests/soak runs it."""
