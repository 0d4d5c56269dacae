/*
 * multi.c: drives CURLMs by a libuv loop.
 * Owns the CURLMs, their timers and one uv_poll per socket. May call libcurl and libuv. Never calls
 * curl_multi_add_handle or _remove_handle inside a libcurl callback, and never Lua.
 *
 * The uv_poll of a socket lives as long as the socket: libcurl asks for it to be removed after every request, and
 * closing and making it each time costs 15-20 % of a request. It is stopped on the first event nobody wants, and
 * closed by the CLOSESOCKETFUNCTION.
 */
#include "multi.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct gyre__shard {
    struct gyre__multi *multi;
    CURLM *curlm;
    uv_timer_t timer;
    unsigned running;
    struct gyre__call *lost; /* see set_socket() */
    unsigned max_connects; /* what CURLMOPT_MAXCONNECTS is set to */
};

struct gyre__poll {
    uv_poll_t handle;
    struct gyre__shard *shard;
    curl_socket_t fd;
    int wanted;  /* what libcurl waits for: UV_READABLE | UV_WRITABLE */
    int started; /* what libuv watches */
    int active;  /* the handle has been initialised */
    int ours;    /* opened by open_socket: the CLOSESOCKETFUNCTION will tell of its end */
};

enum {
    IDLE_CONNECTIONS = 16, /* kept per shard beyond those in use */
    RUNNING_PER_SHARD = 8, /* at least, where few may run: a CURLM has two descriptors of its own */
};

static void admit(struct gyre__multi *multi);
static void take_out(struct gyre__multi *multi, struct gyre__call *call);
static int watch(struct gyre__multi *multi, struct gyre__poll *poll);

/* Hands finished transfers to their owners. Outside of any libcurl callback. */
static void drain(struct gyre__shard *shard)
{
    struct gyre__multi *multi = shard->multi;
    CURLMsg *message;
    int left;

    while ((message = curl_multi_info_read(shard->curlm, &left))) {
        if (message->msg != CURLMSG_DONE) continue;
        CURLcode code = message->data.result; /* the message is gone once the handle is removed */
        char *private = NULL;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &private);
        struct gyre__call *call = (struct gyre__call *)(void *)private;
        take_out(multi, call);
        call->done(call, code);
    }
    while (shard->lost) {
        struct gyre__call *call = shard->lost;
        take_out(multi, call);
        call->done(call, CURLE_OUT_OF_MEMORY);
    }
    admit(multi);
}

static void on_timer(uv_timer_t *timer)
{
    struct gyre__shard *shard = timer->data;
    int running;
    curl_multi_socket_action(shard->curlm, CURL_SOCKET_TIMEOUT, 0, &running);
    drain(shard);
}

static int set_timer(CURLM *curlm, long timeout_ms, void *data)
{
    struct gyre__shard *shard = data;
    (void)curlm;
    if (timeout_ms < 0) uv_timer_stop(&shard->timer);
    else uv_timer_start(&shard->timer, on_timer, (uint64_t)timeout_ms, 0);
    return 0;
}

/*
 * On EPOLLERR libuv stops a poll and tells nothing more. What the error is, libcurl learns by reading and writing;
 * told CURL_CSELECT_ERR it would not try a fresh connection where an old one has died. Returns the events to report.
 */
static int recover(struct gyre__poll *poll)
{
    poll->started = 0;
    if (poll->wanted) watch(poll->shard->multi, poll);
    return poll->wanted;
}

static void on_poll(uv_poll_t *handle, int status, int events)
{
    struct gyre__poll *poll = handle->data;
    struct gyre__shard *shard = poll->shard;
    int flags = 0, running;

    if (status < 0) events = recover(poll);
    if (!poll->wanted) { /* the peer closed an idle connection, mostly; libcurl sees it when it next looks */
        uv_poll_stop(handle);
        poll->started = 0;
        return;
    }
    if (events & UV_READABLE) flags |= CURL_CSELECT_IN;
    if (events & UV_WRITABLE) flags |= CURL_CSELECT_OUT;
    curl_multi_socket_action(shard->curlm, poll->fd, flags, &running); /* may close the poll */
    drain(shard);
}

