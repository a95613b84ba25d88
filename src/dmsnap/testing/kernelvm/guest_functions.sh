# Shell functions of the guest for snapshot scenarios. Numbers are sectors unless a name says otherwise.
# disk0 = data to be written, disk1 = origins, disk2 = COW stores, disk3 = what snapshots read as.
# Devices, each with a minor number of its own: o (100) origin, c (101) COW store, s snapshot, g snapshot-origin,
# m snapshot-merge, d (105) a path to the origin with an obstacle. Starting dmsetup is what takes time in an emulated machine;
# so it makes and removes several devices in one go.

# devices ORIGIN_AT ORIGIN_SIZE COW_AT COW_SIZE: makes o and c; with the first snapshot
devices() {
  origin_size=$2 cow_at=$3
  below="o,,100,rw,0 $2 linear /dev/disk1 $1;c,,101,rw,0 $4 linear /dev/disk2 $3;"
}

# snapshot STORE CHUNK
snapshot() {
  above="s,,102,rw,0 $origin_size snapshot /dev/dm-100 /dev/dm-101 $1 $2;g,,103,rw,0 $origin_size snapshot-origin /dev/dm-100"
  if dmsetup create --concise "$below$above"; then below=; else
    [ -b /dev/dm-101 ] && below=
    dmsetup remove s # dmsetup does not undo a creation with a minor number of its own
    echo "failed create s"
    return 1
  fi
}

# gone NAME...
gone() { dmsetup remove "$@" || echo "failed remove $*"; }

# put NUMBER DEVICE SECTOR SECTORS BLOCK DATA_AT: what was written is said only if it was not everything. Done by GNU dd:
# the memory that BusyBox dd writes from is not aligned, for which it quietly gives up O_DIRECT.
put() {
  if ! said=$(/sbin/dd if=/dev/disk0 of="/dev/mapper/$2" bs=$(($5 * 512)) count=$(($4 * 512)) skip=$(($6 * 512)) \
    seek=$(($3 * 512)) iflag=skip_bytes,count_bytes oflag=seek_bytes,direct 2>&1); then
    echo "partial $1 $(echo "$said" | sed -n 's/+.* records out//p')"
  fi
}

# grow COW_SIZE
grow() { dmsetup reload c --table "0 $1 linear /dev/disk2 $cow_at" && dmsetup resume c || echo "failed grow"; }

# merge CHUNK: merges until done
merge() {
  gone s g
  dmsetup create --concise "m,,104,rw,0 $origin_size snapshot-merge /dev/dm-100 /dev/dm-101 P $1" || echo "failed create m"
  merged 0
}

# merge_until CHUNK OBSTACLE SECTOR LEFT: merges until it gets to the chunk at SECTOR of the origin, when LEFT sectors of
# the store are still allocated. Writing there fails (error), or takes so long (delay) that it is the last to be merged.
merge_until() {
  gone s g
  rest=$(($3 + $1))
  case $2 in
    delay) obstacle="$3 $1 delay /dev/dm-100 $3 0 /dev/dm-100 $3 3000 /dev/dm-100 $3 0" ;;
    error) obstacle="$3 $1 error" ;;
  esac
  slow="d,,105,rw,0 $3 linear /dev/dm-100 0,$obstacle,$rest $((origin_size - rest)) linear /dev/dm-100 $rest"
  dmsetup create --concise "$slow;m,,104,rw,0 $origin_size snapshot-merge /dev/dm-105 /dev/dm-101 P $1" ||
    echo "failed create m"
  [ "$2" = error ] && set -- "$1" "$2" "$3" 0
  merged "$4"
}

# merged LEFT: waits until no more than LEFT sectors are allocated, or all is merged, or the merge failed; then stops it
merged() {
  polls=0
  while polls=$((polls + 1)) && [ "$polls" -lt 2000 ]; do
    set -- "$1" $(dmsetup status m)
    allocated=${5%%/*}
    case $allocated in [!0-9]*) break ;; esac
    [ "$allocated" = "$6" ] && break
    [ "$allocated" -le "$1" ] && break
  done
  dmsetup suspend m
}

# status LABEL DEVICE, table LABEL DEVICE: what dmsetup says, behind a label
status() { echo -n "$1-status " && dmsetup status "$2"; }
table() { echo -n "$1-table " && dmsetup table "$2"; }

# dump LABEL AT_MIB: the whole of the snapshot to disk3
dump() {
  if dd if=/dev/mapper/s of=/dev/disk3 bs=1M seek="$2" conv=notrunc iflag=direct status=none 2>/dev/null; then
    echo "$1-readable yes"
  else
    echo "$1-readable no"
  fi
}

# salvage AT_MIB: like dump, but what cannot be read is said, by pieces of 4 KiB, and left out
salvage() {
  dump loaded "$1" | grep -q yes && return
  piece=0
  while [ $((piece * 8)) -lt "$origin_size" ]; do
    /sbin/dd if=/dev/mapper/s of=/dev/disk3 bs=4k count=1 skip=$piece seek=$(($1 * 256 + piece)) iflag=direct \
      conv=notrunc status=none 2>/dev/null || echo "unreadable $piece"
    piece=$((piece + 1))
  done
}

# finish: takes everything down and hands over what the kernel logged
finish() {
  names=
  for name in s g m d c o; do
    [ -b "/dev/mapper/$name" ] && names="$names $name"
  done
  gone $names
  dmesg -c
}
