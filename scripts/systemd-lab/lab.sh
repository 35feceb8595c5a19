#!/bin/bash
# A real systemd (PID 1 of its own namespaces) on a machine whose own PID 1 may be something else.
#
#   lab.sh build               make the Debian root from packages by name (once, about a minute, 300 MB)
#   lab.sh up [--fresh]        boot it (about 1 s); --fresh drops everything written since build
#   lab.sh run CMD ARGS...     run a command inside (systemctl, journalctl, systemd-analyze, ...)
#   lab.sh put FILE PATH MODE  copy a file in
#   lab.sh tree DIR PATH       copy a folder in
#   lab.sh down                clean power-off;   lab.sh kill   pull the plug
#
# Needs root. Host packages: mmdebstrap util-linux iproute2 (apt-get install by name). Works with cgroup v1, hybrid and v2 hosts:
# the guest gets its own sub-group and cgroup namespace. Its network is a private namespace with loopback only: nothing in it
# reaches outside. LAB names the working folder.
set -euo pipefail
LAB=${LAB:-${XDG_CACHE_HOME:-$HOME/.cache}/arbitrage-systemd-lab}
SUITE=${SUITE:-bookworm}
PACKAGES=${PACKAGES:-systemd,systemd-sysv,dbus,python3,python3-venv,procps,iproute2,ca-certificates}
NAME=lab$$
[ -f "$LAB/name" ] && NAME=$(cat "$LAB/name")

milliseconds() { echo $(($(date +%s%N) / 1000000)); }
guest_pid() { [ -f "$LAB/unshare.pid" ] && pgrep -P "$(cat "$LAB/unshare.pid")" -x systemd | head -1; }
guest_root() { if pid=$(guest_pid) && [ -n "$pid" ]; then echo "/proc/$pid/root"; else echo "$LAB/root"; fi; }

build() {
  [ -e "$LAB/base/lib/systemd/systemd" ] && { echo "base already built"; return; }
  command -v mmdebstrap >/dev/null || { echo "mmdebstrap is missing: apt-get install mmdebstrap" >&2; exit 2; }
  mkdir -p "$LAB"
  local began; began=$(milliseconds)
  mmdebstrap --quiet --variant=minbase --include="$PACKAGES" "$SUITE" "$LAB/base.tmp"
  mkdir -p "$LAB/base.tmp/var/log/journal" "$LAB/base.tmp/.old" # the journal is kept on disk
  ln -sf /dev/null "$LAB/base.tmp/etc/systemd/system/getty.target"
  printf '127.0.0.1 localhost\n::1 localhost\n' >"$LAB/base.tmp/etc/hosts"
  mv "$LAB/base.tmp" "$LAB/base"
  echo "build_ms=$(($(milliseconds) - began))"
}

cgroup_folders() { # one line each: kind path
  if [ "$(stat -fc %T /sys/fs/cgroup)" = cgroup2fs ]; then echo "v2 /sys/fs/cgroup"; return; fi
  for folder in /sys/fs/cgroup/*/; do echo "v1 ${folder%/}"; done
}

make_cgroups() {
  while read -r kind folder; do
    mkdir -p "$folder/$NAME"
    case $folder in
      */cpuset) for file in cpus mems; do cat "$folder/cpuset.$file" >"$folder/$NAME/cpuset.$file"; done ;;
    esac
    if [ "$kind" = v2 ]; then echo "+memory +pids +cpu" >"$folder/cgroup.subtree_control" 2>/dev/null || true; fi
  done < <(cgroup_folders)
}

up() {
  if pid=$(guest_pid) && [ -n "$pid" ]; then echo "already up"; return; fi
  NAME=lab$$
  mkdir -p "$LAB"
  echo "$NAME" >"$LAB/name"
  [ "${1:-}" = --fresh ] && rm -rf "$LAB/upper" "$LAB/work"
  mkdir -p "$LAB"/{upper,work,root}
  local began; began=$(milliseconds)
  make_cgroups
  (
    while read -r _ folder; do echo "$BASHPID" >"$folder/$NAME/cgroup.procs"; done < <(cgroup_folders)
    exec env -i LAB="$LAB" NAME="$NAME" PATH=/usr/sbin:/usr/bin:/sbin:/bin setsid unshare --mount --pid --uts --ipc --net --cgroup \
      --fork --kill-child=SIGKILL --propagation private bash -euc "$(declare -f boot); boot"
  ) >"$LAB/boot.log" 2>&1 </dev/null &
  echo $! >"$LAB/unshare.pid"
  for _ in $(seq 200); do run systemctl is-system-running --wait >/dev/null 2>&1 && break; sleep .05; done
  echo "boot_ms=$(($(milliseconds) - began)) state=$(run systemctl is-system-running 2>&1 || true)"
}

