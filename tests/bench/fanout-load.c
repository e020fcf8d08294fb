/* The load of the fan-out benchmark: fanout-load PROTOCOL PORT PATH [MORE] -- PUBLISHER ARGS…
 *
 *   PORT may be the name of a Unix socket.
 *   sse PORT PATH [TOKENS]      Server-Sent Events; line k of the file TOKENS is sent by stream k
 *   pusher PORT PATH CHANNEL    a WebSocket that subscribes to CHANNEL by Pusher's protocol
 *   plain PORT PATH             a WebSocket whose PATH names the channel (askrd's own protocol)
 *
 * One thread that holds many streams, counts what arrives, and drives a publisher. Each event's
 * data is '@', the publisher's CLOCK_MONOTONIC in 19 digits, and filling without another '@'. From the
 * clocks it knows the latency, and that every stream has every event once and in order: they rise. Over a
 * WebSocket an event is a whole message with one clock in it.
 *
 * Commands come on standard input, a line each; each is answered by one line of JSON:
 *   open COUNT [LAST_EVENT_ID]  opens streams until there are COUNT ("%d" in PATH: the stream's number,
 *                               modulo DISTINCT, if that is in the environment)
 *   events COUNT BURST          publishes COUNT events, BURST at a time; the next when all have them
 *   spread COUNT BURST          the same, but event k is for stream k mod (number of streams) only
 *   rate COUNT PER_SECOND       publishes at this rate, whether streams keep up or not
 *   replay EVENTS               waits until every stream has EVENTS more
 *   cursor                      the last id that stream 0 was told
 *   close                       closes all streams, with RST, so that no port stays taken
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include "fanout-stream.h"

enum { OPENING_AT_ONCE = 256, BATCH = 512, PER_ADDRESS = 16000, HISTOGRAM = 64 * 32 };

static struct stream *streams;
static int capacity, count, opened, opening, wanted, lost, disorder;
static unsigned long long total, target, histogram[HISTOGRAM], largest;
static char last_id[ID];
static int queue, publisher;
static char buffer[1 << 18];

/* What is going on: the command that is not yet answered. */
static struct {
    char verb[16];
    long left, burst, at;
    unsigned long long began;
    int publisher_busy;
} now_doing;

static void watch(int fd, unsigned long long data, unsigned events)
{
    struct epoll_event event = { .events = events, .data.u64 = data };
    if (epoll_ctl(queue, EPOLL_CTL_ADD, fd, &event))
        die("epoll_ctl");
}

/* Buckets of a 32nd of their value: 3 % exact. */
static int bucket(unsigned long long ns)
{
    if (ns < 64)
        return ns;
    int high = 63 - __builtin_clzll(ns);
    return (high - 5) * 32 + 32 + ((ns >> (high - 5)) & 31);
}

static double quantile(double q)
{
    unsigned long long all = 0, seen = 0;
    for (int i = 0; i < HISTOGRAM; i++)
        all += histogram[i];
    for (int i = 0; i < HISTOGRAM; i++)
        if ((seen += histogram[i]) > q * all) {
            int high = (i - 32) / 32 + 5;
            return i < 64 ? i : (double)((32ULL + (i & 31)) << (high - 5));
        }
    return 0;
}

static void command_publisher(const char *line)
{
    size_t length = strlen(line);
    if (write(publisher, line, length) != (ssize_t)length)
        die("the publisher");
    now_doing.publisher_busy = 1;
}

static void next_burst(void)
{
    char line[64];
    long burst = now_doing.burst < now_doing.left ? now_doing.burst : now_doing.left;
    int spread = !strcmp(now_doing.verb, "spread");
    snprintf(line, sizeof line, "burst %ld %ld %d\n", burst, spread ? now_doing.at % count : -1L, count);
    now_doing.at += burst;
    now_doing.left -= burst;
    target += (unsigned long long)burst * (spread ? 1 : count);
    command_publisher(line);
}

/* A full queue of a Unix socket is not waited for by itself. */
static int connect_unix(void)
{
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    strncpy(to.sun_path, port, sizeof to.sun_path - 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) || fcntl(fd, F_SETFL, O_NONBLOCK))
        die("connect");
    return fd;
}

