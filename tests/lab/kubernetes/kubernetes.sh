# Kubernetes without systemd and without a registry, with two nodes.
#   kube-apiserver :6443  kubelet :10250 on LAB_HOST (node host) and the address after it (node uml); etcd :2379 on 127.0.0.1
# Services are 10.96.0.0/16, pods 10.244.200.0/24 on host and 10.244.201.0/24 on uml.  There is no DNS in it.
# shellcheck shell=bash
SERVICES=10.96
BIN=$LAB_CACHE/bin PKI=$PART/pki
KUBECTL=("$BIN/kubectl" "--kubeconfig=$PKI/admin.kubeconfig" "--cache-dir=$PART/home/kubectl")
# shellcheck disable=SC2034  # process.sh uses it
DAEMON_ENV=("PATH=$BIN:$SYSTEM_PATH")          # containerd looks there for its shim
. "$LAB_SRC/lib/packages.sh"
. "$LAB_SRC/kubernetes/build.sh"
. "$LAB_SRC/kubernetes/pki.sh"
. "$LAB_SRC/kubernetes/control-plane.sh"
. "$LAB_SRC/kubernetes/node.sh"
. "$LAB_SRC/kubernetes/node-host.sh"
. "$LAB_SRC/kubernetes/node-uml.sh"

# With SINCE, only if kubelet said so after that: the API server also knows what an earlier life of the node has told.
node_ready() { # node_ready NAME [SINCE]
  local status heartbeat
  read -r status heartbeat < <("${KUBECTL[@]}" get node "$1" -o 'jsonpath={range .status.conditions[?(@.type=="Ready")]}{.status} {.lastHeartbeatTime}')
  [ "$status" = True ] && [[ ! $heartbeat < ${2:-} ]]
}

kubernetes_up() {
  [ -n "$NAMESPACE" ] || fail "Kubernetes needs a network namespace: LAB_HOST must not be 127.0.0.1"
  stop_strays
  printf '%s\n' etcd kube-apiserver kube-controller-manager kube-scheduler host-mounts host-containerd host-kubelet host-kube-proxy uml | write "$PART/daemons"
  sysctl -qw net.ipv4.ip_forward=1
  mkdir -p "$VAR/images"
  once pki pki_make
  control_plane_up
  uml_up
  host_up
  uml_ready
  kubernetes_describe
  mark "kubernetes up"
}

kubernetes_describe() { write "$PART/lab.json" <<JSON
{
 "server": "https://$LAB_HOST:6443",
 "kubeconfig": "$PKI/admin.kubeconfig",
 "version": "$("$BIN/kubelet" --version | cut -d' ' -f2)",
 "etcd": "$ETCD_URL",
 "nodes": {"host": "$LAB_HOST", "uml": "$GUEST_ADDRESS"},
 "audit_log": "$LOG/audit.log",
 "static_pods": "$HOST/static",
 "logs": "$LOG",
 "programs": "$BIN",
 "external_dns": "$EXTERNAL_DNS"
}
JSON
}

kubernetes_down() { # nodes first: what they have mounted needs the servers, and their API server
  rm -f "$PART/lab.json"
  uml_down
  host_down
  control_plane_down
  mark "kubernetes down"
}

images_load() { # images_load [NODE] TAR...: for both nodes, or for one, now and when they start again
  local tar node=''
  case ${1:-} in host | uml) node=$1; shift ;; esac
  [ $# -gt 0 ] || fail "image: which archives?"
  if ! running host-containerd || ! running uml; then fail "first: lab kubernetes up"; fi
  for tar in "$@"; do
    cp "$tar" "$VAR/images/.new"; tar=$VAR/images/$node/${tar##*/}
    mkdir -p "${tar%/*}"; mv "$VAR/images/.new" "$tar"
    [ "$node" = uml ] || images_import "$HOST/containerd.sock" "$tar"
    [ "$node" = host ] || uml_run "$BIN/ctr -a /var/lib/lab/containerd.sock -n k8s.io images import $tar"
  done
}

on_node() { # on_node NAME COMMAND
  local name=$1; shift
  case $name in
    host) running host-mounts || fail "node host is down"; host_inside /bin/bash -c "$*" ;;
    uml)  running uml || fail "node uml is down"; uml_run "$*" ;;
    *)    fail "on: host or uml?" ;;
  esac
}
