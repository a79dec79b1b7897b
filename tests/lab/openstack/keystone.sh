# Keystone: identity, catalog, application credentials.
# shellcheck shell=bash
keystone_config() {
  local kind n
  mkdir -p "$ETC/keystone"; install -d -m 700 "$ETC/keystone"/{fernet,credential}
  for kind in fernet credential; do for n in 0 1; do
    [ -s "$ETC/keystone/$kind/$n" ] || random_key | tr '+/' '-_' | write "$ETC/keystone/$kind/$n"
  done; done
  write "$ETC/keystone/keystone.conf" <<INI
[DEFAULT]
$(log_and_bus keystone)
public_endpoint = $KEYSTONE/
[database]
connection = $(database keystone)
[token]
provider = fernet
expiration = 86400
[fernet_tokens]
key_repository = $ETC/keystone/fernet
[fernet_receipts]
key_repository = $ETC/keystone/fernet
[credential]
key_repository = $ETC/keystone/credential
[cache]
enabled = true
backend = oslo_cache.dict
[identity]
password_hash_rounds = 4
[oslo_policy]
enforce_scope = false
enforce_new_defaults = false
INI
  uwsgi_ini 5000 /usr/bin/keystone-wsgi-public | write "$ETC/keystone-uwsgi.ini"
}

keystone_schema() {
  local manage=(keystone-manage --config-file "$ETC/keystone/keystone.conf")
  fresh_database keystone
  "${manage[@]}" db_sync
  "${manage[@]}" bootstrap --bootstrap-password adminpw --bootstrap-region-id RegionOne \
    --bootstrap-public-url "$KEYSTONE/v3" --bootstrap-internal-url "$KEYSTONE/v3" --bootstrap-admin-url "$KEYSTONE/v3"
}

keystone_make() { keystone_config; once keystone keystone_schema; }
keystone_start() { start keystone env "OS_KEYSTONE_CONFIG_DIR=$ETC/keystone" uwsgi --ini "$ETC/keystone-uwsgi.ini"; }
