/*
 * The origin side of the fixture: the path says what comes back. What crawls need is in fixture_crawl.c.
 *
 *   /bytes/N      N bytes                       /drip/N     N bytes, one every 100 ms
 *   /status/N     status N                      /slow/N     an answer after N ms
 *   /echo         the request                   /hang       nothing
 *   /redirect/URL a 302 to URL                  /reset      RST instead of an answer
 *   /redirect/STATUS/URL  that status           /die        FIN instead of an answer
 *   /eof          ends in mid-body              /endless    headers without end
 *   /rst          RST in mid-body               /headdrip   a header, one byte every 100 ms
 *   /short        more than Content-Length      /badlength  a Content-Length that is none
 *   /loop         a 302 to itself               /badgzip    gzip that is none
 *   /retry/TEXT   a 429 with Retry-After: TEXT, %20 for a space
 *   /bomb         gzip that unpacks without end /trailer    a Content-Type before the body and one behind it
 *   /cookie/TEXT  that Set-Cookie
 *   /nul          a body with NUL and high bytes; anything else: a small page
 */
#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK 65536

void fixture_respond(struct conn *conn, int status, const char *extra, const char *body, size_t length)
{
    static const char format[] = "HTTP/1.1 %d Fixture\r\nContent-Type: text/html\r\n%s%sContent-Length: %zu\r\n\r\n";
    char head[INPUT_SIZE];
    int close = strcasestr(conn->input, "\r\nConnection: close") != NULL; /* what the proxy side asks for */
    int used = snprintf(head, sizeof head, format, status, close ? "Connection: close\r\n" : "", extra, length);
    if (strncmp(conn->input, "HEAD ", 5) == 0) length = 0;
    fixture_send(conn, head, (size_t)used, 0);
    fixture_send(conn, body, length, close);
}

static void more_bytes(struct conn *conn)
{
    static char chunk[CHUNK];
    size_t length = conn->left < CHUNK ? (size_t)conn->left : CHUNK;
    conn->left -= length;
    if (conn->left == 0) conn->more = NULL;
    fixture_send(conn, chunk, length, conn->left == 0);
}

static void start_bytes(struct conn *conn, uint64_t count, void (*more)(struct conn *))
{
    char head[128];
    int used = snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %llu\r\n\r\n", (unsigned long long)count);
    conn->left = count;
    conn->more = more;
    fixture_send(conn, head, (size_t)used, 0);
}

static void on_drip(uv_timer_t *timer)
{
    struct conn *conn = timer->data;
    if (conn->closing) return;
    conn->left--;
    fixture_send(conn, ".", 1, conn->left == 0);
    if (conn->left == 0) uv_timer_stop(timer);
}

static void on_slow(uv_timer_t *timer)
{
    struct conn *conn = timer->data;
    if (!conn->closing) fixture_respond(conn, 200, "", "slow\n", 5);
}

/* Appends bits, given as text in stream order, to a deflate stream. */
static size_t put_bits(unsigned char *out, size_t at, const char *bits)
{
    for (; *bits; bits++, at++)
        if (*bits == '1') out[at / 8] |= (unsigned char)(1u << at % 8);
    return at;
}

/*
 * One deflate block of fixed Huffman codes: a zero byte, then for ever "258 more of the last byte", which
 * takes 13 bits. After the first of them the stream is at a byte's edge, and 8 of them are 13 bytes: the
 * same buffer can be sent again and again, and each unpacks to 8 MiB.
 */
#define MATCH "1100010100000"
#define PERIODS 4064
static unsigned char bomb_start[13] = {0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff};
static unsigned char bomb_chunk[13 * PERIODS];

static void more_bomb(struct conn *conn)
{
    fixture_send(conn, (char *)bomb_chunk, sizeof bomb_chunk, 0);
}

static void start_bomb(struct conn *conn)
{
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n";
    size_t at = 0;
    if (!bomb_chunk[0]) {
        put_bits(bomb_start + 10, 0, "0" "10" "00110000" MATCH);
        while (at < sizeof bomb_chunk * 8) at = put_bits(bomb_chunk, at, MATCH);
    }
    fixture_send(conn, head, sizeof head - 1, 0);
    conn->more = more_bomb;
    fixture_send(conn, (char *)bomb_start, sizeof bomb_start, 0);
}

static int is(const char *path, const char *name, const char **rest)
{
    size_t length = strlen(name);
    if (strncmp(path, name, length) != 0) return 0;
    *rest = path + length;
    return 1;
}

