# Node "uml": the same on a kernel of its own, which has the clients of NFS and Ceph.  Of this machine it sees LAB_DIR, LAB_CACHE
# and a network card.  What it writes to its disk is thrown away when it goes down.
# shellcheck shell=bash
GUEST=$VAR/uml GUEST_ADDRESS=${LAB_HOST%.*}.2
TAP=uml-mooring                                # in the lab's network namespace: each lab has its own

uml_up() { # in two steps, for it boots while the other node starts
  UML_SINCE=''
  if ! running uml; then UML_SINCE=$(date -u +%FT%TZ); uml_start; fi
}
uml_ready() { wait_for uml 180 node_ready uml "$UML_SINCE"; }

uml_start() {
  local processor
  rm -rf "$GUEST"; mkdir -p "$GUEST"
  cp "$LAB_SRC"/kubernetes/{node.sh,guest/boot,guest/shell} "$GUEST/"
  printf '%s=%q\n' BIN "$BIN" IMAGES "$IMAGES" VAR "$VAR" LOG "$LOG" PKI "$PKI" LAB_HOST "$LAB_HOST" GUEST_ADDRESS "$GUEST_ADDRESS" >"$GUEST/environment"
  ip link show $TAP >/dev/null 2>&1 || ip tuntap add $TAP mode tap
  ip link set $TAP master "$BRIDGE" up
  ip route replace 10.244.201.0/24 via "$GUEST_ADDRESS"
  # Its kernel and each of its processes are processes of this machine, which take turns at every system call and page fault.  To wake the
  # next one on another processor costs more than all it does then.
  processor=$(taskset -cp $$); processor=${processor##*[^0-9]}
  # its memory is a file, of which nothing should be written to a disk
  start uml env TMPDIR=/dev/shm taskset -c "$processor" "$UML/linux.uml" mem="${LAB_UML_MEM:-3072M}" umid=uml uml_dir="$GUEST" "ubd0=$GUEST/written,$UML/disk" root=/dev/ubda rw \
    init=/lab-init lab_dirs="$LAB_DIR,$LAB_CACHE" lab_boot="$GUEST/boot" "vec0:transport=tap,ifname=$TAP,depth=128,gro=1" con=null con0=fd:0,fd:1 quiet panic=-1
}

uml_run() { # uml_run COMMAND: its output and its exit code
  local answer
  answer=$(socat -t "${LAB_WAIT:-900}" - "TCP:$GUEST_ADDRESS:2222,connect-timeout=5" <<<"$*" && echo .) || fail "node uml does not answer"
  answer=${answer%.}
  [[ ${answer##*$'\n'} =~ ^[0-9]+$ ]] || { printf '%s' "$answer"; fail "node uml ended before its answer did"; }
  printf '%s' "${answer%$'\n'*}"
  return "${answer##*$'\n'}"
}

uml_down() {
  local end=$((SECONDS + 5))
  # it is a computer, and has a power switch; its processes are threads of one program, so nothing of them is left
  if running uml; then timeout 5 "$LAB_SRC/lab" kubernetes on uml '(sleep 0.2; echo o >/proc/sysrq-trigger) >/dev/null 2>&1 &' >/dev/null 2>&1 || true; fi
  while running uml && [ $SECONDS -lt $end ]; do sleep 0.1; done
  stop -1 uml
  ip -n "$NAMESPACE" link delete $TAP 2>/dev/null || true
  rm -rf "$GUEST"
}