static void free_poll(uv_handle_t *handle)
{
    free(handle->data);
}

static void close_poll(struct gyre__multi *multi, struct gyre__poll *poll)
{
    multi->polls[poll->fd] = NULL;
    if (poll->ours) multi->sockets--;
    if (poll->active) uv_close((uv_handle_t *)&poll->handle, free_poll);
    else free(poll);
}

/* The entry of a socket, made when absent; NULL: no memory. */
static struct gyre__poll *find_poll(struct gyre__multi *multi, curl_socket_t fd)
{
    if ((unsigned)fd >= multi->poll_count) {
        unsigned count = ((unsigned)fd + 1) * 2;
        struct gyre__poll **polls = realloc(multi->polls, count * sizeof(struct gyre__poll *));
        if (!polls) return NULL;
        memset(polls + multi->poll_count, 0, (count - multi->poll_count) * sizeof(struct gyre__poll *));
        multi->polls = polls;
        multi->poll_count = count;
    }
    struct gyre__poll *poll = multi->polls[fd];
    if (poll) return poll;
    if (!(poll = calloc(1, sizeof *poll))) return NULL;
    poll->fd = fd;
    return multi->polls[fd] = poll;
}

static int watch(struct gyre__multi *multi, struct gyre__poll *poll)
{
    if (!poll->active) {
        if (uv_poll_init_socket(multi->loop, &poll->handle, poll->fd) < 0) return -1;
        poll->handle.data = poll;
        poll->active = 1;
    }
    if (poll->started == poll->wanted) return 0;
    if (uv_poll_start(&poll->handle, poll->wanted, on_poll) < 0) return -1;
    poll->started = poll->wanted;
    return 0;
}

/* Without a word libcurl closes the resolver's socket pair, and a socket that is still connecting when its transfer is
 * cancelled: libuv aborts the program when it finds one of those closed. */
static void unwatch(struct gyre__multi *multi, curl_socket_t fd)
{
    struct gyre__poll *poll = (unsigned)fd < multi->poll_count ? multi->polls[fd] : NULL;
    if (!poll) return;
    poll->wanted = 0;
    if (!poll->ours || fcntl(fd, F_GETFD) < 0) close_poll(multi, poll);
}

/* No memory to watch its socket: it ends when libcurl has returned. */
static void lose(struct gyre__shard *shard, CURL *easy)
{
    char *private = NULL;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, &private);
    struct gyre__call *call = (struct gyre__call *)(void *)private;
    if (!call || call->is_lost) return;
    call->is_lost = 1;
    call->next = shard->lost;
    shard->lost = call;
}

/* CURLMOPT_SOCKETFUNCTION. Never says that it failed: libcurl would give up the whole CURLM, with all its transfers, and set
 * no timer any more that they could end by. */
static int set_socket(CURL *easy, curl_socket_t fd, int what, void *data, void *unused)
{
    struct gyre__shard *shard = data;
    struct gyre__multi *multi = shard->multi;
    (void)unused;

    if (what == CURL_POLL_REMOVE) {
        unwatch(multi, fd);
        return 0;
    }
    struct gyre__poll *poll = find_poll(multi, fd);
    if (poll) {
        poll->shard = shard;
        poll->wanted = (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0);
    }
    if (!poll || watch(multi, poll) < 0) lose(shard, easy);
    return 0;
}

static void forget_poll(struct gyre__multi *multi, curl_socket_t fd)
{
    if (fd >= 0 && (unsigned)fd < multi->poll_count && multi->polls[fd]) close_poll(multi, multi->polls[fd]);
}

static curl_socket_t open_socket(void *data, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct gyre__call *call = data;
    (void)purpose;

    int fd = socket(address->family, address->socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, address->protocol);
    forget_poll(call->multi, fd); /* of a socket that had this number and was closed without a word */
    struct gyre__poll *poll = fd < 0 ? NULL : find_poll(call->multi, fd);
    if (!poll) {
        if (errno != EAFNOSUPPORT) call->socket_errno = errno; /* no IPv6 here: libcurl tries the next address */
        if (fd >= 0) close(fd);
        return CURL_SOCKET_BAD;
    }
    poll->ours = 1;
    call->multi->sockets++;
    return fd;
}

