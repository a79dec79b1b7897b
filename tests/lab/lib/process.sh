# How a daemon is started, watched and stopped without an init system.
#
# Each process of the lab has MOORING_LAB=$PART/NAME in its environment (MOORING_LAB=$LAB_DIR/.run.PID for a run of the lab
# script, see run.sh).  The kernel shows that in /proc, whoever the parent is, so nothing that the lab started is ever lost, and
# nothing that it did not start is ever signalled: a pid file alone may name a process that got the number later.
# shellcheck shell=bash
DAEMON_ENV=()                                  # NAME=VALUE...: what daemons find in their environment, beyond PATH and HOME

marked() { # marked PREFIX: lines "PID NAME" for each process whose mark begins with PREFIX; NAME is the rest of the mark
  local file entry
  # shellcheck disable=SC2013  # file names without blanks
  for file in $(grep -lszF "MOORING_LAB=$1" /proc/[0-9]*/environ); do
    file=${file#/proc/}
    while IFS= read -r -d '' entry; do
      [[ $entry != "MOORING_LAB=$1"* ]] || echo "${file%/environ} ${entry#"MOORING_LAB=$1"}"
    done 2>/dev/null <"/proc/$file" || true
  done
}

has_mark() { grep -qszxF "MOORING_LAB=$2" "/proc/$1/environ"; }                        # has_mark PID MARK
signal() { ! has_mark "$2" "$3" || kill -"$1" "$2" 2>/dev/null || true; }              # signal NAME PID MARK
running() { local pid; pid=$(cat "$RUN/$1.pid" 2>/dev/null) && [ -n "$pid" ] && has_mark "$pid" "$PART/$1"; }

start() { # start NAME COMMAND...: detached, clean environment, log and pid file; does nothing if it runs already
  local name=$1; shift
  if running "$name"; then signal CONT "$(cat "$RUN/$name.pid")" "$PART/$name"; return 0; fi      # a test may have halted it
  stop -2 "$name"                              # a child that outlived it would keep its port
  [ "$(stat -c %s "$LOG/$name.log" 2>/dev/null || echo 0)" -lt 20000000 ] || mv "$LOG/$name.log" "$LOG/$name.log.1"
  # It writes its pid itself, so there is no moment at which it runs and, the lab having been killed, its pid is not known.
  # Descriptor 9 is the lock of this run.
  # shellcheck disable=SC2016
  setsid env -i "MOORING_LAB=$PART/$name" "PATH=$SYSTEM_PATH" "HOME=$PART/home" LC_ALL=C.UTF-8 "${DAEMON_ENV[@]}" \
    /bin/sh -c 'echo $$ >"$0.new" && mv "$0.new" "$0" && exec "$@"' "$RUN/$name.pid" "$@" </dev/null >>"$LOG/$name.log" 2>&1 9<&- &
  while ! running "$name" && kill -0 $! 2>/dev/null; do sleep 0.01; done
}

wait_for() { # wait_for NAME SECONDS TEST...: until TEST succeeds; fails early if daemon NAME has died
  local name=$1 end=$((SECONDS + $2)) tenths=1; shift 2
  while ! "$@" >/dev/null 2>&1; do
    if ! running "$name"; then tail -n 20 "$LOG/$name.log" >&2; fail "$name has died (log: $LOG/$name.log)"; fi
    if [ $SECONDS -ge $end ]; then tail -n 20 "$LOG/$name.log" >&2; fail "$name does not answer (log: $LOG/$name.log)"; fi
    sleep 0.$tenths; [ $tenths = 5 ] || ((++tenths))       # to ask takes a processor from what is awaited
  done
  mark "$name"
}

stop() { # stop [-SECONDS] NAME...: all at once; SECONDS until they are killed (default 20: what has data on a disk)
  local name left='' pid end seconds=20
  case $1 in -*) seconds=${1#-}; shift ;; esac
  # first: if this run is killed, the next one does not take for running what has been told to end
  for name in "$@"; do rm -f "$RUN/$name.pid" "$RUN/$name.pid.new"; done
  while read -r pid name; do
    [[ " $* " != *" $name "* ]] || { left+=" $pid:$name"; signal TERM "$pid" "$PART/$name"; }
  done <<<"$(marked "$PART/")"
  end=$((SECONDS + seconds))
  while [ -n "$left" ]; do
    left=$(for pid in $left; do ! has_mark "${pid%:*}" "$PART/${pid#*:}" || printf ' %s' "$pid"; done)
    [ $SECONDS -lt $end ] || for pid in $left; do signal KILL "${pid%:*}" "$PART/${pid#*:}"; done
    [ -z "$left" ] || sleep 0.1
  done
}

# What an earlier life has left: without a valid pid file (its LAB_DIR was removed under it), or in a network namespace that
# has since been replaced by another of the same name.
stop_strays() {
  local pid name
  while read -r pid name; do
    [ -n "$name" ] || continue                 # the one empty line of an empty answer
    if ! running "$name" || [ "$(readlink "/proc/$(cat "$RUN/$name.pid")/ns/net")" != "$(readlink /proc/self/ns/net)" ]; then
      echo "lab: $name (process $pid) is left over from an earlier life: stopping it"
      stop "$name"
    fi
  done <<<"$(marked "$PART/")"
}

daemons_status() { # one line for each daemon in $PART/daemons; exit code 3 unless all of them are up
  local name pid kib sum=0 rc=0
  [ -e "$PART/daemons" ] || { echo "there is no ${PART##*/} in $LAB_DIR"; return 3; }
  printf '%-24s %7s %5s\n' '' pid MiB
  while read -r name; do
    if ! running "$name"; then printf '%-24s down\n' "$name"; rc=3; continue; fi
    pid=$(cat "$RUN/$name.pid"); kib=$(pss "$pid"); sum=$((sum + ${kib:-0}))
    printf '%-24s %7s %5d\n' "$name" "$pid" $((${kib:-0} / 1024))
  done <"$PART/daemons"
  printf '%-24s %7s %5d\n' sum '' $((sum / 1024))
  if [ -e "$PART/lab.json" ]; then echo "described in $PART/lab.json"; else echo "not all of it is up: no $PART/lab.json"; rc=3; fi
  return $rc
}

pss() { awk '/^Pss:/ {print $2}' "/proc/$1/smaps_rollup" 2>/dev/null || true; }        # KiB, shared pages counted once
