/*
 * polite.h: who may be asked now, and how soon again.
 *
 * A gate holds for each key (a host; or a host and a proxy) how many requests are under way and when the next may begin:
 * at most `active` at a time, `delay` seconds from the start of one to the start of the next. A site that answers 429 or
 * 503 halves its rate and the number at a time; each answer after that adds a tenth of the configured rate back (AIMD, as
 * in TCP: Jacobson 1988). Several refusals of requests that were under way together count as one. Retry-After and
 * Crawl-delay are obeyed to the letter.
 *
 * Any thread. A call costs a lock and a hash look-up. Keys that have nothing to remember are forgotten.
 */
#ifndef GYRE_JOB_POLITE_H
#define GYRE_JOB_POLITE_H

#include <stddef.h>
#include <stdint.h>

struct gyre__gate;

/* Limits of every key that has none of its own. */
struct gyre__gate_limits {
    double delay;    /* seconds, >= 0 */
    unsigned active; /* >= 1; 0: any number */
};

enum gyre__gate_answer { GYRE__GATE_FINE, GYRE__GATE_SLOWER, GYRE__GATE_NOTHING, GYRE__GATE_UNDONE };

/* NULL: no memory. */
struct gyre__gate *gyre__gate_new(struct gyre__gate_limits limits);
void gyre__gate_delete(struct gyre__gate *gate);

/*
 * Asks to begin a request at `now` (seconds of a clock that only goes forward). Returns 0: it has begun, and ends with
 * gyre__gate_leave(); more than 0: not before so many seconds; INFINITY: not before another request of the key has
 * ended; less than 0: no memory.
 */
double gyre__gate_enter(struct gyre__gate *gate, const char *key, double now);

/*
 * A request that began at `began` has ended. SLOWER: the key's owner asked for less, and for a pause of `retry_after`
 * seconds unless that is negative. NOTHING: it says nothing of the owner's mood. UNDONE: nothing was sent after all, and
 * the next need not wait for it.
 */
void gyre__gate_leave(struct gyre__gate *gate, const char *key, double began, double now, enum gyre__gate_answer answer,
                      double retry_after);

/* Nothing begins before `seconds` from now have passed. Never shortens a pause. */
void gyre__gate_hold(struct gyre__gate *gate, const char *key, double now, double seconds);

/* Gives a key limits of its own, which it keeps until it is released, and while there is something to remember. */
void gyre__gate_limit(struct gyre__gate *gate, const char *key, struct gyre__gate_limits limits);
void gyre__gate_release(struct gyre__gate *gate, const char *key);

/* The present delay of a key in seconds, after all slow-downs. */
double gyre__gate_delay(struct gyre__gate *gate, const char *key);

/* How often owners asked for less, and how many keys are remembered. */
struct gyre__gate_counts {
    uint64_t slowed;
    size_t keys;
};
struct gyre__gate_counts gyre__gate_count(struct gyre__gate *gate);

#endif
