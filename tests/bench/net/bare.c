/*
 * The floor that gyre's requests are measured against: a curl-multi loop and nothing else. No Lua, no pool, no
 * errors told apart; but with everything that makes libcurl fast here, which gyre does too: a CURLM for each proxy,
 * a connection cache that holds all connections, easy handles used again, sockets watched by epoll and not re-registered.
 *
 *   net-bare REQUESTS CONCURRENCY URL PROXY...     proxies in turn
 *
 * Prints: requests, errors, seconds, CPU seconds, peak KiB.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <curl/curl.h>

enum { EVENTS = 512, MAX_FDS = 65536 };

struct shard {
    CURLM *curlm;
    double due; /* when libcurl wants to be called; < 0: not */
    char *proxy;
};

struct buffer {
    char *bytes;
    size_t size, room;
};

struct request {
    CURL *easy;
    struct shard *shard;
    struct request *next;
    struct buffer head, body;
};

static struct shard *shards, *shard_of[MAX_FDS];
static unsigned watched[MAX_FDS]; /* by epoll, 0: not */
static int shard_count, epoll_fd;
static struct request *idle;
static long started, ended, errors, wanted, running;
static const char *url;

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static size_t append(struct buffer *buffer, const char *data, size_t size)
{
    if (buffer->size + size > buffer->room) {
        buffer->room = (buffer->size + size) * 2;
        buffer->bytes = realloc(buffer->bytes, buffer->room);
    }
    memcpy(buffer->bytes + buffer->size, data, size);
    buffer->size += size;
    return size;
}

static size_t on_header(char *data, size_t unit, size_t count, void *owner)
{
    return append(&((struct request *)owner)->head, data, unit * count);
}

static size_t on_body(char *data, size_t unit, size_t count, void *owner)
{
    return append(&((struct request *)owner)->body, data, unit * count);
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *data, void *unused)
{
    (void)easy, (void)unused;
    struct epoll_event event = {.data.fd = fd};
    if (what == CURL_POLL_REMOVE) return 0; /* stays registered: the next request on it asks for the same */
    if (what & CURL_POLL_IN) event.events |= EPOLLIN;
    if (what & CURL_POLL_OUT) event.events |= EPOLLOUT;
    shard_of[fd] = data;
    if (watched[fd] == event.events) return 0;
    epoll_ctl(epoll_fd, watched[fd] ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event);
    watched[fd] = event.events;
    return 0;
}

static int on_close(void *data, curl_socket_t fd)
{
    (void)data;
    if (watched[fd]) epoll_ctl(epoll_fd, EPOLL_CTL_DEL, fd, NULL);
    watched[fd] = 0;
    return close(fd);
}

static int on_timer(CURLM *curlm, long ms, void *data)
{
    struct shard *shard = data;
    (void)curlm;
    shard->due = ms < 0 ? -1 : now() + (double)ms / 1000;
    return 0;
}

static void start(void)
{
    struct request *request = idle;
    if (request) {
        idle = request->next;
    } else {
        request = calloc(1, sizeof *request);
        request->easy = curl_easy_init();
        curl_easy_setopt(request->easy, CURLOPT_PRIVATE, request);
        curl_easy_setopt(request->easy, CURLOPT_WRITEFUNCTION, on_body);
        curl_easy_setopt(request->easy, CURLOPT_WRITEDATA, request);
        curl_easy_setopt(request->easy, CURLOPT_CLOSESOCKETFUNCTION, on_close);
        curl_easy_setopt(request->easy, CURLOPT_NOSIGNAL, 1L);
        curl_easy_setopt(request->easy, CURLOPT_NOPROXY, "");
        curl_easy_setopt(request->easy, CURLOPT_USERAGENT, "gyre/bench"); /* the same request, byte for byte nearly */
        curl_easy_setopt(request->easy, CURLOPT_ACCEPT_ENCODING, "");
        curl_easy_setopt(request->easy, CURLOPT_HEADERFUNCTION, on_header);
        curl_easy_setopt(request->easy, CURLOPT_HEADERDATA, request);
        curl_easy_setopt(request->easy, CURLOPT_TIMEOUT_MS, 60000L);
        curl_easy_setopt(request->easy, CURLOPT_BUFFERSIZE, wanted > 1000 ? 4096L : 16384L);
    }
    request->shard = &shards[started++ % shard_count];
    request->head.size = request->body.size = 0;
    curl_easy_setopt(request->easy, CURLOPT_URL, url);
    curl_easy_setopt(request->easy, CURLOPT_PROXY, request->shard->proxy);
    curl_multi_add_handle(request->shard->curlm, request->easy);
    running++;
}

