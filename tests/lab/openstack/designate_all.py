#!/usr/bin/python3
"""central, worker, mdns, producer and api of Designate in one process: then transport_url may be fake:// (no RabbitMQ)."""
import os
import sys

import designate.cmd  # noqa: F401  eventlet's monkey patches: before everything else
from oslo_config import cfg
from oslo_log import log as logging
from oslo_service import service as oslo_service
import designate.conf
from designate import utils
from designate.api import service as api
from designate.central import rpcapi
from designate.central import service as central
from designate.manage import pool
from designate.mdns import service as mdns
from designate.producer import service as producer
from designate.worker import service as worker

CONF = designate.conf.CONF


class Pools(pool.PoolCommands):
    """`designate-manage pool update` talks to central over RPC, which with fake:// exists in this process only."""

    def _setup(self, dry_run=False, skip_verify_drivers=False):
        self.dry_run, self.skip_verify_drivers, self.central_api = dry_run, skip_verify_drivers, rpcapi.CentralAPI()


cfg.CONF.import_group('keystone_authtoken', 'keystonemiddleware.auth_token')
utils.read_config('designate', sys.argv)
logging.setup(CONF, 'designate')
launcher = oslo_service.launch(CONF, central.Service(), workers=1, restart_method='mutate')
# Before the worker, which reads the pool for its first task and keeps what it got: with a task waiting from the last life, that
# was a pool in the middle of its update, without masters, and each new zone ended in ERROR.
Pools().update(os.path.join(os.path.dirname(CONF.config_file[0]), 'pools.yaml'), False)
for module in (worker, mdns, api, producer):
    launcher.launch_service(module.Service())
open(os.path.join(CONF.state_path, 'ready'), 'w').close()
launcher.wait()
