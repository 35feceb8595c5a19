#!/bin/bash
# Installs the daemon as a systemd service, or takes it away again. Run it as root from the project; running it twice is fine.
#
#   scripts/install.sh [--dry-run] [--prefix DIR] [--python FILE] [--wheels DIR] [--start]
#   scripts/install.sh --uninstall [--dry-run] [--prefix DIR]
#
#   --dry-run      say what would be done, and do nothing
#   --prefix DIR   where the program goes (default /opt/arbitrage)
#   --python FILE  the interpreter for its virtual environment (default: python3; not one under /root or /home)
#   --wheels DIR   install from wheels in this folder, without a package index
#   --start        also start it
#   --uninstall    stop it and remove program, unit and user entries; configuration, data and logs stay
#
# Example: sudo scripts/install.sh --dry-run
# Exit status: 0 done, 1 a step failed, 2 bad usage.
set -euo pipefail
SOURCE=$(cd "$(dirname "$0")/.." && pwd)
PREFIX=/opt/arbitrage PYTHON=python3 WHEELS='' IS_DRY='' IS_UNINSTALL='' IS_START=''
CONFIG=/etc/arbitrage
UNIT=/etc/systemd/system/arbitrage.service
BACKUP_UNIT=/etc/systemd/system/arbitrage-backup.service
BACKUP_TIMER=/etc/systemd/system/arbitrage-backup.timer
SYSUSERS=/usr/lib/sysusers.d/arbitrage.conf
TMPFILES=/usr/lib/tmpfiles.d/arbitrage.conf
WRAPPERS=/usr/local/bin

usage() { sed -n '2,16p' "$0" | sed 's/^# \{0,1\}//'; }
fail() { echo "install.sh: $1" >&2; exit "${2:-1}"; }

while [ $# -gt 0 ]; do
  case $1 in
    --dry-run) IS_DRY=yes ;;
    --prefix | --python | --wheels)
      [ $# -gt 1 ] || fail "$1 wants a value" 2
      case $1 in --prefix) PREFIX=$2 ;; --python) PYTHON=$2 ;; --wheels) WHEELS=$2 ;; esac
      shift ;;
    --start) IS_START=yes ;;
    --uninstall) IS_UNINSTALL=yes ;;
    --help | -h) usage; exit 0 ;;
    *) echo "install.sh: unknown option $1" >&2; usage >&2; exit 2 ;;
  esac
  shift
