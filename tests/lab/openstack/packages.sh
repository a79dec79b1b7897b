# What OpenStack needs from Debian (bookworm: OpenStack Zed, Ceph 16, nfs-ganesha 4.3).
# shellcheck shell=bash
with() { [[ " ${LAB_WITH:-barbican hsm designate manila ceph ganesha dummy} " == *" $1 "* ]]; }

openstack_packages() {
  local list=(mariadb-server mariadb-client python3-keystone python3-openstackclient python3-yaml uwsgi-core uwsgi-plugin-python3
    curl openssl iproute2)
  if with barbican;  then list+=(barbican-common python3-barbicanclient); fi
  if with hsm;       then list+=(softhsm2); fi
  if with designate; then list+=(designate-common python3-designateclient bind9 bind9-utils bind9-dnsutils); fi
  if with manila;    then list+=(manila-common python3-manilaclient sqlite3); fi
  if with ceph;      then list+=(ceph-mon ceph-mgr ceph-osd ceph-mds ceph-fuse ceph-common python3-cephfs python3-rados python3-ceph-argparse); fi
  if with ganesha;   then list+=(nfs-ganesha nfs-ganesha-ceph dbus libnfs-utils); fi
  packages "${list[@]}"
}
