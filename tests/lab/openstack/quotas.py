"""Sets the quotas of tenants.py in the services that this lab has.  Can be repeated."""
from cloud import KEYSTONE, LAB_DIR, admin
from tenants import PROJECTS, QUOTAS

SERVICES = {'dns': 'designate', 'sharev2': 'manila', 'key-manager': 'barbican'}

cloud = admin()
with open(LAB_DIR + '/openstack/daemons') as f:
    daemons = f.read().split()
ids = {p['name']: p['id'] for p in cloud.ok('GET', KEYSTONE + '/projects').json()['projects']}


def set_dns(project, quota):
    cloud.ok('PATCH', '%s/v2/quotas/%s' % (cloud.endpoint('dns'), project), json=quota, headers={'X-Auth-All-Projects': 'true'})


def set_sharev2(project, quota):
    cloud.ok('PUT', '%s/quota-sets/%s' % (cloud.endpoint('sharev2'), project), json={'quota_set': quota})


def set_key_manager(project, quota):
    cloud.ok('PUT', '%s/v1/project-quotas/%s' % (cloud.endpoint('key-manager'), project), json={'project_quotas': quota})


for tenant, services in QUOTAS.items():
    for kind, quota in services.items():
        if SERVICES[kind] in daemons:
            {'dns': set_dns, 'sharev2': set_sharev2, 'key-manager': set_key_manager}[kind](ids[PROJECTS[tenant]], quota)
