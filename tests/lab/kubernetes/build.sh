# Fills $LAB_CACHE: Kubernetes and what belongs to it as static programs (bin/), a kernel and a disk for node uml (uml/), images for
# pods (images/).  What is there for the same key is kept, so that only the first run takes its time; Go's own caches are the
# caller's, and remember what a run that was killed had compiled.
# shellcheck shell=bash
UML=$LAB_CACHE/uml IMAGES=$LAB_CACHE/images
# Modules that pin the programs, and all they are made of; external-provisioner does not compile with the newest Kubernetes.
PROGRAMS=$LAB_SRC/kubernetes/programs PROVISIONER=$LAB_SRC/kubernetes/provisioner
EXTERNAL_DNS=v0.21.0
DISK_PACKAGES=iproute2,iptables,nfs-common,ceph-common,runc,containernetworking-plugins,kmod,conntrack,socat,mount,e2fsprogs,procps,ethtool,attr

kubernetes_possible() {
  local reason=''
  if [ "$(id -u)" != 0 ]; then reason='it needs root'
  elif ! command -v apt-get >/dev/null || [ "$(. /etc/os-release && echo "$VERSION_CODENAME")" != bookworm ]; then reason='it needs Debian 12'
  elif [ "$(uname -m)" != x86_64 ]; then reason='user-mode-linux needs an x86_64 machine'
  elif [ ! -c /dev/net/tun ]; then reason='there is no /dev/net/tun for the network card of node uml'
  elif [ "$LAB_HOST" = 127.0.0.1 ] || ! unshare --net --mount true 2>/dev/null; then reason='it needs network and mount namespaces'
  fi
  [ -z "$reason" ] || { echo "$reason"; return 1; }
}

kubernetes_packages() {
  packages runc containernetworking-plugins iptables nftables conntrack socat ethtool mmdebstrap e2fsprogs busybox-static wget kmod ceph-fuse libnfs-utils
}

kubernetes_build() {
  mkdir -p "$BIN" "$UML" "$IMAGES" "$LAB_CACHE/done"
  kubernetes_packages
  command -v go >/dev/null || PATH=$PATH:$LAB_GO
  export CGO_ENABLED=0 GOFLAGS='-mod=readonly -trimpath -buildvcs=false'
  cached kernel "$(apt-cache policy user-mode-linux | sed -n 's/ *Candidate: //p')" build_kernel
  cached disk "$DISK_PACKAGES $(cat "$LAB_SRC/kubernetes/guest/init" "$LAB_CACHE/done/kernel")" build_disk
  cached programs "$(cat "$PROGRAMS"/go.{mod,sum}; go version)" build_programs "$PROGRAMS"
  cached provisioner "$(cat "$PROVISIONER"/go.{mod,sum}; go version)" build_programs "$PROVISIONER"
  cached external-dns "$EXTERNAL_DNS $(go version)" build_external_dns
  cached ocitar "$(cat "$LAB_SRC"/../../tools/ocitar/*.go; go version)" build_ocitar
  cached images "$(cat "$LAB_CACHE"/done/{programs,provisioner,external-dns,ocitar}; declare -f build_images pack pack_busybox)" build_images
  mark "kubernetes built"
}

cached() { # cached NAME KEY COMMAND...: COMMAND, unless it succeeded before with this key
  local name=$1 key began=$SECONDS; key=$(sha256sum <<<"$2"); shift 2
  [ "$(cat "$LAB_CACHE/done/$name" 2>/dev/null)" != "$key" ] || return 0
  rm -f "$LAB_CACHE/done/$name"
  "$@"                                         # not in a condition: "set -e" holds inside
  echo "$key" | write "$LAB_CACHE/done/$name"
  mark "built $name in $((SECONDS - began)) s"
}

# ---- Go programs ----
version_of() { go -C "$1" list -m -f '{{.Version}}' "$2"; }             # version_of DIR MODULE

