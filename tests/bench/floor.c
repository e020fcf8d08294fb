/* The least a push server can do: floor DATAGRAM_SOCKET. One thread, one subscriber, one write per
 * event. Prints its TCP port, takes one connection, and forwards each datagram as an SSE event. */

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    if (argc != 2 || strlen(argv[1]) >= sizeof at.sun_path) {
        fprintf(stderr, "usage: floor DATAGRAM_SOCKET\n");
        return 2;
    }
    strcpy(at.sun_path, argv[1]);
    int events = socket(AF_UNIX, SOCK_DGRAM, 0), listener = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    struct sockaddr_in any = { .sin_family = AF_INET };
    any.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof any;
    if (bind(events, (struct sockaddr *)&at, sizeof at) || bind(listener, (struct sockaddr *)&any, sizeof any) ||
        listen(listener, 1) || getsockname(listener, (struct sockaddr *)&any, &length)) {
        perror("floor");
        return 1;
    }
    printf("%d\n", ntohs(any.sin_port));
    fflush(stdout);

    int subscriber = accept(listener, NULL, NULL);
    setsockopt(subscriber, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    static char buffer[65536];
    if (read(subscriber, buffer, sizeof buffer) <= 0)
        return 1;
    dprintf(subscriber, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n: ping\n\n");
    memcpy(buffer, "data: ", 6);
    for (;;) {
        ssize_t got = recv(events, buffer + 6, sizeof buffer - 8, 0);
        if (got < 0)
            return 1;
        memcpy(buffer + 6 + got, "\n\n", 2);
        if (write(subscriber, buffer, got + 8) < 0)
            return 0;
    }
}
