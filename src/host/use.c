/*
 * use.c: gyre_host_use, strategies in Lua for C programs. Owns a Lua state a thread, made on the thread's first acquire and
 * closed when it ends, and in each what lua/gyre/hosted.lua gives for each pool. The core calls in through its hook; Lua is
 * entered by gyre__host_invoke only, with no lock held.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host.h"

/* What C and Lua say to each other; the same in lua/gyre/hosted.lua. */
struct gyre_host_call {
    const struct gyre_request *request;
    struct gyre_lease *lease;
    const struct gyre_outcome *outcome;
    const char *source, *options, *detail;
    int32_t code;
    uint32_t reserved;
};

/* A pool with our hook. Lives until the pool is closed and no thread's state knows it any more. */
struct use {
    struct use *next; /* in `uses`, while the pool is open */
    struct gyre_pool *pool;
    unsigned references, closed; /* atomics */
};

/* A pool in the state of a thread. */
struct attachment {
    struct attachment *next;
    struct use *use;
    int broken; /* this thread's state could not be made, or has no place for it */
    int known; /* a call before this one has tried it */
    int acquire, complete, change, detach; /* registry references */
    struct gyre_host_call call;
};

struct own {
    struct gyre_host *host;
    struct attachment *attachments;
    int inside; /* Lua is running: the state must not be entered again */
};

static __thread struct own *own __attribute__((tls_model("initial-exec")));
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of `uses`; taken by nobody who holds another lock */
static struct use *uses;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static int key_failed;
static unsigned attachments_made;

static const struct gyre_request nothing;

/* ---- uses ---- */

static void release(struct use *use)
{
    if (__atomic_sub_fetch(&use->references, 1, __ATOMIC_ACQ_REL) == 0) free(use);
}

static int is_closed(const struct use *use)
{
    return __atomic_load_n(&use->closed, __ATOMIC_ACQUIRE) != 0;
}

/* ---- this thread's state ---- */

/* The pool is closed, or the thread ends: Lua forgets it. */
static void drop_attachment(struct own *thread, struct attachment *attachment, int state_goes_on)
{
    if (state_goes_on && !attachment->broken) {
        lua_State *L = gyre_host_state(thread->host);
        thread->inside = 1; /* what is collected meanwhile may be the script's, and call the core */
        gyre__host_invoke(thread->host, attachment->detach);
        thread->inside = 0;
        luaL_unref(L, LUA_REGISTRYINDEX, attachment->acquire);
        luaL_unref(L, LUA_REGISTRYINDEX, attachment->complete);
        luaL_unref(L, LUA_REGISTRYINDEX, attachment->change);
        luaL_unref(L, LUA_REGISTRYINDEX, attachment->detach);
    }
    release(attachment->use);
    free(attachment);
}

/* The end of a thread. Pools may have been closed long ago: the state holds handles that it only borrowed. */
static void end_thread(void *data)
{
    struct own *thread = data;
    own = NULL;
    gyre_host_close(thread->host);
    while (thread->attachments) {
        struct attachment *attachment = thread->attachments;
        thread->attachments = attachment->next;
        drop_attachment(thread, attachment, 0);
    }
    free(thread);
}

static void before_fork(void)
{
    pthread_mutex_lock(&lock);
}

static void after_fork(void)
{
    pthread_mutex_unlock(&lock);
}

static void start_up(void)
{
    key_failed = pthread_key_create(&key, end_thread) != 0;
    pthread_atfork(before_fork, after_fork, after_fork);
}

/* The folder of the Lua modules that were installed with this library, in `folder`; NULL when it has none. */
static const char *installed_modules(char *folder, size_t size)
{
    char probe[4096];
    Dl_info info;

    if (!dladdr(&once, &info)) return NULL;
    const char *slash = strrchr(info.dli_fname, '/');
    int length = snprintf(folder, size, "%.*s" GYRE_LUA_FROM_LIBRARY, slash ? (int)(slash + 1 - info.dli_fname) : 0, info.dli_fname);
    if (length < 0 || (size_t)length >= size) return NULL;
    length = snprintf(probe, sizeof probe, "%s/gyre/hosted.lua", folder);
    return length > 0 && (size_t)length < sizeof probe && access(probe, R_OK) == 0 ? folder : NULL;
}

