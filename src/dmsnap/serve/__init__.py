"""Block devices handed to others: over NBD, and as a file by FUSE."""
