# Shell functions of the guest for LVM cases. There is no udev in the guest: LVM finds its disks and makes its nodes itself.
echo /bin/modprobe >/proc/sys/kernel/modprobe
for module in crc32c_generic ext4 xfs dm-mirror dm-raid raid0 raid1 dm-thin-pool dm-cache dm-cache-smq; do
  modprobe "$module" || echo "modprobe $module failed"
done
mkdir -p /mnt/a /mnt/b

# scan NODE...: LVM sees these disks, their partitions, and paths to them; it reads all it sees in each command
scan() {
  filter='"a|^/dev/mapper/slow|"'
  for node in "$@"; do filter="$filter, \"a|^$node[p0-9]*\$|\""; done
  settings="devices { dir=\"/dev\" scan=\"/dev\" use_devicesfile=0 obtain_device_list_from_udev=0
      external_device_info_source=\"none\" filter=[ $filter, \"r|.*|\" ] }
    activation { udev_sync=0 udev_rules=0 verify_udev_operations=0 monitoring=0 }
    global { thin_check_executable=\"\" cache_check_executable=\"\" use_lvmpolld=0 }
    backup { backup=0 archive=0 }"
}

# sectors4k DISK: a path to a disk as one whose sectors have 4096 bytes; its partitions too
sectors4k() {
  modprobe loop
  /sbin/losetup --find --show --partscan --sector-size 4096 "$1"
}

# hide NODE: LVM does not see a disk any more
hide() { settings=$(echo "$settings" | sed "s,filter=\\[,& \"r|^$1\$|\"\\,,"); }

# lv VERB...: LVM without its talk, unless it fails
lv() {
  verb=$1
  shift
  lvm "$verb" -q --config "$settings" "$@" >/tmp/said 2>&1 || { echo "failed $verb $*"; cat /tmp/said; return 1; }
}

# disk NUMBER: the kernel's own name of a disk, which LVM reports
disk() { readlink -f "/dev/disk$1"; }

# put DEVICE SECTOR SECTORS [BLOCK_SECTORS]: writes sectors that say what they are, different at each call, directly.
# One process writes for all calls: to start Python takes longer than anything else here.
mkfifo /tmp/puts /tmp/put-said
/sbin/python3 - <<'PYTHON' &
import mmap, os

def put(device, sector, sectors, block, number_of_put):
    handle = os.open(device, os.O_RDWR | os.O_DIRECT)
    try:
        for start in range(sector, sector + sectors, block):
            stop = min(start + block, sector + sectors)
            buffer = mmap.mmap(-1, (stop - start) * 512)
            for number in range(start, stop):
                buffer.write(f"{number} of {device}, write {number_of_put} ".encode().ljust(512, b"."))
            os.pwrite(handle, buffer, start * 512)
    finally:
        os.close(handle)

while True:
    with open("/tmp/puts") as asked:
        device, *numbers = asked.read().split()
    said = "written"
    try:
        put(device, *map(int, numbers))
    except OSError as error:
        said = str(error)
    with open("/tmp/put-said", "w") as answer:
        print(said, file=answer)
PYTHON
puts=0
put() {
  puts=$((puts + 1))
  echo "$1 $2 $3 ${4:-$3} $puts" >/tmp/puts
  read -r said </tmp/put-said
  [ "$said" = written ] || echo "failed put $*: $said"
}

# random BYTES
random() { head -c "$1" /dev/urandom; }

# report LABEL: what LVM says of the group in JSON, everything in one go
columns='report { vgs_cols_full="vg_all" pvs_cols_full="pv_all,vg_name" pvsegs_cols_full="pv_name"
  lvs_cols_full="vg_name,lv_all" segs_cols_full="vg_name,lv_name,lv_uuid,seg_all"
  lvs_sort_full="vg_name,lv_name" segs_sort_full="vg_name,lv_name,seg_start" pvs_sort_full="pv_name" }'
report() {
  section "$group $1"
  lvm fullreport -a --config "$settings $columns" --reportformat json --units b --nosuffix "$group" 2>/tmp/said || {
    echo
    echo "failed fullreport $group"
    cat /tmp/said
  }
}

# record: what LVM and the kernel say while the group is active
record() {
  sync
  section "$group devices"
  dmsetup info -c --noheadings --separator ' ' -o major,minor,name,uuid
  for block in /sys/class/block/vd* /sys/class/block/loop*; do
    [ -e "$block" ] && echo "$(tr ':' ' ' <"$block/dev") ${block##*/}"
  done
  section "$group table"
  dmsetup table
  section "$group status"
  dmsetup status
  report active
  section "$group sha256"
  for node in /dev/mapper/*; do
    name=${node##*/}
    case $name in "$(echo "$group" | sed 's/-/--/g')"-*) ;; *) continue ;; esac
    if sha256sum <"$node" >/tmp/sum 2>/dev/null; then echo "$name $(cut -d' ' -f1 </tmp/sum)"; else echo "$name unreadable"; fi
  done
}

# stop: deactivates the group, and records what LVM says of it then
stop() {
  sync
  lv vgchange -an "$group"
  report inactive
}

# insync DEVICE: waits until all legs of a mirror are the same
insync() {
  polls=0
  while polls=$((polls + 1)) && [ "$polls" -lt 300 ]; do
    dmsetup status "$1" | grep -Eq ' ([0-9]+)/\1 ' && return
    sleep 0.1
  done
  echo "failed insync $1"
}

# slow NAME DISK: makes /dev/mapper/slowNAME, a path to a disk that can be given obstacles
slow() {
  hide "$2"
  size=$(blockdev --getsz "$2")
  dmsetup create "slow$1" --table "0 $size linear $2 0" || echo "failed slow $1"
}

# obstacle NAME DISK KIND SECTOR SECTORS: from now on writing there takes almost for ever (delay), or fails (error)
obstacle() {
  size=$(blockdev --getsz "$2")
  case $3 in
    delay) target="$4 $5 delay $2 $4 0 $2 $4 1000000" ;;
    error) target="$4 $5 error" ;;
  esac
  rest=$(($4 + $5))
  printf '0 %s linear %s 0\n%s\n%s %s linear %s %s\n' "$4" "$2" "$target" "$rest" $((size - rest)) "$2" "$rest" |
    dmsetup reload "slow$1" && dmsetup suspend --nolockfs "slow$1" && dmsetup resume "slow$1" || echo "failed obstacle $1"
}

# free NAME DISK: takes the obstacle away; what was delayed is written
free() {
  size=$(blockdev --getsz "$2")
  dmsetup reload "slow$1" --table "0 $size linear $2 0" && dmsetup suspend --nolockfs "slow$1" &&
    dmsetup resume "slow$1" || echo "failed free $1"
}

# keep FROM TO: copies a disk as it is now
keep() {
  hide "$2"
  /sbin/dd if="$1" of="$2" bs=1M iflag=direct oflag=direct status=none || echo "failed keep $1 $2"
}

# settled DEVICE: waits until the kernel says the same of a device for a while: what it does has met an obstacle
settled() {
  same=0 polls=0 before=
  while [ "$same" -lt 15 ] && polls=$((polls + 1)) && [ "$polls" -lt 600 ]; do
    now=$(dmsetup status "$1")
    if [ "$now" = "$before" ]; then same=$((same + 1)); else same=0; fi
    before=$now
    sleep 0.1
  done
  [ "$same" -ge 15 ] || echo "failed settled $1"
}
