#!/bin/bash
# Every promise of the unit, checked against the running systemd of the lab. One line a check, then 'N passed, N failed'.
# Called by run.sh, which has copied the project to /srv/arbitrage and its wheels to /srv/wheels inside the guest.
set -uo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
UNIT=arbitrage
STATE=/var/lib/arbitrage
CONFIG=/etc/arbitrage/environments/production.yaml
SECRET=canary-7c1f0e5d
PASSED=0 FAILED=0
INSTALL="/srv/arbitrage/scripts/install.sh --wheels /srv/wheels"

guest() { bash "$HERE/lab.sh" run "$@"; }
shell() { guest bash -c "$1"; }
show() { guest systemctl show "$UNIT" -P "$1"; }
cursor() { shell "journalctl --sync; journalctl -u $UNIT -n0 --show-cursor -o cat | sed -n 's/^-- cursor: //p'"; }
since() { shell "journalctl --sync; journalctl -u $UNIT -o cat --after-cursor='$1'"; }
now() { echo $(($(date +%s%N) / 1000000)); }

check() { # NAME COMMAND...
  local name=$1
  shift
  if "$@"; then PASSED=$((PASSED + 1)); echo "ok   $name"; else FAILED=$((FAILED + 1)); echo "FAIL $name"; fi
}

drop_in() { # NAME LINE...: lines of [Service] beside the unit, until the next boot
  shell "mkdir -p /run/systemd/system/$UNIT.service.d && printf '%s\n' '[Service]' ${*@Q} | sed 2d >/run/systemd/system/$UNIT.service.d/$1.conf"
  guest systemctl daemon-reload
}
no_drop_in() {
  shell "rm -f /run/systemd/system/$UNIT.service.d/$1.conf"
  guest systemctl daemon-reload
}

contains() { grep -qF -- "$2" <<<"$1"; }
lacks() { ! contains "$1" "$2"; }
is() { [ "$1" = "$2" ]; }
at_most() { awk "BEGIN { exit !($1 <= $2) }"; }
waits_for() { # SECONDS COMMAND...: try it every 0.2 s
  local tries=$(($1 * 5))
  shift
  for _ in $(seq "$tries"); do "$@" && return 0; sleep .2; done
  return 1
}
property_is() { [ "$(show "$1")" = "$2" ]; }
restarted() { [ "$(show NRestarts)" -gt "$1" ] && property_is ActiveState active; }
journal_has() { contains "$(since "$1")" "$2"; }

serve_venues() { # simulated venues as a service of their own
  shell "rm -f /run/venues.json; systemd-run --quiet --unit=venues --property=Restart=on-failure --property=StandardOutput=file:/run/venues.json \
    /opt/arbitrage/.venv/bin/arbitrage sim --scenario synthetic --seed 7 --json --binance-port 18001 --upbit-port 18002"
  waits_for 120 shell "sed -n 2p /run/venues.json 2>/dev/null | grep -q settings" || { shell "journalctl -u venues -o cat"; echo "no simulated venues"; exit 1; }
}

