/*
 * A proxy and an origin in one that misbehave on demand, for the tests: what tinyproxy, squid and nginx
 * cannot be told to do. Listens on a free port of 127.0.0.1 and prints "port N". A connection that starts with
 * byte 4 or 5 is SOCKS4(a) or SOCKS5; CONNECT and absolute-form requests are proxied; a plain path is answered (fixture_origin.c).
 * Names ending in .test are 127.0.0.1 here and nowhere else: who resolves them otherwise, fails.
 *
 *   gyre-fixture [--log FILE] [--from ADDRESS] [--fault KIND]
 *
 * KIND, what it does instead of proxying: close, half (closes its half of the connection), cut (closes in mid-headers), garbage,
 * hang, noconnect (hangs when asked to CONNECT), reset, endless (headers without end), full (connections are not even accepted), or a status code. FIXTURE_AUTH=user:password in the environment (never on the command line) asks for credentials.
 * The log has one line a request: METHOD TARGET, and before that milliseconds when FIXTURE_TIMES is set.
 */
#include "fixture.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

static struct sockaddr_in from; /* sin_family is set when --from was given */
static const char *fault = "";
static const char *auth; /* "user:password" or NULL */
static FILE *log_file;

static void on_alloc(uv_handle_t *handle, size_t hint, uv_buf_t *buffer);
static void on_upstream_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buffer);

static void on_closed(uv_handle_t *handle)
{
    struct conn *conn = handle->data;
    if (--conn->handles == 0) free(conn);
}

void fixture_close(struct conn *conn)
{
    if (conn->closing) return;
    conn->closing = 1;
    uv_close((uv_handle_t *)&conn->client, on_closed);
    uv_close((uv_handle_t *)&conn->upstream, on_closed);
    uv_close((uv_handle_t *)&conn->timer, on_closed);
}

/* Ends with RST instead of FIN. */
void fixture_reset(struct conn *conn)
{
    if (conn->closing) return;
    conn->closing = 1;
    uv_tcp_close_reset(&conn->client, on_closed);
    uv_close((uv_handle_t *)&conn->upstream, on_closed);
    uv_close((uv_handle_t *)&conn->timer, on_closed);
}

static void on_written(uv_write_t *request, int status)
{
    struct conn *conn = request->handle->data;
    int last = request->data != NULL;
    free(request);
    if (conn->closing) return;
    if (status < 0 || last)
        fixture_close(conn);
    else if (conn->more)
        conn->more(conn);
    else if (conn->state == RELAY)
        uv_read_start((uv_stream_t *)&conn->upstream, on_alloc, on_upstream_read);
}

static void write_to(struct conn *conn, uv_tcp_t *to, const char *bytes, size_t length, int last)
{
    uv_write_t *request = malloc(sizeof *request + length);
    uv_buf_t buffer = uv_buf_init((char *)(request + 1), (unsigned)length);
    memcpy(buffer.base, bytes, length);
    request->data = last ? conn : NULL;
    if (uv_write(request, (uv_stream_t *)to, &buffer, 1, on_written) < 0) {
        free(request);
        fixture_close(conn);
    }
}

void fixture_send(struct conn *conn, const char *bytes, size_t length, int last)
{
    write_to(conn, &conn->client, bytes, length, last);
}

static void on_shutdown(uv_shutdown_t *request, int status)
{
    (void)status;
    free(request);
}

static void close_half(struct conn *conn)
{
    uv_shutdown_t *request = malloc(sizeof *request);
    conn->state = ANSWERING;
    if (uv_shutdown(request, (uv_stream_t *)&conn->client, on_shutdown) < 0) free(request);
}

static void send_text(struct conn *conn, const char *text, int last)
{
    fixture_send(conn, text, strlen(text), last);
}

static void endless_headers(struct conn *conn)
{
    send_text(conn, "X-Endless: 0123456789012345678901234567890123456789\r\n", 0);
}

void fixture_endless(struct conn *conn)
{
    conn->more = endless_headers;
    send_text(conn, "HTTP/1.1 200 OK\r\n", 0);
}

/* Does what --fault says; 0 when there is no fault. */
static int misbehave(struct conn *conn)
{
    char line[64];
    if (!*fault) return 0;
    if (strcmp(fault, "noconnect") == 0) return conn->tunnel;
    if (strcmp(fault, "close") == 0) {
        fixture_close(conn);
    } else if (strcmp(fault, "reset") == 0) {
        fixture_reset(conn);
    } else if (strcmp(fault, "half") == 0) {
        close_half(conn);
    } else if (strcmp(fault, "cut") == 0) {
        send_text(conn, "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Le", 1);
    } else if (strcmp(fault, "garbage") == 0) {
        send_text(conn, "\x16\x03garbage\xff\xfe that no protocol knows\r\n\r\n", 1);
    } else if (strcmp(fault, "endless") == 0) {
        fixture_endless(conn);
    } else if (strcmp(fault, "hang") != 0) {
        snprintf(line, sizeof line, "HTTP/1.1 %.3s Fault\r\nContent-Length: 0\r\n\r\n", fault);
        send_text(conn, line, 1);
    }
    return 1;
}