done
case $PREFIX in
  / | /usr | /etc | /var | /home | /root) fail "--prefix $PREFIX would be removed whole on --uninstall: give a folder of its own" 2 ;;
  /*) ;;
  *) fail "--prefix must be an absolute path" 2 ;;
esac
case $PREFIX in *[!A-Za-z0-9/._-]*) fail "--prefix holds a character that a unit file would not take as it is" 2 ;; esac

run() { # do it, or say it
  if [ -n "$IS_DRY" ]; then echo "would: $*"; else "$@"; fi
}

write() { # write standard input to FILE with MODE, when it differs
  local file=$1 mode=$2 fresh
  fresh=$(mktemp)
  cat >"$fresh"
  if cmp -s "$fresh" "$file"; then
    rm -f "$fresh"
    return
  fi
  if [ -n "$IS_DRY" ]; then
    echo "would: write $file (mode $mode)"
  else
    install -D -m "$mode" "$fresh" "$file"
  fi
  rm -f "$fresh"
}

keep() { # put FILE of the project at TARGET unless the operator has one; a differing one is laid beside it
  local file=$1 target=$2
  if [ ! -e "$target" ]; then
    run install -D -m 640 -g arbitrage "$file" "$target"
  elif ! cmp -s "$file" "$target"; then
    run install -m 640 -g arbitrage "$file" "$target.new"
    echo "kept $target; the new version is $target.new"
  fi
}

has_systemd() { [ -d /run/systemd/system ]; }
at_prefix() { sed "s|/opt/arbitrage|$PREFIX|g" "$1"; }

check_python() {
  local real
  real=$("$PYTHON" -c 'import os, sys; print(os.path.realpath(sys.executable)); sys.exit(sys.version_info < (3, 11))') ||
    fail "$PYTHON is not Python 3.11 or newer: name one with --python" 2
  case $real in
    /root/* | /home/*) fail "$real lies where the sandbox hides it (ProtectHome): install Python outside of /root and /home" 2 ;;
  esac
  "$PYTHON" -c 'import ensurepip' 2>/dev/null || fail "python's venv module is missing: install the package python3-venv" 2
}

install_program() {
  local work=''
  run mkdir -p "$PREFIX"
  run chmod 755 "$PREFIX"
  [ -x "$PREFIX/.venv/bin/python" ] || run "$PYTHON" -m venv "$PREFIX/.venv"
  local pip=("$PREFIX/.venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-warn-script-location)
  if [ -n "$WHEELS" ]; then
    run "${pip[@]}" --no-index --find-links "$WHEELS" -r "$SOURCE/requirements/run.txt"
    run "${pip[@]}" --no-index --find-links "$WHEELS" --no-deps --force-reinstall arbitrage
  else
    run "${pip[@]}" -r "$SOURCE/requirements/run.txt"
    work=$(mktemp -d) # built from a copy: the project's folder stays as it is
    cp -r "$SOURCE/arbitrage" "$SOURCE/pyproject.toml" "$SOURCE/README.md" "$SOURCE/db" "$work"
    [ -n "$IS_DRY" ] || "$SOURCE/scripts/chart_package.sh" "$work/arbitrage/web/screen/vendor"
    run "${pip[@]}" --no-deps --force-reinstall "$work"
    rm -rf "$work"
  fi
  # The daemon may not write here and would compile its pages at every start. -I: not this folder's code, but what was installed,
  # which may be older.
  run "$PREFIX/.venv/bin/python" -I -c 'from arbitrage.web.screen import render; getattr(render, "compile_templates", dict)()' || true
  for file in healthcheck.py tools/monitor.py README.md; do
    write "$PREFIX/$file" 755 <"$SOURCE/$file"
  done
  for file in "$PREFIX"/.venv/share/arbitrage/db/migrations/*.sql; do # a newer program's: this one must not take them for its own
    [ ! -e "$file" ] || [ -e "$SOURCE/db/migrations/$(basename "$file")" ] || run rm -f "$file"
  done
  write "$PREFIX/.venv/share/arbitrage/docs/RUNBOOK.md" 644 <"$SOURCE/docs/RUNBOOK.md"
  for file in "$SOURCE"/db/migrations/*.sql; do
    write "$PREFIX/.venv/share/arbitrage/db/migrations/$(basename "$file")" 644 <"$file"
  done
}

install_wrappers() { # the operator's commands, with the daemon's own environment
  local name command
  for name in arbitrage arbitrage-healthcheck arbitrage-monitor; do
    case $name in
      arbitrage) command="$PREFIX/.venv/bin/arbitrage" ;;
      arbitrage-healthcheck) command="$PREFIX/.venv/bin/python $PREFIX/healthcheck.py" ;;
      arbitrage-monitor) command="$PREFIX/.venv/bin/python $PREFIX/tools/monitor.py" ;;
    esac
    write "$WRAPPERS/$name" 755 <<END
#!/bin/sh
# Written by arbitrage's install.sh: runs the installed program as its user, with the daemon's environment.
cd / || exit 1
if [ "\$(id -u)" = 0 ]; then exec runuser -u arbitrage -- "\$0" "\$@"; fi
export HOME=/var/lib/arbitrage PYTHONDONTWRITEBYTECODE=1
set -a
. $CONFIG/arbitrage.env
set +a
exec $command "\$@"
END
  done
}

install_service() {
  at_prefix "$SOURCE/systemd/arbitrage.sysusers" | write "$SYSUSERS" 644
  at_prefix "$SOURCE/systemd/arbitrage.tmpfiles" | write "$TMPFILES" 644
  run systemd-sysusers "$SYSUSERS"
  run mkdir -p "$CONFIG/environments"
  keep "$SOURCE/config/base.yaml" "$CONFIG/base.yaml"
  for file in "$SOURCE"/config/environments/*.yaml; do
    keep "$file" "$CONFIG/environments/$(basename "$file")"
  done
  keep "$SOURCE/systemd/arbitrage.env.example" "$CONFIG/arbitrage.env"
  run systemd-tmpfiles --create "$TMPFILES"
  at_prefix "$SOURCE/systemd/arbitrage.service" | write "$UNIT" 644
  at_prefix "$SOURCE/systemd/arbitrage-backup.service" | write "$BACKUP_UNIT" 644
  write "$BACKUP_TIMER" 644 <"$SOURCE/systemd/arbitrage-backup.timer"
  if has_systemd; then
    run systemctl daemon-reload
    run systemctl enable --quiet arbitrage.service
    run systemctl enable --quiet --now arbitrage-backup.timer
    [ -z "$IS_START" ] || run systemctl restart arbitrage.service
  else
    echo "systemd does not run here: enable the service where it does"
  fi
}

uninstall() {
  if has_systemd && [ -e "$UNIT" ]; then
    run systemctl disable --now --quiet arbitrage.service arbitrage-backup.timer
  fi
  run rm -f "$UNIT" "$BACKUP_UNIT" "$BACKUP_TIMER" "$SYSUSERS" "$TMPFILES" "$WRAPPERS/arbitrage" "$WRAPPERS/arbitrage-healthcheck" "$WRAPPERS/arbitrage-monitor"
  run rm -rf "$PREFIX"
  if has_systemd; then run systemctl daemon-reload; fi
  echo "kept: $CONFIG, /var/lib/arbitrage, /var/log/arbitrage and the user arbitrage that owns them"
}

[ -n "$IS_DRY" ] || [ "$(id -u)" = 0 ] || fail "needs root: try sudo, or --dry-run" 2
if [ -n "$IS_UNINSTALL" ]; then
  uninstall
else
  check_python
  install_program
  install_wrappers
  install_service
  [ -z "$IS_DRY" ] || { echo "nothing was done (--dry-run)"; exit 0; }
  echo "installed in $PREFIX; next: review $CONFIG, then systemctl start arbitrage and arbitrage-healthcheck"
fi