static int close_socket(void *data, curl_socket_t fd)
{
    struct gyre__multi *multi = data;
    forget_poll(multi, fd);
    return close(fd);
}

static struct gyre__shard *find_shard(struct gyre__multi *multi, unsigned index)
{
    struct gyre__shard *shard = multi->shards[index];
    if (shard) return shard;

    if (!(shard = calloc(1, sizeof *shard))) return NULL;
    if (!(shard->curlm = curl_multi_init())) {
        free(shard);
        return NULL;
    }
    shard->multi = multi;
    uv_timer_init(multi->loop, &shard->timer);
    shard->timer.data = shard;
    curl_multi_setopt(shard->curlm, CURLMOPT_SOCKETFUNCTION, set_socket);
    curl_multi_setopt(shard->curlm, CURLMOPT_SOCKETDATA, shard);
    curl_multi_setopt(shard->curlm, CURLMOPT_TIMERFUNCTION, set_timer);
    curl_multi_setopt(shard->curlm, CURLMOPT_TIMERDATA, shard);
    return multi->shards[index] = shard;
}

/*
 * libcurl's default keeps four connections per easy handle, so rotation never meets one again. Room for all in
 * use and some idle ones; it only grows, and in steps, since shrinking closes what is busy a moment later.
 */
static void make_room(struct gyre__shard *shard)
{
    unsigned wanted = shard->running + shard->running / 4 + IDLE_CONNECTIONS;
    if (wanted <= shard->max_connects) return;
    shard->max_connects = wanted + wanted / 4;
    curl_multi_setopt(shard->curlm, CURLMOPT_MAXCONNECTS, (long)shard->max_connects);
}

static void free_shard(uv_handle_t *handle)
{
    free(handle->data);
}

/* Closes its idle connections, and their polls with them. Nothing runs in it. */
static void close_shard(struct gyre__multi *multi, unsigned index)
{
    struct gyre__shard *shard = multi->shards[index];
    curl_multi_cleanup(shard->curlm);
    uv_close((uv_handle_t *)&shard->timer, free_shard);
    multi->shards[index] = NULL;
}

/* What a shard may keep then: its share of what is for idle connections. */
static unsigned idle_under_pressure(const struct gyre__multi *multi)
{
    unsigned share = (multi->max_sockets - multi->max_running) / multi->shard_count;
    return share < 1 ? 1 : share < IDLE_CONNECTIONS ? share : IDLE_CONNECTIONS;
}

/*
 * The descriptors are nearly used up while less than max_running transfers run: idle connections have them, in shards that
 * were busy before. Those where nothing runs go; the others get no more idle ones than at first, as their transfers end.
 */
static void relieve(struct gyre__multi *multi)
{
    for (unsigned i = 0; i < GYRE__SHARDS; i++) {
        struct gyre__shard *shard = multi->shards[i];
        if (!shard) continue;
        if (shard->running == 0) {
            close_shard(multi, i);
        } else if (shard->max_connects > shard->running + idle_under_pressure(multi)) {
            shard->max_connects = shard->running + idle_under_pressure(multi);
            curl_multi_setopt(shard->curlm, CURLMOPT_MAXCONNECTS, (long)shard->max_connects);
        }
    }
}

/* Whether one more may start. When even relieve() leaves too many connections, it has to wait until a transfer ends. */
static int has_room(struct gyre__multi *multi)
{
    if (multi->running >= multi->max_running) return 0;
    if (multi->sockets >= multi->max_sockets) relieve(multi);
    return multi->running == 0 || multi->sockets < multi->max_sockets + multi->max_sockets / 8;
}

static int start(struct gyre__multi *multi, struct gyre__call *call)
{
    struct gyre__shard *shard = find_shard(multi, call->shard);
    if (!shard) return -ENOMEM;
    shard->running++;
    make_room(shard);
    if (curl_multi_add_handle(shard->curlm, call->easy) != CURLM_OK) {
        shard->running--;
        return -ENOMEM;
    }
    call->state = GYRE__CALL_RUNNING;
    multi->running++;
    return 0;
}