static void on_alloc(uv_handle_t *handle, size_t hint, uv_buf_t *buffer)
{
    (void)handle;
    *buffer = uv_buf_init(malloc(hint), (unsigned)hint);
}

static void on_upstream_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buffer)
{
    struct conn *conn = stream->data;
    if (count > 0) {
        fixture_send(conn, buffer->base, (size_t)count, 0);
        if (conn->client.write_queue_size > 1 << 20) uv_read_stop(stream); /* on_written goes on */
    } else if (count < 0) {
        send_text(conn, "", 1); /* after what is still in the queue */
    }
    free(buffer->base);
}

static void on_connected(uv_connect_t *request, int status)
{
    struct conn *conn = request->data;
    free(request);
    if (conn->closing) return;
    if (status < 0) {
        if (conn->socks == 5)
            fixture_send(conn, "\x05\x05\x00\x01\0\0\0\0\0\0", 10, 1);
        else if (conn->socks == 4)
            fixture_send(conn, "\0\x5b\0\0\0\0\0\0", 8, 1);
        else
            send_text(conn, "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", 1);
        return;
    }
    conn->state = RELAY;
    if (conn->socks == 5)
        fixture_send(conn, "\x05\x00\x00\x01\0\0\0\0\0\0", 10, 0);
    else if (conn->socks == 4)
        fixture_send(conn, "\0\x5a\0\0\0\0\0\0", 8, 0);
    else if (conn->tunnel)
        send_text(conn, "HTTP/1.1 200 Connected\r\n\r\n", 0);
    if (conn->length > 0) write_to(conn, &conn->upstream, conn->input, conn->length, 0);
    conn->length = 0;
    uv_read_start((uv_stream_t *)&conn->upstream, on_alloc, on_upstream_read);
}

/* `authority` is host:port, or host alone for port 80. */
static void connect_to(struct conn *conn, char *authority)
{
    struct sockaddr_in address;
    char *colon = strrchr(authority, ':');
    int port = colon ? atoi(colon + 1) : 80;
    uv_connect_t *request = malloc(sizeof *request);
    if (colon) *colon = 0;
    size_t length = strlen(authority);
    int ours = length > 5 && strcmp(authority + length - 5, ".test") == 0;
    if (uv_ip4_addr(ours || strcmp(authority, "localhost") == 0 ? "127.0.0.1" : authority, port, &address) < 0)
        uv_ip4_addr("127.0.0.1", 1, &address); /* unknown name: nobody listens there */
    request->data = conn;
    conn->state = CONNECTING;
    if (from.sin_family) uv_tcp_bind(&conn->upstream, (const struct sockaddr *)&from, 0);
    if (uv_tcp_connect(request, &conn->upstream, (const struct sockaddr *)&address, on_connected) < 0) {
        free(request);
        fixture_close(conn);
    }
}

static void write_log(const char *method, const char *target)
{
    if (!log_file) return;
    if (getenv("FIXTURE_TIMES")) fprintf(log_file, "%llu ", (unsigned long long)(uv_hrtime() / 1000000));
    fprintf(log_file, "%s %s\n", method, target);
    fflush(log_file);
}

static void consume(struct conn *conn, size_t count)
{
    conn->length -= count;
    memmove(conn->input, conn->input + count, conn->length + 1);
}

static void base64(const char *text, char *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t length = strlen(text);
    for (size_t i = 0; i < length; i += 3) {
        size_t left = length - i;
        unsigned v = (unsigned char)text[i] << 16;
        if (left > 1) v |= (unsigned char)text[i + 1] << 8;
        if (left > 2) v |= (unsigned char)text[i + 2];
        *out++ = digits[v >> 18];
        *out++ = digits[v >> 12 & 63];
        *out++ = left > 1 ? digits[v >> 6 & 63] : '=';
        *out++ = left > 2 ? digits[v & 63] : '=';
    }
    *out = 0;
}

static int is_authorised(const char *head)
{
    char want[1024] = "Proxy-Authorization: Basic ";
    if (!auth) return 1;
    base64(auth, want + strlen(want));
    strcat(want, "\r\n");
    return strcasestr(head, want) != NULL;
}

