/* The least a push server can do: fanout-floor DATAGRAM_SOCKET [CHANNEL]. One thread, one epoll loop, no
 * memory of anything: each datagram that comes in becomes one SSE event and one write() per subscriber,
 * also when many come at once. With a CHANNEL it is a text frame of Pusher's protocol over WebSocket, and
 * only the handshake that fanout-load sends is known. Prints its TCP port; a Unix socket for subscribers has the
 * name of the other with ".stream". Subscribers' sockets block: a full one holds up all. */

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
#include "fanout-websocket.h"

enum { MOST = 65536, BATCH = 256, NEW = -1, SHAKEN = -2 };
static const char HEAD[] =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n\r\n: welcome\n\n";
static const char UPGRADED[] =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Accept: " WEBSOCKET_ACCEPT "\r\n\r\n";
static const char ESTABLISHED[] = "{\"event\":\"pusher:connection_established\",\"data\":"
    "\"{\\\"socket_id\\\":\\\"1.1\\\",\\\"activity_timeout\\\":120}\"}";

static int subscribers[MOST], place[MOST], count, local;
static char buffer[1 << 17];
static const char *channel;

/* What every event begins and ends with, and how many bytes are left free before for a frame's header. */
static char before[512] = "data: ";
static const char *after = "\n\n";
static size_t room;

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
    if (listener != local)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    place[fd] = NEW;
    watch(queue, fd);
}

/* A text frame around what is at `payload`: its header ends there. Where the frame begins. */
static char *framed(char *payload, size_t length)
{
    int bytes = length < 126 ? 0 : length < 65536 ? 2 : 8;
    unsigned char *header = (unsigned char *)payload - 2 - bytes;
    header[0] = 0x80 | TEXT;
    header[1] = bytes == 8 ? 127 : bytes == 2 ? 126 : length;
    for (int i = 0; i < bytes; i++)
        header[2 + i] = length >> 8 * (bytes - 1 - i);
    return (char *)header;
}

static int say(int fd, const char *text)
{
    size_t length = strlen(text);
    memcpy(buffer + HEADER, text, length);
    char *frame = framed(buffer + HEADER, length);
    length += buffer + HEADER - frame;
    return write(fd, frame, length) == (ssize_t)length;
}

static void enter(int fd)
{
    place[fd] = count;
    subscribers[count++] = fd;
}

/* Requests are small and come in one piece; whatever one asks for, it gets the stream. */
static void read_request(int fd)
{
    ssize_t got = recv(fd, buffer, sizeof buffer, MSG_DONTWAIT);
    if (got <= 0 || place[fd] >= 0)
        return leave(fd);
    if (write(fd, HEAD, sizeof HEAD - 1) != sizeof HEAD - 1)
        return leave(fd);
    enter(fd);
}

/* The same over a WebSocket: first comes the handshake, then the frame that subscribes. */
static void read_frames(int fd)
{
    static char succeeded[512];
    ssize_t got = recv(fd, buffer, sizeof buffer, MSG_DONTWAIT);
    if (got <= 0 || place[fd] >= 0)
        return leave(fd);
    if (place[fd] == NEW) {
        place[fd] = SHAKEN;
        if (!memmem(buffer, got, WEBSOCKET_KEY, sizeof WEBSOCKET_KEY - 1) ||
            write(fd, UPGRADED, sizeof UPGRADED - 1) != sizeof UPGRADED - 1 || !say(fd, ESTABLISHED))
            leave(fd);
        return;
    }
    snprintf(succeeded, sizeof succeeded,
        "{\"event\":\"pusher_internal:subscription_succeeded\",\"channel\":\"%s\",\"data\":\"{}\"}", channel);
    if (!say(fd, succeeded))
        return leave(fd);
    enter(fd);
}

static void fan_out(int events)
{
    size_t begins = strlen(before), ends = strlen(after);
    char *event = buffer + room, *data = event + begins;
    ssize_t got = recv(events, data, sizeof buffer - room - begins - ends, MSG_DONTWAIT);
    if (got < 0)
        return;
    memcpy(event, before, begins);
    memcpy(data + got, after, ends);
    size_t length = begins + got + ends;
    char *out = channel ? framed(event, length) : event;
    length += event - out;
    for (int i = 0; i < count; i++)
        if (write(subscribers[i], out, length) < 0 && errno != EPIPE && errno != ECONNRESET) {
            perror("write");
            exit(1);
        }
}

int main(int argc, char **argv)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX }, streams = at;
    if (argc < 2 || argc > 3 || strlen(argv[1]) + 7 >= sizeof at.sun_path || (argc == 3 && strlen(argv[2]) > 200)) {
        fprintf(stderr, "usage: fanout-floor DATAGRAM_SOCKET [CHANNEL]\n");
        return 2;
    }
    if (argc == 3) {
        channel = argv[2];
        room = HEADER;
        snprintf(before, sizeof before, "{\"event\":\"message\",\"channel\":\"%s\",\"data\":\"", channel);
        after = "\"}";
    }
    strcpy(at.sun_path, argv[1]);
    sprintf(streams.sun_path, "%s.stream", argv[1]);
    local = socket(AF_UNIX, SOCK_STREAM, 0);
    signal(SIGPIPE, SIG_IGN);
    int events = socket(AF_UNIX, SOCK_DGRAM, 0), listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in any = { .sin_family = AF_INET };
    any.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof any;
    if (bind(events, (struct sockaddr *)&at, sizeof at) || bind(listener, (struct sockaddr *)&any, sizeof any) ||
        bind(local, (struct sockaddr *)&streams, sizeof streams) || listen(local, 4096) || listen(listener, 4096) || getsockname(listener, (struct sockaddr *)&any, &length)) {
        perror("fanout-floor");
        return 1;
    }
    printf("%d\n", ntohs(any.sin_port));
    fflush(stdout);

    int queue = epoll_create1(EPOLL_CLOEXEC);
    watch(queue, events);
    watch(queue, listener);
    watch(queue, local);
    struct epoll_event ready[BATCH];
    for (;;) {
        int n = epoll_wait(queue, ready, BATCH, -1);
        for (int i = 0; i < n; i++) {
            int fd = ready[i].data.fd;
            if (fd == events)
                fan_out(fd);
            else if (fd == listener || fd == local)
                accept_one(queue, fd);
            else if (channel)
                read_frames(fd);
            else
                read_request(fd);
        }
    }
}
