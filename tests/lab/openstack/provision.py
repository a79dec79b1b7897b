"""Fills Keystone: catalog, service users, tenants, an application credential; writes clouds.yaml.  Can be repeated."""
import yaml

from cloud import HOST, KEYSTONE, LAB_DIR, Cloud, admin, write
from tenants import CREDENTIAL, CREDENTIAL_SECRET, PASSWORD, PROJECTS

keystone = admin()
role = {r['name']: r['id'] for r in keystone.ok('GET', KEYSTONE + '/roles').json()['roles']}


def ensure(collection, one, match, **extra):
    """The id of the object that has all of match; it is created, with extra as well, if there is none."""
    for x in keystone.ok('GET', '%s/%s' % (KEYSTONE, collection), params=match).json()[collection]:
        if all(x.get(k) == v for k, v in match.items()):
            return x['id']
    return keystone.ok('POST', '%s/%s' % (KEYSTONE, collection), json={one: dict(match, **extra)}).json()[one]['id']


def project(name):
    return ensure('projects', 'project', {'name': name, 'domain_id': 'default'})


def user(name, password):
    return ensure('users', 'user', {'name': name, 'domain_id': 'default'}, password=password)


def grant(project_id, user_id, *roles):
    for name in roles:
        keystone.ok('PUT', '%s/projects/%s/users/%s/roles/%s' % (KEYSTONE, project_id, user_id, role[name]))


def catalog():
    for kind, name, url in (('sharev2', 'manilav2', 'http://%s:8786/v2'), ('key-manager', 'barbican', 'http://%s:9311'),
                            ('dns', 'designate', 'http://%s:9001')):
        service = ensure('services', 'service', {'type': kind, 'name': name})
        for interface in ('public', 'internal', 'admin'):
            ensure('endpoints', 'endpoint', {'service_id': service, 'interface': interface}, region_id='RegionOne', url=url % HOST)


def people():
    for name in ('creator', 'service', 'key-manager:service-admin'):
        role[name] = ensure('roles', 'role', {'name': name})
    for name in ('barbican', 'designate', 'manila'):
        grant(project('service'), user(name, name + 'pw'), 'admin', 'service')
    for name in PROJECTS.values():
        grant(project(name), user(name, PASSWORD), 'member', 'reader', 'creator')
    administrator = user('admin', 'adminpw')
    grant(project('admin'), administrator, 'key-manager:service-admin')     # sets Barbican's quotas
    grant(project(PROJECTS['hsm']), administrator, 'admin')                 # sets its preferred secret store


def application_credential():
    e2e = Cloud('e2e', PASSWORD, 'e2e')
    url = '%s/users/%s/application_credentials' % (KEYSTONE, e2e.token['user']['id'])
    for c in e2e.ok('GET', url).json()['application_credentials']:
        if c['name'] == CREDENTIAL:
            return c['id']
    wanted = {'application_credential': {'name': CREDENTIAL, 'secret': CREDENTIAL_SECRET}}
    return e2e.ok('POST', url, json=wanted).json()['application_credential']['id']


def with_password(name, password):
    return {'region_name': 'RegionOne', 'interface': 'public', 'identity_api_version': 3, 'auth': {
        'auth_url': KEYSTONE, 'username': name, 'password': password, 'project_name': name,
        'user_domain_name': 'Default', 'project_domain_name': 'Default'}}


def clouds():
    out = {name: with_password(tenant, PASSWORD) for name, tenant in PROJECTS.items()}
    out['admin'] = with_password('admin', 'adminpw')
    out['appcred'] = {'region_name': 'RegionOne', 'interface': 'public', 'identity_api_version': 3,
                      'auth_type': 'v3applicationcredential', 'auth': {
                          'auth_url': KEYSTONE, 'application_credential_id': application_credential(),
                          'application_credential_secret': CREDENTIAL_SECRET}}
    return yaml.safe_dump({'clouds': out}, sort_keys=False)


catalog()
people()
write(LAB_DIR + '/openstack/clouds.yaml', clouds())