/* The answers that do not end at once; 1 when the path was one of them. */
static int answer_badly(struct conn *conn, const char *path)
{
    static const char cut[] = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nten bytes\n";
    const char *rest;
    if (is(path, "/bytes/", &rest)) {
        start_bytes(conn, strtoull(rest, NULL, 10), more_bytes);
    } else if (is(path, "/drip/", &rest)) {
        start_bytes(conn, strtoull(rest, NULL, 10), NULL);
        uv_timer_start(&conn->timer, on_drip, 100, 100);
    } else if (is(path, "/slow/", &rest)) {
        uv_timer_start(&conn->timer, on_slow, strtoull(rest, NULL, 10), 0);
    } else if (is(path, "/eof", &rest)) {
        fixture_send(conn, cut, sizeof cut - 1, 1);
    } else if (is(path, "/rst", &rest)) {
        conn->more = fixture_reset;
        fixture_send(conn, cut, sizeof cut - 1, 0);
    } else if (is(path, "/headdrip", &rest)) {
        conn->left = 1000;
        fixture_send(conn, "HTTP/1.1 200 OK\r\nX-Slow: ", 25, 0);
        uv_timer_start(&conn->timer, on_drip, 100, 100);
    } else if (is(path, "/reset", &rest)) {
        fixture_reset(conn);
    } else if (is(path, "/die", &rest)) {
        fixture_close(conn);
    } else if (is(path, "/endless", &rest)) {
        fixture_endless(conn);
    } else if (is(path, "/bomb", &rest)) {
        start_bomb(conn);
    } else if (!is(path, "/hang", &rest)) {
        return 0;
    }
    conn->state = ANSWERING;
    return 1;
}

/* Answers as they stand, most of them wrong. */
static const struct {
    const char *path, *answer;
} fixed[] = {
    {"/short", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nten bytes\n"},
    {"/badlength", "HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\nten bytes\n"},
    {"/badgzip", "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 10\r\n\r\nten bytes\n"},
    {"/trailer", "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\nTrailer: X-Late\r\n\r\n"
                 "4\r\nbody\r\n0\r\nX-Late: 1\r\nContent-Type: text/html\r\n\r\n"},
    {"/koi8", "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=koi8-r\r\nConnection: close\r\n\r\n"
              "<title>\xed\xc9\xd2</title><a href=/shop/\xd1>x</a>\n"},
    {"/based", "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n"
               "<base href=/graph/9/><a href=1>x</a>\n"},
    {"/loop", "HTTP/1.1 302 Found\r\nLocation: /loop\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"},
};

/* The header, "%20" decoded. */
static const char *retry_after(const char *text, char *out, size_t size)
{
    size_t used = (size_t)snprintf(out, size, "Retry-After: ");
    while (*text && used + 3 < size) {
        int space = strncmp(text, "%20", 3) == 0;
        out[used++] = space ? ' ' : *text;
        text += space ? 3 : 1;
    }
    strcpy(out + used, "\r\n");
    return out;
}

int fixture_answer(struct conn *conn, const char *method, const char *path, size_t request_length)
{
    static const char page[] = "<html><head><title>fixture</title></head><body>hello</body></html>\n";
    char extra[INPUT_SIZE];
    const char *rest;
    (void)method;
    if (answer_badly(conn, path)) return 0;
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++) {
        if (strcmp(path, fixed[i].path) != 0) continue;
        fixture_send(conn, fixed[i].answer, strlen(fixed[i].answer), 1);
        return 0;
    }
    if (fixture_answer_crawl(conn, path)) {
        ; /* it is on its way */
    } else if (is(path, "/status/", &rest)) {
        fixture_respond(conn, atoi(rest), "", "", 0);
    } else if (is(path, "/retry/", &rest)) {
        fixture_respond(conn, 429, retry_after(rest, extra, sizeof extra), "", 0);
    } else if (is(path, "/redirect/", &rest)) {
        int status = atoi(rest);
        snprintf(extra, sizeof extra, "Location: %s\r\n", status ? rest + 4 : rest);
        fixture_respond(conn, status ? status : 302, extra, "", 0);
    } else if (is(path, "/cookie/", &rest)) {
        snprintf(extra, sizeof extra, "Set-Cookie: %s; Path=/\r\n", rest);
        fixture_respond(conn, 200, extra, "", 0);
    } else if (is(path, "/echo", &rest)) {
        fixture_respond(conn, 200, "", conn->input, request_length);
    } else if (is(path, "/nul", &rest)) {
        fixture_respond(conn, 200, "", "a\0b\xff", 4);
    } else {
        fixture_respond(conn, 200, "", page, sizeof page - 1);
    }
    conn->length -= request_length;
    memmove(conn->input, conn->input + request_length, conn->length + 1);
    return 1;
}
