/*
 * All sessions at once: list, close, clean up, count, mend. Walks the table drawn in session.h, a bucket at a time.
 */
#include "session.h"

#define AHEAD 600u /* stamps by which clocks of the past may have been ahead */

static double stamp_after(uint32_t stamp, uint32_t stamps)
{
    return ((double)stamp - 1.0 + stamps) / 10.0;
}

/* The words of an id up to the one with its end. */
static void copy_id(const struct gyre_pool *pool, uint32_t at, char id[SESSION_ID + 8])
{
    memset(id, 0, SESSION_ID + 8);
    for (uint32_t i = 0; i < SESSION_ID / 8; i++) {
        const uint64_t *head = pool->session_heads[at].text, *tail = pool->session_tails[at].text;
        uint64_t word = load_acquire(i < SESSION_HEAD ? &head[i] : &tail[i - SESSION_HEAD]);
        memcpy(id + i * 8, &word, 8);
        if (i + 1 >= SESSION_HEAD && memchr(id + i * 8, 0, 8)) return;
    }
}

/* False when the entry is being written, or damaged. */
static bool copy(const struct gyre_pool *pool, uint32_t at, struct session_seen *seen, char id[SESSION_ID + 8])
{
    const struct session_entry *entry = &pool->sessions[at];
    uint32_t seal = load_acquire(&entry->seal);
    copy_id(pool, at, id);
    seen->last = load_acquire(&entry->last);
    seen->created = load_acquire(&pool->session_created[at]);
    seen->proxy = load_acquire(&entry->proxy);
    if (seal & 1 || load_relaxed(&entry->seal) != seal) return false;
    size_t size = strlen(id);
    for (size_t i = 0; i < size; i++)
        if (!gyre__session_letter((unsigned char)id[i])) return false;
    return size > 0;
}

/* Everything but the id. */
static void show(const struct gyre_pool *pool, const struct session_seen *seen, struct gyre_session *session)
{
    double idle = stamp_after(seen->last, pool->session_ttl), life = stamp_after(seen->created, pool->session_lifetime);
    session->proxy = seen->proxy;
    session->created = stamp_seconds(seen->created);
    session->last_used = stamp_seconds(seen->last);
    session->expires = pool->session_lifetime == UINT32_MAX || idle < life ? idle : life;
}

GYRE_API int gyre_session_next(struct gyre_pool *pool, uint64_t *cursor, struct gyre_session *session)
{
    struct session_seen seen;
    int bad = begin_call(pool);
    if (bad) return bad;
    if (!cursor || !session || session->size < sizeof *session)
        return gyre__fail(GYRE_EINVALID, "no cursor, no session, or its size is not set");
    uint32_t stamp = clock_stamp(pool);
    for (uint64_t at = *cursor; at < (uint64_t)pool->session_buckets * SESSION_WAYS; at++) {
        uint32_t i = (uint32_t)at;
        if (!load_acquire(session_tag(pool, i)) || !copy(pool, i, &seen, session->id)) continue;
        if (session_is_over(pool, &seen, stamp)) continue;
        show(pool, &seen, session);
        *cursor = at + 1;
        return 1;
    }
    *cursor = 0;
    return 0;
}

GYRE_API int gyre_session_info(struct gyre_pool *pool, const char *id, struct gyre_session *session)
{
    struct session_key key;
    struct session_seen seen;
    int bad = begin_call(pool);
    if (bad || (bad = gyre__session_check_id(id)) != 0) return bad;
    if (!session || session->size < sizeof *session)
        return gyre__fail(GYRE_EINVALID, "no session, or its size is not set");
    session_key_make(pool, id, &key);
    uint32_t at = session_find(pool, &key, &seen);
    if (at == NO_SESSION || session_is_over(pool, &seen, clock_stamp(pool))) return gyre__fail(GYRE_ENOT_FOUND, "no such session");
    seen.created = load_acquire(&pool->session_created[at]);
    show(pool, &seen, session);
    memmove(session->id, id, key.size + 1); /* it may be the same */
    return 0;
}

/* Empties the places of a bucket: all, or those of sessions that are over. How many. */
static int drop(struct gyre_pool *pool, uint32_t bucket, bool all, uint32_t stamp)
{
    int n = 0;
    if (session_match(&pool->session_tags[bucket], 0) == (1u << SESSION_WAYS) - 1) return 0;
    gyre__word_lock(pool, &pool->session_locks[bucket]);
    for (uint32_t at = bucket * SESSION_WAYS; at < (bucket + 1) * SESSION_WAYS; at++) {
        struct session_seen seen = {.last = load_relaxed(&pool->sessions[at].last), .created = session_created(pool, at)};
        bool over = session_is_over(pool, &seen, stamp);
        if (!load_relaxed(session_tag(pool, at)) || !(all || over)) continue;
        store_release(session_tag(pool, at), 0u);
        fetch_add(over ? &pool->control->session_expired : &pool->control->session_closed, 1);
        n += all ? !over : 1;
    }
    word_unlock(&pool->session_locks[bucket]);
    return n;
}

