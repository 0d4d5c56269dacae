/*
 * Limits over time: the rate of a proxy and its TTL. Owns slot_rate, the bitmaps of paced and of mortal proxies and the
 * stamps at which they are due.
 *
 * A rate of `count` leases per `period` is kept in every period, wherever it begins. HAProxy's freq_ctr (two buckets, the
 * former weighted by what is left of it) supposes that the former's events were spread evenly: after a burst at its end
 * it lets through nearly twice the count. So the leases are dealt into strides here, five to a count (of 40: eight each),
 * and the time at which each stride was full, its *mark*, is kept: a lease of stride j may be given when stride j - 5 was
 * full more than a period ago, for then so was the lease `count` before it. Up to five a period that is exact to the
 * lease; above, a sated proxy gives its leases a stride at a time. It gives none too early, and none too few.
 *
 *     word = time of the last lease << 24 | number of the stride << 15 | leases of it that were given
 *     mark = number << 40 | time                              (numbers modulo LAPS; times in ms + 1, 0: long ago)
 *
 * A lease is taken by compare-and-swap of the word. The last of a stride swaps its mark in before that, which already
 * makes it his; whoever finds a mark set and the word behind it moves the word on. A process killed in between has
 * had its lease. While a rule is changed the word says FROZEN, which nobody's expectation equals.
 */
#include "pool.h"

#include <math.h>
#include <string.h>

#define STRIDES (RATE_MARKS - 1) /* in a count */
#define LAPS 480u                /* a multiple of RATE_MARKS and of 1 to STRIDES */
#define TIME_BITS 40
#define TIME_MASK ((UINT64_C(1) << TIME_BITS) - 1)
#define OFFSET_BITS 15
#define FROZEN UINT64_MAX
#define POISON (UINT64_C(1) << 63) /* in a mark's number */
#define AHEAD 1000u /* ms: no clock read a moment ago is behind another by more */
#define MAX_COUNT 100000u
#define MAX_PERIOD UINT64_C(2678400000) /* ms: 31 days */
#define MAX_TTL 1e7
#define RECHECKS 64u

static uint64_t make_word(uint64_t time, uint32_t mark, uint32_t offset)
{
    return (time & TIME_MASK) << 24 | (uint64_t)mark << OFFSET_BITS | offset;
}
static uint64_t word_time(uint64_t word)
{
    return word >> 24;
}
static uint32_t word_mark(uint64_t word)
{
    return (uint32_t)(word >> OFFSET_BITS) & 511u;
}
static uint32_t word_offset(uint64_t word)
{
    return (uint32_t)word & ((1u << OFFSET_BITS) - 1);
}
static uint64_t make_mark(uint32_t number, uint64_t time)
{
    return (uint64_t)number << TIME_BITS | (time & TIME_MASK);
}
static uint32_t mark_number(uint64_t mark)
{
    return (uint32_t)(mark >> TIME_BITS);
}
static uint32_t strides_of(uint32_t count)
{
    return count < STRIDES ? count : STRIDES;
}
/* Leases in the stride: any `strides` in a row have `count` together. */
static uint32_t length_of(uint32_t count, uint32_t stride)
{
    uint32_t strides = strides_of(count), at = stride % strides;
    return (at + 1) * count / strides - at * count / strides;
}
static uint64_t later(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}
/* In what a word or a mark can hold, for the time of a damaged segment is any number. */
static uint64_t clock_now(const struct gyre_pool *pool)
{
    return (gyre__clock_exact_ms(pool) + 1) & TIME_MASK;
}

/* One look at a rate: it may give a lease when at <= now. */
struct look {
    uint64_t now, at, word;
    uint32_t count, period;
};

/* The word after one more lease. */
static uint64_t next_word(const struct look *look, uint64_t time)
{
    uint32_t stride = word_mark(look->word), given = word_offset(look->word) + 1;
    if (given < length_of(look->count, stride)) return make_word(time, stride, given);
    return make_word(time, (stride + 1) % LAPS, 0);
}

