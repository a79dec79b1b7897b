"""Makes SoftHSM (p11_crypto) the preferred secret store of tenant hsm."""
from cloud import admin
from tenants import PROJECTS

cloud = admin(PROJECTS['hsm'])
stores = cloud.ok('GET', cloud.endpoint('key-manager') + '/v1/secret-stores').json()['secret_stores']
ref = [s['secret_store_ref'] for s in stores if s['crypto_plugin'] == 'p11_crypto'][0]
cloud.ok('POST', ref + '/preferred')
