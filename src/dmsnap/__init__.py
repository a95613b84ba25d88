"""Linux device-mapper snapshots in user space."""