build_programs() { # build_programs DIR: one after the other; the linker wants much memory
  local package version pkg=k8s.io/component-base/version flags
  version=$(version_of "$1" k8s.io/component-base); version=v1${version#v0}
  flags="-s -w -X $pkg.gitVersion=$version -X $pkg.gitMajor=1 -X $pkg.gitMinor=$(cut -d. -f2 <<<"$version") -X $pkg.gitTreeState=clean"
  for package in $(go -C "$1" list -f '{{.ImportPath}}' tool); do go_build "$1" "$package" "$flags"; done
}

go_build() { # go_build DIR PACKAGE FLAGS: to bin/, under the name of its command
  local name=${2##*/}
  [ "$2" != go.etcd.io/etcd/server/v3 ] || name=etcd
  go -C "$1" build -ldflags "$3" -o "$BIN/$name.new" "$2"
  mv "$BIN/$name.new" "$BIN/$name"
}

build_external_dns() { GOFLAGS='-trimpath' GOBIN=$BIN go install -ldflags '-s -w' "sigs.k8s.io/external-dns@$EXTERNAL_DNS"; }
build_ocitar() { go -C "$LAB_SRC/../../tools" build -o "$BIN/ocitar" ./ocitar; }

# ---- node uml ----

# Debian has Linux as a program of user space, which runs where there is neither /dev/kvm nor a module of one's own to load.
build_kernel() {
  local tmp=$UML/package
  rm -rf "$tmp" "$UML/modules"; mkdir -p "$tmp"
  ( cd "$tmp" && apt_get -o APT::Sandbox::User=root download user-mode-linux && dpkg-deb -x user-mode-linux_*.deb . ) >"$LOG/kernel.log" 2>&1
  mv "$tmp/usr/lib/uml/modules" "$UML/modules"; mv "$tmp/usr/bin/linux.uml" "$UML/linux.uml"
  rm -rf "$tmp"
}

build_disk() {
  local root=$UML/root suite mirror
  suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
  # shellcheck disable=SC2016  # apt-get knows these
  mirror=$(apt-get indextargets --format '$(CODENAME) $(REPO_URI)' 'Created-By: Packages' | awk -v suite="$suite" '$1 == suite {print $2; exit}')
  rm -rf "$root" "$UML/disk.new"
  mmdebstrap --variant=minbase --aptopt='APT::Install-Recommends "false"' --include="$DISK_PACKAGES" "$suite" "$UML/root.tar" "$mirror" \
    >"$LOG/disk.log" 2>&1 || { tail -n 20 "$LOG/disk.log" >&2; fail "mmdebstrap failed (log: $LOG/disk.log)"; }
  mkdir "$root"; tar -C "$root" -xf "$UML/root.tar"
  cp -a "$UML/modules/." "$root/lib/modules/"
  # this kernel lacks what the other iptables needs
  chroot "$root" update-alternatives --set iptables /usr/sbin/iptables-legacy >>"$LOG/disk.log"
  chroot "$root" update-alternatives --set ip6tables /usr/sbin/ip6tables-legacy >>"$LOG/disk.log"
  ln -sf /proc/mounts "$root/etc/mtab"
  install -m 755 "$LAB_SRC/kubernetes/guest/init" "$root/lab-init"
  truncate -s 6G "$UML/disk.new"
  mke2fs -q -t ext4 -O ^has_journal -d "$root" "$UML/disk.new"
  mv "$UML/disk.new" "$UML/disk"
  rm -rf "$root" "$UML/root.tar"
}

# ---- images ----

# The sidecars have the names that the chart gives them, so that it is installed as it is.
build_images() {
  local repo=registry.k8s.io/sig-storage csi=github.com/kubernetes-csi kind
  rm -f "$IMAGES"/*.tar
  for kind in attacher/v4 resizer/v2 snapshotter/v8; do
    pack "$repo/csi-${kind%/*}:$(version_of "$PROGRAMS" "$csi/external-$kind")" "csi-${kind%/*}"
  done
  pack "$repo/csi-provisioner:$(version_of "$PROVISIONER" "$csi/external-provisioner/v6")" csi-provisioner
  pack "$repo/snapshot-controller:$(version_of "$PROGRAMS" "$csi/external-snapshotter/v8")" snapshot-controller
  pack "registry.k8s.io/external-dns/external-dns:$EXTERNAL_DNS" external-dns
  pack_busybox busybox /bin/sh
  pack_busybox pause /bin/busybox tail -f /dev/null    # the container that only holds a pod's network
}

pack() { # pack REFERENCE PROGRAM
  local root; root=$(mktemp -d "$IMAGES/root.XXXX")
  cp "$BIN/$2" "$root/"
  "$BIN/ocitar" -name "$1" -entrypoint "/$2" -user 65532:65532 -out "$IMAGES/$2.tar" "$root"
  rm -rf "$root"
}

pack_busybox() { # pack_busybox NAME ENTRYPOINT...
  local root applet library name=$1 entrypoint=(); shift
  root=$(mktemp -d "$IMAGES/root.XXXX")
  mkdir -p "$root/bin" "$root/tmp"; chmod 1777 "$root/tmp"
  cp /bin/busybox "$root/bin/"
  for applet in $(/bin/busybox --list); do [ "$applet" = busybox ] || ln -s busybox "$root/bin/$applet"; done
  # Its own wget, linked statically, crashes, and its shell runs nothing else of that name.
  if [ "$name" = busybox ]; then
    rm "$root"/bin/{wget,sh}
    cp /usr/bin/wget "$root/bin/"; cp /bin/dash "$root/bin/sh"
    while read -r library; do install -D -m 0755 "$library" "$root$library"; done < <(ldd /usr/bin/wget /bin/dash | grep -oE '/[^ :]+ ' | sort -u)
  fi
  for applet in "$@"; do entrypoint+=(-entrypoint "$applet"); done
  "$BIN/ocitar" -name "lab.local/$name:1" "${entrypoint[@]}" -out "$IMAGES/$name.tar" "$root"
  rm -rf "$root"
}
