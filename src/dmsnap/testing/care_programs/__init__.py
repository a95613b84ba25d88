"""Stores that random programs make, and what care makes of them: checked, dumped, restored, compacted, repaired."""
