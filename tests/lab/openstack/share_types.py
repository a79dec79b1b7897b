"""Manila's share types cephfs, cephfs-nfs (both real) and dummy (no data path).  Can be repeated."""
import configparser

from cloud import LAB_DIR, admin

TYPES = {'cephfs': 'cephfs1', 'cephfs-nfs': 'cephfsnfs1', 'dummy': 'dummy1'}

conf = configparser.ConfigParser(strict=False, interpolation=None)
conf.read(LAB_DIR + '/openstack/etc/manila/manila.conf')
backends = conf['DEFAULT']['enabled_share_backends'].split(',')
cloud = admin()
manila = cloud.endpoint('sharev2')

have = {t['name'] for t in cloud.ok('GET', manila + '/types').json()['share_types']}
for name, backend in TYPES.items():
    if backend in backends and name not in have:
        cloud.ok('POST', manila + '/types', json={'share_type': {'name': name, 'share_type_access:is_public': True, 'extra_specs': {
            'driver_handles_share_servers': 'False', 'snapshot_support': 'True', 'create_share_from_snapshot_support': 'True',
            'share_backend_name': backend.upper()}}})