describe_venues() { # the configuration that fits them
  shell "head -2 /run/venues.json | /opt/arbitrage/.venv/bin/python -c '
import json, sys
said, served = map(json.loads, sys.stdin)
settings = served[\"settings\"]
for venue, path in ((\"binance\", \"\"), (\"upbit\", \"/websocket/v1\")):
    settings[\"venues\"][venue] |= {\"rest_url\": said[venue][\"rest\"], \"stream_url\": said[venue][\"ws\"] + path}
settings[\"risk\"] = {\"open_plans_max\": 4}
settings[\"log\"] = {\"level\": \"INFO\"}
settings[\"health\"] = {\"ready_timeout_ms\": 6000}
print(json.dumps(settings, indent=1))' >$CONFIG && chgrp arbitrage $CONFIG && chmod 640 $CONFIG"
}

install_checks() {
  check "install.sh --dry-run changes nothing" shell "$INSTALL --dry-run >/dev/null && ! test -e /opt/arbitrage && ! test -e /etc/arbitrage"
  local began; began=$(now)
  check "install.sh installs" shell "$INSTALL"
  echo "     install took $(($(now) - began)) ms"
  [ "$FAILED" = 0 ] || { echo "nothing else can be checked"; exit 1; }
  local before; before=$(shell "find /opt/arbitrage /etc/arbitrage /etc/systemd/system/arbitrage.service -type f -not -path '*/.venv/*' | sort | xargs md5sum")
  check "install.sh a second time changes nothing" shell "$INSTALL --start >/dev/null 2>&1; systemctl stop $UNIT; true"
  check "  same files" is "$before" "$(shell "find /opt/arbitrage /etc/arbitrage /etc/systemd/system/arbitrage.service -type f -not -path '*/.venv/*' | sort | xargs md5sum")"
  check "systemd-analyze verify is silent" is "$(guest systemd-analyze verify /etc/systemd/system/$UNIT.service 2>&1)" ""
  local score; score=$(guest systemd-analyze security --offline=yes --no-pager /etc/systemd/system/$UNIT.service | grep -oE 'for .*: [0-9.]+' | grep -oE '[0-9.]+$')
  check "exposure $score is at most 1.2" at_most "$score" 1.2
}

start_checks() {
  shell "mkdir -p -m 700 /etc/credstore && umask 077 && printf %s $SECRET >/etc/credstore/arbitrage.redis_password"
  guest systemctl reset-failed "$UNIT" 2>/dev/null || true
  local mark began; mark=$(cursor); began=$(now)
  check "start returns when READY was told" guest systemctl start "$UNIT"
  echo "     start took $(($(now) - began)) ms: $(show StatusText)"
  check "  the status says armed" contains "$(show StatusText)" "armed"
  check "  the journal has it" journal_has "$mark" "ready: "
  PID=$(show MainPID)
  check "runs as arbitrage, no capability, seccomp, no new privileges" shell \
    "test \$(stat -c %U /proc/$PID) = arbitrage && grep -q 'CapBnd:.0000000000000000' /proc/$PID/status && grep -q 'Seccomp:.2' /proc/$PID/status && grep -q 'NoNewPrivs:.1' /proc/$PID/status"
  check "embedded PostgreSQL and Valkey run inside the unit" shell "systemctl status $UNIT | grep -q 'postgres -D' && systemctl status $UNIT | grep -q valkey-server"
  check "credential is a private file, not in the environment" shell \
    "nsenter -t $PID -m stat -c %a /run/credentials/$UNIT.service/redis_password | grep -q '^400$' && ! tr '\\0' '\\n' </proc/$PID/environ | grep -q $SECRET"
  check "no secret in the journal" lacks "$(shell "journalctl -u $UNIT -o json")" "$SECRET"
  check "journald has our levels and no second time stamp" shell \
    "journalctl -u $UNIT -p 6..6 -o cat | grep -q 'arbitrage.daemon: ready' && ! journalctl -u $UNIT -o cat | grep -qE '^<[0-7]>|^20[0-9]{2}-'"
  check "healthcheck passes" waits_for 30 shell "arbitrage-healthcheck | tail -1 | grep -q '^PASSED'"
  shell "arbitrage-healthcheck" | sed 's/^/     /'
  check "monitor shows metrics and the tail" shell "arbitrage-monitor --metrics --once | grep -q trades_per_minute && arbitrage-monitor --tail --once | grep -q armed"
}

sandbox_checks() { # what the unit's own sandbox lets a program do, tried from within it
  shell "install -m 755 /srv/arbitrage/scripts/systemd-lab/inside.py /opt/arbitrage/inside.py"
  drop_in inside "ExecStartPost=/opt/arbitrage/.venv/bin/python /opt/arbitrage/inside.py"
  check "restart with a probe inside the sandbox" guest systemctl restart "$UNIT"
  local probe tried
  probe=$(shell "cat $STATE/inside.json; rm $STATE/inside.json")
  echo "     $probe"
  for tried in "write_etc:OSError 30" "write_usr:OSError 30" "write_program:OSError 30" "list_root:PermissionError 13" \
    "see_init:FileNotFoundError 2" "open_kernel_log:FileNotFoundError 2" "raw_socket:PermissionError 1" \
    "netlink_socket:OSError 97" "packet_socket:OSError 97" "writable_code:PermissionError 1" \
    "user_namespace:PermissionError 1" "set_clock:PermissionError 1" "set_hostname:PermissionError 1" \
    "raise_priority:PermissionError" "run_from_state:PermissionError 13" "run_from_logs:PermissionError 13" \
    "run_from_tmp:PermissionError 13" "run_from_var_tmp:PermissionError 13" "run_from_shm:PermissionError 13" "make_setuid:PermissionError 1"; do
    check "  inside: ${tried%%:*} is refused (${tried#*:})" contains "$probe" "\"${tried%%:*}\": \"${tried#*:}"
  done
  no_drop_in inside
  guest systemctl restart "$UNIT"
  PID=$(show MainPID)
  check "  embedded databases run in the daemon's own sandbox" shell "
    count=0
    for p in \$(pgrep -u arbitrage 'postgres|valkey'); do
      count=\$((count + 1))
      for name in mnt user ipc; do test \$(readlink /proc/\$p/ns/\$name) = \$(readlink /proc/$PID/ns/\$name) || exit 1; done
      for line in 'Seccomp:.2' 'NoNewPrivs:.1' 'CapBnd:.0000000000000000'; do grep -q \"\$line\" /proc/\$p/status || exit 1; done
    done
    test \$count -ge 3"
}

reload_checks() {
  local mark followed; mark=$(cursor); followed=$(mktemp)
  (timeout 5 bash "$HERE/lab.sh" run journalctl -u "$UNIT" -f -n0 -o cat >"$followed" || true) &
  sleep 1
  shell "sed -i 's/\"open_plans_max\": 4/\"open_plans_max\": 3/' $CONFIG"
  check "reload" guest systemctl reload "$UNIT"
  wait
  check "  journalctl -f shows it live, with the change" contains "$(cat "$followed")" "configuration reloaded: risk.open_plans_max 4 -> 3"
  rm -f "$followed"
  check "  same process, active" shell "test $(show MainPID) = $PID && systemctl is-active --quiet $UNIT"
  mark=$(cursor)
  shell "sed -i 's/\"open_plans_max\": 3/\"open_plans_max\": 0/' $CONFIG"
  guest systemctl reload "$UNIT"
  check "a wrong configuration is refused whole with its place" waits_for 5 journal_has "$mark" "production.yaml:"
  check "  and the daemon goes on" shell "test $(show MainPID) = $PID && systemctl is-active --quiet $UNIT"
  shell "sed -i 's/\"open_plans_max\": 0/\"open_plans_max\": 3/' $CONFIG"
}

positions() { since "$1" | grep -oE 'positions: .*' | tail -1; }

restart_checks() {
  check "trades on paper" waits_for 90 shell "arbitrage-monitor --metrics --once | grep -qE '^trades_per_minute [1-9]'"
  local mark began restarts; mark=$(cursor); began=$(now)
  check "restart" guest systemctl restart "$UNIT"
  echo "     restart took $(($(now) - began)) ms"
  check "  it saved a snapshot" journal_has "$mark" "snapshot saved"
  check "  and restored the session" journal_has "$mark" "restored session"
  check "  as it was left: no fact after the snapshot" journal_has "$mark" " 0 facts from the journal"
  echo "     $(positions "$mark")"
  mark=$(cursor); restarts=$(show NRestarts)
  guest systemctl kill --kill-whom=main -s KILL "$UNIT"
  check "kill -9 restarts" waits_for 60 restarted "$restarts"
  check "  and restores" waits_for 5 journal_has "$mark" "restored session"
  echo "     $(positions "$mark")"
  mark=$(cursor); restarts=$(show NRestarts); began=$(now)
  guest systemctl kill --kill-whom=main -s STOP "$UNIT"
  check "the watchdog ends a standing loop and restarts" waits_for 90 restarted "$restarts"
  echo "     after $(($(now) - began)) ms"
  check "  the journal says why" journal_has "$mark" "Watchdog timeout"
  check "  and restores" waits_for 5 journal_has "$mark" "restored session"
  check "healthcheck passes again" waits_for 60 shell "arbitrage-healthcheck | tail -1 | grep -q '^PASSED'"
}

backups() { shell "ls -d $STATE/backups/*/manifest.json 2>/dev/null | wc -l"; }
has_backups() { [ "$(backups)" -ge "$1" ]; }

backup_checks() {
  check "the backup timer waits for its day" shell "systemctl is-active --quiet arbitrage-backup.timer && systemctl list-timers --no-legend | grep -q arbitrage-backup"
  local before began; before=$(backups); began=$(now); PID=$(show MainPID)
  check "a backup by its service, beside the trading daemon" guest systemctl start arbitrage-backup
  echo "     backup took $(($(now) - began)) ms: $(shell "journalctl --sync; journalctl -u arbitrage-backup -o cat | grep 'read back whole' | tail -1")"
  check "  it is there, whole" has_backups $((before + 1))
  check "  same daemon, armed" shell "test $(show MainPID) = $PID" && says_armed
  check "  the health check knows it" waits_for 20 shell "arbitrage-healthcheck | grep -q 'log archived until'"
  shell "mkdir -p /run/systemd/system/arbitrage-backup.timer.d && printf '[Timer]\nOnActiveSec=1\nRandomizedDelaySec=0\nAccuracySec=1ms\n' >/run/systemd/system/arbitrage-backup.timer.d/now.conf"
  shell "systemctl daemon-reload && systemctl restart arbitrage-backup.timer"
  check "the timer starts one by itself" waits_for 60 has_backups $((before + 2))
  shell "rm -r /run/systemd/system/arbitrage-backup.timer.d && systemctl daemon-reload && systemctl restart arbitrage-backup.timer"
}

explained_checks() { # READY is told when armed (above), or after ready_timeout_ms with the reason
  guest systemctl stop "$UNIT"
  guest systemctl stop venues
  local began; began=$(now)
  guest systemctl start --no-block "$UNIT"
  sleep 3
  check "without venues READY is not told at once" property_is ActiveState activating
  check "  it is told after ready_timeout_ms" waits_for 30 property_is ActiveState active
  echo "     after $(($(now) - began)) ms: $(show StatusText)"
  check "  with the reason in the status" contains "$(show StatusText)" "not armed because"
  serve_venues
  check "  and it arms by itself when they are there" waits_for 90 says_armed
}

says_armed() { [[ $(show StatusText) == armed* ]]; }

kept_state() { # MARK [WORDS]: it is armed, as it was left, and said WORDS on the way
  waits_for 60 says_armed && journal_has "$1" "restored session" && journal_has "$1" " 0 facts from the journal" &&
    journal_has "$1" "differences: none" && journal_has "$1" "${2:-restored}"
}

upgrade_checks() { # a newer wheel, the older one again, one with a new table, and the older one refused
  local variant mark version; version=$(shell "arbitrage --version")
  for variant in newer migrating; do
    shell "cp -r /srv/arbitrage /srv/$variant && mkdir /srv/wheels-$variant && ln /srv/wheels/*.whl /srv/wheels-$variant/ &&
      rm /srv/wheels-$variant/arbitrage-*.whl && cp /srv/made-$variant/*.whl /srv/wheels-$variant/"
  done
  shell "cd /srv/migrating/db/migrations && echo 'CREATE TABLE lab_only (number integer);' >\$(printf %04d_lab_only.sql \$((\$(ls *.sql | wc -l) + 1)))"
  mark=$(cursor)
  check "upgrade to a newer wheel" shell "/srv/newer/scripts/install.sh --wheels /srv/wheels-newer --start >/dev/null"
  check "  it runs" is "$(shell "arbitrage --version")" "arbitrage 0.1.1"
  check "  armed, with its state kept" kept_state "$mark"
  mark=$(cursor)
  check "roll back to the older wheel" shell "$INSTALL --start >/dev/null"
  check "  it runs" is "$(shell "arbitrage --version")" "$version"
  check "  armed, with its state kept" kept_state "$mark"
  mark=$(cursor)
  check "upgrade to one with a new table" shell "/srv/migrating/scripts/install.sh --wheels /srv/wheels-migrating --start >/dev/null"
  check "  migrated after a dump, armed, with its state kept" kept_state "$mark" "_lab_only.sql, dump "
  mark=$(cursor)
  shell "$INSTALL --start >/dev/null 2>&1"
  check "the older wheel refuses the newer tables by name" waits_for 20 journal_has "$mark" "install the newer"
  guest systemctl stop "$UNIT"
  guest systemctl reset-failed "$UNIT" 2>/dev/null
  mark=$(cursor)
  check "  and the newer one goes on" shell "/srv/migrating/scripts/install.sh --wheels /srv/wheels-migrating --start >/dev/null"
  check "  armed, with its state kept" kept_state "$mark"
}

memory_checks() {
  guest systemctl stop "$UNIT"
  drop_in memory MemoryMax=48M
  local mark restarts; mark=$(cursor); restarts=$(show NRestarts)
  guest systemctl start --no-block "$UNIT"
  check "MemoryMax ends a daemon that outgrows it, and it is started again" waits_for 60 shell \
    "test \$(systemctl show $UNIT -P NRestarts) -gt $restarts"
  check "  the journal says so" shell "journalctl --sync; journalctl -u $UNIT -o cat --after-cursor='$mark' | grep -qE 'oom-kill|status=9/KILL'"
  guest systemctl stop "$UNIT"
  no_drop_in memory
  guest systemctl reset-failed "$UNIT" 2>/dev/null
  mark=$(cursor)
  check "  with room again it starts" guest systemctl start "$UNIT"
  check "  and restores" journal_has "$mark" "restored session"
}

credential_checks() {
  shell "rm /etc/credstore/arbitrage.redis_password && mkdir -p -m 700 /etc/credstore.encrypted && printf %s $SECRET-sealed |
    systemd-creds encrypt --name=redis_password - /etc/credstore.encrypted/arbitrage.redis_password 2>/dev/null"
  drop_in sealed LoadCredential= LoadCredentialEncrypted=redis_password:arbitrage.redis_password
  check "restart with an encrypted credential" guest systemctl restart "$UNIT"
  PID=$(show MainPID)
  local file=/run/credentials/$UNIT.service/redis_password
  check "  it arrives in clear, as a private file" shell \
    "test \$(nsenter -t $PID -m cat $file) = $SECRET-sealed && nsenter -t $PID -m stat -c %a $file | grep -q '^400$'"
  check "  and lies encrypted" shell "! grep -rq $SECRET /etc/credstore /etc/credstore.encrypted"
  check "  not in journal, environment or logs" shell \
    "! journalctl -u $UNIT -o json | grep -q $SECRET && ! grep -q $SECRET /proc/$PID/environ && ! grep -rqs $SECRET /var/log/arbitrage"
  no_drop_in sealed
  guest systemctl restart "$UNIT"
}

stop_checks() {
  local mark began took; mark=$(cursor); began=$(now)
  check "stop" guest systemctl stop "$UNIT"
  took=$(($(now) - began))
  check "  within a second ($took ms)" at_most "$took" 1000
  check "  clean: success, inactive, snapshot saved" shell "test $(show Result)-$(show ActiveState) = success-inactive"
  check "  snapshot" journal_has "$mark" "snapshot saved"
  check "  nothing of ours still runs" shell "! pgrep -u arbitrage"
  check "  all data is the daemon's own" is "$(shell "find $STATE -not -user arbitrage | head -3")" ""
  check "healthcheck fails without the daemon and does not hang" shell "timeout 15 arbitrage-healthcheck | tail -1 | grep -q '^FAILED'"
}

failure_checks() {
  guest systemctl reset-failed "$UNIT" 2>/dev/null # also counts restarts anew
  shell "sed -i 's/\"open_plans_max\": 3/\"open_plans_max\": -3/' $CONFIG"
  local mark; mark=$(cursor)
  guest systemctl start "$UNIT" 2>/dev/null
  check "a wrong configuration is not restarted (status 2) and named" shell "test $(show ExecMainStatus)-$(show NRestarts)-$(show ActiveState) = 2-0-failed"
  check "  in one line" journal_has "$mark" "production.yaml:"
  shell "sed -i 's/\"open_plans_max\": -3/\"open_plans_max\": 3/' $CONFIG"
  guest systemctl reset-failed "$UNIT"
  guest systemctl start "$UNIT"
  for _ in $(seq 8); do
    guest systemctl kill --kill-whom=main -s KILL "$UNIT" 2>/dev/null
    waits_for 20 shell "systemctl is-active --quiet $UNIT || systemctl is-failed --quiet $UNIT"
    sleep .3
  done
  check "start-limit: a crash loop ends in failed, not for ever" waits_for 60 property_is ActiveState failed
  mark=$(cursor)
  check "  a start is refused until somebody looks" shell "! systemctl start $UNIT 2>/dev/null"
  check "  and the journal says why" journal_has "$mark" "Start request repeated too quickly"
  guest systemctl reset-failed "$UNIT"
  check "MODE=live is refused with status 3" shell \
    "printf '[Service]\nEnvironment=MODE=live\n' | (mkdir -p /run/systemd/system/$UNIT.service.d && cat >/run/systemd/system/$UNIT.service.d/live.conf) && sed -i 's/^MODE=.*/MODE=live/' /etc/arbitrage/arbitrage.env && systemctl daemon-reload && ! systemctl start $UNIT 2>/dev/null; test \$(systemctl show $UNIT -P ExecMainStatus) = 3"
}

uninstall_checks() {
  check "uninstall" shell "/srv/arbitrage/scripts/install.sh --uninstall"
  check "  the program is gone, configuration, data and logs are kept" shell \
    "! test -e /opt/arbitrage && ! test -e /etc/systemd/system/$UNIT.service && test -e $CONFIG && test -d $STATE/postgres && test -s /var/log/arbitrage/arbitrage_production.log"
}

install_checks
serve_venues
describe_venues
start_checks
sandbox_checks
reload_checks
restart_checks
backup_checks
explained_checks
upgrade_checks
memory_checks
credential_checks
stop_checks
failure_checks
uninstall_checks
echo "$PASSED passed, $FAILED failed"
[ "$FAILED" = 0 ]
