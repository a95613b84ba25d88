"""Device-mapper targets as block devices, with the table and status strings that the kernel uses for them."""
