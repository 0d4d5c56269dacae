/*
 * What the request benchmarks talk to, made to cost little and to keep connections alive:
 *
 *   net-peer origin [DELAY_MS]    answers every request with 1 KiB, at once or after so long
 *   net-peer proxy COUNT          COUNT forward proxies on ports of their own: the first request of a connection says
 *                                 where to, all that follows is handed on as it is
 *
 * Prints a line "port N" for each port it listens on. Absolute-form requests reach the origin as they are, and it does
 * not mind: nothing is rewritten.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <uv.h>

enum { BODY = 1024, BUFFER = 16384, BACKLOG = 8192 };

struct conn {
    uv_tcp_t side[2]; /* 0: the client's, 1: the origin's */
    uv_timer_t timer;
    int handles, closing, connected;
    unsigned due;     /* origin: answers that wait for the timer */
    size_t length;    /* proxy: of what waits for the connection; origin: how far the end of a head has been seen */
    char waiting[BUFFER];
};

static char answer[256 + BODY];
static size_t answer_size;
static uint64_t delay_ms;
static int is_proxy;
static char scratch[1 << 16]; /* one read at a time: what is read is written or copied before the next */

static void on_closed(uv_handle_t *handle)
{
    struct conn *conn = handle->data;
    if (--conn->handles == 0) free(conn);
}

static void close_conn(struct conn *conn)
{
    if (conn->closing) return;
    conn->closing = 1;
    uv_close((uv_handle_t *)&conn->side[0], on_closed);
    uv_close((uv_handle_t *)&conn->side[1], on_closed);
    uv_close((uv_handle_t *)&conn->timer, on_closed);
}

static void on_written(uv_write_t *request, int status)
{
    struct conn *conn = request->handle->data;
    free(request);
    if (status < 0) close_conn(conn);
}

/* At once where the socket takes it, by a request where it does not. */
static void put(struct conn *conn, int side, const char *bytes, size_t size)
{
    uv_buf_t buffer = uv_buf_init((char *)bytes, (unsigned)size);
    int sent = uv_try_write((uv_stream_t *)&conn->side[side], &buffer, 1);
    size_t done = sent > 0 ? (size_t)sent : 0;
    if (done == size) return;

    uv_write_t *request = malloc(sizeof *request + size - done);
    char *copy = (char *)(request + 1);
    memcpy(copy, bytes + done, size - done);
    buffer = uv_buf_init(copy, (unsigned)(size - done));
    if (uv_write(request, (uv_stream_t *)&conn->side[side], &buffer, 1, on_written) < 0) {
        free(request);
        close_conn(conn);
    }
}

static void on_alloc(uv_handle_t *handle, size_t hint, uv_buf_t *buffer)
{
    (void)handle, (void)hint;
    *buffer = uv_buf_init(scratch, sizeof scratch);
}

/* ---- origin ---- */

static void on_due(uv_timer_t *timer)
{
    struct conn *conn = timer->data;
    for (; conn->due > 0 && !conn->closing; conn->due--) put(conn, 0, answer, answer_size);
}

static void serve(struct conn *conn, const char *bytes, size_t size)
{
    static const char end[] = "\r\n\r\n";
    for (size_t i = 0; i < size; i++) {
        conn->length = bytes[i] == end[conn->length] ? conn->length + 1 : bytes[i] == '\r';
        if (conn->length < 4) continue;
        conn->length = 0;
        conn->due++;
    }
    if (conn->due == 0) return;
    if (delay_ms > 0) uv_timer_start(&conn->timer, on_due, delay_ms, 0);
    else on_due(&conn->timer);
}

/* ---- proxy ---- */

static void on_read_back(uv_stream_t *stream, ssize_t count, const uv_buf_t *buffer)
{
    struct conn *conn = stream->data;
    if (count < 0) close_conn(conn);
    else put(conn, 0, buffer->base, (size_t)count);
}

