# Installs Debian packages without starting the services in them.
# shellcheck shell=bash
POLICY=/usr/sbin/policy-rc.d                   # Debian asks it before it starts a service; 101 is "no"
POLICY_MARK='# of the mooring lab, while it installs packages'

# Not to be ended with a run that is killed, which would break dpkg's state: no mark, no lock.  The next run waits for it.
apt_get() { env -u MOORING_LAB DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=900 -o Dpkg::Use-Pty=0 "$@" 9<&-; }

apt_install() {
  apt_get -o Dpkg::Options::=--force-confold -o Dpkg::Options::=--force-unsafe-io install -y --no-install-recommends "$@"
}

packages_missing() { # packages_missing NAME...
  local -A have=(); local p
  while read -r p; do have[$p]=1; done < <(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "$@" 2>/dev/null | sed -n 's/^installed //p')
  for p in "$@"; do [ -n "${have[$p]:-}" ] || echo "$p"; done
}

packages() { # packages NAME...: install what is missing
  local missing rc=0 ours=''
  mapfile -t missing < <(packages_missing "$@")
  [ ${#missing[@]} -gt 0 ] || return 0
  echo "lab: installing ${missing[*]}"
  if [ ! -e $POLICY ] || grep -qsxF "$POLICY_MARK" $POLICY; then        # ours may be left from a run that was killed
    printf '#!/bin/sh\n%s\nexit 101\n' "$POLICY_MARK" | write $POLICY; chmod 755 $POLICY; ours=1
  fi
  {
    apt_get update || true
    # the second try is for a dpkg that was killed
    apt_install "${missing[@]}" || { env -u MOORING_LAB dpkg --configure -a 9<&- && apt_install "${missing[@]}"; } || rc=$?
  } >"$LOG/apt.log" 2>&1
  [ -z "$ours" ] || rm -f $POLICY
  [ $rc = 0 ] || { tail -n 20 "$LOG/apt.log" >&2; fail "apt-get failed (log: $LOG/apt.log)"; }
  mark "installed ${#missing[@]} packages"
}
