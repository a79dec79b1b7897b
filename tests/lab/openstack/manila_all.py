#!/usr/bin/python3
"""api, scheduler and share (all enabled back ends) of Manila in one process: then transport_url may be fake:// (no RabbitMQ)."""
import eventlet
eventlet.monkey_patch()
import __original_module_threading as orig_threading  # noqa: E402
import threading  # noqa: E402
orig_threading.current_thread.__globals__['_active'] = threading._active
import os  # noqa: E402
import sys  # noqa: E402

from oslo_config import cfg  # noqa: E402
from oslo_log import log  # noqa: E402
from oslo_service import periodic_task  # noqa: E402
from oslo_service import service as oslo_service  # noqa: E402
periodic_task.DEFAULT_INTERVAL = 5  # capacity reports to the scheduler; 60 s otherwise
from manila.common import config  # noqa: E402  registers the options
from manila import context  # noqa: E402
from manila import service  # noqa: E402
from manila import utils  # noqa: E402
from manila import version  # noqa: E402

CONF = cfg.CONF
log.register_options(CONF)
CONF(sys.argv[1:], project='manila', version=version.version_string())
config.verify_share_protocols()
log.setup(CONF, 'manila')
utils.monkey_patch()

launcher = oslo_service.ServiceLauncher(CONF, restart_method='mutate')
scheduler = service.Service.create(binary='manila-scheduler', coordination=True)
launcher.launch_service(scheduler)
for _ in range(300):  # fake:// drops a fanout that nobody listens to: the first capacity reports must find the scheduler
    if getattr(scheduler, 'rpcserver', None):
        break
    eventlet.sleep(0.1)
eventlet.sleep(0.5)
for backend in CONF.enabled_share_backends:
    launcher.launch_service(service.Service.create(
        host='%s@%s' % (CONF.host, backend), service_name=backend, binary='manila-share', coordination=True))
launcher.launch_service(service.WSGIService('osapi_share'))
# A share ends in "No valid host" before the scheduler has heard from its back end.  Not to be asked through the API, which
# answers from what the scheduler knew when it was asked for the first time.
hosts = scheduler.manager.driver.host_manager
while not set(CONF.enabled_share_backends) <= {p['backend'] for p in hosts.get_pools(context.get_admin_context())}:
    eventlet.sleep(0.2)
open(os.path.join(CONF.state_path, 'ready'), 'w').close()
launcher.wait()
