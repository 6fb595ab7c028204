"""How gunicorn runs the portal: `gunicorn -c python:serving.portal.gunicorn_settings`, also in containers.

| variable | what | default |
| --- | --- | --- |
| PORTAL_BIND | address and port | 127.0.0.1:8000 |
| PORTAL_WORKERS | processes | 2 |
| PORTAL_THREADS | requests that each answers at once, 10 or more | 16 |
| PORTAL_PROXIES | see settings.py | 0 |
"""

import os

from serving.portal import environment

_PROXIES = environment.number("PORTAL_PROXIES", 0, 0, 10)

wsgi_app = "serving.portal.wsgi"
bind = environment.text("PORTAL_BIND", "127.0.0.1:8000")
# Threads: a request waits for the models most of its time. More than may ask models at once,
# so that pages and probes are answered while models hang (assessor.AT_ONCE).
worker_class = "serving.portal.gunicorn_worker.Worker"
workers = int(environment.number("PORTAL_WORKERS", 2, 1, 64))
threads = int(environment.number("PORTAL_THREADS", 16, 10, 64))
# gRPC does not survive a fork: each worker loads the portal for itself, and its client at its first call.
preload_app = False
# What a library leaks goes with its process; not all of them at once.
max_requests, max_requests_jitter = 10_000, 1_000

# Of a worker that does not come back to its loop; how long requests wait for models is PORTAL_MODEL_SECONDS.
timeout = 60
graceful_timeout = 30
# Longer than proxies keep a connection that they do not use, so that none is closed while they send.
keepalive = 75 if _PROXIES else 5

# The longest address is that of a verification; cookies are short.
limit_request_line = 2048
limit_request_fields = 64
limit_request_field_size = 8190
# Whose X-Forwarded-* is believed. With proxies, it is for them to be the only way to the portal.
forwarded_allow_ips = "*" if _PROXIES else ""
# A client could send these through a proxy, and choose how addresses of the portal begin.
forwarder_headers = ""

# The workers' signs of life; on a disk, they would wait for it.
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
# It would be in a home folder, which containers do not have, and of the last portal that was started.
control_socket_disable = True
# The portal logs its requests itself, without anything that tells of pictures.
accesslog = None
errorlog = "-"
