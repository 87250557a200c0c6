# Data volumes: formatted when blank, mounted by UUID, grown when they grew. The first one carries what grows on a
# node: container storage, local volumes, snapshots. Given: the arrays volume_names and volume_devices.
data=$root/data
label=leasehold

prepare_volumes() {
  local i
  for i in "${!volume_names[@]}"; do
    if [ "$i" = 0 ]; then
      prepare_volume "${volume_names[i]}" "${volume_devices[i]}" "$data"
    else
      prepare_volume "${volume_names[i]}" "${volume_devices[i]}" "/mnt/${volume_names[i]}"
    fi
  done
  folder 755 "$data"
  folder 700 "$data/etcd-snapshots"
  [ ${#volume_names[@]} -gt 0 ] || return 0
  move_to_volume containerd /var/lib/rancher/k3s/agent/containerd
  move_to_volume storage /var/lib/rancher/k3s/storage
  require_mounts_for_k3s
}

is_block_device() { [ -b "$1" ]; }

prepare_volume() {
  local name=$1 device=$2 target=$3 uuid
  within 180 is_block_device "$device" ||
    retry_later "volume $name: there is no device $device after 3 minutes; is the volume attached?"
  format_if_blank "$name" "$device"
  uuid=$(blkid -p -s UUID -o value "$device")
  mount_at_boot "/dev/disk/by-uuid/$uuid" "$target" ext4 defaults "volume $name"
  mount_when_attached "/dev/disk/by-uuid/$uuid" "$target" "volume $name"
  # Nothing to do unless the device grew.
  resize2fs "$device" 2>&1 | grep -q "now.*long" && did "volume $name grown"
  return 0
}

# Formatting the wrong volume is what nobody can take back: only zeros without any signature count as blank.
format_if_blank() {
  local name=$1 device=$2 intent=$root/formatting-$1 found
  found=$(blkid -p -o export "$device" 2>/dev/null) || true
  case $'\n'$found$'\n' in
    *$'\n'"LABEL=$label"$'\n'*)
      case $found in *TYPE=ext4*)
        rm -f "$intent"
        return
        ;;
      esac
      ;;
  esac
  # Without a signature, but not blank: our own formatting was cut short, if this very device is the one noted.
  if [ "$(cat "$intent" 2>/dev/null)" != "$(identity "$device")" ]; then
    if [ -n "$found" ] || [ -n "$(wipefs -n "$device")" ] || ! begins_with_zeros "$device"; then
      refuse_volume "$name" "$device" "$found"
    fi
    identity "$device" >"$intent"
    sync "$intent"
  fi
  mkfs.ext4 -q -F -L "$label" "$device"
  did "volume $name formatted"
  rm -f "$intent"
}

begins_with_zeros() { cmp -s -n 1048576 "$1" /dev/zero; }

# Of the device in this boot: names may move at the next one.
identity() { echo "$1 $(blockdev --getsize64 "$1") $(cat /proc/sys/kernel/random/boot_id)"; }

refuse_volume() {
  local what
  what=$(printf '%s\n' "$3" | sed -n 's/^\(TYPE\|PTTYPE\|LABEL\)=//p' | paste -sd ' ')
  stop "volume $1: $2 holds data that is not ours (${what:-no known file system, but it is not blank}): nothing was touched;" \
    "give a blank volume, or wipe it yourself: wipefs -a $2 and zeros over its first MiB"
}

