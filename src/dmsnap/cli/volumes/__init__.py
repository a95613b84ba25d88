"""The verbs of ``dmsnap lvm``: one module each."""