/* Replaces the absolute-form request line and drops the headers meant for a proxy. */
static void rewrite_head(struct conn *conn, const char *method, const char *path, size_t head_length)
{
    char out[INPUT_SIZE * 2], *line, *next;
    size_t used = (size_t)snprintf(out, sizeof out, "%s %s HTTP/1.1\r\nConnection: close\r\n", method, path);
    char *end = conn->input + head_length - 2;
    for (line = strstr(conn->input, "\r\n") + 2; line < end; line = next) {
        next = strstr(line, "\r\n") + 2;
        if (strncasecmp(line, "Proxy-", 6) == 0 || strncasecmp(line, "Connection:", 11) == 0) continue;
        memcpy(out + used, line, (size_t)(next - line));
        used += (size_t)(next - line);
    }
    size_t rest = conn->length - (head_length - 2);
    if (used + rest >= INPUT_SIZE) return fixture_close(conn);
    memcpy(out + used, conn->input + head_length - 2, rest);
    memcpy(conn->input, out, used + rest);
    conn->length = used + rest;
}

/* Of the request that begins the input: with its body, unless that has more than fits. */
static size_t request_length(const struct conn *conn, size_t head_length)
{
    const char *header = strcasestr(conn->input, "\r\nContent-Length:");
    size_t body = header && header < conn->input + head_length ? strtoul(header + 17, NULL, 10) : 0;
    return head_length + body < INPUT_SIZE ? head_length + body : head_length;
}

static int on_http(struct conn *conn)
{
    char method[16], target[4096], authority[256] = "";
    char *end = strstr(conn->input, "\r\n\r\n");
    if (!end) return 0;
    if (sscanf(conn->input, "%15s %4095s", method, target) != 2) return fixture_close(conn), 0;
    size_t head_length = (size_t)(end - conn->input) + 4, length = request_length(conn, head_length);
    if (target[0] == '/' && conn->length < length) return 0;
    write_log(method, target);
    conn->tunnel = strcmp(method, "CONNECT") == 0;
    if (target[0] == '/') return fixture_answer(conn, method, target, length);
    if (misbehave(conn)) return 0;
    if (!is_authorised(conn->input)) {
        send_text(conn, "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"x\"\r\n"
                        "Content-Length: 0\r\nConnection: close\r\n\r\n", 1);
    } else if (conn->tunnel) {
        consume(conn, head_length);
        connect_to(conn, target);
    } else if (sscanf(target, "http://%255[^/]", authority) == 1) {
        const char *path = strchr(target + 7, '/');
        rewrite_head(conn, method, path ? path : "/", head_length);
        connect_to(conn, authority);
    } else {
        fixture_close(conn);
    }
    return 0;
}

static int on_socks_greeting(struct conn *conn)
{
    const unsigned char *in = (const unsigned char *)conn->input;
    if (conn->length < 2 || conn->length < 2u + in[1]) return 0;
    conn->socks = 5;
    if (misbehave(conn)) return 0;
    int method = auth ? 2 : 0;
    if (!memchr(in + 2, method, in[1])) return fixture_send(conn, "\x05\xff", 2, 1), 0;
    fixture_send(conn, auth ? "\x05\x02" : "\x05\x00", 2, 0);
    consume(conn, 2u + in[1]);
    conn->state = auth ? SOCKS_AUTH : SOCKS_REQUEST;
    return 1;
}

static int on_socks_auth(struct conn *conn)
{
    const unsigned char *in = (const unsigned char *)conn->input;
    char got[600];
    if (conn->length < 2 || conn->length < 3u + in[1] || conn->length < 3u + in[1] + in[2 + in[1]]) return 0;
    size_t user = in[1], password = in[2 + user];
    snprintf(got, sizeof got, "%.*s:%.*s", (int)user, (const char *)in + 2, (int)password,
             (const char *)in + 3 + user);
    if (strcmp(got, auth) != 0) return fixture_send(conn, "\x01\x01", 2, 1), 0;
    fixture_send(conn, "\x01\x00", 2, 0);
    consume(conn, 3 + user + password);
    conn->state = SOCKS_REQUEST;
    return 1;
}

static int on_socks_request(struct conn *conn)
{
    const unsigned char *in = (const unsigned char *)conn->input;
    char authority[300];
    size_t used;
    if (conn->length < 10) return 0;
    if (in[3] == 1) {
        used = 10;
        snprintf(authority, sizeof authority, "%d.%d.%d.%d:%d", in[4], in[5], in[6], in[7], in[8] << 8 | in[9]);
    } else {
        used = 7u + in[4];
        if (conn->length < used) return 0;
        snprintf(authority, sizeof authority, "%.*s:%d", in[4], (const char *)in + 5, in[used - 2] << 8 | in[used - 1]);
    }
    write_log("SOCKS5", authority);
    consume(conn, used);
    connect_to(conn, authority);
    return 0;
}