/* Sets look->at from the word. False when the mark it needs is not there or lies in the future; *broken is that one. */
static bool find_at(const struct gyre_pool *pool, struct slot_rate *rate, struct look *look, uint32_t *broken)
{
    uint32_t number = (word_mark(look->word) + LAPS - strides_of(look->count)) % LAPS;
    uint64_t mark = load_acquire(&rate->mark[number % RATE_MARKS]), time = mark & TIME_MASK;
    /* A real clock is cut to whole ms: one more makes sure of the period. */
    look->at = time ? time + look->period + (pool->clock == GYRE_CLOCK_SYSTEM) : 0;
    *broken = number;
    return mark_number(mark) == number && time <= look->now + AHEAD;
}

/* What cannot be is made to be now: the proxy is late by a period at most. Lock-free. */
static void restart(struct slot_rate *rate, const struct look *look, uint32_t number)
{
    uint64_t *mark = &rate->mark[number % RATE_MARKS], seen = load_acquire(mark), word = look->word;
    if (word_time(word) > look->now + AHEAD)
        compare_swap(&rate->word, &word, make_word(look->now, word_mark(word), word_offset(word)));
    else if (load_acquire(&rate->word) == word)
        compare_swap(mark, &seen, make_mark(number, look->now));
}

/* False when there is no rate. Lock-free. */
static bool look_at(const struct gyre_pool *pool, struct slot_rate *rate, struct look *look)
{
    uint32_t broken = 0;
    look->now = clock_now(pool);
    for (;;) {
        look->word = load_acquire(&rate->word);
        uint64_t rule = load_relaxed(&rate->rule), before = look->now;
        look->count = (uint32_t)rule;
        look->period = (uint32_t)(rule >> 32);
        look->at = look->now + 100; /* while it is frozen */
        if (!look->count) return false;
        if (look->word == FROZEN) return true;
        if (word_time(look->word) <= look->now + AHEAD && find_at(pool, rate, look, &broken)) return true;
        look->now = clock_now(pool); /* others may be far ahead of a thread that slept, and the mark overwritten */
        if (look->now == before && load_acquire(&rate->word) == look->word) restart(rate, look, broken);
    }
}

/* Takes one lease of the slot's rate, if it has one left. Lock-free. */
enum rate_result gyre__limit_take(struct gyre_pool *pool, uint32_t slot)
{
    struct slot_rate *rate = &pool->rates[slot];
    struct look look;
    uint32_t broken;
    for (;;) {
        if (!look_at(pool, rate, &look)) return RATE_TAKEN;
        if (look.at > look.now) return RATE_EMPTY;
        uint64_t time = later(look.now, word_time(look.word)), next = next_word(&look, time);
        uint32_t number = word_mark(look.word);
        if (word_offset(look.word) + 1 >= length_of(look.count, number)) {
            uint64_t *mark = &rate->mark[number % RATE_MARKS], seen = load_acquire(mark);
            if (mark_number(seen) == number) { /* its owner has not come to move the word */
                compare_swap(&rate->word, &look.word, next_word(&look, later(seen & TIME_MASK, word_time(look.word))));
                continue;
            }
            if (load_acquire(&rate->word) != look.word || !compare_swap(mark, &seen, make_mark(number, time))) continue;
            compare_swap(&rate->word, &look.word, next);
        } else if (!compare_swap(&rate->word, &look.word, next)) {
            continue;
        }
        look.word = next;
        return find_at(pool, rate, &look, &broken) && look.at > look.now ? RATE_LAST : RATE_TAKEN;
    }
}

/* ---- timed returns ---- */

static void lower(uint32_t *due, uint32_t stamp)
{
    uint32_t seen = load_relaxed(due);
    while (stamp < seen && !compare_swap(due, &seen, stamp)) {}
}

/* The first stamp that begins at or after a time in ms + 1. */
static uint32_t stamp_after(uint64_t time)
{
    uint64_t stamp = (time - 1 + 99) / 100 + 1;
    return stamp < UINT32_MAX ? (uint32_t)stamp : UINT32_MAX - 1;
}

/*
 * May the rate give a lease? If not, the slot's paced bit is set and the next due stamp lowered, in this order, before
 * anybody clears its eligible bit; and since due_paced() first raises the stamp and then reads the bits, one of
 * the two sees the other. Lock-free.
 */
bool gyre__limit_open(struct gyre_pool *pool, uint32_t slot)
{
    struct look look;
    if (!look_at(pool, &pool->rates[slot], &look) || look.at <= look.now) return true;
    bits_set(&pool->paced, slot);
    lower(&pool->control->due_paced, stamp_after(look.at));
    return false;
}

