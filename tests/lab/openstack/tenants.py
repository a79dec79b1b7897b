"""The tenants of the lab, by the name of their cloud in clouds.yaml.  Project and user have the same name."""
PASSWORD = 'e2epw'
CREDENTIAL = 'e2e'                      # the application credential of tenant e2e: its name, and its secret
CREDENTIAL_SECRET = 'e2e-appcred-secret'

PROJECTS = {
    'e2e': 'e2e',                       # most tests
    'other': 'e2e-other',               # must not see what e2e has
    'hsm': 'e2e-hsm',                   # its secrets go to the HSM store of Barbican
    'quota': 'e2e-quota',               # has next to nothing, to see what being over quota looks like
}

# Service type -> what is set there; the rest stays as the service has it.  Designate counts a zone's
# SOA and NS recordsets as well: a quota of 5 leaves room for 3.
QUOTAS = {
    'e2e': {
        'dns': {'zones': 500, 'zone_recordsets': 20000, 'zone_records': 40000},
        'sharev2': {'shares': 500, 'gigabytes': 10000, 'snapshots': 500, 'snapshot_gigabytes': 10000},
    },
    'quota': {
        'dns': {'zones': 2, 'zone_recordsets': 5, 'zone_records': 10, 'recordset_records': 3},
        'sharev2': {'shares': 2, 'gigabytes': 3, 'snapshots': 1, 'snapshot_gigabytes': 1},
        'key-manager': {'secrets': 2, 'orders': 2, 'containers': 1, 'consumers': -1, 'cas': -1},
    },
}
