/* One stream of the fan-out benchmark's load: what it sends to open, and what it makes of the bytes that
 * come: events, counted by the clocks in them. Who includes it is told of them by three functions. */

#include <errno.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include "fanout-websocket.h"

enum { DIGITS = 19, ID = 64, HEAD = 2048, REQUEST = 6144 };

struct stream {
    int fd;
    int number;
    char open;              /* it is subscribed: the head is here, and over a WebSocket the answer */
    char framed;            /* the head of a WebSocket is here */
    char clocks;            /* in the message that is being read */
    signed char digits;     /* of a clock that is being read, or -1 */
    unsigned long long clock, last;
    unsigned long long events;
    char *head;             /* the answer's, until it is whole; HEAD bytes */
    int head_length, text_length, ping_length;
    struct frames frames;
    char text[KEPT];        /* how the message that is being read begins */
    char ping[125];         /* what is to be said again */
};

static const char *path, *port, *channel;
static enum { SSE, PUSHER, PLAIN } protocol;
static char **tokens;
static int token_count;
static char resume[ID];

/* It is subscribed. */
static void stream_opened(struct stream *stream);
/* An event with the stream's `clock`, which came at `at`. */
static void event_arrived(struct stream *stream, unsigned long long at);
/* Bytes of the stream with number 0, in which ids may be. */
static void note_id(const char *bytes, size_t length);

static unsigned long long now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

