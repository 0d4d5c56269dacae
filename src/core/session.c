/*
 * Sticky sessions: which proxy an id has. Owns the table drawn in session.h. May pick and lease through lease.c, also
 * while it holds the locks of an id's two buckets: that is what makes get-or-assign one step for any number of threads and
 * processes. Never takes a bucket's lock under the segment's.
 */
#include "lease.h"
#include "session.h"

#define FIRST_FILL 10u /* below so many an id's first bucket is taken without comparing: most are found there at once */
#define HAND_IN 256u

bool gyre__session_letter(unsigned char c)
{
    static const bool letters[256] = {['a' ... 'z'] = true, ['A' ... 'Z'] = true, ['0' ... '9'] = true, ['.'] = true,
                                      ['_'] = true,         [':'] = true,         ['@'] = true,         ['-'] = true};
    return letters[c];
}

/* Says where the fault is and never what the id is: ids are the users' secrets. */
int gyre__session_check_id(const char *id)
{
    if (!id || !*id) return gyre__fail(GYRE_EINVALID, "the session id is empty");
    for (uint32_t i = 0; id[i]; i++) {
        if (i == SESSION_ID) return gyre__fail(GYRE_EINVALID, "the session id is longer than %u bytes", SESSION_ID);
        if (!gyre__session_letter((unsigned char)id[i]))
            return gyre__fail(GYRE_EINVALID, "the session id: byte 0x%02x at %u is not one of [A-Za-z0-9._:@-]",
                              (unsigned char)id[i], i + 1);
    }
    return 0;
}

uint64_t gyre__session_hash(const struct gyre_pool *pool, const char *id)
{
    struct session_key key;
    return id && session_key_make(pool, id, &key) ? key.hash : 0;
}

/* ---- writing; the caller holds the locks of the key's buckets ---- */

static void lock_key(struct gyre_pool *pool, const struct session_key *key)
{
    bool swap = key->bucket[0] > key->bucket[1];
    gyre__word_lock(pool, &pool->session_locks[key->bucket[swap]]);
    if (key->bucket[0] != key->bucket[1]) gyre__word_lock(pool, &pool->session_locks[key->bucket[!swap]]);
}

static void unlock_key(struct gyre_pool *pool, const struct session_key *key)
{
    word_unlock(&pool->session_locks[key->bucket[0]]);
    if (key->bucket[0] != key->bucket[1]) word_unlock(&pool->session_locks[key->bucket[1]]);
}

/* A new proxy for a session. The stamps come last, so that whoever reads a young stamp reads the new proxy; a session
 * that was over stays over until all is written. */
static void session_give(struct gyre_pool *pool, uint32_t at, uint64_t proxy, uint32_t stamp)
{
    store_release(&pool->sessions[at].proxy, proxy);
    store_release(&pool->session_created[at], stamp);
    store_release(&pool->sessions[at].last, stamp);
}

/* Words of an id that are in its tail, with the zero after its end: none when the head shows the end. */
static uint32_t tail_words(uint32_t size)
{
    if (size < SESSION_HEAD * 8) return 0;
    return size < SESSION_ID ? size / 8 + 1 - SESSION_HEAD : SESSION_TAIL;
}

static void session_write(struct gyre_pool *pool, uint32_t at, const struct session_key *key, uint64_t proxy,
                          uint32_t stamp)
{
    struct session_entry *entry = &pool->sessions[at];
    uint64_t word[SESSION_ID / 8] = {0}, *head = pool->session_heads[at].text, *tail = pool->session_tails[at].text;
    uint32_t version = (load_relaxed(&entry->seal) | 1) & SEAL_VERSION, rest = tail_words(key->size);
    memcpy(word, key->id, key->size);
    store_release(session_tag(pool, at), 0u);
    store_release(&entry->seal, key->seal | version);
    for (uint32_t i = 0; i < SESSION_HEAD; i++) store_release(&head[i], word[i]);
    for (uint32_t i = 0; i < rest; i++) store_release(&tail[i], word[i + SESSION_HEAD]);
    session_give(pool, at, proxy, stamp);
    store_release(&entry->seal, key->seal | ((version + 1) & SEAL_VERSION));
    store_release(session_tag(pool, at), key->tag);
}