# mount_at_boot WHAT WHERE TYPE OPTIONS NAME. A unit, not a line of fstab: its failure does not stop the boot.
mount_at_boot() {
  local what=$1 where=$2 unit needs="RequiresMountsFor=$1"
  # k3s gives up where its volume is away at boot: it starts with the volume then.
  [ "${what#/dev/}" = "$what" ] || needs="Wants=k3s.service k3s-agent.service"
  unit=$(systemd-escape -p --suffix=mount "$where")
  cat >"$work/mount" <<UNIT
[Unit]
Description=leasehold: $5
Before=k3s.service k3s-agent.service
$needs

[Mount]
What=$what
Where=$where
Type=$3
Options=$4

[Install]
WantedBy=multi-user.target
UNIT
  [ -d "$where" ] || folder 755 "$where"
  put "$work/mount" "/etc/systemd/system/$unit" && systemctl daemon-reload
  systemctl enable -q "$unit"
  mountpoint -q "$where" && return
  # udev makes the link some moments after mkfs.
  [ "${what#/dev/}" = "$what" ] || within 60 is_block_device "$what" || retry_later "$5: udev does not show $what"
  systemctl start "$unit" || retry_later "$5 cannot be mounted at $where; see: journalctl -u $unit"
  did "$5 at $where"
}

# mount_when_attached WHAT WHERE NAME. A volume that was away, by somebody's hand or the site's, is attached again by `up`,
# which has nothing to say to its host.
mount_when_attached() {
  local unit path
  unit=$(systemd-escape -p --suffix=mount "$2")
  path=$(systemd-escape -p --suffix=path "$2")
  cat >"$work/path" <<UNIT
[Unit]
Description=leasehold: $3, once it is attached

[Path]
PathExists=$1
Unit=$unit

[Install]
WantedBy=multi-user.target
UNIT
  put "$work/path" "/etc/systemd/system/$path" && systemctl daemon-reload
  systemctl enable -q --now "$path"
}

# move_to_volume NAME FOLDER: the folder's content goes to the volume, and is kept beside until the copy is verified.
# Cut anywhere, it goes on at the next run: what is where says how far it came.
move_to_volume() {
  local target=$data/$1 folder=$2 old=$2.before-leasehold
  if ! mountpoint -q "$folder" && [ -d "$folder" ] && [ -n "$(ls -A "$folder")" ]; then
    stop_pods
    if [ ! -d "$target" ]; then
      rm -rf "$target.incoming"
      cp -a "$folder" "$target.incoming"
      same_content "$folder" "$target.incoming" || retry_later "$folder changed while it was copied to the volume"
      sync -f "$target.incoming"
      mv -T "$target.incoming" "$target"
    elif ! same_content "$folder" "$target"; then
      stop "$folder and $target both hold data: move one of them away; nothing was touched"
    fi
    mv -T "$folder" "$old"
  fi
  folder 711 "$target"
  mount_at_boot "$target" "$folder" none bind "$folder on the volume"
  if [ -d "$old" ]; then
    same_content "$old" "$folder" || stop "$folder on the volume differs from $old: nothing was removed"
    rm -rf "$old"
    did "$folder moved to the volume"
  fi
}

# A container's files must not change while they are copied. k3s is started again by its own step, or at boot.
stop_pods() {
  systemctl stop k3s k3s-agent 2>/dev/null || true
  [ ! -x /usr/local/bin/k3s-killall.sh ] || /usr/local/bin/k3s-killall.sh >/dev/null 2>&1 || true
}

# Names, sizes, owners, modes and times of all files, and the content of every 64th.
same_content() { [ "$(content_of "$1")" = "$(content_of "$2")" ]; }

content_of() {
  (
    cd "$1" || exit
    find . -mindepth 1 -printf '%P %y %s %U %G %m %T@ %l\n' | grep -v ' d ' | sort
    find . -mindepth 1 -type d -printf '%P\n' | sort
    find . -type f -print0 | sort -z | awk 'BEGIN { RS = ORS = "\0" } NR % 64 == 1' | xargs -0 -r sha256sum
  ) | sha256sum
}

# Without its volume a node must not start: it would fill the root disk, and hide that from us.
require_mounts_for_k3s() {
  local service
  printf '[Unit]\nRequiresMountsFor=%s /var/lib/rancher/k3s/agent/containerd /var/lib/rancher/k3s/storage\n' "$data" \
    >"$work/drop-in"
  for service in k3s k3s-agent; do
    put "$work/drop-in" "/etc/systemd/system/$service.service.d/10-leasehold.conf" && systemctl daemon-reload
  done
  return 0
}
