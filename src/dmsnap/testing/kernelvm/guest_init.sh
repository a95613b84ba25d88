#!/bin/busybox sh
# First process of the guest: loads the modules, names the disks after their serials, runs the job, stores what it
# printed on the result disk and switches off. The console carries nothing but diagnosis.
/bin/busybox --install -s /bin
export PATH=/bin:/sbin HOME=/ DM_DISABLE_UDEV=1 LVM_SUPPRESS_FD_WARNINGS=1
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /tmp
mkdir -p /dev/mapper /run/lvm /run/lock
for module in virtio_pci virtio_blk dm-mod dm-bufio dm-snapshot dm-zero dm-delay; do
  modprobe "$module" || echo "modprobe $module failed"
done

name_disks() {
  for disk in /sys/block/vd*; do
    [ -e "$disk/serial" ] && ln -sf "/dev/${disk##*/}" "/dev/$(cat "$disk/serial")"
  done
}
tries=0
while name_disks; [ ! -b /dev/job ] || [ ! -b /dev/result ]; do
  tries=$((tries + 1))
  [ "$tries" -gt 300 ] && echo "the job and result disks did not appear" && poweroff -f
  sleep 0.1
done

tr -d '\000' </dev/job >/tmp/job.sh
sh /tmp/job.sh >/tmp/output 2>&1 </dev/null
status=$?
length=$(stat -c %s /tmp/output)
# The header takes the first sector; it is written last, so that a header on the disk means a whole result.
dd if=/tmp/output of=/dev/result bs=64k seek=512 oflag=seek_bytes status=none
sync
printf 'dmsnap-result %d %d\n' "$status" "$length" | dd of=/dev/result bs=512 count=1 conv=sync status=none
sync
poweroff -f