/* The calling thread's state, made when there is none; NULL without memory. */
static struct own *open_thread(void)
{
    char folder[4096];
    const char *named = getenv("GYRE_LUA_PATH");
    struct gyre_host_options options = {.size = sizeof options,
                                        .lua_path = named && *named ? named : installed_modules(folder, sizeof folder)};
    pthread_once(&once, start_up);
    struct own *thread = key_failed ? NULL : calloc(1, sizeof *thread);
    if (!thread) return NULL;
    if (gyre_host_open(&options, &thread->host) < 0 || pthread_setspecific(key, thread) != 0) {
        gyre_host_close(thread->host);
        free(thread);
        return NULL;
    }
    return own = thread;
}

/* require "gyre.hosted". When there is none, what to do about it comes first: LuaJIT's list of places is longer than what
 * gyre_detail() holds. stack: - -> f; raises */
static void require_hosted(lua_State *L)
{
    static const char missing[] = "module 'gyre.hosted' not found";

    lua_getglobal(L, "require");
    lua_pushliteral(L, "gyre.hosted");
    if (lua_pcall(L, 1, 1, 0) == 0) return; /* stack: f */
    const char *text = lua_tostring(L, -1); /* stack: error */
    if (text && strncmp(text, missing, sizeof missing - 1) == 0)
        lua_pushfstring(L, "gyre's Lua modules were not installed with libgyre-host, nor are they where LuaJIT looks, and GYRE_LUA_PATH %s: %s",
                        own->host->lua_path ? "names no folder of them" : "is not set", text); /* stack: error error */
    lua_error(L);
}

