# What is the same on both nodes.  Sourced in the guest of node uml as well, which has nothing else of the lab's.
# shellcheck shell=bash

node_configure() { # node_configure DIR NAME ADDRESS PODS CGROUP: PODS are the first three bytes of the pods' network
  local dir=$1 name=$2 address=$3 pods=$4 cgroup=$5
  mkdir -p "$dir/cni" "$dir/flexvolumes" "$dir/static"
  cat >"$dir/containerd.toml" <<TOML
version = 3
root = "$dir/containerd"
state = "$dir/containerd-state"

[grpc]
address = "$dir/containerd.sock"

[plugins.'io.containerd.nri.v1.nri']
disable = true

[plugins.'io.containerd.cri.v1.images']
snapshotter = "overlayfs"
pinned_images = {sandbox = "lab.local/pause:1"}

[plugins.'io.containerd.cri.v1.runtime']
disable_apparmor = true
netns_mounts_under_state_dir = true
# root in a container may not lower what the kernel thinks of it when memory is short
restrict_oom_score_adj = true
cni = {use_internal_loopback = true, bin_dirs = ["/usr/lib/cni"], conf_dir = "$dir/cni"}

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
options = {BinaryName = "/usr/sbin/runc", SystemdCgroup = false}
TOML
  cat >"$dir/cni/lab.conflist" <<JSON
{
  "cniVersion": "1.0.0",
  "name": "lab",
  "plugins": [
    {
      "type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true,
      "ipam": {"type": "host-local", "dataDir": "$dir/addresses", "ranges": [[{"subnet": "$pods.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}
    }
  ]
}
JSON
  cat >"$dir/kubelet.yaml" <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: $address
healthzBindAddress: 127.0.0.1
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $PKI/ca.crt}}
authorization: {mode: Webhook}
containerRuntimeEndpoint: unix://$dir/containerd.sock
cgroupDriver: cgroupfs
cgroupRoot: $cgroup
failCgroupV1: false
failSwapOn: false
resolvConf: ""
volumePluginDir: $dir/flexvolumes
staticPodPath: $dir/static
volumeStatsAggPeriod: 10s
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: 50Mi, nodefs.available: 1%, imagefs.available: 1%, nodefs.inodesFree: 1%, imagefs.inodesFree: 1%}
YAML
  # CSI drivers look for kubelet where it usually is
  printf '%s\n' --config="$dir/kubelet.yaml" --kubeconfig="$PKI/$name.kubeconfig" --hostname-override="$name" --node-ip="$address" \
    --root-dir=/var/lib/kubelet --cert-dir="$dir/certificates" --v=2 >"$dir/kubelet.flags"
}

proxy_flags() { # proxy_flags NAME MODE; the table of connections is the machine's
  printf '%s\n' --kubeconfig="$PKI/proxy.kubeconfig" --hostname-override="$1" --proxy-mode="$2" --cluster-cidr=10.244.0.0/16 --conntrack-max-per-core=0 \
    --healthz-bind-address=127.0.0.1:10256 --metrics-bind-address=127.0.0.1:10249
}

images_import() { # images_import SOCKET TAR...
  local socket=$1 tar; shift
  for tar in "$@"; do [ ! -e "$tar" ] || "$BIN/ctr" -a "$socket" -n k8s.io images import "$tar"; done
}