static int drop_everywhere(struct gyre_pool *pool, bool all)
{
    int n = 0, bad = begin_call(pool);
    if (bad) return bad;
    uint32_t stamp = clock_stamp(pool);
    for (uint32_t bucket = 0; bucket < pool->session_buckets; bucket++) n += drop(pool, bucket, all, stamp);
    return n;
}

GYRE_API int gyre_session_close_all(struct gyre_pool *pool)
{
    return drop_everywhere(pool, true);
}

GYRE_API int gyre_session_cleanup(struct gyre_pool *pool)
{
    return drop_everywhere(pool, false);
}

/* Hits of this process's threads that have not been handed in. */
static uint64_t hits_held(struct gyre_pool *pool)
{
    uint64_t hits = 0;
    gyre__guard_lock(pool);
    for (const struct thread *thread = pool->threads; thread; thread = thread->next)
        hits += load_relaxed(&thread->session_hits);
    gyre__guard_unlock(pool);
    return hits;
}

static uint32_t count(const struct gyre_pool *pool)
{
    uint32_t n = 0, stamp = clock_stamp(pool);
    for (uint32_t at = 0; at < pool->session_buckets * SESSION_WAYS; at++) {
        if (!load_acquire(session_tag(pool, at))) continue;
        struct session_seen seen = {.last = load_relaxed(&pool->sessions[at].last), .created = session_created(pool, at)};
        n += !session_is_over(pool, &seen, stamp);
    }
    return n;
}

GYRE_API int gyre_session_stats(struct gyre_pool *pool, struct gyre_session_stats *stats)
{
    int bad = begin_call(pool);
    if (bad) return bad;
    if (!stats || stats->size < sizeof *stats) return gyre__fail(GYRE_EINVALID, "no stats, or their size is not set");
    const struct segment_control *control = pool->control;
    *stats = (struct gyre_session_stats){.size = stats->size,
                                         .count = count(pool),
                                         .capacity = pool->session_buckets * SESSION_WAYS,
                                         .hits = load_relaxed(&control->session_hits) + hits_held(pool),
                                         .assigned = load_relaxed(&control->session_assigned),
                                         .moved = load_relaxed(&control->session_moved),
                                         .evicted = load_relaxed(&control->session_evicted),
                                         .expired = load_relaxed(&control->session_expired),
                                         .closed = load_relaxed(&control->session_closed)};
    return 0;
}

/* What the library cannot have written, or NULL. Caller holds the bucket's lock. */
static const char *fault(const struct gyre_pool *pool, uint32_t at, uint32_t stamp)
{
    struct session_seen seen;
    struct session_key key;
    char id[SESSION_ID + 8];
    if (!copy(pool, at, &seen, id) || !session_key_make(pool, id, &key)) return "has no id";
    uint32_t bucket = at / SESSION_WAYS;
    if (load_relaxed(session_tag(pool, at)) != key.tag) return "has a wrong tag";
    if ((load_relaxed(&pool->sessions[at].seal) ^ key.seal) & ~SEAL_VERSION) return "has a wrong seal";
    if (bucket != key.bucket[0] && bucket != key.bucket[1]) return "is in a wrong bucket";
    if (seen.last > stamp + AHEAD || seen.created > stamp + AHEAD) return "is from the future";
    return session_find(pool, &key, &seen) == at ? NULL : "is there twice";
}

/* A bucket somebody living holds is skipped: waiting for it under the segment lock could be waiting for each other. */
void gyre__session_audit(struct gyre_pool *pool, struct gyre_check *report)
{
    uint32_t stamp = clock_stamp(pool);
    for (uint32_t bucket = 0; bucket < pool->session_buckets; bucket++) {
        uint32_t *lock = &pool->session_locks[bucket];
        bool empty = session_match(&pool->session_tags[bucket], 0) == (1u << SESSION_WAYS) - 1;
        if ((empty && !load_relaxed(lock)) || !gyre__word_trylock(pool, lock)) continue;
        for (uint32_t at = bucket * SESSION_WAYS; at < (bucket + 1) * SESSION_WAYS; at++) {
            const char *why = load_relaxed(session_tag(pool, at)) ? fault(pool, at, stamp) : NULL;
            if (why && report) gyre__finding(report, "session %u %s", at, why);
            else if (why) store_release(session_tag(pool, at), 0u);
        }
        word_unlock(lock);
    }
}
