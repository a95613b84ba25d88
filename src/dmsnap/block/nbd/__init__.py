"""NBD, the network block device protocol: what it is made of (`wire`), shared by client and server, and the client.

The client is `NbdDevice` (`device`): an address (`uri`), a connection (`channel`, `tls`), agreeing on an export
(`handshake`), requests under way (`connection`, `request`) and their answers (`replies`, `block_status`).
"""
