"""OpenStack Swift on this machine, with its interface of S3 in front: proxy, account, container and object servers.

    /usr/bin/python3 swift.py FOLDER PORT    (Debian: apt-get install --no-install-recommends python3-swift)

Signatures are checked by it; the key is test:tester with the secret testing. Ends when its input does.
"""

import os
import sys

folder, port = os.path.abspath(sys.argv[1]), int(sys.argv[2])
KINDS = {'account': port + 1, 'container': port + 2, 'object': port + 3}
common = f'[DEFAULT]\nuser = {__import__("getpass").getuser()}\nswift_dir = {folder}\nbind_ip = 127.0.0.1\nworkers = 0\nlog_name = swift\nlog_address = {folder}/nolog\n'
PROXY = """
[pipeline:main]
pipeline = catch_errors proxy-logging cache listing_formats s3api tempauth copy slo dlo versioned_writes proxy-logging proxy-server
[app:proxy-server]
use = egg:swift#proxy
allow_account_management = true
account_autocreate = true
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = testing .admin
[filter:s3api]
use = egg:swift#s3api
location = eu-central-1
"""
for name in ('catch_errors', 'listing_formats', 'copy', 'slo', 'dlo', 'versioned_writes', 'proxy_logging'):
    section = name.replace('_', '-') if name == 'proxy_logging' else name
    PROXY += f'[filter:{section}]\nuse = egg:swift#{name}\n'
PROXY += '[filter:cache]\nuse = egg:swift#memcache\nmemcache_servers = 127.0.0.1:1\n'


def write(name, text):
    with open(os.path.join(folder, name), 'w') as file:
        file.write(text)


os.makedirs(os.path.join(folder, 'devices', 'd1'), exist_ok=True)
write('swift.conf', '[swift-hash]\nswift_hash_path_suffix = test\n')
os.environ['SWIFT_TEST'] = '1'
from swift.common import utils  # noqa: E402

utils.SWIFT_CONF_FILE = os.path.join(folder, 'swift.conf')
utils.validate_hash_conf()
from swift.common.ring import RingBuilder  # noqa: E402
from swift.common.wsgi import run_wsgi  # noqa: E402

for kind, own in KINDS.items():
    builder = RingBuilder(4, 1, 1)
    builder.add_dev(
        {'region': 1, 'zone': 1, 'weight': 1, 'ip': '127.0.0.1', 'port': own, 'device': 'd1', 'id': 0, 'replication_ip': '127.0.0.1', 'replication_port': own}
    )
    builder.rebalance()
    builder.get_ring().save(os.path.join(folder, f'{kind}.ring.gz'))
    write(
        f'{kind}.conf',
        f'{common}bind_port = {own}\ndevices = {folder}/devices\nmount_check = false\n[pipeline:main]\npipeline = {kind}-server\n'
        f'[app:{kind}-server]\nuse = egg:swift#{kind}\n',
    )
write('proxy.conf', f'{common}bind_port = {port}\n{PROXY}')

children = []
for conf, section in [(f'{kind}.conf', f'{kind}-server') for kind in KINDS] + [('proxy.conf', 'proxy-server')]:
    pid = os.fork()
    if pid == 0:
        os.setsid()
        sys.exit(run_wsgi(os.path.join(folder, conf), section))
    children.append(pid)
try:
    sys.stdin.read()
finally:
    for pid in children:
        os.killpg(pid, 9)
