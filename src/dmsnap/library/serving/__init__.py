"""Serving snapshots to NBD clients: opening what is served together, the server around it, and its numbers."""

from dmsnap.library.serving.serving import Serving, serve

__all__ = ["Serving", "serve"]
