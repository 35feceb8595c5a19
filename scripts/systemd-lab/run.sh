#!/bin/bash
# `make systemd-lab`: boots a real systemd in namespaces, installs this project into it with scripts/install.sh and checks every
# promise of the unit against the running daemon, which trades on paper with simulated venues inside. Needs root, Debian's
# mmdebstrap, and on the first run the package indexes (Debian's and Python's). LAB names the working folder; --keep leaves it up.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
PROJECT=$(cd "$HERE/../.." && pwd)
export LAB=${LAB:-${XDG_CACHE_HOME:-$HOME/.cache}/arbitrage-systemd-lab}
WHEELS=$LAB/wheels
PYTHON=$PROJECT/.venv/bin/python

[ "$(id -u)" = 0 ] || { echo "systemd-lab needs root (namespaces, cgroups, a Debian root)" >&2; exit 2; }
for program in mmdebstrap flock unshare nsenter ip tar; do
  command -v "$program" >/dev/null || { echo "$program is missing: apt-get install mmdebstrap util-linux iproute2 tar" >&2; exit 2; }
done
[ -x "$PYTHON" ] || { echo "no $PYTHON: run make test once" >&2; exit 2; }

mkdir -p "$LAB"
exec 9>"$LAB/lock"
flock -n 9 || { echo "another systemd-lab runs in $LAB: wait for it, or name another folder in LAB" >&2; exit 2; }

lab() { 9>&- bash "$HERE/lab.sh" "$@"; }

wheels() { # for the guest's own interpreter (Debian 12: CPython 3.11.2, where redis wants async-timeout); ours is always made new
  mkdir -p "$WHEELS"
  if ! cmp -s "$PROJECT/requirements/run.txt" "$WHEELS/.requirements"; then
    rm -f "$WHEELS"/*.whl
    "$PYTHON" -m pip download --quiet --quiet --disable-pip-version-check --dest "$WHEELS" --python-version 3.11 --implementation cp \
      --abi cp311 --abi abi3 --abi none --only-binary :all: --no-deps -r "$PROJECT/requirements/run.txt" async-timeout
    cp "$PROJECT/requirements/run.txt" "$WHEELS/.requirements"
  fi
  rm -f "$WHEELS"/arbitrage-*.whl
  program "$WHEELS" :
  program "$LAB/newer" renumber 0.1.1
  program "$LAB/migrating" renumber 0.1.2
}

program() { # FOLDER CHANGE...: make the project's wheel in FOLDER after CHANGE was done to a copy of it
  local work; work=$(mktemp -d)
  mkdir -p "$1"
  rm -f "$1"/arbitrage-*.whl
  cp -r "$PROJECT/arbitrage" "$PROJECT/pyproject.toml" "$PROJECT/README.md" "$PROJECT/db" "$work"
  (cd "$work" && "${@:2}")
  "$PYTHON" -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir "$1" "$work"
  rm -rf "$work"
}

renumber() { # VERSION: make a copy a newer version
  sed -i "s/^version = .*/version = \"$1\"/" pyproject.toml
  sed -i "s/^__version__ = .*/__version__ = \"$1\"/" arbitrage/__init__.py
}

lab build
wheels
lab kill >/dev/null 2>&1 || true
lab up --fresh
[ "${1:-}" = --keep ] || trap 'lab down' EXIT
lab tree "$PROJECT" /srv/arbitrage
lab tree "$WHEELS" /srv/wheels
for variant in newer migrating; do lab tree "$LAB/$variant" "/srv/made-$variant"; done
9>&- bash "$HERE/checks.sh"