/* The address 0.0.0.x of SOCKS4a: a name follows the user. */
static int on_socks4(struct conn *conn)
{
    const unsigned char *in = (const unsigned char *)conn->input;
    char authority[300];
    conn->socks = 4;
    if (conn->length < 9) return 0;
    const char *user = conn->input + 8, *name = memchr(user, 0, conn->length - 8);
    if (!name) return 0;
    int port = in[2] << 8 | in[3], named = !in[4] && !in[5] && !in[6];
    const char *end = named ? memchr(name + 1, 0, (size_t)(conn->input + conn->length - name - 1)) : name;
    if (!end) return 0;
    if (misbehave(conn)) return 0;
    if (named) snprintf(authority, sizeof authority, "%.255s:%d", name + 1, port);
    else snprintf(authority, sizeof authority, "%d.%d.%d.%d:%d", in[4], in[5], in[6], in[7], port);
    write_log(named ? "SOCKS4a" : "SOCKS4", authority);
    consume(conn, (size_t)(end + 1 - conn->input));
    connect_to(conn, authority);
    return 0;
}

/* One step of the protocol; 1 when another may follow at once. */
static int step(struct conn *conn)
{
    switch (conn->state) {
    case START: return conn->input[0] == 4 ? on_socks4(conn) : conn->input[0] == 5 ? on_socks_greeting(conn) : on_http(conn);
    case SOCKS_AUTH: return on_socks_auth(conn);
    case SOCKS_REQUEST: return on_socks_request(conn);
    default: return 0;
    }
}

static void on_client_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buffer)
{
    struct conn *conn = stream->data;
    if (count < 0) {
        fixture_close(conn);
    } else if (conn->state == RELAY && count > 0) {
        write_to(conn, &conn->upstream, buffer->base, (size_t)count, 0);
    } else if (conn->length + (size_t)count >= INPUT_SIZE) {
        fixture_close(conn);
    } else if (count > 0) {
        memcpy(conn->input + conn->length, buffer->base, (size_t)count);
        conn->length += (size_t)count;
        conn->input[conn->length] = 0;
        while (!conn->closing && conn->length > 0 && step(conn)) {}
    }
    free(buffer->base);
}

static void on_connection(uv_stream_t *listener, int status)
{
    if (status < 0) return;
    struct conn *conn = calloc(1, sizeof *conn);
    conn->handles = 3;
    uv_tcp_init(listener->loop, &conn->client);
    uv_tcp_init(listener->loop, &conn->upstream);
    uv_timer_init(listener->loop, &conn->timer);
    conn->client.data = conn->upstream.data = conn->timer.data = conn;
    if (uv_accept(listener, (uv_stream_t *)&conn->client) < 0) return fixture_close(conn);
    uv_read_start((uv_stream_t *)&conn->client, on_alloc, on_client_read);
}

static int parse_options(int argc, char **argv)
{
    for (int i = 1; i < argc; i += 2) {
        if (i + 1 == argc) return -1;
        if (strcmp(argv[i], "--log") == 0) {
            if (!(log_file = fopen(argv[i + 1], "a"))) return -1;
        } else if (strcmp(argv[i], "--from") == 0) {
            if (uv_ip4_addr(argv[i + 1], 0, &from) < 0) return -1;
        } else if (strcmp(argv[i], "--fault") == 0) {
            fault = argv[i + 1];
        } else {
            return -1;
        }
    }
    auth = getenv("FIXTURE_AUTH");
    return 0;
}

/*
 * A listener whose queue is full, and that accepts nobody: the kernel does not answer who comes then. Without a queue
 * two fit; a third would make sure, were it not for cookies.
 */
static int stay_full(struct sockaddr_in *address)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    socklen_t size = sizeof *address;
    if (bind(fd, (struct sockaddr *)address, size) < 0 || listen(fd, 0) < 0) return 1;
    getsockname(fd, (struct sockaddr *)address, &size);
    for (int i = 0; i < 3; i++) {
        int client = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        connect(client, (struct sockaddr *)address, size);
    }
    printf("port %d\n", ntohs(address->sin_port));
    fflush(stdout);
    for (;;) pause();
}

int main(int argc, char **argv)
{
    uv_loop_t *loop = uv_default_loop();
    uv_tcp_t listener;
    struct sockaddr_in address;
    int length = sizeof address;

    if (parse_options(argc, argv) < 0) {
        fprintf(stderr, "usage: %s [--log FILE] [--from ADDRESS] [--fault KIND]\n", argv[0]);
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    uv_ip4_addr("127.0.0.1", 0, &address);
    if (strcmp(fault, "full") == 0) return stay_full(&address);
    uv_tcp_init(loop, &listener);
    uv_tcp_bind(&listener, (const struct sockaddr *)&address, 0);
    if (uv_listen((uv_stream_t *)&listener, 1024, on_connection) < 0) return 1;
    uv_tcp_getsockname(&listener, (struct sockaddr *)&address, &length);
    printf("port %d\n", ntohs(address.sin_port));
    fflush(stdout);
    return uv_run(loop, UV_RUN_DEFAULT);
}
