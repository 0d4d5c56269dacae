/*
 * polite.c: the gates of polite.h.
 * Owns a hash table of keys, under one mutex. libc and pthreads only; knows nothing of URLs, tasks and clocks.
 */
#include "polite.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_ROOM = 256 };

static const double FIRST_STEP = 0.25;  /* seconds: what the first slow-down makes of no delay at all */
static const double LONGEST = 60.0;     /* seconds: further a delay does not grow by itself */
static const double REMEMBER = 600.0;   /* seconds that a slow-down outlives the last request */

struct key {
    struct key *next;
    double next_start; /* nothing begins before */
    double pause_end;  /* of a Retry-After; next_start never goes below it */
    double delay;      /* now; own.delay when nobody asked for less */
    double window;     /* requests at a time, now */
    double slowed_at;  /* refusals of requests begun before are no news */
    double last_start, last_used;
    struct gyre__gate_limits own;
    unsigned active;
    int fixed;         /* has limits of its own: not forgotten */
    uint64_t hash;
    char name[];
};

struct gyre__gate {
    pthread_mutex_t mutex;
    struct gyre__gate_limits limits;
    struct key **slots;
    size_t room, count, sweep_at;
    uint64_t slowed;
};

static uint64_t hash_of(const char *text)
{
    uint64_t h = UINT64_C(14695981039346656037); /* FNV-1a */
    for (; *text; text++) h = (h ^ (unsigned char)*text) * UINT64_C(1099511628211);
    return h ^ h >> 32;
}

struct gyre__gate *gyre__gate_new(struct gyre__gate_limits limits)
{
    struct gyre__gate *gate = calloc(1, sizeof *gate);
    if (!gate) return NULL;
    gate->limits = limits;
    gate->room = FIRST_ROOM;
    gate->sweep_at = FIRST_ROOM;
    if (!(gate->slots = calloc(gate->room, sizeof *gate->slots))) {
        free(gate);
        return NULL;
    }
    pthread_mutex_init(&gate->mutex, NULL);
    return gate;
}

void gyre__gate_delete(struct gyre__gate *gate)
{
    if (!gate) return;
    for (size_t i = 0; i < gate->room; i++)
        for (struct key *key = gate->slots[i], *next; key; key = next) {
            next = key->next;
            free(key);
        }
    pthread_mutex_destroy(&gate->mutex);
    free(gate->slots);
    free(gate);
}

static struct key *find(struct gyre__gate *gate, const char *name, uint64_t hash)
{
    struct key *key = gate->slots[hash & (gate->room - 1)];
    while (key && (key->hash != hash || strcmp(key->name, name) != 0)) key = key->next;
    return key;
}

/* Whether a new record would behave as this one does. */
static int is_forgettable(const struct key *key, double now)
{
    int slowed = key->slowed_at > -INFINITY && key->last_used + REMEMBER > now;
    return key->active == 0 && !key->fixed && key->next_start <= now && !slowed;
}

static void sweep(struct gyre__gate *gate, double now)
{
    for (size_t i = 0; i < gate->room; i++)
        for (struct key **link = &gate->slots[i], *key; (key = *link);) {
            if (!is_forgettable(key, now)) {
                link = &key->next;
                continue;
            }
            *link = key->next;
            free(key);
            gate->count--;
        }
}

/* Makes room for one key more: by forgetting, and when that brings too little, by doubling the table. */
static void tidy(struct gyre__gate *gate, double now)
{
    if (gate->count < gate->sweep_at) return;
    sweep(gate, now);
    gate->sweep_at = gate->count * 2 > FIRST_ROOM ? gate->count * 2 : FIRST_ROOM;
    if (gate->count < gate->room) return;

    struct key **slots = calloc(gate->room * 2, sizeof *slots);
    if (!slots) return; /* longer chains are all that comes of it */
    for (size_t i = 0; i < gate->room; i++)
        for (struct key *key = gate->slots[i], *next; key; key = next) {
            struct key **head = &slots[key->hash & (gate->room * 2 - 1)];
            next = key->next;
            key->next = *head;
            *head = key;
        }
    free(gate->slots);
    gate->slots = slots;
    gate->room *= 2;
}

static struct key *find_or_make(struct gyre__gate *gate, const char *name, double now)
{
    uint64_t hash = hash_of(name);
    struct key *key = find(gate, name, hash);
    size_t size = strlen(name) + 1;

    if (key) return key;
    tidy(gate, now);
    if (!(key = calloc(1, sizeof *key + size))) return NULL;
    memcpy(key->name, name, size);
    key->hash = hash;
    key->own = gate->limits;
    key->delay = key->own.delay;
    key->window = key->own.active ? key->own.active : INFINITY;
    key->next_start = key->pause_end = key->slowed_at = key->last_start = key->last_used = -INFINITY;
    struct key **head = &gate->slots[hash & (gate->room - 1)];
    key->next = *head;
    *head = key;
    gate->count++;
    return key;
}