/* Starts what waits while there is room. Outside of any libcurl callback. */
static void admit(struct gyre__multi *multi)
{
    while (multi->queue && has_room(multi)) {
        struct gyre__call *call = multi->queue;
        take_out(multi, call);
        if (start(multi, call) < 0) call->done(call, CURLE_OUT_OF_MEMORY);
    }
}

int gyre__multi_add(struct gyre__multi *multi, struct gyre__call *call)
{
    call->shard %= multi->shard_count; /* where fewer may run: an identity's are the same each time still */
    if (!multi->queue && has_room(multi)) return start(multi, call);
    call->state = GYRE__CALL_QUEUED;
    call->next = NULL;
    *multi->queue_tail = call;
    multi->queue_tail = &call->next;
    return 0;
}

static void unqueue(struct gyre__multi *multi, struct gyre__call *call)
{
    struct gyre__call **link = &multi->queue;
    while (*link && *link != call) link = &(*link)->next;
    if (!*link) return;
    *link = call->next;
    if (!*link) multi->queue_tail = link;
}

static void find_again(struct gyre__shard *shard, struct gyre__call *call)
{
    struct gyre__call **link = &shard->lost;
    while (*link != call) link = &(*link)->next;
    *link = call->next;
    call->is_lost = 0;
}

static void take_out(struct gyre__multi *multi, struct gyre__call *call)
{
    if (call->state == GYRE__CALL_QUEUED) {
        unqueue(multi, call);
    } else if (call->state == GYRE__CALL_RUNNING) {
        struct gyre__shard *shard = multi->shards[call->shard];
        if (call->is_lost) find_again(shard, call);
        curl_multi_remove_handle(shard->curlm, call->easy);
        shard->running--;
        multi->running--;
    }
    call->state = GYRE__CALL_IDLE;
}

void gyre__multi_remove(struct gyre__multi *multi, struct gyre__call *call)
{
    take_out(multi, call);
    admit(multi); /* no transfer may be left whose end would do it */
}

void gyre__multi_stop(struct gyre__multi *multi)
{
    multi->max_running = 0;
}

void gyre__multi_adopt(struct gyre__multi *multi, struct gyre__call *call)
{
    CURL *easy = call->easy;

    call->multi = multi;
    curl_easy_setopt(easy, CURLOPT_PRIVATE, call);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, open_socket);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, call);
    curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, close_socket);
    curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, multi);
}

unsigned gyre__multi_sockets(unsigned max_running)
{
    return max_running + max_running * 3 / 10;
}

int gyre__multi_init(struct gyre__multi *multi, uv_loop_t *loop, unsigned max_running)
{
    memset(multi, 0, sizeof *multi);
    multi->loop = loop;
    multi->max_running = max_running;
    multi->shard_count = max_running / RUNNING_PER_SHARD;
    if (multi->shard_count < 1) multi->shard_count = 1;
    if (multi->shard_count > GYRE__SHARDS) multi->shard_count = GYRE__SHARDS;
    multi->max_sockets = gyre__multi_sockets(max_running);
    multi->queue_tail = &multi->queue;
    if (!(multi->dns = curl_share_init())) return -ENOMEM;
    curl_share_setopt(multi->dns, CURLSHOPT_SHARE, CURL_LOCK_DATA_DNS); /* one thread: no lock functions */
    /* Of a handle that gets another share later; which has their use turned off, so that nobody shares any. Without, the handle
     * makes a table of its own, which libcurl 7.88 loses when the other share comes. */
    curl_share_setopt(multi->dns, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
    return 0;
}

void gyre__multi_close(struct gyre__multi *multi)
{
    for (unsigned i = 0; i < GYRE__SHARDS; i++)
        if (multi->shards[i]) close_shard(multi, i);
    for (unsigned i = 0; i < multi->poll_count; i++)
        if (multi->polls[i]) close_poll(multi, multi->polls[i]);
    free(multi->polls);
    multi->polls = NULL;
    multi->poll_count = 0;
    curl_share_cleanup(multi->dns);
    multi->dns = NULL;
}