bool gyre__limit_waits(struct gyre_pool *pool, uint32_t slot)
{
    struct look look;
    return look_at(pool, &pool->rates[slot], &look) && look.at > look.now;
}

/* Proxies whose rate has something to give again. A bit is cleared before the slot is looked at; refresh sets it again
 * where it must. */
void gyre__limit_due_paced(struct gyre_pool *pool, uint32_t stamp)
{
    uint32_t steps = 0;
    fetch_or(&pool->control->due_paced, UINT32_MAX);
    (void)load_acquire(&pool->control->due_paced); /* on arm64 the looks below could come before the write otherwise */
    for (uint32_t slot = bits_next(&pool->paced, 0); slot != NO_BIT && steps <= pool->max_proxies;
         slot = bits_next(&pool->paced, slot + 1), steps++) {
        struct look look;
        bool rated = load_relaxed(&pool->slots[slot].flags) & SLOT_LIVE && look_at(pool, &pool->rates[slot], &look);
        if (rated && look.at > look.now && stamp_after(look.at) > stamp) {
            lower(&pool->control->due_paced, stamp_after(look.at));
            continue;
        }
        bits_clear(&pool->paced, slot);
        gyre__health_refresh(pool, slot);
    }
}

/* When nobody is eligible the next tenth of a second is not waited for. Looks at some paced proxies only. Lock-free. */
bool gyre__limit_recheck(struct gyre_pool *pool)
{
    uint32_t slot = bits_next(&pool->paced, 0);
    for (uint32_t i = 0; slot != NO_BIT && i < RECHECKS; slot = bits_next(&pool->paced, slot + 1), i++) {
        if (bits_test(&pool->eligible, slot) || !gyre__health_wanted(pool, slot)) continue;
        gyre__health_refresh(pool, slot);
        return true;
    }
    return false;
}

/* Removes the proxies whose TTL has passed. */
void gyre__limit_due_mortal(struct gyre_pool *pool, uint32_t stamp)
{
    uint32_t next = UINT32_MAX, steps = 0;
    for (uint32_t slot = bits_next(&pool->mortal, 0); slot != NO_BIT && steps <= pool->max_proxies;
         slot = bits_next(&pool->mortal, slot + 1), steps++) {
        uint32_t expires = load_relaxed(&pool->health[slot].expires);
        if (!(load_relaxed(&pool->slots[slot].flags) & SLOT_LIVE) || !expires) bits_clear(&pool->mortal, slot);
        else if (expires <= stamp) gyre__proxy_withdraw(pool, slot);
        else if (expires < next) next = expires;
    }
    store_relaxed(&pool->control->due_mortal, next);
}

/* ---- setting ---- */

static uint64_t freeze(struct slot_rate *rate)
{
    uint64_t word = load_relaxed(&rate->word);
    while (!compare_swap(&rate->word, &word, FROZEN)) {}
    return word;
}

/*
 * Ends a freeze: `used` leases of the rule count as given at `time`. `former` is the word before; the new numbers begin so
 * far after its own that no mark that a sleeping thread may yet expect is the same.
 */
static void thaw(struct slot_rate *rate, uint64_t former, uint64_t rule, uint32_t used, uint64_t time)
{
    uint32_t base = word_mark(former) % LAPS + 2 * RATE_MARKS, stride = base, count = (uint32_t)rule;
    while (count && used >= length_of(count, stride % LAPS)) used -= length_of(count, stride++ % LAPS);
    store_release(&rate->rule, rule);
    for (uint32_t n = stride - RATE_MARKS; n < stride; n++)
        store_release(&rate->mark[n % RATE_MARKS], make_mark(n % LAPS, n >= base ? time : 0));
    store_release(&rate->word, make_word(time, stride % LAPS, used));
}

/* At most so many leases were given after `since`. `former` is what the word was, `marks` what they were. */
static uint32_t used_since(uint64_t rule, uint64_t former, const uint64_t marks[RATE_MARKS], uint64_t since)
{
    uint32_t count = (uint32_t)rule, number = word_mark(former), used = word_offset(former);
    if (!count) return 0;
    if (former == FROZEN) return UINT32_MAX;
    if (mark_number(marks[number % RATE_MARKS]) == number) used++; /* its owner has not come to move the word */
    for (uint32_t i = 0; i < RATE_MARKS; i++) {
        number = (number + LAPS - 1) % LAPS;
        uint64_t mark = marks[number % RATE_MARKS];
        if (mark_number(mark) == number && (mark & TIME_MASK) <= since) return used;
        used += length_of(count, number);
    }
    return UINT32_MAX;
}

