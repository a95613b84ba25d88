"""What others reach a device by: a network block device (`nbd`)."""
