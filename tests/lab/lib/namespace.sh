# The lab's network namespace: one bridge, no way out.  Nothing in it can reach, or be reached from, another network.
# Not with LAB_HOST=127.0.0.1: then everything is on the machine's own loopback, and these functions do nothing.
# shellcheck shell=bash
NAMESPACE=mooring BRIDGE=br-mooring
[ "$LAB_DIR" = /var/lib/mooring-lab ] || NAMESPACE=mooring-$(cksum <<<"$LAB_DIR" | cut -d' ' -f1)     # a lab each
[ "$LAB_HOST" != 127.0.0.1 ] || NAMESPACE=''
NETNS=/run/netns/$NAMESPACE

namespace_works() { nsenter --net="$NETNS" true 2>/dev/null; }
namespace_inside() { [ -z "$NAMESPACE" ] || [ /proc/self/ns/net -ef "$NETNS" ]; }

namespace_up() { # each step by itself: an earlier run may have been killed between any two of them
  [ -n "$NAMESPACE" ] || return 0
  mkdir -p "$PART"
  if ! namespace_works; then                   # not there, or only the file that "ip" mounts it on
    [ ! -e "$NETNS" ] || { umount -l "$NETNS" 2>/dev/null || true; rm -f "$NETNS"; }
    ip netns add "$NAMESPACE"
  fi
  ip -n "$NAMESPACE" link set lo up
  ip -n "$NAMESPACE" link show "$BRIDGE" >/dev/null 2>&1 || ip -n "$NAMESPACE" link add "$BRIDGE" type bridge
  ip -n "$NAMESPACE" addr replace "$LAB_HOST/24" dev "$BRIDGE"
  ip -n "$NAMESPACE" link set "$BRIDGE" up
}

# Only the network: "ip netns exec" would mount another /sys as well, and so hide the cgroups.
namespace_exec() {
  [ -n "$NAMESPACE" ] || exec "$@"
  namespace_works || fail "there is no network namespace $NAMESPACE: first: lab up"
  exec nsenter --net="$NETNS" -- "$@"
}

namespace_enter() { namespace_inside || namespace_exec "$LAB_SRC/lab" "${ARGS[@]}"; }

namespace_down() { # stays while anything runs in it: another part of the lab, or somebody's "lab exec"
  [ -n "$NAMESPACE" ] && [ -e "$NETNS" ] || return 0
  [ -n "$(ip netns pids "$NAMESPACE" 2>/dev/null)" ] || ip netns delete "$NAMESPACE" 2>/dev/null || rm -f "$NETNS"
}
