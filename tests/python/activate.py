"""Holds listening sockets and runs askrd on them, again and again, as systemd does with askrd.socket. Prints the
process id of each.

activate.py ASKRD CONFIG ADDRESS..., each a port of 127.0.0.1 or the path of a Unix socket"""

import fcntl
import os
import socket
import sys


def listen(address):
    if address.isdigit():
        return socket.create_server(("127.0.0.1", int(address)), backlog=4096)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    os.chmod(address, 0o660)
    listener.listen(4096)
    return listener


program, config, *addresses = sys.argv[1:]
# Out of the way of the numbers that askrd expects.
held = [fcntl.fcntl(listen(address).detach(), fcntl.F_DUPFD_CLOEXEC, 100) for address in addresses]
while True:
    pid = os.fork()
    if pid == 0:
        for number, listener in enumerate(held, 3):
            os.dup2(listener, number)
        os.environ.update(LISTEN_FDS=str(len(held)), LISTEN_PID=str(os.getpid()))
        os.execv(program, [program, "serve", "--config", config])
    print("askrd", pid, flush=True)
    if os.waitpid(pid, 0)[1] != 0:
        sys.exit(1)
