# OpenStack without systemd and without RabbitMQ: each service is one process, so oslo.messaging's fake:// is enough.
#   keystone :5000  barbican :9311  designate :9001  manila :8786  BIND :5300  ceph mon :3300 :6789  ganesha :2049
# on LAB_HOST; MariaDB on a unix socket only; Designate's mdns :5354 and BIND's rndc :9530 on 127.0.0.1.
# shellcheck shell=bash
KEYSTONE=http://$LAB_HOST:5000
MYSQL_SOCKET=$VAR/mysql/mysqld.sock
# for all daemons; harmless for those that do not use them
# shellcheck disable=SC2034  # process.sh uses it
DAEMON_ENV=("CEPH_CONF=$ETC/ceph.conf" "SOFTHSM2_CONF=$ETC/softhsm2.conf" "DBUS_SYSTEM_BUS_ADDRESS=unix:path=$RUN/dbus.sock")
. "$LAB_SRC/lib/packages.sh"
. "$LAB_SRC/openstack/packages.sh"
. "$LAB_SRC/openstack/mariadb.sh"
. "$LAB_SRC/openstack/keystone.sh"
. "$LAB_SRC/openstack/barbican.sh"
. "$LAB_SRC/openstack/ceph.sh"
. "$LAB_SRC/openstack/ganesha.sh"
. "$LAB_SRC/openstack/designate.sh"
. "$LAB_SRC/openstack/manila.sh"

# ---- pieces of configuration that several services share ----
database() { echo "mysql+pymysql://root@localhost/$1?charset=utf8&unix_socket=$MYSQL_SOCKET"; }
log_and_bus() { printf '%s\n' "log_file = $LOG/$1.log" 'transport_url = fake://'; }      # the file that its output goes to as well
policy() { printf '%s\n' '[oslo_policy]' 'enforce_scope = false' 'enforce_new_defaults = false' "policy_dirs = /etc/$1/policy.d"; }
authtoken() { cat <<INI  # authtoken USER SERVICE: SERVICE is its type in the catalog, which access rules of application credentials name
[keystone_authtoken]
www_authenticate_uri = $KEYSTONE
auth_url = $KEYSTONE
auth_type = password
service_type = $2
username = $1
password = $1pw
user_domain_name = Default
project_name = service
project_domain_name = Default
region_name = RegionOne
interface = internal
service_token_roles_required = true
INI
}
uwsgi_ini() { cat <<INI
[uwsgi]
plugin = python3
http-socket = $LAB_HOST:$1
wsgi-file = $2
processes = 1
threads = 4
enable-threads = true
lazy-apps = true
die-on-term = true
buffer-size = 65535
post-buffering = 65536
; uwsgi's http-socket closes the connection after each answer without saying so; clients with keep-alive then fail at random
add-header = Connection: close
disable-logging = true
INI
}
random_key() { head -c 32 /dev/urandom | base64; }
answers() { curl --noproxy '*' -s -o /dev/null "$1"; }
python_script() {
  env LAB_HOST="$LAB_HOST" LAB_DIR="$LAB_DIR" LAB_NAMESPACE="$NAMESPACE" LAB_DNS_PORT="$DNS_PORT" PYTHONDONTWRITEBYTECODE=1 \
    /usr/bin/python3 "$LAB_SRC/openstack/$1" "${@:2}"
}

# ---- steps that are slow the first time and independent of each other: side by side ----
declare -A JOB=()
background() { local name=$1; shift; "$@" >"$LOG/$name.log" 2>&1 & JOB[$name]=$!; }
await() { # await NAME: does nothing if there is no such job
  [ -n "${JOB[$1]:-}" ] || return 0
  wait "${JOB[$1]}" || { tail -n 20 "$LOG/$1.log" >&2; fail "$1 failed (log: $LOG/$1.log)"; }
}

openstack_up() {
  stop_strays
  openstack_daemons | write "$PART/daemons"
  mariadb_start
  if with ceph; then background ceph-up ceph_up; fi
  if with designate; then bind_start; fi
  wait_for mariadb 60 sql 'select 1'
  background keystone-make keystone_make
  if with barbican; then background barbican-make barbican_make; fi
  if with designate; then background designate-make designate_make; fi
  if with manila; then background manila-make manila_make; fi
  await keystone-make;  keystone_start
  await barbican-make;  if with barbican; then barbican_start; fi
  await designate-make; if with designate; then designate_start; fi
  wait_for keystone 120 answers "$KEYSTONE/v3"
  python_script provision.py; mark "catalog, users, application credential"
  await ceph-up;        if with ganesha; then ganesha_start; fi
  await manila-make;    if with manila; then manila_start; fi
  if with barbican; then barbican_ready; fi
  if with designate; then designate_ready; fi
  if with manila; then manila_ready; fi
  python_script quotas.py
  python_script describe.py        # last: who finds lab.json finds a lab that answers
  mark "openstack up"
}

openstack_daemons() { # all that this lab consists of
  printf '%s\n' mariadb keystone
  if with barbican;  then printf '%s\n' barbican; fi
  if with designate; then printf '%s\n' bind designate; fi
  if with ceph;      then printf '%s\n' ceph-mon ceph-mgr ceph-osd ceph-mds; fi
  if with ganesha;   then printf '%s\n' dbus ganesha; fi
  if with manila;    then printf '%s\n' manila; fi
}

openstack_down() { # what depends on others stops first; the Python services wait for their threads too long
  rm -f "$PART/lab.json"
  stop -3 manila designate barbican keystone
  stop ganesha bind
  stop ceph-mds ceph-mgr dbus
  stop ceph-osd
  stop ceph-mon mariadb
  rm -f "$VAR/ceph/asok"/*                     # killed processes leave theirs, with their number in the name
  mark "openstack down"
}
