# A certificate authority for the lab alone, and what it signs.
# shellcheck shell=bash
pki_make() {
  rm -rf "$PKI"; mkdir -p "$PKI"; chmod 700 "$PKI"
  key ca; openssl req -x509 -new -key "$PKI/ca.key" -subj /CN=lab-ca -days 3650 -out "$PKI/ca.crt"
  key service-accounts; openssl ec -in "$PKI/service-accounts.key" -pubout -out "$PKI/service-accounts.pub" 2>/dev/null
  certificate apiserver /CN=kube-apiserver serverAuth \
    "DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,IP:127.0.0.1,IP:$LAB_HOST,IP:$SERVICES.0.1"
  certificate kubelet-client /O=system:masters/CN=apiserver clientAuth
  certificate front-proxy /CN=front-proxy clientAuth
  kubeconfig admin /O=system:masters/CN=admin
  kubeconfig controller-manager /CN=system:kube-controller-manager
  kubeconfig scheduler /CN=system:kube-scheduler
  kubeconfig proxy /CN=system:kube-proxy
  kubeconfig host /O=system:nodes/CN=system:node:host
  kubeconfig uml /O=system:nodes/CN=system:node:uml
}

key() { openssl ecparam -name prime256v1 -genkey -noout -out "$PKI/$1.key"; }

certificate() { # certificate NAME SUBJECT USE [OTHER-NAMES]
  key "$1"
  openssl req -new -key "$PKI/$1.key" -subj "$2" | openssl x509 -req -CA "$PKI/ca.crt" -CAkey "$PKI/ca.key" -CAcreateserial -days 3650 \
    -out "$PKI/$1.crt" -extfile <(echo "extendedKeyUsage=$3${4:+$'\n'subjectAltName=$4}") 2>/dev/null
}

kubeconfig() { # kubeconfig NAME SUBJECT: complete in itself, to be copied anywhere
  certificate "$1" "$2" clientAuth
  cat >"$PKI/$1.kubeconfig" <<YAML
apiVersion: v1
kind: Config
clusters: [{name: lab, cluster: {server: "https://$LAB_HOST:6443", certificate-authority-data: $(base64 -w0 "$PKI/ca.crt")}}]
users: [{name: $1, user: {client-certificate-data: $(base64 -w0 "$PKI/$1.crt"), client-key-data: $(base64 -w0 "$PKI/$1.key")}}]
contexts: [{name: lab, context: {cluster: lab, user: $1}}]
current-context: lab
YAML
}
