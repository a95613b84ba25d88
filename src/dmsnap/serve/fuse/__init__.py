"""A block device as one file in a directory, by FUSE: for any program, without root.

`filesystem` is what the file system does, without FUSE; `ranges` reads and writes anywhere; `error_numbers` says what
programs get to hear of an error. `libfuse` finds what is needed and hands requests on; `mount_point` judges the
directory; `mounting` runs it all in a thread.
"""

from dmsnap.serve.fuse.filesystem import DeviceFilesystem
from dmsnap.serve.fuse.libfuse import NoFuse
from dmsnap.serve.fuse.mount_point import BadMountPoint, check_mount_point
from dmsnap.serve.fuse.mounting import Mount, MountFailed

__all__ = ["BadMountPoint", "DeviceFilesystem", "Mount", "MountFailed", "NoFuse", "check_mount_point"]