static void drain(struct shard *shard, long requests)
{
    CURLMsg *message;
    int left;
    while ((message = curl_multi_info_read(shard->curlm, &left))) {
        struct request *request;
        char *private;
        if (message->msg != CURLMSG_DONE) continue;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &private);
        request = (struct request *)(void *)private;
        long status = 0;
        curl_easy_getinfo(request->easy, CURLINFO_RESPONSE_CODE, &status);
        errors += message->data.result != CURLE_OK || status != 200 || request->body.size == 0;
        curl_multi_remove_handle(shard->curlm, request->easy);
        request->next = idle;
        idle = request;
        running--;
        ended++;
    }
    while (running < wanted && started < requests) start();
}

static int wait_ms(void)
{
    double soonest = 1, t = now();
    for (int i = 0; i < shard_count; i++)
        if (shards[i].due >= 0 && shards[i].due - t < soonest) soonest = shards[i].due - t;
    return soonest <= 0 ? 0 : (int)(soonest * 1000 + 0.999);
}

static void turn(long requests)
{
    struct epoll_event events[EVENTS];
    int still, count = epoll_wait(epoll_fd, events, EVENTS, wait_ms());
    for (int i = 0; i < count; i++) {
        int fd = events[i].data.fd, flags = 0;
        if (!watched[fd]) continue;
        if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) flags |= CURL_CSELECT_IN;
        if (events[i].events & EPOLLOUT) flags |= CURL_CSELECT_OUT;
        curl_multi_socket_action(shard_of[fd]->curlm, fd, flags, &still);
        drain(shard_of[fd], requests);
    }
    for (int i = 0; i < shard_count; i++) {
        if (shards[i].due < 0 || shards[i].due > now()) continue;
        shards[i].due = -1;
        curl_multi_socket_action(shards[i].curlm, CURL_SOCKET_TIMEOUT, 0, &still);
        drain(&shards[i], requests);
    }
}

int main(int argc, char **argv)
{
    if (argc < 5) return fprintf(stderr, "usage: %s REQUESTS CONCURRENCY URL PROXY...\n", argv[0]), 2;
    long requests = atol(argv[1]);
    wanted = atol(argv[2]);
    url = argv[3];
    shard_count = argc - 4;
    shards = calloc((size_t)shard_count, sizeof *shards);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    for (int i = 0; i < shard_count; i++) {
        shards[i] = (struct shard){curl_multi_init(), -1, argv[4 + i]};
        curl_multi_setopt(shards[i].curlm, CURLMOPT_SOCKETFUNCTION, on_socket);
        curl_multi_setopt(shards[i].curlm, CURLMOPT_SOCKETDATA, &shards[i]);
        curl_multi_setopt(shards[i].curlm, CURLMOPT_TIMERFUNCTION, on_timer);
        curl_multi_setopt(shards[i].curlm, CURLMOPT_TIMERDATA, &shards[i]);
        curl_multi_setopt(shards[i].curlm, CURLMOPT_MAXCONNECTS, 2 * wanted + 16);
    }
    struct rusage before, after;
    getrusage(RUSAGE_SELF, &before);
    double began = now();
    while (running < wanted && started < requests) start();
    while (ended < requests) turn(requests);
    double took = now() - began;
    getrusage(RUSAGE_SELF, &after);
    double cpu = (double)(after.ru_utime.tv_sec - before.ru_utime.tv_sec + after.ru_stime.tv_sec - before.ru_stime.tv_sec) +
                 (double)(after.ru_utime.tv_usec - before.ru_utime.tv_usec + after.ru_stime.tv_usec - before.ru_stime.tv_usec) / 1e6;
    printf("%ld %ld %.3f %.3f %ld\n", ended, errors, took, cpu, after.ru_maxrss);
    return errors > 0;
}