/* Puts hosted.lua's function for this pool on the stack and calls it. stack: attachment -> -; raises */
static int attach(lua_State *L)
{
    struct attachment *attachment = lua_touserdata(L, 1);
    unsigned owner = __atomic_add_fetch(&attachments_made, 1, __ATOMIC_RELAXED);

    require_hosted(L); /* stack: attachment f */
    lua_pushlightuserdata(L, attachment->use->pool);
    lua_pushlightuserdata(L, &attachment->call);
    lua_pushinteger(L, sizeof attachment->call);
    lua_pushlightuserdata(L, (void *)(uintptr_t)gyre_version());
    lua_pushinteger(L, (lua_Integer)owner);
    lua_call(L, 5, 4); /* stack: attachment acquire complete change detach */
    attachment->detach = luaL_ref(L, LUA_REGISTRYINDEX);
    attachment->change = luaL_ref(L, LUA_REGISTRYINDEX);
    attachment->complete = luaL_ref(L, LUA_REGISTRYINDEX);
    attachment->acquire = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

static void enter(struct own *thread, struct attachment *attachment)
{
    thread->inside = 1;
    attachment->broken = gyre__host_protect(thread->host, attach, attachment) < 0;
    thread->inside = 0;
}

/* A pool that this thread has not seen. NULL without memory; it may be broken, then the host's error says why. */
static struct attachment *add_attachment(struct own *thread, struct use *use)
{
    struct attachment *attachment = calloc(1, sizeof *attachment);
    if (!attachment) return NULL;
    attachment->use = use;
    __atomic_add_fetch(&use->references, 1, __ATOMIC_RELAXED);
    attachment->next = thread->attachments;
    thread->attachments = attachment;
    enter(thread, attachment);
    return attachment;
}

/* Also takes out what belongs to closed pools. */
static struct attachment *find_attachment(struct own *thread, const struct use *use)
{
    for (struct attachment **at = &thread->attachments; *at;) {
        struct attachment *attachment = *at;
        if (attachment->use == use) {
            attachment->known = 1;
            return attachment;
        }
        if (is_closed(attachment->use)) {
            *at = attachment->next;
            drop_attachment(thread, attachment, 1);
        } else {
            at = &attachment->next;
        }
    }
    return NULL;
}

/* NULL where Lua cannot be entered. */
static struct attachment *attachment_of(struct use *use)
{
    struct own *thread = own ? own : open_thread();
    if (!thread || thread->inside) return NULL;
    struct attachment *attachment = find_attachment(thread, use);
    return attachment ? attachment : add_attachment(thread, use);
}

/* Enters Lua. 0 or a GYRE_E*, with the detail set. */
static int invoke(struct attachment *attachment, int function)
{
    struct own *thread = own;
    attachment->call.code = GYRE_ESYSTEM;
    attachment->call.detail = "";
    thread->inside = 1;
    int status = gyre__host_invoke(thread->host, function);
    thread->inside = 0;
    if (status < 0) return gyre_hook_fail(GYRE_ESYSTEM, gyre_host_error(thread->host)->text);
    return attachment->call.code < 0 ? gyre_hook_fail(attachment->call.code, attachment->call.detail) : 0;
}

/* ---- the hook ---- */

static int is_empty(const struct gyre_request *request)
{
    size_t from = offsetof(struct gyre_request, exclude);
    return memcmp((const char *)request + from, (const char *)&nothing + from, sizeof nothing - from) == 0;
}

static int pass(struct use *use)
{
    if (!own || !own->inside) gyre_counter_add(use->pool, "without Lua", 1, NULL);
    return GYRE_HOOK_PASS;
}

static int hook_acquire(void *data, const struct gyre_request *request, struct gyre_lease *lease)
{
    struct attachment *attachment = attachment_of(data);
    if (!attachment || attachment->broken) return pass(data);
    attachment->call.request = request && !is_empty(request) ? request : NULL;
    attachment->call.lease = lease;
    int result = invoke(attachment, attachment->acquire);
    return result == GYRE_ESYSTEM ? pass(data) : result;
}

static void hook_complete(void *data, const struct gyre_lease *lease, const struct gyre_outcome *outcome)
{
    struct gyre_lease copy = *lease;
    struct attachment *attachment = attachment_of(data);
    if (!attachment || attachment->broken) return;
    attachment->call.lease = &copy;
    attachment->call.outcome = outcome;
    invoke(attachment, attachment->complete);
}

static void hook_close(void *data)
{
    struct use *use = data;
    pthread_mutex_lock(&lock);
    for (struct use **at = &uses; *at; at = &(*at)->next) {
        if (*at != use) continue;
        *at = use->next;
        break;
    }
    pthread_mutex_unlock(&lock);
    __atomic_store_n(&use->closed, 1, __ATOMIC_RELEASE); /* pairs with is_closed */
    release(use);
}

/* Caller holds the lock. */
static int make_use(struct gyre_pool *pool, struct use **made)
{
    struct use *use = calloc(1, sizeof *use);
    if (!use) return gyre_hook_fail(GYRE_ESYSTEM, "no memory for a hook");
    struct gyre_hook hook = {.size = sizeof hook, .data = use, .acquire = hook_acquire, .complete = hook_complete,
                             .close = hook_close};
    use->pool = pool;
    use->references = 1;
    int bad = gyre_pool_hook(pool, &hook);
    if (bad) {
        free(use);
        return bad;
    }
    use->next = uses;
    *made = uses = use;
    return 0;
}

/* The use of an open pool, made when there is none. */
static int use_of(struct gyre_pool *pool, struct use **found)
{
    int result = 0;
    pthread_mutex_lock(&lock);
    for (*found = uses; *found && (*found)->pool != pool;) *found = (*found)->next;
    if (!*found) result = make_use(pool, found);
    pthread_mutex_unlock(&lock);
    return result;
}

/* ---- public ---- */

GYRE_API int gyre_host_use(struct gyre_pool *pool, const char *source, const char *options)
{
    struct use *use;
    if (!pool) return gyre_hook_fail(GYRE_EINVALID, "no pool");
    int bad = use_of(pool, &use);
    if (bad) return bad;
    struct attachment *attachment = attachment_of(use);
    if (!attachment) return gyre_hook_fail(GYRE_ESYSTEM, "no memory for a Lua state, or called by a strategy");
    if (attachment->broken && attachment->known) enter(own, attachment); /* another try */
    if (attachment->broken) return gyre_hook_fail(GYRE_ESYSTEM, gyre_host_error(own->host)->text);
    if (!source) return 0;
    attachment->call.source = source;
    attachment->call.options = options;
    return invoke(attachment, attachment->change);
}

GYRE_API void gyre_host_thread_end(void)
{
    struct own *thread = own;
    if (!thread || thread->inside) return;
    pthread_setspecific(key, NULL);
    end_thread(thread);
}
