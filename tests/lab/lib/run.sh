# One run of the lab script: marked, alone, in a clean environment; and what becomes of a run that is killed.
#
# A run that changes anything replaces itself by one that has MOORING_LAB=$LAB_DIR/.run.PID in its environment, as have all the
# programs it calls.  If it is killed, those go on: they still hold the lock (descriptor 9), and the next run ends them by
# their mark, since the process that the mark names is gone.  The steps they were at are then redone from nothing ("once").
# shellcheck shell=bash

run_begin() { # run_begin [DIR]: alone in DIR; LAB_DIR, but for what takes long and is of no concern to the rest
  local keep=() name
  LOCK=${1:-$LAB_DIR}
  if [ "${MOORING_LAB:-}" != "$LAB_DIR/.run.$$" ]; then
    for name in "${!LAB_@}" http_proxy https_proxy no_proxy TERM GOPROXY GOSUMDB GOMODCACHE GOCACHE; do [ -z "${!name:-}" ] || keep+=("$name=${!name}"); done
    exec env -i "MOORING_LAB=$LAB_DIR/.run.$$" "PATH=$SYSTEM_PATH" "HOME=${HOME:-/root}" LC_ALL=C.UTF-8 "${keep[@]}" "$LAB_SRC/lab" "${ARGS[@]}"
  fi
  trap 'run_end' EXIT                          # also at an interrupt: its background jobs would ignore that
  umask 022
  run_lock
  address_claim
  mkdir -p "$RUN" "$LOG" "$DONE" "$ETC" "$VAR" "$PART/home"
}

run_end() { # ends what this run has started in the background; the daemons have marks of their own
  local pid
  for pid in $(marked "$LAB_DIR/.run.$$" | awk '$2 == "" {print $1}'); do
    [ "$pid" = $$ ] || signal KILL "$pid" "$LAB_DIR/.run.$$"
  done
}

run_locked() { [ "/proc/$$/fd/9" -ef "$LOCK" ]; }       # as it is after this run has moved into the namespace

run_lock() {
  local told='' end=$((SECONDS + ${LAB_WAIT:-900}))
  ! run_locked || return 0
  mkdir -p "$LAB_DIR" "$LOCK"; chmod 755 "$LAB_DIR" "$LOCK"
  exec 9<"$LOCK"
  until flock -n 9; do
    run_leftovers
    [ -n "$told" ] || { told=1; flock -n 9 || echo "lab: another run is at work in $LOCK: waiting for it"; }
    [ $SECONDS -lt $end ] || fail "another run is still at work in $LOCK"
    sleep 0.2
  done
  run_locked || fail "$LOCK was removed in this moment: try again"
  run_leftovers
}

run_leftovers() { # kills the programs of runs that are gone
  local pid owner
  while read -r pid owner; do
    [ -z "$owner" ] || has_mark "$owner" "$LAB_DIR/.run.$owner" || signal KILL "$pid" "$LAB_DIR/.run.$owner"
  done <<<"$(marked "$LAB_DIR/.run.")"
}