/* Changes the rule. What the proxy gave under the old one counts under the new, so that changing rates back and
 * forth gives nobody more. Caller holds the lock. */
static void set_rule(struct gyre_pool *pool, uint32_t slot, uint32_t count, uint32_t period)
{
    struct slot_rate *rate = &pool->rates[slot];
    uint64_t rule = count ? (uint64_t)period << 32 | count : 0, now = clock_now(pool);
    if (rate->rule == rule && load_relaxed(&rate->word) != FROZEN) return;
    uint64_t former = freeze(rate), marks[RATE_MARKS];
    /* A thread may have its mark yet to swap in: where marks are not what it expects, it fails. */
    for (uint32_t i = 0; i < RATE_MARKS; i++) marks[i] = fetch_or(&rate->mark[i], POISON);
    uint32_t used = used_since(rate->rule, former, marks, now > period ? now - period : 0);
    uint64_t last = former == FROZEN || word_time(former) > now ? now : word_time(former);
    thaw(rate, former, rule, used < count ? used : count, last);
}

/* How much of the rate's count was given in the period that ends now; more when it cannot be told. Lock-free. */
uint32_t gyre__limit_used(struct gyre_pool *pool, uint32_t slot)
{
    struct slot_rate *rate = &pool->rates[slot];
    uint64_t rule = load_relaxed(&rate->rule), word = load_acquire(&rate->word), marks[RATE_MARKS], now = clock_now(pool);
    uint32_t period = (uint32_t)(rule >> 32), count = (uint32_t)rule;
    for (uint32_t i = 0; i < RATE_MARKS; i++) marks[i] = load_acquire(&rate->mark[i]);
    uint32_t used = used_since(rule, word, marks, now > period ? now - period : 0);
    return used < count ? used : count;
}

/* As if `used` leases had been given just now. Caller holds the lock. */
void gyre__limit_restore(struct gyre_pool *pool, uint32_t slot, uint32_t used)
{
    struct slot_rate *rate = &pool->rates[slot];
    uint64_t rule = load_relaxed(&rate->rule);
    uint32_t count = (uint32_t)rule;
    if (!count) return;
    uint64_t former = freeze(rate);
    for (uint32_t i = 0; i < RATE_MARKS; i++) fetch_or(&rate->mark[i], POISON);
    thaw(rate, former, rule, used < count ? used : count, clock_now(pool));
}

void gyre__limit_reset(struct gyre_pool *pool, uint32_t slot)
{
    thaw(&pool->rates[slot], freeze(&pool->rates[slot]), 0, 0, 0);
    bits_clear(&pool->paced, slot);
    bits_clear(&pool->mortal, slot);
    store_relaxed(&pool->health[slot].expires, 0u);
}

void gyre__limit_forget(struct gyre_pool *pool, uint32_t slot)
{
    bits_clear(&pool->paced, slot);
    bits_clear(&pool->mortal, slot);
    store_relaxed(&pool->health[slot].expires, 0u);
}

void gyre__limit_apply(struct gyre_pool *pool, uint32_t slot, const struct limits *limits)
{
    if (limits->has_rate) set_rule(pool, slot, limits->count, limits->period);
    if (!limits->has_ttl) return;
    uint32_t expires = limits->ttl > 0 ? clock_stamp(pool) + (uint32_t)ceil(limits->ttl * 10) : 0;
    store_relaxed(&pool->health[slot].expires, expires);
    if (!expires) {
        bits_clear(&pool->mortal, slot);
        return;
    }
    bits_set(&pool->mortal, slot);
    lower(&pool->control->due_mortal, expires);
}

void gyre__limit_read(const struct gyre_pool *pool, uint32_t slot, struct gyre_proxy *proxy)
{
    uint64_t rule = load_relaxed(&pool->rates[slot].rule);
    proxy->rate_count = (uint32_t)rule;
    proxy->rate_period = (double)(rule >> 32) / 1000.0;
    proxy->expires = stamp_seconds(load_relaxed(&pool->health[slot].expires));
}