static void on_connected(uv_connect_t *request, int status)
{
    struct conn *conn = request->data;
    free(request);
    if (conn->closing) return;
    if (status < 0) {
        close_conn(conn);
        return;
    }
    conn->connected = 1;
    if (strncmp(conn->waiting, "CONNECT ", 8) == 0) put(conn, 0, "HTTP/1.1 200 OK\r\n\r\n", 19);
    else put(conn, 1, conn->waiting, conn->length);
    uv_read_start((uv_stream_t *)&conn->side[1], on_alloc, on_read_back);
}

static void connect_to(struct conn *conn)
{
    char host[64];
    int port;
    struct sockaddr_in address;
    if (sscanf(conn->waiting, "CONNECT %63[^:]:%d", host, &port) != 2 &&
        sscanf(conn->waiting, "%*s http://%63[^:]:%d", host, &port) != 2) {
        close_conn(conn);
        return;
    }
    uv_connect_t *request = malloc(sizeof *request);
    request->data = conn;
    uv_ip4_addr(host, port, &address);
    if (uv_tcp_connect(request, &conn->side[1], (const struct sockaddr *)&address, on_connected) < 0) {
        free(request);
        close_conn(conn);
    }
}

static void relay(struct conn *conn, const char *bytes, size_t size)
{
    if (conn->connected) {
        put(conn, 1, bytes, size);
        return;
    }
    size_t before = conn->length;
    if (before + size >= BUFFER) {
        close_conn(conn);
        return;
    }
    memcpy(conn->waiting + before, bytes, size);
    conn->length += size;
    conn->waiting[conn->length] = '\0';
    if (strstr(conn->waiting, "\r\n\r\n")) connect_to(conn);
}

/* ---- both ---- */

static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buffer)
{
    struct conn *conn = stream->data;
    if (count < 0) close_conn(conn);
    else if (is_proxy) relay(conn, buffer->base, (size_t)count);
    else serve(conn, buffer->base, (size_t)count);
}

static void on_connection(uv_stream_t *listener, int status)
{
    if (status < 0) return;
    struct conn *conn = calloc(1, sizeof *conn);
    conn->handles = 3;
    for (int i = 0; i < 2; i++) {
        uv_tcp_init(listener->loop, &conn->side[i]);
        uv_tcp_nodelay(&conn->side[i], 1);
        conn->side[i].data = conn;
    }
    uv_timer_init(listener->loop, &conn->timer);
    conn->timer.data = conn;
    if (uv_accept(listener, (uv_stream_t *)&conn->side[0]) < 0) close_conn(conn);
    else uv_read_start((uv_stream_t *)&conn->side[0], on_alloc, on_read);
}

static int listen_on(uv_loop_t *loop)
{
    uv_tcp_t *listener = malloc(sizeof *listener);
    struct sockaddr_in address;
    int size = sizeof address;

    uv_tcp_init(loop, listener);
    uv_ip4_addr("127.0.0.1", 0, &address);
    uv_tcp_bind(listener, (const struct sockaddr *)&address, 0);
    if (uv_listen((uv_stream_t *)listener, BACKLOG, on_connection) < 0) return -1;
    uv_tcp_getsockname(listener, (struct sockaddr *)&address, &size);
    printf("port %d\n", ntohs(address.sin_port));
    return 0;
}

int main(int argc, char **argv)
{
    uv_loop_t *loop = uv_default_loop();
    is_proxy = argc > 1 && strcmp(argv[1], "proxy") == 0;
    long number = argc > 2 ? atol(argv[2]) : 0;

    if (argc < 2 || (!is_proxy && strcmp(argv[1], "origin") != 0)) {
        fprintf(stderr, "usage: %s origin [DELAY_MS] | proxy COUNT\n", argv[0]);
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    if (!is_proxy) delay_ms = (uint64_t)number;
    int head = snprintf(answer, sizeof answer, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n", BODY);
    memset(answer + head, 'x', BODY);
    answer_size = (size_t)head + BODY;
    for (long i = 0; i < (is_proxy ? number : 1); i++)
        if (listen_on(loop) < 0) return 1;
    fflush(stdout);
    return uv_run(loop, UV_RUN_DEFAULT);
}
