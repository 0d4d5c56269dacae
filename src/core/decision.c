/*
 * The audit log: a ring of the last decisions, in the segment. Writers take a word lock for the copying of one record and
 * raise `decisions` when it is complete, so a writer killed in between has written nothing. Readers take no lock: record
 * n stands in place n % DECISIONS until the writing of n + DECISIONS begins, which cannot be before `decisions` has come
 * that far. Off, it costs nothing: that it is on is said in the word of the strategy, which acquire reads anyway. Owns
 * REGION_DECISIONS.
 */
#include "session.h"

#include <math.h>
#include <string.h>

_Static_assert(sizeof(struct gyre_decision) <= sizeof(struct decision_entry), "a decision outgrew its entry");
_Static_assert(sizeof(struct gyre_decision) % 8 == 0, "a decision is copied in words");
#define TRIES 32u
#define WORDS (sizeof(struct gyre_decision) / 8)

GYRE_API int gyre_log_enable(struct gyre_pool *pool, double sample_rate)
{
    int bad = begin_call(pool);
    if (bad) return bad;
    if (!(sample_rate >= 0 && sample_rate <= 1))
        return gyre__fail(GYRE_EINVALID, "sample rate %g is not between 0 and 1", sample_rate);
    uint32_t sample = (uint32_t)ceil(sample_rate * UINT32_MAX);
    gyre__lock(pool);
    store_relaxed(&pool->control->log_sample, sample);
    gyre__strategy_mark_log(pool);
    gyre__unlock(pool);
    return 0;
}

GYRE_API double gyre_log_share(struct gyre_pool *pool)
{
    return pool ? load_relaxed(&pool->control->log_sample) / (double)UINT32_MAX : 0;
}

GYRE_API uint64_t gyre_session_hash(struct gyre_pool *pool, const char *session)
{
    return pool && session && gyre__session_check_id(session) == 0 ? gyre__session_hash(pool, session) : 0;
}

static bool draw(struct gyre_pool *pool, struct thread *thread)
{
    uint32_t sample = load_relaxed(&pool->control->log_sample);
    if (!sample || sample == UINT32_MAX) return sample != 0;
    if (!thread->log_random) thread->log_random = thread->random;
    return (uint32_t)(random_mix(&thread->log_random) >> 32) < sample;
}

GYRE_API int gyre_log_sample(struct gyre_pool *pool)
{
    int bad = begin_call(pool);
    if (bad) return bad;
    return load_relaxed(&pool->control->log_sample) ? draw(pool, thread_get(pool)) : 0;
}

static void append(struct gyre_pool *pool, struct gyre_decision *decision)
{
    struct segment_control *control = pool->control;
    uint64_t word[WORDS];
    decision->size = sizeof *decision;
    decision->time = (double)gyre__clock_ms(pool) / 1000.0;
    decision->process = load_relaxed(&pool->processes[pool->process].pid);
    decision->lost = 0;
    decision->strategy[sizeof decision->strategy - 1] = decision->reason[sizeof decision->reason - 1] = 0;
    gyre__word_lock(pool, &control->decision_lock);
    uint64_t number = load_relaxed(&control->decisions);
    decision->sequence = number;
    memcpy(word, decision, sizeof word);
    uint64_t *place = pool->decisions[number % DECISIONS].word;
    for (uint32_t i = 0; i < WORDS; i++) store_release(&place[i], word[i]); /* pairs with the second look of read */
    store_release(&control->decisions, number + 1);
    word_unlock(&control->decision_lock);
}

GYRE_API int gyre_log_write(struct gyre_pool *pool, const struct gyre_decision *decision)
{
    int bad = begin_call(pool);
    if (bad) return bad;
    if (!decision || decision->size < sizeof *decision)
        return gyre__fail(GYRE_EINVALID, "no decision, or its size is not set");
    if (!load_relaxed(&pool->control->log_sample)) return 0;
    struct gyre_decision copy = *decision;
    append(pool, &copy);
    return 1;
}

GYRE_API int gyre_log_read(struct gyre_pool *pool, uint64_t *cursor, struct gyre_decision *decision)
{
    int bad = begin_call(pool);
    if (bad) return bad;
    if (!cursor || !decision || decision->size < sizeof *decision)
        return gyre__fail(GYRE_EINVALID, "no cursor, no decision, or its size is not set");
    uint64_t *head = &pool->control->decisions, next = load_acquire(head), word[WORDS];
    if (*cursor > next) *cursor = next; /* UINT64_MAX: from now on */
    uint64_t number = *cursor;
    for (uint32_t tries = 0; tries < TRIES && number < next; tries++) {
        /* The oldest may be being overwritten; against fast writers a longer leap every time. */
        if (next - number >= DECISIONS) number = next - (DECISIONS - 1) + tries * (DECISIONS / TRIES / 2);
        const uint64_t *place = pool->decisions[number % DECISIONS].word;
        for (uint32_t i = 0; i < WORDS; i++) word[i] = load_acquire(&place[i]);
        next = load_acquire(head);
        if (next - number >= DECISIONS) continue;
        memcpy(decision, word, sizeof *decision);
        decision->size = sizeof *decision;
        decision->sequence = number;
        decision->lost = number - *cursor;
        *cursor = number + 1;
        decision->strategy[sizeof decision->strategy - 1] = decision->reason[sizeof decision->reason - 1] = 0;
        return 1;
    }
    return 0;
}

/* ---- what gyre_acquire decided ---- */

static const char *picker_name(uint32_t picker)
{
    static const char *const names[] = {"",     "round-robin", "random",  "least-used", "least-active",
                                        "best", "weighted",    "hash"};
    return picker < sizeof names / sizeof *names ? names[picker] : "";
}

static const char *reason(uint32_t how, int result)
{
    static const char *const texts[] = {"picked", "session hit", "session new", "session moved"};
    if (result < 0) return gyre_error_name(result);
    return how < sizeof texts / sizeof *texts ? texts[how] : "";
}

static void copy_text(char *to, size_t size, const char *from)
{
    size_t n = strnlen(from, size - 1);
    memcpy(to, from, n);
}

static void note(struct gyre_pool *pool, const struct gyre_request *request, int result, const struct gyre_lease *lease)
{
    struct gyre_decision decision = {.proxy = result == 0 ? lease->id : 0};
    decision.session = gyre__session_hash(pool, request ? request->session : NULL);
    int candidates = gyre_pool_eligible(pool, request);
    decision.candidates = candidates > 0 ? (uint32_t)candidates : 0;
    if (request && request->picker) copy_text(decision.strategy, sizeof decision.strategy, picker_name(request->picker));
    else decision.generation = gyre__strategy_name(pool, decision.strategy, sizeof decision.strategy);
    if (!*decision.strategy) copy_text(decision.strategy, sizeof decision.strategy, picker_name(strategy_picker(pool)));
    copy_text(decision.reason, sizeof decision.reason, reason(result == 0 ? lease->how : 0, result));
    append(pool, &decision);
}

int gyre__decision_acquire(struct gyre_pool *pool, struct thread *thread, const struct gyre_request *request,
                           uint32_t stamp, struct gyre_lease *lease)
{
    bool logged = draw(pool, thread);
    int result = request && request->session ? gyre__session_acquire(pool, thread, request, stamp, lease)
                                             : gyre__acquire_sessionless(pool, thread, request, stamp, lease);
    if (logged) note(pool, request, result, lease);
    return result;
}
