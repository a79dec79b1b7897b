# Where things are, and how the lab speaks.  Sourced first; changes nothing, neither files nor the environment.
# shellcheck shell=bash
# shellcheck disable=SC2034  # variables for the files that are sourced after this one
LAB_DIR=$(realpath -m "${LAB_DIR:-/var/lib/mooring-lab}")
LAB_CACHE=$(realpath -m "${LAB_CACHE:-$LAB_DIR/cache}")       # what was built once and can be built again
LAB_HOST=${LAB_HOST:-$(cat "$LAB_DIR/address" 2>/dev/null || echo 10.77.0.1)}
# Debian's Python tools are scripts of "/usr/bin/env python3" in places: another Python, first in the caller's PATH, breaks them
SYSTEM_PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
LAB_START=${LAB_START:-${EPOCHREALTIME/./}}

fail() { echo "lab: $*" >&2; exit 1; }
mark() { local ds=$(((${EPOCHREALTIME/./} - LAB_START) / 100000)); printf '%4d.%d s  %s\n' $((ds / 10)) $((ds % 10)) "$*"; }

# A path that goes unquoted into a dozen configuration formats, and in front of the names of unix sockets (108 bytes).
[[ $LAB_DIR =~ ^/[A-Za-z0-9._/+-]+$ ]] || fail "LAB_DIR: only letters, digits and ._/+- please: $LAB_DIR"
[[ $LAB_CACHE =~ ^/[A-Za-z0-9._/+-]+$ ]] || fail "LAB_CACHE: only letters, digits and ._/+- please: $LAB_CACHE"
[ ${#LAB_DIR} -le 50 ] || fail "LAB_DIR: at most 50 characters, for it holds unix sockets: $LAB_DIR"

part() { # part NAME: the part of the lab that the following is about; all it has is under $LAB_DIR/NAME
  PART=$LAB_DIR/$1 RUN=$LAB_DIR/$1/run LOG=$LAB_DIR/$1/log DONE=$LAB_DIR/$1/done
  ETC=$LAB_DIR/$1/etc VAR=$LAB_DIR/$1/var
}

parts() { find "$LAB_DIR" -mindepth 1 -maxdepth 1 ! -name address ! -path "$LAB_CACHE"; }      # all but the address and the cache

part_wipe() { # LAB_DIR itself stays: it is what the lock is on
  local where
  for where in $(awk -v dir="$PART/" 'index($2, dir) == 1 {print $2}' /proc/self/mounts | tac); do umount -l "$where"; done
  rm -rf "$DONE"                               # first: a wipe that is killed must not leave "done" for what is gone
  rm -rf --one-file-system "$PART"
  [ -n "$(parts)" ] || rm -f "$LAB_DIR/address"
}

# The address is in Keystone's catalog and in Ceph's monitor map: one LAB_DIR has one address as long as it has state.
address_check() {
  [ ! -e "$LAB_DIR/address" ] || [ "$(cat "$LAB_DIR/address")" = "$LAB_HOST" ] ||
    fail "$LAB_DIR was made for address $(cat "$LAB_DIR/address"): wipe it, or use another LAB_DIR"
}

address_claim() {
  [ ! -e "$LAB_DIR/address" ] || { address_check; return 0; }
  [ -z "$(parts)" ] || fail "$LAB_DIR is neither empty nor a lab's: it stays as it is"
  echo "$LAB_HOST" | write "$LAB_DIR/address"
}

write() { cat >"$1.new" && mv "$1.new" "$1"; }    # write FILE: from standard input, all of it or nothing

once() { # once NAME COMMAND...: remembers success across runs.  COMMAND must start from nothing: the last one may have been killed
  local done_file=$DONE/$1; shift
  [ ! -e "$done_file" ] || return 0
  "$@"                                         # not in a condition: "set -e" holds inside
  mkdir -p "$DONE"; : >"$done_file"
}
