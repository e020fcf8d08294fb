/* The least a push server can do: fanout-floor DATAGRAM_SOCKET. One thread, one epoll loop, no memory
 * of anything: each datagram that comes in becomes one SSE event and one write() per subscriber, also
 * when many come at once. Prints its TCP port. Subscribers' sockets block: a full one holds up all. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { MOST = 65536, BATCH = 256 };
static const char HEAD[] =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n\r\n: welcome\n\n";

static int subscribers[MOST], place[MOST], count;
static char buffer[1 << 17];

static void watch(int queue, int fd)
{
    struct epoll_event event = { .events = EPOLLIN, .data.fd = fd };
    if (epoll_ctl(queue, EPOLL_CTL_ADD, fd, &event)) {
        perror("epoll_ctl");
        exit(1);
    }
}

static void leave(int fd)
{
    if (place[fd] >= 0) {
        int last = subscribers[--count];
        subscribers[place[fd]] = last;
        place[last] = place[fd];
    }
    close(fd);
}

static void accept_one(int queue, int listener)
{
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC), on = 1;
    if (fd < 0 || fd >= MOST) {
        perror("accept");
        exit(1);
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    place[fd] = -1;
    watch(queue, fd);
}

/* Requests are small and come in one piece; whatever one asks for, it gets the stream. */
static void read_request(int fd)
{
    ssize_t got = recv(fd, buffer, sizeof buffer, MSG_DONTWAIT);
    if (got <= 0 || place[fd] >= 0)
        return leave(fd);
    if (write(fd, HEAD, sizeof HEAD - 1) != sizeof HEAD - 1)
        return leave(fd);
    place[fd] = count;
    subscribers[count++] = fd;
}

static void fan_out(int events)
{
    ssize_t got = recv(events, buffer + 6, sizeof buffer - 8, MSG_DONTWAIT);
    if (got < 0)
        return;
    memcpy(buffer, "data: ", 6);
    memcpy(buffer + 6 + got, "\n\n", 2);
    for (int i = 0; i < count; i++)
        if (write(subscribers[i], buffer, got + 8) < 0 && errno != EPIPE && errno != ECONNRESET) {
            perror("write");
            exit(1);
        }
}

int main(int argc, char **argv)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    if (argc != 2 || strlen(argv[1]) >= sizeof at.sun_path) {
        fprintf(stderr, "usage: fanout-floor DATAGRAM_SOCKET\n");
        return 2;
    }
    strcpy(at.sun_path, argv[1]);
    signal(SIGPIPE, SIG_IGN);
    int events = socket(AF_UNIX, SOCK_DGRAM, 0), listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in any = { .sin_family = AF_INET };
    any.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof any;
    if (bind(events, (struct sockaddr *)&at, sizeof at) || bind(listener, (struct sockaddr *)&any, sizeof any) ||
        listen(listener, 4096) || getsockname(listener, (struct sockaddr *)&any, &length)) {
        perror("fanout-floor");
        return 1;
    }
    printf("%d\n", ntohs(any.sin_port));
    fflush(stdout);

    int queue = epoll_create1(EPOLL_CLOEXEC);
    watch(queue, events);
    watch(queue, listener);
    struct epoll_event ready[BATCH];
    for (;;) {
        int n = epoll_wait(queue, ready, BATCH, -1);
        for (int i = 0; i < n; i++) {
            int fd = ready[i].data.fd;
            if (fd == events)
                fan_out(fd);
            else if (fd == listener)
                accept_one(queue, fd);
            else
                read_request(fd);
        }
    }
}
