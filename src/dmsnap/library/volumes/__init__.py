"""LVM2 volumes in images: their addresses, what there is, and how each becomes a device that other verbs can use.

`listing` says what there is, `sources` turns addresses into the parts of snapshots, `address` is light.
"""
