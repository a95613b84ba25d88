"""Programs in dmsetup's terms that run in a real kernel and in ours, so that everything can be compared.

`language` has the steps, `program` the whole, `generate` makes them up from a seed. `kernel` and `ours` run them.
"""
