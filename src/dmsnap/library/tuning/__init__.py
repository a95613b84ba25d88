"""Load time by prefetch depth, measured on a device; and how long a load will take."""