static struct session_seen read_stamps(const struct gyre_pool *pool, uint32_t at)
{
    return (struct session_seen){.last = load_relaxed(&pool->sessions[at].last), .created = session_created(pool, at)};
}

/* Both buckets are full: the place of one that is over, or else of the least recently used; among equals, of one that the id's
 * hash names, for the newest of a tenth of a second would always be in the same place. */
static uint32_t evict(struct gyre_pool *pool, const struct session_key *key, uint32_t stamp)
{
    uint32_t victim = NO_SESSION, oldest = 0;
    for (uint32_t i = 0; i < 2 * SESSION_WAYS; i++) {
        uint32_t way = (key->tag + i) % (2 * SESSION_WAYS);
        uint32_t at = key->bucket[way / SESSION_WAYS] * SESSION_WAYS + way % SESSION_WAYS;
        struct session_seen seen = read_stamps(pool, at);
        if (session_is_over(pool, &seen, stamp)) {
            fetch_add(&pool->control->session_expired, 1);
            return at;
        }
        if (victim == NO_SESSION || session_age(stamp, seen.last) > oldest) victim = at, oldest = session_age(stamp, seen.last);
    }
    fetch_add(&pool->control->session_evicted, 1);
    return victim;
}

static uint32_t find_place(struct gyre_pool *pool, const struct session_key *key, uint32_t stamp)
{
    uint32_t spare[2], used[2];
    for (uint32_t k = 0; k < 2; k++) {
        spare[k] = session_match(&pool->session_tags[key->bucket[k]], 0);
        used[k] = SESSION_WAYS - (uint32_t)__builtin_popcount(spare[k]);
    }
    uint32_t k = used[0] < FIRST_FILL || used[0] <= used[1] ? 0 : 1;
    if (!spare[k]) return evict(pool, key, stamp);
    uint32_t home = session_home(key), after = spare[k] >> home;
    uint32_t way = after ? home + (uint32_t)__builtin_ctz(after) : (uint32_t)__builtin_ctz(spare[k]);
    return key->bucket[k] * SESSION_WAYS + way;
}

/* The session gets the proxy. `at` is its entry, if it has one, as it was `seen`. */
static void assign(struct gyre_pool *pool, uint32_t at, const struct session_key *key, const struct session_seen *seen,
                   uint64_t proxy, uint32_t stamp)
{
    struct segment_control *control = pool->control;
    if (at == NO_SESSION) {
        session_write(pool, find_place(pool, key, stamp), key, proxy, stamp);
        fetch_add(&control->session_assigned, 1);
        return;
    }
    if (session_is_over(pool, seen, stamp)) {
        fetch_add(&control->session_expired, 1);
        fetch_add(&control->session_assigned, 1);
    } else if (seen->proxy != proxy) {
        fetch_add(&control->session_moved, 1);
    }
    session_give(pool, at, proxy, stamp);
}

/* ---- hits, counted without a shared word ---- */

void gyre__session_hand_in(struct gyre_pool *pool, struct thread *thread)
{
    if (!thread->session_hits) return;
    fetch_add(&pool->control->session_hits, (uint64_t)thread->session_hits);
    store_relaxed(&thread->session_hits, 0u);
}

static inline void count_hit(struct gyre_pool *pool, struct thread *thread)
{
    store_relaxed(&thread->session_hits, thread->session_hits + 1);
    if (unlikely(thread->session_hits >= HAND_IN)) gyre__session_hand_in(pool, thread);
}

/* ---- acquire ---- */

static inline bool is_out(const struct gyre_pool *pool, uint32_t slot)
{
    return (load_acquire(&pool->slots[slot].flags) & (SLOT_LIVE | SLOT_OUT)) != SLOT_LIVE;
}

/* Closed for a moment, while leases of a dead process are settled; that is no reason to move. Waits for it. */
static bool was_quiet(struct gyre_pool *pool, uint32_t slot)
{
    uint32_t flags = load_acquire(&pool->slots[slot].flags);
    if ((flags & SLOT_OUT) != SLOT_QUIET) return false;
    gyre__lock(pool);
    gyre__unlock(pool);
    return true;
}

