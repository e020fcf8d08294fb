/* One SSE subscriber that measures: receiver PORT PATH COUNT. Each event's data is the publisher's
 * CLOCK_MONOTONIC in nanoseconds. Prints "open" when the stream stands, then one latency a line. */

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static long long now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: receiver PORT PATH COUNT\n");
        return 2;
    }
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(atoi(argv[1])) };
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int count = atoi(argv[3]), seen = 0, open = 0;
    int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(fd, (struct sockaddr *)&to, sizeof to)) {
        perror("connect");
        return 1;
    }
    dprintf(fd, "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%s\r\n\r\n", argv[2], argv[1]);
    long long *latency = calloc(count, sizeof *latency);
    static char buffer[1 << 16];
    size_t length = 0;
    while (seen < count) {
        ssize_t got = read(fd, buffer + length, sizeof buffer - 1 - length);
        long long at = now();
        if (got <= 0) {
            fprintf(stderr, "the stream ended after %d events\n", seen);
            return 1;
        }
        length += got;
        buffer[length] = 0;
        char *end, *rest = buffer;
        while ((end = strstr(rest, "\n\n"))) {
            char *data = strstr(rest, "data: ");
            if (data && data < end && seen < count)
                latency[seen++] = at - atoll(data + 6);
            rest = end + 2;
            if (!open) {
                open = 1;
                puts("open");
                fflush(stdout);
            }
        }
        length -= rest - buffer;
        memmove(buffer, rest, length);
    }
    for (int i = 0; i < seen; i++)
        printf("%lld\n", latency[i]);
    return 0;
}
