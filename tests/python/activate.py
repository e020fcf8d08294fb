"""Holds a listening socket and runs askrd on it, again and again, as systemd does with askrd.socket. Prints the
process id of each.

activate.py PORT ASKRD CONFIG"""

import os
import socket
import sys

port, program, config = sys.argv[1:]
listener = socket.create_server(("127.0.0.1", int(port)), backlog=128)
while True:
    pid = os.fork()
    if pid == 0:
        os.dup2(listener.fileno(), 3)
        os.set_inheritable(3, True)
        os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
        os.execv(program, [program, "serve", "--config", config])
    print("askrd", pid, flush=True)
    if os.waitpid(pid, 0)[1] != 0:
        sys.exit(1)