/* Leases the proxy of a session. GYRE_ENO_PROXY when it has to be another. */
static int lease_present(struct gyre_pool *pool, struct thread *thread, const struct gyre_request *request,
                         uint64_t proxy, uint32_t stamp, struct gyre_lease *lease)
{
    for (uint32_t tries = 0; tries < 8; tries++) {
        uint32_t slot = slot_of_id(pool, proxy);
        if (unlikely(slot == NO_BIT)) return GYRE_ENO_PROXY;
        if (unlikely(request_labels(request) | request_wishes(request)) && !gyre__acquire_allows(pool, thread, request, slot)) return GYRE_ENO_PROXY;
        int result = lease_start(pool, thread, slot, stamp, &(struct commit){.state = request->state}, lease);
        if (likely(result == 0)) return 0;
        if (result == GYRE_EBUSY) return gyre__fail(GYRE_EBUSY, "the session's proxy is at its limit");
        if (result == GYRE_EFULL) return gyre__entry_none_free(pool);
        if (is_out(pool, slot) && !was_quiet(pool, slot)) return GYRE_ENO_PROXY;
    }
    return GYRE_ENO_PROXY;
}

static inline void hit(struct gyre_pool *pool, struct thread *thread, struct gyre_lease *lease)
{
    count_hit(pool, thread);
    lease->how = GYRE_SESSION_HIT;
}

/* Under the locks: another may have assigned it meanwhile, and then that counts. id 0: whom the request's picker picks. */
static int acquire_locked(struct gyre_pool *pool, struct thread *thread, const struct gyre_request *request, uint64_t id,
                          const struct session_key *key, uint32_t stamp, struct gyre_lease *lease)
{
    struct session_seen seen = {0};
    uint32_t at = session_find(pool, key, &seen);
    bool lives = at != NO_SESSION && !session_is_over(pool, &seen, stamp);
    if (lives) {
        int result = lease_present(pool, thread, request, seen.proxy, stamp, lease);
        if (result != GYRE_ENO_PROXY) {
            session_touch(pool, at, &seen, stamp);
            if (result == 0) hit(pool, thread, lease);
            return result;
        }
    }
    int result = id ? gyre__acquire_chosen(pool, thread, request, id, stamp, lease)
                    : gyre__acquire_plain(pool, thread, request, stamp, lease);
    if (result) return result;
    assign(pool, at, key, &seen, lease->id, stamp);
    lease->how = lives ? GYRE_SESSION_MOVED : GYRE_SESSION_NEW;
    return 0;
}

/* Leases the proxy that the session has: 0, or GYRE_ENOT_FOUND (it has none), GYRE_ENO_PROXY (it must get another), and
 * other errors. Lock-free. */
static inline int acquire_present(struct gyre_pool *pool, struct thread *thread, const struct gyre_request *request,
                                  const struct session_key *key, uint32_t stamp, struct gyre_lease *lease)
{
    struct session_seen seen;
    uint32_t at = session_find(pool, key, &seen);
    if (unlikely(at == NO_SESSION || session_is_over(pool, &seen, stamp))) return GYRE_ENOT_FOUND;
    int result = lease_present(pool, thread, request, seen.proxy, stamp, lease);
    if (unlikely(result == GYRE_ENO_PROXY)) return result;
    session_touch(pool, at, &seen, stamp);
    if (likely(result == 0)) hit(pool, thread, lease);
    return result;
}

static int acquire_anew(struct gyre_pool *pool, struct thread *thread, const struct gyre_request *request, uint64_t id,
                        const struct session_key *key, uint32_t stamp, struct gyre_lease *lease)
{
    int bad = gyre__session_check_id(request->session);
    if (bad) return bad;
    lock_key(pool, key);
    int result = acquire_locked(pool, thread, request, id, key, stamp, lease);
    unlock_key(pool, key);
    return result;
}

int gyre__session_acquire(struct gyre_pool *pool, struct thread *thread, const struct gyre_request *request,
                          uint32_t stamp, struct gyre_lease *lease)
{
    struct session_key key;
    if (unlikely(!session_key_make(pool, request->session, &key))) return gyre__session_check_id(request->session);
    int result = acquire_present(pool, thread, request, &key, stamp, lease);
    if (likely(result != GYRE_ENOT_FOUND && result != GYRE_ENO_PROXY)) return result;
    return acquire_anew(pool, thread, request, 0, &key, stamp, lease);
}

