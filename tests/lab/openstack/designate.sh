# Designate in one process, and BIND 9, which it fills through rndc and zone transfers.
# shellcheck shell=bash
DNS_PORT=${LAB_DNS_PORT:-5300}

bind_config() { cat <<CONF
include "$VAR/bind/rndc.key";
options {
  directory "$VAR/bind"; pid-file "$VAR/bind/named.pid"; session-keyfile none;
  listen-on port $DNS_PORT { $LAB_HOST; }; listen-on-v6 { none; };
  allow-new-zones yes; recursion no; minimal-responses yes; dnssec-validation no; empty-zones-enable no;
  notify no; allow-notify { 127.0.0.1; $LAB_HOST; }; allow-transfer { 127.0.0.1; $LAB_HOST; }; request-ixfr no;
  serial-query-rate 1000; min-refresh-time 1; min-retry-time 1; max-retry-time 5; tcp-clients 100;
};
controls { inet 127.0.0.1 port 9530 allow { 127.0.0.1; } keys { "rndc-key"; }; };
CONF
}

bind_start() {
  mkdir -p "$VAR/bind"
  [ -s "$VAR/bind/rndc.key" ] || echo "key \"rndc-key\" { algorithm hmac-sha256; secret \"$(random_key)\"; };" | write "$VAR/bind/rndc.key"
  echo "include \"$VAR/bind/rndc.key\"; options { default-key \"rndc-key\"; default-server 127.0.0.1; default-port 9530; };" | write "$VAR/bind/rndc.conf"
  bind_config | write "$VAR/bind/named.conf"
  chown -R bind "$VAR/bind"
  start bind named -f -c "$VAR/bind/named.conf" -u bind -n 1
}

designate_pool() { cat <<YAML
- name: default
  description: BIND 9 of the lab
  attributes: {}
  ns_records: [{hostname: ns1.lab.test., priority: 1}]
  nameservers: [{host: $LAB_HOST, port: $DNS_PORT}]
  targets:
    - type: bind9
      description: BIND 9 of the lab
      masters: [{host: 127.0.0.1, port: 5354}]
      options: {host: $LAB_HOST, port: $DNS_PORT, rndc_host: 127.0.0.1, rndc_port: 9530, rndc_config_file: $VAR/bind/rndc.conf}
YAML
}

designate_config() { cat <<INI
[DEFAULT]
$(log_and_bus designate)
state_path = $VAR/designate
[oslo_concurrency]
lock_path = $VAR/designate/lock
[storage:sqlalchemy]
connection = $(database designate)
[service:central]
workers = 1
managed_resource_email = hostmaster@lab.test
managed_resource_tenant_id = 00000000000000000000000000000000
[service:api]
listen = $LAB_HOST:9001
workers = 1
auth_strategy = keystone
enable_api_v2 = True
enable_host_header = True
quotas_verify_project_id = False
[service:mdns]
listen = 127.0.0.1:5354
workers = 1
[service:worker]
workers = 1
notify = True
poll_timeout = 5
poll_retry_interval = 1
poll_max_retries = 15
poll_delay = 0
[service:producer]
workers = 1
[coordination]
backend_url = file://$VAR/designate/coord
$(policy designate)
$(authtoken designate dns)
INI
}

designate_schema() { fresh_database designate; designate-manage --config-file "$ETC/designate/designate.conf" database sync; }

designate_make() {
  mkdir -p "$ETC/designate" "$VAR/designate"/{lock,coord}
  designate_pool | write "$ETC/designate/pools.yaml"
  designate_config | write "$ETC/designate/designate.conf"
  once designate designate_schema
}

designate_start() {
  running designate || rm -f "$VAR/designate/ready"          # written by designate_all.py when its pool is as configured
  start designate /usr/bin/python3 -B "$LAB_SRC/openstack/designate_all.py" --config-file "$ETC/designate/designate.conf"
}

designate_ready() {
  wait_for designate 120 test -e "$VAR/designate/ready"
  wait_for designate 60 answers "http://$LAB_HOST:9001/"
}
