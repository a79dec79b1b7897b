# Manila in one process: api, scheduler, and up to three back ends (CephFS, CephFS through NFS, and the dummy driver).
# shellcheck shell=bash
manila_backends() {
  if with ceph; then echo cephfs1; fi
  if with ceph && with ganesha; then echo cephfsnfs1; fi
  if with dummy; then echo dummy1; fi
}

cephfs_backend() { cat <<INI
[$1]
share_backend_name = ${1^^}
driver_handles_share_servers = False
share_driver = manila.share.drivers.cephfs.driver.CephFSDriver
cephfs_conf_path = $ETC/ceph.conf
cephfs_auth_id = manila
cephfs_cluster_name = ceph
cephfs_filesystem_name = cephfs
cephfs_protocol_helper_type = $2
cephfs_ganesha_server_is_remote = False
cephfs_ganesha_server_ip = $LAB_HOST
ganesha_config_dir = $VAR/ganesha
ganesha_config_path = $ETC/ganesha.conf
ganesha_export_dir = $VAR/ganesha/export.d
ganesha_db_path = $VAR/manila/ganesha.db
INI
}

manila_config() {
  cat <<INI
[DEFAULT]
$(log_and_bus manila)
state_path = $VAR/manila
host = lab
my_ip = $LAB_HOST
api_paste_config = /etc/manila/api-paste.ini
rootwrap_config = /etc/manila/rootwrap.conf
auth_strategy = keystone
osapi_share_listen = $LAB_HOST
osapi_share_listen_port = 8786
osapi_share_workers = 1
default_share_type = $(if with ceph; then echo cephfs; else echo dummy; fi)
enabled_share_backends = $(manila_backends | paste -sd,)
enabled_share_protocols = NFS,CIFS,CEPHFS
storage_availability_zone = nova
# after a pause, the scheduler takes no back end for alive before its next heartbeat (default: every 10 s)
report_interval = 1
periodic_interval = 3
periodic_fuzzy_delay = 0
[oslo_concurrency]
lock_path = $VAR/manila/lock
[coordination]
backend_url = file://$VAR/manila/coord
[database]
connection = $(database manila)
$(policy manila)
$(authtoken manila sharev2)
INI
  if with ceph; then cephfs_backend cephfs1 CEPHFS; fi
  if with ceph && with ganesha; then cephfs_backend cephfsnfs1 NFS; fi
  printf '%s\n' '[dummy1]' 'share_backend_name = DUMMY1' 'driver_handles_share_servers = False' \
    'share_driver = manila.tests.share.drivers.dummy.DummyDriver' 'dummy_driver_default_driver_method_delay = 0.2'
}

manila_schema() { fresh_database manila; manila-manage --config-file "$ETC/manila/manila.conf" db sync; }

manila_make() {
  mkdir -p "$ETC/manila" "$VAR/manila"/{lock,coord}
  manila_config | write "$ETC/manila/manila.conf"
  once manila manila_schema
}

manila_start() {
  running manila || rm -f "$VAR/manila/ready"                # written by manila_all.py when a share can be made on each back end
  start manila /usr/bin/python3 -B "$LAB_SRC/openstack/manila_all.py" --config-file "$ETC/manila/manila.conf"
}

manila_ready() {
  wait_for manila 120 test -e "$VAR/manila/ready"
  wait_for manila 60 answers "http://$LAB_HOST:8786/"
  python_script share_types.py
}