static __attribute__((noinline)) int acquire_wholly(struct gyre_pool *pool, struct thread *thread,
                                                    const struct gyre_request *request, struct gyre_lease *lease)
{
    return gyre__session_acquire(pool, thread, request, tick_now(pool), lease);
}

/*
 * The simplest case, a session that lives and a proxy without limits, as one function without calls, which keeps the key in
 * registers; what is not so is begun anew. The clock is read while the table's lines come from memory.
 */
__attribute__((flatten)) int gyre__session_quick(struct gyre_pool *pool, struct thread *thread, const struct gyre_request *request,
                                                 struct gyre_lease *lease)
{
    static const struct commit always;
    struct session_key key = {0};
    struct session_seen seen = {0};
    if (unlikely(!session_key_make(pool, request->session, &key))) return acquire_wholly(pool, thread, request, lease);
    session_prefetch(pool, &key);
    uint32_t stamp = tick_now(pool), at = session_find(pool, &key, &seen), slot = id_slot(seen.proxy);
    if (unlikely(at == NO_SESSION || session_is_over(pool, &seen, stamp) || slot >= pool->max_proxies ||
                 load_acquire(&pool->slots[slot].generation) != seen.proxy >> SLOT_BITS))
        return acquire_wholly(pool, thread, request, lease);
    if (unlikely(!lease_started(pool, thread, slot, lease_start_simple(pool, thread, slot, stamp, &always, lease))))
        return acquire_wholly(pool, thread, request, lease);
    session_touch(pool, at, &seen, stamp);
    hit(pool, thread, lease);
    return 0;
}

int gyre__session_chosen(struct gyre_pool *pool, struct thread *thread, const struct gyre_request *request, uint64_t id,
                         uint32_t stamp, struct gyre_lease *lease)
{
    struct session_key key;
    if (unlikely(!session_key_make(pool, request->session, &key))) return gyre__session_check_id(request->session);
    int result = acquire_present(pool, thread, request, &key, stamp, lease);
    if (likely(result != GYRE_ENOT_FOUND && result != GYRE_ENO_PROXY)) return result;
    if (id) return acquire_anew(pool, thread, request, id, &key, stamp, lease);
    int bad = gyre__session_check_id(request->session);
    if (bad) return bad;
    return gyre__fail(result, result == GYRE_ENOT_FOUND ? "no such session" : "the session's proxy cannot be used");
}

/* ---- for strategies that pick themselves ---- */

/* What all calls by id begin with: the thread, the key. */
static int begin(struct gyre_pool *pool, const char *id, struct thread **thread, struct session_key *key)
{
    if (!pool) return gyre__fail(GYRE_EINVALID, "no pool");
    *thread = thread_get(pool);
    if (!*thread) return GYRE_ESYSTEM;
    int bad = gyre__session_check_id(id);
    if (bad) return bad;
    return session_key_make(pool, id, key) ? 0 : GYRE_EINVALID;
}

static int none(const char *id)
{
    int bad = gyre__session_check_id(id);
    return bad ? bad : gyre__fail(GYRE_ENOT_FOUND, "no such session");
}

/* An id that is found is a good one: only others are looked through. */
static int get(struct gyre_pool *pool, const char *id, bool use, uint64_t *proxy)
{
    struct session_key key;
    struct session_seen seen;
    struct thread *thread = pool ? thread_get(pool) : NULL;
    if (!thread) return pool ? GYRE_ESYSTEM : gyre__fail(GYRE_EINVALID, "no pool");
    if (!id || !session_key_make(pool, id, &key)) return gyre__session_check_id(id);
    uint32_t stamp = clock_stamp(pool), at = session_find(pool, &key, &seen);
    if (at == NO_SESSION || session_is_over(pool, &seen, stamp)) return none(id);
    if (slot_of_id(pool, seen.proxy) == NO_BIT)
        return gyre__fail(GYRE_ENOT_FOUND, "the session's proxy has been removed");
    if (use) {
        session_touch(pool, at, &seen, stamp);
        count_hit(pool, thread);
    }
    if (proxy) *proxy = seen.proxy;
    return 0;
}

