"""LVM2 volume groups in images: labels, metadata areas and their text, and logical volumes as devices."""
