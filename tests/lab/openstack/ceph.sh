# Ceph on one node: a monitor, a manager, one OSD, one MDS, and the file system "cephfs" that Manila serves.
# shellcheck shell=bash
CEPH=$VAR/ceph
# Of the OSD's sparse file, which takes what is written. Manila counts every share's whole size as used until Ceph's next report (its driver
# has no thin provisioning), so shares that are made at once need room that they never fill: with less the scheduler leaves some in error.
OSD_SIZE=$((64 << 30))
ceph_cli() { ceph -c "$ETC/ceph.conf" --connect-timeout 30 "$@"; }

ceph_config() { cat <<INI
[global]
fsid = $(cat "$CEPH/fsid")
mon_initial_members = a
mon_host = [v2:$LAB_HOST:3300,v1:$LAB_HOST:6789]
public_addr = $LAB_HOST
cluster_addr = $LAB_HOST
ms_bind_ipv6 = false
auth_cluster_required = cephx
auth_service_required = cephx
auth_client_required = cephx
keyring = $CEPH/client/\$cluster.\$name.keyring
# of the clients; there are several of a name
admin_socket = $CEPH/asok/\$name.\$pid.asok
run_dir = $CEPH/asok
log_file = $LOG/ceph-\$name.log
crash_dir = $CEPH/crash
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 8
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
mon_warn_on_pool_no_redundancy = false
auth_allow_insecure_global_id_reclaim = false
ms_async_op_threads = 1
[mon]
admin_socket = $CEPH/asok/mon.asok
mon_data = $CEPH/mon
mgr_initial_modules =
mon_data_avail_warn = 2
mon_data_avail_crit = 1
mon_cluster_log_file = $LOG/ceph-cluster.log
[mgr]
admin_socket = $CEPH/asok/mgr.asok
mgr_data = $CEPH/mgr
[osd]
admin_socket = $CEPH/asok/osd.asok
osd_data = $CEPH/osd
osd_objectstore = bluestore
bluestore_block_create = true
bluestore_block_size = $OSD_SIZE
bluestore_cache_autotune = false
bluestore_cache_size = 67108864
osd_memory_target = 939524096
osd_op_num_shards = 1
[mds]
admin_socket = $CEPH/asok/mds.asok
mds_data = $CEPH/mds
mds_cache_memory_limit = 134217728
# clients of the last life (ganesha) do not come back after "down": do not wait 45 s for them
mds_reconnect_timeout = 3
INI
}

ceph_grow() { # a store that was made when OSD_SIZE was smaller
  [ "$(stat -c %s "$CEPH/osd/block")" -lt "$OSD_SIZE" ] || return 0
  truncate -s "$OSD_SIZE" "$CEPH/osd/block"
  ceph-bluestore-tool bluefs-bdev-expand --path "$CEPH/osd"
}

ceph_mon() { start ceph-mon ceph-mon -f -c "$ETC/ceph.conf" -i a; }
# -f: a ceph-mgr that daemonised has no stderr, and "fs subvolume authorize" (Manila's allow) then fails with EBADF
ceph_mgr() { start ceph-mgr ceph-mgr -f -c "$ETC/ceph.conf" -i x --keyring "$CEPH/mgr/keyring"; }
ceph_osd() {
  running ceph-osd || ceph_grow
  start ceph-osd ceph-osd -f -c "$ETC/ceph.conf" -i 0 --keyring "$CEPH/osd/keyring"
}
ceph_mds() { start ceph-mds ceph-mds -f -c "$ETC/ceph.conf" -i a --keyring "$CEPH/mds/keyring"; }

ceph_make_monitor() {
  local admin=$CEPH/client/ceph.client.admin.keyring all=(--cap mon 'allow *' --cap osd 'allow *' --cap mds 'allow *' --cap mgr 'allow *')
  rm -rf "$CEPH"; mkdir -p "$CEPH"/{mon,mgr,osd,mds,asok,client,crash}
  cat /proc/sys/kernel/random/uuid >"$CEPH/fsid"
  ceph_config | write "$ETC/ceph.conf"
  ceph-authtool --create-keyring "$admin" --gen-key -n client.admin "${all[@]}"
  ceph-authtool --create-keyring "$CEPH/mon.keyring" --gen-key -n mon. --cap mon 'allow *'
  ceph-authtool "$CEPH/mon.keyring" --import-keyring "$admin"
  monmaptool --create --clobber --addv a "[v2:$LAB_HOST:3300,v1:$LAB_HOST:6789]" --fsid "$(cat "$CEPH/fsid")" "$CEPH/monmap"
  ceph-mon -c "$ETC/ceph.conf" --mkfs -i a --monmap "$CEPH/monmap" --keyring "$CEPH/mon.keyring"
}

ceph_make_daemons() { # needs the monitor
  local uuid key
  ceph_cli auth get-or-create mgr.x mon 'allow profile mgr' osd 'allow *' mds 'allow *' -o "$CEPH/mgr/keyring"
  ceph_cli auth get-or-create mds.a mon 'allow profile mds' osd 'allow rwx' mds 'allow *' mgr 'allow profile mds' -o "$CEPH/mds/keyring"
  uuid=$(cat /proc/sys/kernel/random/uuid); key=$(ceph-authtool --gen-print-key)
  echo "{\"cephx_secret\": \"$key\"}" | ceph_cli osd new "$uuid" -i -
  ceph-authtool --create-keyring "$CEPH/osd/keyring" --name osd.0 --add-key "$key"
  ceph-osd -c "$ETC/ceph.conf" -i 0 --mkfs --osd-uuid "$uuid" --key "$key"
}

ceph_make_filesystem() {
  ceph_cli osd pool create cephfs_data 8
  ceph_cli osd pool create cephfs_meta 8
  ceph_cli fs new cephfs cephfs_meta cephfs_data
  ceph_cli auth get-or-create client.manila mon 'allow r' mgr 'allow rw' osd 'allow rw pool=cephfs_data' -o "$CEPH/client/ceph.client.manila.keyring"
}

ceph_make() {
  stop -2 ceph-mds ceph-osd ceph-mgr ceph-mon              # of a half-made cluster
  ceph_make_monitor
  ceph_mon
  ceph_make_daemons
  ceph_mgr; ceph_osd
  ceph_make_filesystem
}

# An MDS that was stopped while a client came back as who it had been (ganesha does) waits for it without end, and nobody can mount. Now it
# does not come: ganesha is not started yet.
ceph_forget_the_dead() {
  local id
  for id in $(ceph_cli tell mds.a client ls | /usr/bin/python3 -c 'import json, sys; print(*(s["id"] for s in json.load(sys.stdin) if s["reconnecting"]))'); do
    ceph_cli tell mds.a client evict "id=$id"
  done
}

ceph_active() { # all of it, and no placement group that a killed OSD has left stale
  local s
  s=$(ceph_cli mds stat)
  if grep -q up:clientreplay <<<"$s"; then ceph_forget_the_dead; return 1; fi
  grep -q up:active <<<"$s" || return 1
  s=$(ceph_cli -s) && grep -q 'mgr: x(active' <<<"$s" && grep -q 'mds: 1/1 daemons up' <<<"$s" && grep -q '1 osds: 1 up' <<<"$s" &&
    ceph_cli pg stat | grep -qE '^([0-9]+) pgs: \1 active\+clean[;,]'
}

ceph_up() {
  once ceph ceph_make
  ceph_config | write "$ETC/ceph.conf"
  ceph_mon; ceph_mgr; ceph_osd; ceph_mds
  wait_for ceph-mds 120 ceph_active
}
