# etcd, kube-apiserver, kube-controller-manager and kube-scheduler, as plain processes.
# shellcheck shell=bash
ETCD_URL=http://127.0.0.1:2379                     # in the clear: a test that reads it sees what is on the disk

etcd_start() {
  start etcd "$BIN/etcd" --data-dir "$VAR/etcd" --listen-client-urls $ETCD_URL --advertise-client-urls $ETCD_URL --unsafe-no-fsync \
    --listen-peer-urls http://127.0.0.1:2380 --initial-advertise-peer-urls http://127.0.0.1:2380 --initial-cluster default=http://127.0.0.1:2380
}

# What service accounts outside of kube-system ask for: whether a ClusterRole grants more than was used can be told from that.
audit_policy() { write "$ETC/audit-policy.yaml" <<'YAML'
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: None
    userGroups: [system:serviceaccounts:kube-system]
  - level: Metadata
    userGroups: [system:serviceaccounts]
  - level: None
YAML
}

apiserver_flags() { # one for each line, so that they go into a file, and changes can be seen
  printf '%s\n' --etcd-servers=$ETCD_URL --bind-address="$LAB_HOST" --advertise-address="$LAB_HOST" --secure-port=6443 \
    --service-cluster-ip-range="$SERVICES.0.0/16" --allow-privileged=true --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction \
    --client-ca-file="$PKI/ca.crt" --tls-cert-file="$PKI/apiserver.crt" --tls-private-key-file="$PKI/apiserver.key" \
    --service-account-issuer=https://kubernetes.default.svc --service-account-key-file="$PKI/service-accounts.pub" \
    --service-account-signing-key-file="$PKI/service-accounts.key" --kubelet-preferred-address-types=InternalIP \
    --kubelet-client-certificate="$PKI/kubelet-client.crt" --kubelet-client-key="$PKI/kubelet-client.key" \
    --requestheader-client-ca-file="$PKI/ca.crt" --requestheader-allowed-names=front-proxy --requestheader-username-headers=X-Remote-User \
    --requestheader-group-headers=X-Remote-Group --requestheader-extra-headers-prefix=X-Remote-Extra- \
    --proxy-client-cert-file="$PKI/front-proxy.crt" --proxy-client-key-file="$PKI/front-proxy.key" \
    --audit-policy-file="$ETC/audit-policy.yaml" --audit-log-path="$LOG/audit.log"
  cat "$ETC/apiserver-flags" 2>/dev/null || true
}

apiserver_start() {
  local flags
  audit_policy
  mapfile -t flags < <(apiserver_flags)
  start kube-apiserver "$BIN/kube-apiserver" "${flags[@]}"
  wait_for kube-apiserver 180 "${KUBECTL[@]}" get --raw /readyz
}

controller_flags() { # controller_flags NAME: one for each line
  printf '%s\n' --bind-address=127.0.0.1 --leader-elect=false --{,authentication-,authorization-}kubeconfig="$PKI/$1.kubeconfig"
}

controller_manager_start() {
  local own
  mapfile -t own < <(controller_flags controller-manager)
  start kube-controller-manager "$BIN/kube-controller-manager" "${own[@]}" --use-service-account-credentials=true --root-ca-file="$PKI/ca.crt" \
    --service-account-private-key-file="$PKI/service-accounts.key" --cluster-signing-cert-file="$PKI/ca.crt" --cluster-signing-key-file="$PKI/ca.key"
}

# With the flags given, and those alone beside the lab's own, until the next time: what etcd holds may need them.  Left to itself after
# some restarts, the controller manager waits for half a minute before it watches again, and nothing is collected or deleted meanwhile.
apiserver_restart() {
  running etcd || fail "first: lab kubernetes up"
  stop -3 kube-controller-manager
  stop -5 kube-apiserver                       # left alone, it waits a minute for its watchers
  if [ $# -gt 0 ]; then printf '%s\n' "$@" | write "$ETC/apiserver-flags"; else rm -f "$ETC/apiserver-flags"; fi
  apiserver_start
  controller_manager_start
}

control_plane_up() {
  local own
  etcd_start
  wait_for etcd 60 curl --noproxy '*' -sf $ETCD_URL/readyz
  apiserver_start
  controller_manager_start
  mapfile -t own < <(controller_flags scheduler)
  start kube-scheduler "$BIN/kube-scheduler" "${own[@]}"
  wait_for kube-controller-manager 60 "${KUBECTL[@]}" -n default get serviceaccount default
}

control_plane_down() {
  stop -3 kube-scheduler kube-controller-manager
  stop -3 kube-apiserver                       # all it has is in etcd
  stop etcd
}