static int connect_tcp(void)
{
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(atoi(port)) };
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
    if (fd < 0)
        die("socket");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (wanted > PER_ADDRESS) {
        /* An address has some 28,000 ports. */
        struct sockaddr_in from = { .sin_family = AF_INET };
        from.sin_addr.s_addr = htonl(0x7f000101 + count / PER_ADDRESS);
        setsockopt(fd, IPPROTO_IP, 24 /* IP_BIND_ADDRESS_NO_PORT */, &on, sizeof on);
        if (bind(fd, (struct sockaddr *)&from, sizeof from))
            die("bind");
    }
    if (connect(fd, (struct sockaddr *)&to, sizeof to) && errno != EINPROGRESS)
        die("connect");
    return fd;
}

static void connect_more(void)
{
    while (opening < OPENING_AT_ONCE && count < wanted) {
        int fd = *port == '/' ? connect_unix() : connect_tcp();
        streams[count] = (struct stream){ .fd = fd, .number = count, .digits = -1 };
        watch(fd, count, EPOLLOUT);
        count++;
        opening++;
    }
}

static void event_arrived(struct stream *stream, unsigned long long at)
{
    unsigned long long latency = at > stream->clock ? at - stream->clock : 0;
    if (stream->clock <= stream->last)
        disorder++;
    stream->last = stream->clock;
    stream->events++;
    total++;
    histogram[bucket(latency)]++;
    if (latency > largest)
        largest = latency;
}

/* The last "id: " of stream 0. Blocks come whole on loopback, as long as nobody is slow. */
static void note_id(const char *bytes, size_t length)
{
    const char *at = bytes, *found = NULL;
    while ((at = memmem(at, bytes + length - at, "id: ", 4)))
        found = at += 4;
    const char *end = found ? memchr(found, '\n', bytes + length - found) : NULL;
    if (end && end - found < ID) {
        memcpy(last_id, found, end - found);
        last_id[end - found] = 0;
    }
}

static void stream_opened(struct stream *stream)
{
    stream->open = 1;
    opened++;
    opening--;
    connect_more();
}

static void on_stream(struct stream *stream, unsigned events)
{
    if (!stream->open && events & EPOLLOUT && !(events & (EPOLLERR | EPOLLHUP))) {
        struct epoll_event reading = { .events = EPOLLIN, .data.u64 = stream->number };
        epoll_ctl(queue, EPOLL_CTL_MOD, stream->fd, &reading);
        return send_request(stream);
    }
    ssize_t got = read(stream->fd, buffer, sizeof buffer);
    if (got > 0)
        return take(stream, buffer, got, now());
    if (got < 0 && errno == EAGAIN)
        return;
    if (!stream->open)
        die("a stream was not opened");
    lost++;
    epoll_ctl(queue, EPOLL_CTL_DEL, stream->fd, NULL);
}

static void close_all(void)
{
    struct linger rst = { .l_onoff = 1, .l_linger = 0 };
    for (int i = 0; i < count; i++) {
        setsockopt(streams[i].fd, SOL_SOCKET, SO_LINGER, &rst, sizeof rst);
        close(streams[i].fd);
        free(streams[i].head);
    }
    count = opened = opening = wanted = 0;
    total = target = 0;
    *last_id = 0;
}

static void answer(void)
{
    unsigned long long least = ~0ULL, most = 0;
    for (int i = 0; i < count; i++) {
        if (streams[i].events < least)
            least = streams[i].events;
        if (streams[i].events > most)
            most = streams[i].events;
    }
    printf("{\"streams\":%d,\"lost\":%d,\"disorder\":%d,\"deliveries\":%llu,\"least\":%llu,\"most\":%llu,\"ns\":%llu,"
           "\"p50\":%.0f,\"p99\":%.0f,\"max\":%llu,\"cursor\":\"%s\"}\n",
        opened, lost, disorder, total, count ? least : 0, most, now() - now_doing.began, quantile(0.5), quantile(0.99),
        largest, last_id);
    fflush(stdout);
    *now_doing.verb = 0;
}

/* Goes on with the command, if what it waits for is here. */
static void proceed(void)
{
    if (!*now_doing.verb)
        return;
    if (lost) /* nothing to wait for any more: the answer tells */
        return answer();
    if (!strcmp(now_doing.verb, "open")) {
        if (opened == wanted)
            answer();
    } else if (total >= target && !now_doing.publisher_busy) {
        if (now_doing.left > 0)
            next_burst();
        else
            answer();
    }
}

