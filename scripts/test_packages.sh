#!/bin/sh
# Makes sure that the programs named as arguments are there, by Debian's packages: what the tests need beside Python.
# Usage: scripts/test_packages.sh PROGRAM...    (known: promtool, chromium, chromedriver)
set -eu

missing=
for program in "$@"; do
  command -v "$program" >/dev/null && continue
  case "$program" in
    promtool) missing="$missing prometheus" ;;
    chromium) missing="$missing chromium" ;;
    chromedriver) missing="$missing chromium-driver" ;;
    *) echo "test_packages.sh: no package is known for $program" >&2; exit 2 ;;
  esac
done
[ -n "$missing" ] || exit 0
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# The programs are wanted, and no service of theirs is to be started.
if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ] &&
  { apt-get update && DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y --no-install-recommends $missing; } >"$log" 2>&1; then
  exit 0
fi
tail -n 3 "$log" >&2
echo "the tests need these Debian packages: apt-get install --no-install-recommends$missing" >&2
exit 1