boot() { # inside the new namespaces
  local root=$LAB/root name
  mount -t overlay -o "lowerdir=$LAB/base,upperdir=$LAB/upper,workdir=$LAB/work" overlay "$root"
  mount -t proc proc "$root/proc"
  mount -t sysfs sysfs "$root/sys"
  if [ "$(stat -fc %T /sys/fs/cgroup)" = cgroup2fs ]; then
    mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
  else
    mount -t tmpfs -o mode=755 tmpfs "$root/sys/fs/cgroup"
    for folder in /sys/fs/cgroup/*/; do
      name=$(basename "$folder")
      mkdir "$root/sys/fs/cgroup/$name"
      case $name in
        unified) mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup/$name" ;;
        systemd) mount -t cgroup -o none,name=systemd cgroup "$root/sys/fs/cgroup/$name" ;;
        *) mount -t cgroup -o "$name" cgroup "$root/sys/fs/cgroup/$name" ;;
      esac
    done
  fi
  mount -t tmpfs -o mode=755 tmpfs "$root/dev"
  for name in null zero full random urandom tty; do touch "$root/dev/$name"; mount --bind "/dev/$name" "$root/dev/$name"; done
  mkdir "$root/dev/pts" "$root/dev/shm"
  mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$root/dev/pts"
  ln -s pts/ptmx "$root/dev/ptmx"
  ln -s /proc/self/fd "$root/dev/fd"
  for name in 0:stdin 1:stdout 2:stderr; do ln -s "/proc/self/fd/${name%%:*}" "$root/dev/${name#*:}"; done
  mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
  mount -t tmpfs -o mode=755 tmpfs "$root/run"
  mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
  mkdir -p "$root/run/lock"
  ip link set lo up
  hostname "$NAME"
  cd "$root"
  mkdir -p .old
  pivot_root . .old
  umount -l /.old
  mount --make-rshared / # without it LoadCredential= gives an empty folder
  exec env -i container=lab PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --log-target=journal --show-status=no
}

run() {
  local pid; pid=$(guest_pid) || true
  [ -n "$pid" ] || { echo "lab is down" >&2; return 1; }
  nsenter -t "$pid" -m -u -i -n -p -C -r -w env -i PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root \
    SYSTEMD_PAGER=cat SYSTEMD_COLORS=0 LANG=C.UTF-8 "$@"
}

put() { local root; root=$(guest_root); mkdir -p "$root$(dirname "$2")"; install -m "${3:-644}" "$1" "$root$2"; }

tree() {
  local root; root=$(guest_root)
  rm -rf "${root:?}$2"
  mkdir -p "$root$2"
  tar -C "$1" --exclude=.git --exclude='.venv*' --exclude=__pycache__ --exclude='.*_cache' --exclude=./var --exclude=./logs -cf - . |
    tar -C "$root$2" --no-same-owner -xf -
  chmod -R a+rX "$root$2"
}

clean() {
  while read -r _ folder; do
    [ -d "$folder/$NAME" ] && find "$folder/$NAME" -depth -type d -exec rmdir {} + 2>/dev/null || true
  done < <(cgroup_folders)
  rm -f "$LAB/unshare.pid"
}

down() {
  local pid unshare; pid=$(guest_pid) || true
  [ -n "$pid" ] || { echo "already down"; return; }
  unshare=$(cat "$LAB/unshare.pid")
  run systemctl poweroff >/dev/null 2>&1 || true
  for _ in $(seq 300); do kill -0 "$unshare" 2>/dev/null || break; sleep .05; done
  kill -9 "$unshare" 2>/dev/null || true
  clean
}

plug() { kill -9 "$(cat "$LAB/unshare.pid")" 2>/dev/null || true; sleep .2; clean; }

case ${1:-} in
  build) build ;;
  up) shift; up "$@" ;;
  run) shift; run "$@" ;;
  put) shift; put "$@" ;;
  tree) shift; tree "$@" ;;
  down) down ;;
  kill) plug ;;
  *) sed -n '2,15p' "$0"; exit 2 ;;
esac
