# nfs-ganesha: the NFS server of Manila's CephFS-NFS back end.  Manila writes its exports and tells it over D-Bus.
# shellcheck shell=bash
dbus_config() { # a message bus of our own: the machine's (/run/dbus) may be absent, or serve another ganesha
  cat <<XML
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN" "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path=$RUN/dbus.sock</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="root"/><allow own="*"/><allow send_destination="*" eavesdrop="true"/><allow receive_sender="*"/>
  </policy>
</busconfig>
XML
}

ganesha_config() { cat <<CONF
NFS_CORE_PARAM {
  Bind_addr = $LAB_HOST; NFS_Port = 2049; Protocols = 4; Enable_UDP = false; Enable_NLM = false; Enable_RQUOTA = false;
  Plugins_Dir = "/usr/lib/$(uname -m)-linux-gnu/ganesha";
}
NFSv4 {
  Minor_Versions = 0, 1, 2; Delegations = false; Only_Numeric_Owners = true;
  Graceless = true; RecoveryBackend = fs; RecoveryRoot = "$VAR/ganesha/recov";
}
EXPORT_DEFAULTS { Transports = TCP; SecType = sys; }
%include "$VAR/ganesha/export.d/INDEX.conf"
CONF
}

ganesha_start() {
  mkdir -p "$VAR/ganesha"/{export.d,recov}; touch "$VAR/ganesha/export.d/INDEX.conf"
  dbus_config | write "$ETC/dbus.conf"
  ganesha_config | write "$ETC/ganesha.conf"
  # a bus is no bus for those who were connected to the last one
  running dbus || { stop ganesha; rm -f "$RUN/dbus.sock"; }
  start dbus dbus-daemon --config-file="$ETC/dbus.conf" --nofork --nopidfile
  wait_for dbus 10 test -S "$RUN/dbus.sock"
  start ganesha ganesha.nfsd -F -f "$ETC/ganesha.conf" -L "$LOG/ganesha-nfs.log" -p "$VAR/ganesha/ganesha.pid"
  wait_for ganesha 60 bash -c "exec 3<>/dev/tcp/$LAB_HOST/2049"
}