GYRE_API int gyre_session_get(struct gyre_pool *pool, const char *session, uint64_t *proxy)
{
    return get(pool, session, false, proxy);
}

GYRE_API int gyre_session_use(struct gyre_pool *pool, const char *session, uint64_t *proxy)
{
    return get(pool, session, true, proxy);
}

/* Is it in the pool and not out? Limits do not count. */
static int check_proxy(struct gyre_pool *pool, uint64_t proxy)
{
    uint32_t slot = slot_of_id(pool, proxy);
    if (slot == NO_BIT) return gyre__fail(GYRE_ENOT_FOUND, "no proxy with id %llu", (unsigned long long)proxy);
    for (uint32_t tries = 0; tries < 8 && was_quiet(pool, slot); tries++) {}
    if (is_out(pool, slot)) return gyre__fail(GYRE_ENO_PROXY, "proxy %llu is not eligible", (unsigned long long)proxy);
    return 0;
}

static int assign_locked(struct gyre_pool *pool, const struct session_key *key, uint64_t proxy, uint64_t refused,
                         uint64_t *winner)
{
    struct session_seen seen = {0};
    uint32_t stamp = clock_stamp(pool), at = session_find(pool, key, &seen);
    if (at != NO_SESSION && !session_is_over(pool, &seen, stamp) && seen.proxy != refused &&
        check_proxy(pool, seen.proxy) == 0) {
        session_touch(pool, at, &seen, stamp);
        *winner = seen.proxy;
        return 0;
    }
    int bad = check_proxy(pool, proxy);
    if (bad) return bad;
    assign(pool, at, key, &seen, proxy, stamp);
    *winner = proxy;
    return 0;
}

GYRE_API int gyre_session_assign(struct gyre_pool *pool, const char *session, uint64_t proxy, uint64_t refused,
                                 uint64_t *winner)
{
    struct thread *thread;
    struct session_key key;
    uint64_t ignored;
    int result = begin(pool, session, &thread, &key);
    if (result) return result;
    lock_key(pool, &key);
    result = assign_locked(pool, &key, proxy, refused, winner ? winner : &ignored);
    unlock_key(pool, &key);
    return result;
}

GYRE_API int gyre_session_close(struct gyre_pool *pool, const char *session)
{
    struct thread *thread;
    struct session_key key;
    struct session_seen seen;
    int bad = begin(pool, session, &thread, &key);
    if (bad) return bad;
    lock_key(pool, &key);
    uint32_t at = session_find(pool, &key, &seen);
    bool over = at == NO_SESSION || session_is_over(pool, &seen, clock_stamp(pool));
    if (at != NO_SESSION) {
        store_release(session_tag(pool, at), 0u);
        fetch_add(over ? &pool->control->session_expired : &pool->control->session_closed, 1);
    }
    unlock_key(pool, &key);
    return over ? none(session) : 0;
}

GYRE_API int gyre_session_restore(struct gyre_pool *pool, const char *session, uint64_t proxy, double created_ago,
                                  double used_ago)
{
    struct thread *thread;
    struct session_key key;
    struct session_seen seen;
    int bad = begin(pool, session, &thread, &key);
    if (bad) return bad;
    if (!(created_ago >= 0 && used_ago >= 0)) return gyre__fail(GYRE_EINVALID, "the session is not of the past");
    if (slot_of_id(pool, proxy) == NO_BIT)
        return gyre__fail(GYRE_ENOT_FOUND, "no proxy with id %llu", (unsigned long long)proxy);
    if (used_ago * 10 >= pool->session_ttl || created_ago * 10 >= pool->session_lifetime) return 0; /* it is over */
    lock_key(pool, &key);
    uint32_t now = clock_stamp(pool), at = session_find(pool, &key, &seen);
    if (at == NO_SESSION) session_write(pool, at = find_place(pool, &key, now), &key, proxy, now);
    session_give(pool, at, proxy, now);
    store_release(&pool->session_created[at], stamp_before(now, created_ago));
    store_release(&pool->sessions[at].last, stamp_before(now, used_ago));
    unlock_key(pool, &key);
    return 0;
}
