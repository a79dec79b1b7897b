"""A small OpenStack client for the lab's own scripts: one session, one token, endpoints from Keystone's catalog."""
import os
import time

import requests

HOST = os.environ.get('LAB_HOST', '10.77.0.1')
LAB_DIR = os.environ.get('LAB_DIR', '/var/lib/mooring-lab')
KEYSTONE = 'http://%s:5000/v3' % HOST


def write(path, text):
    """Replaces a file, all of it or nothing."""
    with open(path + '.new', 'w') as f:
        f.write(text)
    os.replace(path + '.new', path)


class Cloud(requests.Session):
    """Cloud('user', 'password', 'project'), or Cloud.application_credential(id, secret)."""

    def __init__(self, user=None, password=None, project=None, identity=None):
        super().__init__()
        self.trust_env = False
        auth = {'identity': identity}
        if not identity:
            domain = {'id': 'default'}
            auth = {'identity': {'methods': ['password'], 'password': {
                        'user': {'name': user, 'domain': domain, 'password': password}}},
                    'scope': {'project': {'name': project, 'domain': domain}}}
        r = self.post(KEYSTONE + '/auth/tokens', json={'auth': auth})
        r.raise_for_status()
        self.token = r.json()['token']
        self.headers.update({'X-Auth-Token': r.headers['X-Subject-Token'], 'X-OpenStack-Manila-API-Version': '2.65'})

    @classmethod
    def application_credential(cls, id, secret):
        return cls(identity={'methods': ['application_credential'], 'application_credential': {'id': id, 'secret': secret}})

    def endpoint(self, kind):
        for service in self.token['catalog']:
            if service['type'] == kind:
                return [e['url'] for e in service['endpoints'] if e['interface'] == 'public'][0]
        raise KeyError('no %s in the catalog' % kind)

    def ok(self, method, url, **kw):
        r = self.request(method, url, **kw)
        if r.status_code >= 300:
            raise RuntimeError('%s %s: %d %s' % (method, url, r.status_code, r.text[:300]))
        return r

    def until(self, url, pick, want, seconds=120):
        """Polls url until pick(body) is want, or until 404 when want is None; gives the last body."""
        end, got = time.time() + seconds, None
        while time.time() < end:
            r = self.get(url)
            if want is None and r.status_code == 404:
                return None
            if r.status_code == 200:
                got = pick(r.json())
                if got == want:
                    return r.json()
                if 'error' in str(got).lower():
                    break
            time.sleep(0.3)
        raise RuntimeError('%s: %s, wanted %s' % (url, got, want))


def admin(project='admin'):
    return Cloud('admin', 'adminpw', project)