static void begin(char *line)
{
    long first = 0;
    char word[ID] = "";
    memset(&now_doing, 0, sizeof now_doing);
    memset(histogram, 0, sizeof histogram);
    largest = 0;
    now_doing.began = now();
    sscanf(line, "%15s %ld %63s", now_doing.verb, &first, word);
    if (!strcmp(now_doing.verb, "open")) {
        wanted = first;
        if (tokens && wanted > token_count)
            give_up("not so many tokens", line, strlen(line));
        strcpy(resume, word);
        if (wanted > capacity) {
            streams = realloc(streams, wanted * sizeof *streams);
            capacity = wanted;
        }
        connect_more();
    } else if (!strcmp(now_doing.verb, "events") || !strcmp(now_doing.verb, "spread")) {
        now_doing.left = first;
        now_doing.burst = atol(word);
    } else if (!strcmp(now_doing.verb, "rate")) {
        char command[96];
        snprintf(command, sizeof command, "rate %ld %s\n", first, word);
        target += (unsigned long long)first * count;
        command_publisher(command);
    } else if (!strcmp(now_doing.verb, "replay")) {
        target += (unsigned long long)first * count;
    } else if (!strcmp(now_doing.verb, "close")) {
        close_all();
    } else if (strcmp(now_doing.verb, "cursor")) {
        fprintf(stderr, "fanout-load: unknown command: %s\n", line);
        exit(2);
    }
    proceed();
}

static void start_publisher(char **command)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair))
        die("socketpair");
    pid_t child = fork();
    if (child == 0) {
        dup2(pair[1], 0);
        dup2(pair[1], 1);
        close(pair[0]);
        close(pair[1]);
        execvp(command[0], command);
        die(command[0]);
    }
    close(pair[1]);
    fcntl(pair[0], F_SETFD, FD_CLOEXEC);
    publisher = pair[0];
}

static int usage(void)
{
    fprintf(stderr, "usage: fanout-load sse PORT PATH [TOKENS] | pusher PORT PATH CHANNEL | plain PORT PATH -- PUBLISHER ARGS…\n");
    return 2;
}

int main(int argc, char **argv)
{
    int dashes = 1;
    while (dashes < argc && strcmp(argv[dashes], "--"))
        dashes++;
    if (dashes + 1 >= argc || dashes < 4 || dashes > 5)
        return usage();
    port = argv[2];
    path = argv[3];
    if (!strcmp(argv[1], "sse")) {
        if (dashes == 5)
            read_tokens(argv[4]);
    } else if (!strcmp(argv[1], "pusher") && dashes == 5 && strlen(argv[4]) < 256) {
        protocol = PUSHER;
        channel = argv[4];
    } else if (!strcmp(argv[1], "plain") && dashes == 4) {
        protocol = PLAIN;
    } else {
        return usage();
    }
    signal(SIGPIPE, SIG_IGN);
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    start_publisher(argv + dashes + 1);
    queue = epoll_create1(EPOLL_CLOEXEC);
    enum { INPUT = 1ULL << 40, PUBLISHER = 1ULL << 41 };
    watch(0, INPUT, EPOLLIN);
    watch(publisher, PUBLISHER, EPOLLIN);
    struct epoll_event ready[BATCH];
    for (;;) {
        int n = epoll_wait(queue, ready, BATCH, -1);
        for (int i = 0; i < n; i++) {
            char line[256];
            if (ready[i].data.u64 == INPUT) {
                ssize_t got = read(0, line, sizeof line - 1);
                if (got <= 0)
                    return 0;
                line[got] = 0;
                begin(line);
            } else if (ready[i].data.u64 == PUBLISHER) {
                /* One byte or more for each command done. */
                if (read(publisher, line, sizeof line) <= 0) {
                    fprintf(stderr, "fanout-load: the publisher ended\n");
                    return 1;
                }
                now_doing.publisher_busy = 0;
            } else if (ready[i].data.u64 < (unsigned)count) { /* it may have been closed since */
                on_stream(&streams[ready[i].data.u64], ready[i].events);
            }
        }
        proceed();
    }
}
