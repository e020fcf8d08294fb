/* The client's side of WebSocket framing (RFC 6455, 5.2), for the load of the fan-out benchmark: what a
 * server sends, cut anywhere, in; pieces of payload out. It copies nothing and knows no socket. */

#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { TEXT = 1, CLOSE = 8, PING = 9, PONG = 10, HEADER = 14, KEPT = 256 };

/* The nonce that the RFC uses as its example, and its answer: the floor knows no other. */
#define WEBSOCKET_KEY "dGhlIHNhbXBsZSBub25jZQ=="
#define WEBSOCKET_ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

/* What is known of a server's frames so far. All zero: nothing has come. */
struct frames {
    unsigned char header[HEADER];
    unsigned char have;       /* bytes of the header that are here */
    char in_payload;
    char in_message;          /* a data frame without FIN came */
    unsigned long long left;  /* bytes of payload to come */
};

/* A part of a frame's payload, empty at least where the frame is. */
struct piece {
    const char *bytes;
    size_t length;
    int opcode;         /* TEXT also for what continues a text; else of a control frame */
    int ends_frame;
    int ends_message;
    const char *wrong;  /* why the frame must not be */
};

static inline const char *frame_fault(struct frames *frames, int opcode, int fin, unsigned length)
{
    if (frames->header[0] & 0x70)
        return "a reserved bit is set";
    if (frames->header[1] & 0x80)
        return "a server's frame is masked";
    if (opcode >= CLOSE)
        return opcode > PONG ? "an unknown opcode" : !fin || length > 125 ? "a control frame in parts, or too long" : NULL;
    if (opcode > TEXT)
        return "neither text nor a control frame";
    if (frames->in_message != (opcode == 0))
        return frames->in_message ? "a message within a message" : "nothing to continue";
    return NULL;
}

/* Takes bytes of a header until it is whole: 1, or 0 when more must come, or -1. */
static inline int take_header(struct frames *frames, const char **at, const char *end, struct piece *piece)
{
    while (frames->have < 2) {
        if (*at == end)
            return 0;
        frames->header[frames->have++] = *(*at)++;
    }
    unsigned length = frames->header[1] & 0x7f;
    int whole = length == 127 ? 10 : length == 126 ? 4 : 2;
    piece->wrong = frame_fault(frames, frames->header[0] & 15, frames->header[0] >> 7, length);
    if (piece->wrong)
        return -1;
    while (frames->have < whole) {
        if (*at == end)
            return 0;
        frames->header[frames->have++] = *(*at)++;
    }
    frames->left = whole == 2 ? length : 0;
    for (int i = 2; i < whole; i++)
        frames->left = frames->left << 8 | frames->header[i];
    if (whole > 2 && (frames->left < (whole == 4 ? 126 : 65536) || frames->left >> 63)) {
        piece->wrong = "a length that is not in its shortest form";
        return -1;
    }
    frames->in_payload = 1;
    return 1;
}

/* The next piece of what is between `*at` and `end`: 1, or 0 when more must come, or -1 with `wrong`. */
static inline int next_piece(struct frames *frames, const char **at, const char *end, struct piece *piece)
{
    int got = frames->in_payload ? 1 : take_header(frames, at, end, piece);
    if (got != 1 || (*at == end && frames->left > 0))
        return got == 1 ? 0 : got;
    int opcode = frames->header[0] & 15, fin = frames->header[0] >> 7;
    size_t here = end - *at;
    *piece = (struct piece){ .bytes = *at, .length = here < frames->left ? here : frames->left };
    *at += piece->length;
    frames->left -= piece->length;
    piece->opcode = opcode < CLOSE ? TEXT : opcode;
    piece->ends_frame = frames->left == 0;
    piece->ends_message = piece->ends_frame && opcode < CLOSE && fin;
    if (piece->ends_frame) {
        frames->in_payload = frames->have = 0;
        if (opcode < CLOSE)
            frames->in_message = !fin;
    }
    return 1;
}

/* A masked frame of at most 65,535 bytes, as clients must send it. `out` has room for HEADER more. */
static inline size_t client_frame(char *out, int opcode, const char *payload, size_t length, uint32_t key)
{
    unsigned char mask[4], *p = (unsigned char *)out;
    memcpy(mask, &key, 4);
    *p++ = 0x80 | opcode;
    *p++ = 0x80 | (length < 126 ? length : 126);
    if (length >= 126) {
        *p++ = length >> 8;
        *p++ = length;
    }
    memcpy(p, mask, 4);
    p += 4;
    for (size_t i = 0; i < length; i++)
        *p++ = payload[i] ^ mask[i % 4];
    return (char *)p - out;
}