/* ---- repair ---- */

static bool rule_is_sound(uint64_t rule)
{
    return !rule || ((uint32_t)rule && (uint32_t)rule <= MAX_COUNT && rule >> 32 && rule >> 32 <= MAX_PERIOD);
}

const char *gyre__limit_fault(struct gyre_pool *pool, uint32_t slot)
{
    struct slot_rate *rate = &pool->rates[slot];
    uint64_t rule = load_relaxed(&rate->rule), word = load_acquire(&rate->word), now = clock_now(pool);
    uint32_t count = (uint32_t)rule;
    if (!rule_is_sound(rule)) return "an impossible rate";
    if (word == FROZEN) return "a rate whose change was not finished";
    if (word_mark(word) >= LAPS || (count && word_offset(word) >= length_of(count, word_mark(word)))) return "a rate with an impossible count";
    if (rule && word_time(word) > now + AHEAD) return "a rate whose last lease is in the future";
    return NULL;
}

/* A rate that is not sound, or was being set by a process that died, gives nothing for one period. */
void gyre__limit_mend(struct gyre_pool *pool, uint32_t slot)
{
    struct slot_rate *rate = &pool->rates[slot];
    uint32_t *flags = &pool->slots[slot].flags;
    if (gyre__limit_fault(pool, slot)) {
        uint64_t rule = rule_is_sound(rate->rule) ? rate->rule : 0;
        thaw(rate, freeze(rate), rule, (uint32_t)rule, clock_now(pool));
    }
    if (pool->labels[slot].max_active || rate->rule) fetch_or(flags, SLOT_LIMITED);
    else fetch_and(flags, ~(uint32_t)SLOT_LIMITED);
    bits_clear(&pool->paced, slot); /* refresh sets it again where it must */
    if (load_relaxed(&pool->health[slot].expires)) bits_set(&pool->mortal, slot);
    else bits_clear(&pool->mortal, slot);
}

/* ---- reading specs ---- */

static int bad_rate(const char *text, const char *why)
{
    return gyre__fail(GYRE_EINVALID, "rate '%.40s' %s; it is COUNT/[NUMBER]UNIT like 40/10s, with unit ms, s, m, h or d", text, why);
}

/* Reads digits; UINT64_MAX when there are none or too many. */
static uint64_t read_number(const char **text)
{
    uint64_t value = 0;
    const char *from = *text;
    while (**text >= '0' && **text <= '9' && *text - from < 12) value = value * 10 + (uint64_t)(*(*text)++ - '0');
    return *text == from || (**text >= '0' && **text <= '9') ? UINT64_MAX : value;
}

static uint64_t unit_ms(const char *unit)
{
    static const struct {
        const char *name;
        uint32_t ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (!strcmp(unit, units[i].name)) return units[i].ms;
    return 0;
}

static int parse_rate(const char *text, struct limits *limits)
{
    const char *at = text;
    uint64_t count = read_number(&at);
    if (count == UINT64_MAX || *at != '/') return bad_rate(text, "is none");
    at++;
    uint64_t n = *at >= '0' && *at <= '9' ? read_number(&at) : 1, unit = unit_ms(at);
    if (n == UINT64_MAX || !unit) return bad_rate(text, "has no such period");
    if (!count || count > MAX_COUNT) return bad_rate(text, "has a count that is not between 1 and 100000");
    if (!n || n > MAX_PERIOD / unit) return bad_rate(text, "has a period that is not between 1 ms and 31 days");
    limits->count = (uint32_t)count;
    limits->period = (uint32_t)(n * unit);
    return 0;
}

int gyre__limit_parse(const struct gyre_proxy_spec *spec, struct limits *limits)
{
    *limits = (struct limits){.has_rate = spec->rate != NULL, .has_ttl = spec->has_ttl != 0, .ttl = spec->ttl};
    if (limits->has_ttl && !(spec->ttl >= 0 && spec->ttl <= MAX_TTL))
        return gyre__fail(GYRE_EINVALID, "ttl %g is not between 0 and %.0f seconds", spec->ttl, MAX_TTL);
    return spec->rate && *spec->rate ? parse_rate(spec->rate, limits) : 0;
}
