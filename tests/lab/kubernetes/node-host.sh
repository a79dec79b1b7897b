# Node "host": containerd, kubelet and kube-proxy on this machine's kernel.  Its mounts are in a namespace of their own: the
# machine does not see them, and they end with the last process in it.  Its disk is thrown away at "down".
# shellcheck shell=bash
HOST=$VAR/host HOST_GROUP=$NAMESPACE

host_inside() { nsenter --mount="/proc/$(cat "$RUN/host-mounts.pid")/ns/mnt" -- "$@"; }
host_start() { local name=$1; shift; start "$name" nsenter --mount="/proc/$(cat "$RUN/host-mounts.pid")/ns/mnt" -- "$@"; }
host_has_mounts() { [ "$(cat "$HOST/mounted" 2>/dev/null)" = "$(cat "$RUN/host-mounts.pid")" ]; }

# kubelet makes its groups below one of the lab's.  A cpuset that is not filled takes no process.
host_groups() {
  local hierarchy file
  for hierarchy in /sys/fs/cgroup /sys/fs/cgroup/*; do
    [ -e "$hierarchy/cgroup.procs" ] || continue
    mkdir -p "$hierarchy/$HOST_GROUP"
    for file in cpuset.cpus cpuset.mems; do
      [ ! -e "$hierarchy/cpuset.sched_load_balance" ] || cat "$hierarchy/$file" >"$hierarchy/$HOST_GROUP/$file"
    done
  done
}

# All that runs in the node's pods is in its groups, whoever started it, and whatever has become of containerd.
host_kill_pods() {
  local end=$((SECONDS + 20)) group groups=() pids
  for group in /sys/fs/cgroup/{,*/}"$HOST_GROUP"; do [ ! -d "$group" ] || groups+=("$group"); done
  [ ${#groups[@]} -gt 0 ] || return 0
  while pids=$(find "${groups[@]}" -name cgroup.procs -exec cat {} + 2>/dev/null | sort -u || true) && [ -n "$pids" ]; do
    [ $SECONDS -lt $end ] || fail "processes of pods do not end: ${pids//$'\n'/ }"
    xargs kill -KILL <<<"$pids" 2>/dev/null || true
    sleep 0.1
  done
  find "${groups[@]}" -depth -type d -exec rmdir {} + 2>/dev/null || true
}

host_up() {
  local flags since=''
  # one alone is of no use: the end of the other took what it had
  if ! running host-mounts || ! running host-containerd; then host_down; fi
  if ! running host-mounts; then
    mkdir -p "$HOST"
    start host-mounts unshare --mount --propagation slave "$LAB_SRC/kubernetes/host-mounts" "$HOST"
    wait_for host-mounts 10 host_has_mounts
  fi
  host_groups
  node_configure "$HOST" host "$LAB_HOST" 10.244.200 "/$HOST_GROUP"
  host_start host-containerd "$BIN/containerd" -c "$HOST/containerd.toml"
  wait_for host-containerd 60 "$BIN/ctr" -a "$HOST/containerd.sock" version
  if [ ! -e "$HOST/imported" ]; then images_import "$HOST/containerd.sock" "$IMAGES"/*.tar "$VAR"/images/{,host/}*.tar >"$LOG/host-images.log" 2>&1; fi
  : >"$HOST/imported"
  running host-kubelet || since=$(date -u +%FT%TZ)
  mapfile -t flags <"$HOST/kubelet.flags"
  host_start host-kubelet "$BIN/kubelet" "${flags[@]}"
  # without a default route, what is on the node's own network would find no way to Services before kube-proxy sees it
  ip route replace "$SERVICES.0.0/16" dev "$BRIDGE"
  mapfile -t flags < <(proxy_flags host nftables)
  start host-kube-proxy "$BIN/kube-proxy" "${flags[@]}"
  wait_for host-kubelet 120 node_ready host "$since"
  # a right that kubelet does not have for itself
  "${KUBECTL[@]}" label node host --overwrite node-role.kubernetes.io/control-plane= >/dev/null
}

host_down() {
  stop -5 host-kubelet host-kube-proxy
  host_kill_pods
  stop -3 host-containerd
  stop -1 host-mounts
  rm -rf --one-file-system "$HOST"
}
