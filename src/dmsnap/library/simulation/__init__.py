"""Load time by prefetch depth, on modelled drives."""
