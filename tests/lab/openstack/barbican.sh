# Barbican with two secret stores: "software" (simple_crypto, the default) and "hsm" (PKCS#11: SoftHSM).
# shellcheck shell=bash
BARBICAN_CONF=$PART/home/.barbican/barbican.conf           # barbican-api reads ~/.barbican and takes no --config-file

barbican_config() {
  [ -s "$VAR/barbican.kek" ] || random_key | write "$VAR/barbican.kek"
  cat <<INI
[DEFAULT]
$(log_and_bus barbican)
sql_connection = $(database barbican)
db_auto_create = False
host_href = http://$LAB_HOST:9311
[queue]
enable = False
[keystone_notifications]
enable = False
[simple_crypto_plugin]
kek = $(cat "$VAR/barbican.kek")
[crypto]
namespace = barbican.crypto.plugin
enabled_crypto_plugins = simple_crypto
$(if with hsm; then echo 'enabled_crypto_plugins = p11_crypto'; fi)
[secretstore]
namespace = barbican.secretstore.plugin
enabled_secretstore_plugins = store_crypto
$(if with hsm; then hsm_config; fi)
$(policy barbican)
$(authtoken barbican key-manager)
INI
}

hsm_config() { cat <<INI
enable_multiple_secret_stores = True
stores_lookup_suffix = software, hsm
[secretstore:software]
secret_store_plugin = store_crypto
crypto_plugin = simple_crypto
global_default = True
[secretstore:hsm]
secret_store_plugin = store_crypto
crypto_plugin = p11_crypto
[p11_crypto_plugin]
library_path = /usr/lib/softhsm/libsofthsm2.so
token_labels = barbican
login = 1234
mkek_label = kms_mkek
mkek_length = 32
hmac_label = kms_hmac
encryption_mechanism = CKM_AES_CBC
hmac_key_type = CKK_GENERIC_SECRET
hmac_keygen_mechanism = CKM_GENERIC_SECRET_KEY_GEN
hmac_keywrap_mechanism = CKM_SHA256_HMAC
os_locking_ok = True
INI
}

barbican_manage() { env "HOME=$PART/home" "SOFTHSM2_CONF=$ETC/softhsm2.conf" barbican-manage "$@"; }

hsm_make() {
  rm -rf "$VAR/softhsm"; mkdir -p "$VAR/softhsm"
  env "SOFTHSM2_CONF=$ETC/softhsm2.conf" softhsm2-util --init-token --free --label barbican --pin 1234 --so-pin 12345678
  barbican_manage hsm gen_mkek
  barbican_manage hsm gen_hmac
}

barbican_schema() { fresh_database barbican; barbican_manage db upgrade; }

barbican_make() {
  mkdir -p "${BARBICAN_CONF%/*}"
  barbican_config | write "$BARBICAN_CONF"
  uwsgi_ini 9311 "$LAB_SRC/openstack/barbican_wsgi.py" | write "$ETC/barbican-uwsgi.ini"
  if with hsm; then
    printf '%s\n' "directories.tokendir = $VAR/softhsm" 'objectstore.backend = file' 'log.level = ERROR' | write "$ETC/softhsm2.conf"
    once hsm hsm_make
  fi
  once barbican barbican_schema
}

barbican_start() { start barbican uwsgi --ini "$ETC/barbican-uwsgi.ini"; }

barbican_ready() {
  wait_for barbican 120 answers "http://$LAB_HOST:9311/"
  if with hsm; then once hsm-preferred python_script hsm_preferred.py; fi
}
