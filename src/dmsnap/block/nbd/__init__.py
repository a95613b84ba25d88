"""NBD, the network block device protocol: what it is made of (`wire`), shared by client and server."""
