"""Bytes and change lists on their way out of a snapshot."""
