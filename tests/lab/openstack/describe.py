"""Writes lab.json: what a test has to know about this lab.  Written last: it exists exactly while the lab is up."""
import json
import os
import subprocess

from cloud import HOST, KEYSTONE, LAB_DIR, admin, write
from tenants import PROJECTS, QUOTAS

HERE = LAB_DIR + '/openstack'
NAMESPACE = os.environ.get('LAB_NAMESPACE', '')
PACKAGES = {'keystone': 'python3-keystone', 'barbican': 'barbican-common', 'designate': 'designate-common', 'manila': 'manila-common',
            'bind': 'bind9', 'ceph': 'ceph-common', 'ganesha': 'nfs-ganesha'}
PROTOCOLS = {'cephfs': ('CEPHFS', 'cephx'), 'cephfs-nfs': ('NFS', 'ip'), 'dummy': ('NFS', 'ip')}

cloud = admin()
with open(HERE + '/daemons') as f:
    daemons = f.read().split()


def version(package):
    p = subprocess.run(['dpkg-query', '-W', '-f', '${Version}', package], capture_output=True, text=True)
    return p.stdout


def share_types():
    return [{'name': t['name'], 'id': t['id'], 'protocol': PROTOCOLS[t['name']][0], 'access_type': PROTOCOLS[t['name']][1],
             'has_data': t['name'] != 'dummy', 'extra_specs': t['extra_specs']}
            for t in cloud.ok('GET', cloud.endpoint('sharev2') + '/types').json()['share_types'] if t['name'] in PROTOCOLS]


lab = {
    'host': HOST,
    'namespace': NAMESPACE,
    'namespace_path': '/run/netns/' + NAMESPACE if NAMESPACE else '',
    'auth_url': KEYSTONE,
    'region': 'RegionOne',
    'endpoints': {s['type']: [e['url'] for e in s['endpoints'] if e['interface'] == 'public'][0] for s in cloud.token['catalog']},
    'clouds_file': HERE + '/clouds.yaml',
    'projects': {p['name']: p['id'] for p in cloud.ok('GET', KEYSTONE + '/projects').json()['projects']},
    'cloud_projects': dict(PROJECTS, admin='admin', appcred='e2e'),
    'quotas': QUOTAS,
    'daemons': {name: '%s/run/%s.pid' % (HERE, name) for name in daemons},
    'versions': {name: version(package) for name, package in PACKAGES.items() if name in daemons or name == 'ceph' and 'ceph-mon' in daemons},
    'paths': {'lab_dir': LAB_DIR, 'logs': HERE + '/log', 'etc': HERE + '/etc', 'var': HERE + '/var'},
}
if 'designate' in daemons:
    lab['dns'] = {'server': '%s:%s' % (HOST, os.environ['LAB_DNS_PORT']), 'nameservers': ['ns1.lab.test.']}
if 'barbican' in daemons:
    lab['secret_stores'] = {'e2e': 'simple_crypto', 'hsm': 'p11_crypto'}
if 'manila' in daemons:
    lab['share_types'] = share_types()
if 'ceph-mon' in daemons:
    with open(HERE + '/var/ceph/fsid') as f:
        fsid = f.read().strip()
    lab['ceph'] = {'monitor': HOST + ':6789', 'monitor_v2': HOST + ':3300', 'fsid': fsid, 'filesystem': 'cephfs',
                   'conf': HERE + '/etc/ceph.conf', 'admin_keyring': HERE + '/var/ceph/client/ceph.client.admin.keyring'}
if 'ganesha' in daemons:
    lab['nfs'] = {'server': HOST + ':2049', 'versions': ['4.0', '4.1', '4.2']}
write(HERE + '/lab.json', json.dumps(lab, indent=1) + '\n')