static void die(const char *what)
{
    fprintf(stderr, "fanout-load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void give_up(const char *why, const char *text, size_t length)
{
    fprintf(stderr, "fanout-load: %s: %.*s\n", why, (int)(length < 300 ? length : 300), text);
    exit(1);
}

/* A token a line. */
static void read_tokens(const char *name)
{
    FILE *file = fopen(name, "r");
    size_t room = 0;
    char *line = NULL;
    if (!file)
        die(name);
    while (getline(&line, &room, file) > 0) {
        line[strcspn(line, "\n")] = 0;
        if (strlen(line) > REQUEST - 1024)
            give_up("a token is too long", name, strlen(name));
        tokens = realloc(tokens, (token_count + 1) * sizeof *tokens);
        tokens[token_count++] = strdup(line);
    }
    free(line);
    fclose(file);
}

static void send_request(struct stream *stream)
{
    char request[REQUEST], asked[512];
    const char *distinct = getenv("DISTINCT");
    snprintf(asked, sizeof asked, path, distinct ? stream->number % atoi(distinct) : stream->number);
    int length = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%s\r\n", asked, *port == '/' ? "80" : port);
    if (protocol != SSE)
        length += snprintf(request + length, sizeof request - length, "Upgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " WEBSOCKET_KEY "\r\n");
    else
        length += snprintf(request + length, sizeof request - length, "Accept: text/event-stream\r\n");
    if (*resume)
        length += snprintf(request + length, sizeof request - length, "Last-Event-ID: %s\r\n", resume);
    if (tokens)
        length += snprintf(request + length, sizeof request - length, "Authorization: Bearer %s\r\n", tokens[stream->number]);
    length += snprintf(request + length, sizeof request - length, "\r\n");
    if (write(stream->fd, request, length) != length)
        die("sending a request");
}

static void send_frame(struct stream *stream, int opcode, const char *payload, size_t length)
{
    char frame[1024 + HEADER];
    /* The mask is there so that no page can choose what a proxy sees; here nobody tries. */
    size_t all = client_frame(frame, opcode, payload, length, (uint32_t)now() * 2654435761u);
    if (write(stream->fd, frame, all) != (ssize_t)all)
        die("sending a frame");
}

static void subscribe(struct stream *stream)
{
    char text[512];
    int length = snprintf(text, sizeof text, "{\"event\":\"pusher:subscribe\",\"data\":{\"channel\":\"%s\"}}", channel);
    send_frame(stream, TEXT, text, length);
}

/* Reads clocks, wherever they are cut. */
static void scan(struct stream *stream, const char *p, const char *end, unsigned long long at)
{
    while (p < end) {
        if (stream->digits < 0) {
            p = memchr(p, '@', end - p);
            if (!p)
                return;
            p++;
            stream->digits = stream->clock = 0;
        }
        while (p < end && stream->digits < DIGITS) {
            if (*p < '0' || *p > '9')
                give_up("a clock is broken", p, end - p);
            stream->clock = stream->clock * 10 + (*p++ - '0');
            stream->digits++;
        }
        if (stream->digits == DIGITS) {
            stream->digits = -1;
            if (protocol == SSE)
                event_arrived(stream, at);
            else
                stream->clocks++;
        }
    }
}

static int says(const struct stream *stream, const char *word)
{
    return memmem(stream->text, stream->text_length, word, strlen(word)) != NULL;
}

/* What a server says that is no event. */
static void note_arrived(struct stream *stream)
{
    static const char PUSHER_PONG[] = "{\"event\":\"pusher:pong\",\"data\":{}}";
    if (says(stream, protocol == PLAIN ? "{\"error\"" : "error"))
        give_up("the server says", stream->text, stream->text_length);
    else if (says(stream, protocol == PLAIN ? "{\"gap\"" : "askr:gap"))
        give_up("events were lost", stream->text, stream->text_length);
    else if (protocol == PUSHER && says(stream, "pusher:connection_established"))
        subscribe(stream);
    else if (protocol == PUSHER && says(stream, "pusher:ping"))
        send_frame(stream, TEXT, PUSHER_PONG, sizeof PUSHER_PONG - 1);
    else if (!stream->open && says(stream, protocol == PLAIN ? "\"subscribed\"" : "pusher_internal:subscription_succeeded"))
        stream_opened(stream);
}

static void message_arrived(struct stream *stream, unsigned long long at)
{
    if (stream->clocks > 1 || stream->digits >= 0)
        give_up("a message holds more than one event, or a part of one", stream->text, stream->text_length);
    if (stream->clocks && !stream->open)
        give_up("an event came before the subscription", stream->text, stream->text_length);
    if (stream->clocks)
        event_arrived(stream, at);
    else
        note_arrived(stream);
    stream->clocks = stream->text_length = 0;
}

static void take_frames(struct stream *stream, const char *bytes, const char *end, unsigned long long at)
{
    struct piece piece = { 0 };
    int got;
    while ((got = next_piece(&stream->frames, &bytes, end, &piece)) == 1) {
        if (piece.opcode == CLOSE)
            give_up("the server closed a WebSocket", piece.bytes, piece.length);
        if (piece.opcode == TEXT) {
            size_t room = KEPT - stream->text_length, kept = piece.length < room ? piece.length : room;
            memcpy(stream->text + stream->text_length, piece.bytes, kept);
            stream->text_length += kept;
            scan(stream, piece.bytes, piece.bytes + piece.length, at);
        } else if (piece.opcode == PING) {
            memcpy(stream->ping + stream->ping_length, piece.bytes, piece.length);
            stream->ping_length += piece.length;
            if (piece.ends_frame) {
                send_frame(stream, PONG, stream->ping, stream->ping_length);
                stream->ping_length = 0;
            }
        }
        if (piece.ends_message)
            message_arrived(stream, at);
    }
    if (got < 0)
        give_up("a broken frame", piece.wrong, strlen(piece.wrong));
}

/* The head of the answer, in any number of pieces. What follows it, or NULL while it is not whole. */
static const char *take_head(struct stream *stream, const char *bytes, const char *end)
{
    if (!stream->head)
        stream->head = malloc(HEAD);
    size_t room = HEAD - 1 - stream->head_length, more = end - bytes, before = stream->head_length;
    more = more < room ? more : room;
    memcpy(stream->head + before, bytes, more);
    stream->head_length += more;
    stream->head[stream->head_length] = 0;
    const char *stop = strstr(stream->head, "\r\n\r\n");
    if (!stop && more < room)
        return NULL;
    int good = protocol == SSE ? !strncmp(stream->head, "HTTP/1.1 200", 12)
        : !strncmp(stream->head, "HTTP/1.1 101", 12) && strcasestr(stream->head, "\r\nSec-WebSocket-Accept: " WEBSOCKET_ACCEPT "\r\n");
    if (!stop || !good)
        give_up("refused", stream->head, stream->head_length);
    bytes += stop + 4 - stream->head - before;
    free(stream->head);
    stream->head = NULL;
    return bytes;
}

static void take(struct stream *stream, const char *bytes, size_t length, unsigned long long at)
{
    const char *end = bytes + length;
    if (!stream->open && !stream->framed) {
        bytes = take_head(stream, bytes, end);
        if (!bytes)
            return;
        if (protocol == SSE)
            stream_opened(stream);
        else
            stream->framed = 1;
    }
    if (protocol != SSE)
        return take_frames(stream, bytes, end, at);
    if (stream->number == 0)
        note_id(bytes, end - bytes);
    scan(stream, bytes, end, at);
}