double gyre__gate_enter(struct gyre__gate *gate, const char *name, double now)
{
    double answer = 0;

    pthread_mutex_lock(&gate->mutex);
    struct key *key = find_or_make(gate, name, now);
    if (!key) {
        answer = -1;
    } else if (key->active + 1 > key->window) {
        answer = INFINITY;
    } else if (key->next_start > now) {
        answer = key->next_start - now;
    } else {
        key->active++;
        key->last_start = key->last_used = now;
        key->next_start = now + key->delay;
    }
    pthread_mutex_unlock(&gate->mutex);
    return answer;
}

/* One refusal: half the rate, half as many at a time. */
static void slow_down(struct gyre__gate *gate, struct key *key, double began, double now)
{
    if (began < key->slowed_at) return;
    key->slowed_at = now;
    gate->slowed++;
    double slower = key->delay * 2 > FIRST_STEP ? key->delay * 2 : FIRST_STEP;
    if (slower > LONGEST) slower = key->own.delay > LONGEST ? key->own.delay : LONGEST;
    key->delay = slower;
    double at_a_time = isinf(key->window) ? key->active + 1 : key->window;
    key->window = at_a_time / 2 > 1 ? at_a_time / 2 : 1;
    if (key->next_start < now + key->delay) key->next_start = now + key->delay;
}

/* One answer that is no refusal: a tenth of the full rate more, a share of one more at a time. */
static void speed_up(struct key *key)
{
    double full = key->own.delay > 0.05 ? key->own.delay : 0.05, limit = key->own.active ? key->own.active : INFINITY;

    if (key->delay > key->own.delay) {
        double faster = 1 / (1 / key->delay + 0.1 / full);
        key->delay = faster <= full ? key->own.delay : faster;
    }
    if (key->window < limit) key->window += 1 / key->window;
    if (key->window > limit) key->window = limit;
}

void gyre__gate_leave(struct gyre__gate *gate, const char *name, double began, double now, enum gyre__gate_answer answer,
                      double retry_after)
{
    pthread_mutex_lock(&gate->mutex);
    struct key *key = find(gate, name, hash_of(name));
    if (key && key->active > 0) {
        key->active--;
        key->last_used = now;
        if (answer == GYRE__GATE_UNDONE && key->next_start == began + key->delay) key->next_start = began;
        if (answer == GYRE__GATE_FINE) speed_up(key);
        if (answer == GYRE__GATE_SLOWER) slow_down(gate, key, began, now);
        if (answer == GYRE__GATE_SLOWER && retry_after >= 0 && key->pause_end < now + retry_after)
            key->pause_end = now + retry_after;
        if (key->next_start < key->pause_end) key->next_start = key->pause_end;
    }
    pthread_mutex_unlock(&gate->mutex);
}

void gyre__gate_hold(struct gyre__gate *gate, const char *name, double now, double seconds)
{
    pthread_mutex_lock(&gate->mutex);
    struct key *key = find_or_make(gate, name, now);
    if (key && key->next_start < now + seconds) key->next_start = key->pause_end = now + seconds;
    pthread_mutex_unlock(&gate->mutex);
}

void gyre__gate_limit(struct gyre__gate *gate, const char *name, struct gyre__gate_limits limits)
{
    pthread_mutex_lock(&gate->mutex);
    struct key *key = find_or_make(gate, name, -INFINITY);
    if (key) {
        /* A request begun under the old limits counts for the new. */
        if (key->next_start < key->last_start + limits.delay) key->next_start = key->last_start + limits.delay;
        key->own = limits;
        if (key->delay < limits.delay || key->slowed_at == -INFINITY) key->delay = limits.delay;
        double most = limits.active ? limits.active : INFINITY;
        if (key->window > most || key->slowed_at == -INFINITY) key->window = most;
        key->fixed = 1;
    }
    pthread_mutex_unlock(&gate->mutex);
}

void gyre__gate_release(struct gyre__gate *gate, const char *name)
{
    pthread_mutex_lock(&gate->mutex);
    struct key *key = find(gate, name, hash_of(name));
    if (key) key->fixed = 0;
    pthread_mutex_unlock(&gate->mutex);
}

double gyre__gate_delay(struct gyre__gate *gate, const char *name)
{
    pthread_mutex_lock(&gate->mutex);
    struct key *key = find(gate, name, hash_of(name));
    double delay = key ? key->delay : gate->limits.delay;
    pthread_mutex_unlock(&gate->mutex);
    return delay;
}

struct gyre__gate_counts gyre__gate_count(struct gyre__gate *gate)
{
    pthread_mutex_lock(&gate->mutex);
    struct gyre__gate_counts counts = {gate->slowed, gate->count};
    pthread_mutex_unlock(&gate->mutex);
    return counts;
}
