/*
 * Best of a few, weighted random, consistent hash.
 */
#include "pick.h"
#include "score.h"

#include <float.h>
#include <stdlib.h>

#define MAX_CHOICES 64u
#define DRAWN_AGAIN 8u
#define PROBES 8u
#define LOAD_BOUND 1.25

/* ---- best of a few ---- */

static bool is_among(const uint32_t *slots, uint32_t n, uint32_t slot)
{
    uint32_t i = 0;
    while (i < n && slots[i] != slot) i++;
    return i < n;
}

/* Fills up slots[n..want) with any others, each as likely: reservoir sampling, J. S. Vitter 1985, algorithm R. */
static uint32_t fill_up(struct gyre_pool *pool, struct pick *pick, uint32_t n, uint32_t want, uint32_t *slots)
{
    uint32_t seen = 0, room = want - n;
    for (uint32_t slot = view_next(pool, pick->view, 0); slot != NO_BIT; slot = view_next(pool, pick->view, slot + 1)) {
        if (is_among(slots, n, slot) || !pick_takes(pool, pick, slot)) continue;
        uint32_t at = seen < room ? seen : random_below(&pick->thread->random, seen + 1);
        if (at < room) slots[n + at] = slot;
        seen++;
    }
    return n + (seen < room ? seen : room);
}

/* By drawing again what was drawn before; when that happens often there are few, and they are gone through. */
uint32_t gyre__pick_distinct(struct gyre_pool *pool, struct pick *pick, uint32_t n, uint32_t want, uint32_t *slots)
{
    uint32_t again = 0;
    while (n < want && again < DRAWN_AGAIN) {
        uint32_t slot = gyre__pick_random(pool, pick);
        if (slot == NO_BIT) break;
        if (is_among(slots, n, slot)) again++;
        else slots[n++] = slot;
    }
    return n < want ? fill_up(pool, pick, n, want, slots) : n;
}

static uint32_t all_of_few(struct gyre_pool *pool, struct pick *pick, uint32_t *slots)
{
    uint32_t n = 0;
    for (uint32_t slot = view_next(pool, pick->view, 0); slot != NO_BIT && n < FEW_PROXIES;
         slot = view_next(pool, pick->view, slot + 1))
        if (pick_takes(pool, pick, slot)) slots[n++] = slot;
    return n;
}

static uint32_t best_of_drawn(struct gyre_pool *pool, struct pick *pick)
{
    uint32_t slots[MAX_CHOICES], want = pick_choices(pool, pick->request), best = NO_BIT;
    uint32_t members = pick->view->all ? load_relaxed(&pool->control->live) : pick->view->count;
    uint32_t n = members <= FEW_PROXIES ? all_of_few(pool, pick, slots) : gyre__pick_distinct(pool, pick, 0, want, slots);
    double prior = score_prior(pool);
    struct score least = {1, 0};
    for (uint32_t i = 0; i < n; i++) {
        struct score score = score_of(pool, slots[i], load_relaxed(&pool->control->tick), prior);
        if (!score_less(score, least)) continue;
        least = score;
        best = slots[i];
    }
    return best;
}

uint32_t gyre__pick_best(struct gyre_pool *pool, struct pick *pick)
{
    uint32_t best = best_of_drawn(pool, pick);
    if (likely(best != NO_BIT)) return best;
    bool choosy = pick->choosy;
    pick->choosy = pick->weighed = true; /* only such were drawn as have no weight: draws among the others */
    best = best_of_drawn(pool, pick);
    pick->choosy = choosy;
    pick->weighed = false;
    return best;
}

/* Mean of the known latency averages, over a sample of a large pool; 1 ms before there are any. Caller holds the lock. */
void gyre__score_prior(struct gyre_pool *pool)
{
    double sum = 0;
    uint32_t n = 0, high = load_relaxed(&pool->control->high), step = high / 4096 + 1;
    uint32_t first = high ? random_below(&pool->control->random, step) : 0;
    for (uint32_t slot = first; slot < high && slot < pool->max_proxies; slot += step) {
        double ema = load_double(&pool->slots[slot].ema_ms);
        if (!(load_relaxed(&pool->slots[slot].flags) & SLOT_LIVE) || isnan(ema)) continue;
        sum += ema;
        n++;
    }
    double mean = sum > 0 ? sum / n : 1.0;
    store_relaxed((uint64_t *)(void *)&pool->control->prior, double_bits(mean));
}

/* ---- weighted ---- */

static double weight_of(const struct gyre_pool *pool, uint32_t slot)
{
    double weight = load_float(&pool->slots[slot].weight);
    return weight > 0 && weight <= FLT_MAX ? weight : 0;
}

static bool reserve(struct alias *alias, uint32_t count)
{
    if (count <= alias->capacity) return true;
    free(alias->entry);
    alias->entry = malloc(count * sizeof *alias->entry);
    alias->capacity = alias->entry ? count : 0;
    return alias->capacity != 0;
}

static uint32_t fraction(double share)
{
    return share < 1.0 ? (uint32_t)(share * 0x1p32) : UINT32_MAX;
}

/* Pairs what is below the mean with what is above it. Alias method: A. J. Walker 1977, in the form of M. D. Vose 1991. */
static void pair(struct alias *alias, double *left, uint32_t *stack)
{
    struct alias_entry *entry = alias->entry;
    uint32_t n = alias->count, small = 0, large = n;
    for (uint32_t i = 0; i < n; i++) stack[left[i] < 1.0 ? small++ : --large] = i;
    while (small && large < n) {
        uint32_t s = stack[--small], l = stack[large];
        entry[s].share = fraction(left[s]);
        entry[s].other = entry[l].slot;
        left[l] -= 1.0 - left[s];
        if (left[l] < 1.0) {
            large++;
            stack[small++] = l;
        }
    }
    while (large < n) entry[stack[large++]].share = UINT32_MAX;
    while (small) entry[stack[--small]].share = UINT32_MAX;
}

static bool build_alias(struct gyre_pool *pool, struct view *view, uint64_t epoch, uint64_t *random)
{
    struct alias *alias = &view->alias;
    uint32_t most = view->all ? load_relaxed(&pool->control->high) : view->count, n = 0;
    double sum = 0;
    alias->count = 0;
    if (!most || most > pool->max_proxies || !reserve(alias, most)) return false;
    double *weights = malloc(most * sizeof *weights);
    uint32_t *stack = malloc(most * sizeof *stack);
    for (uint32_t i = 0; weights && stack && i < most; i++) {
        uint32_t slot = view->all ? i : view->dense[i];
        double weight = load_relaxed(&pool->slots[slot].flags) & SLOT_LIVE ? weight_of(pool, slot) : 0;
        if (weight == 0) continue;
        alias->entry[n].slot = alias->entry[n].other = slot;
        sum += weights[n++] = weight;
    }
    alias->count = n;
    for (uint32_t i = 0; i < n; i++) weights[i] *= n / sum;
    if (n) pair(alias, weights, stack);
    free(weights);
    free(stack);
    if (!n) return false;
    alias->epoch = epoch + 1;
    alias->next = alias_slot(alias, random_next(random));
    alias->ahead = random_next(random);
    return true;
}

/* Most of the weight is out: walk along those that are in. O(n). */
static uint32_t weighted_walk(struct gyre_pool *pool, struct pick *pick)
{
    double sum = 0, target;
    uint32_t last = NO_BIT;
    for (uint32_t slot = view_next(pool, pick->view, 0); slot != NO_BIT; slot = view_next(pool, pick->view, slot + 1))
        if (pick_takes(pool, pick, slot)) sum += weight_of(pool, slot);
    target = random_unit(&pick->thread->random) * sum;
    for (uint32_t slot = view_next(pool, pick->view, 0); slot != NO_BIT; slot = view_next(pool, pick->view, slot + 1)) {
        double weight = weight_of(pool, slot);
        if (weight == 0 || !pick_takes(pool, pick, slot)) continue;
        last = slot;
        target -= weight;
        if (target <= 0) break;
    }
    return last;
}

uint32_t gyre__pick_weighted(struct gyre_pool *pool, struct pick *pick)
{
    struct alias *alias = &pick->view->alias;
    uint64_t epoch = load_acquire(&pool->control->epoch), *random = &pick->thread->random;
    if (unlikely(alias->epoch != epoch + 1) && !build_alias(pool, pick->view, epoch, random)) return NO_BIT;
    for (uint32_t i = 0; i < 32 && alias->count; i++) {
        uint32_t slot = alias_slot(alias, random_next(random));
        if (view_has(pool, pick->view, slot) && pick_takes(pool, pick, slot)) return slot;
    }
    return weighted_walk(pool, pick);
}

/* ---- consistent hash ---- */

static uint64_t hash_key(const char *key)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (; *key; key++) hash = (hash ^ (unsigned char)*key) * UINT64_C(0x100000001b3);
    return random_mix(&hash);
}

/* J. Lamping, E. Veach, "A Fast, Minimal Memory, Consistent Hash Algorithm", 2014. */
static uint32_t jump(uint64_t key, uint32_t buckets)
{
    int64_t bucket = -1, next = 0;
    while (next < buckets) {
        bucket = next;
        key = key * UINT64_C(2862933555777941757) + 1;
        next = (int64_t)((double)(bucket + 1) * (0x1p31 / (double)((key >> 33) + 1)));
    }
    return (uint32_t)bucket;
}

/*
 * Several jumps with different hashes of the key: the first few that lead to slots that can be taken are the candidates,
 * and the first of them whose load is within the bound gets it. Only keys of a slot that is gone, or full, move.
 */
uint32_t gyre__pick_hash(struct gyre_pool *pool, struct pick *pick)
{
    uint32_t high = load_relaxed(&pool->control->high), members = pick->view->all ? load_relaxed(&pool->control->live) : pick->view->count;
    uint32_t slots[PROBES], n = 0, total = 0;
    uint64_t hash = hash_key(pick_key(pick->request));
    if (!members || !high || high > pool->max_proxies) return NO_BIT;
    uint32_t tries = high / members < 32 ? PROBES * (high / members + 1) : 32 * PROBES;
    for (uint32_t i = 0; i < tries && n < PROBES; i++) {
        uint32_t slot = jump(random_mix(&hash), high);
        if (!view_has(pool, pick->view, slot) || !pick_takes(pool, pick, slot)) continue;
        slots[n++] = slot;
        total += use_active(load_relaxed(&pool->slots[slot].use));
    }
    double bound = n ? ceil(LOAD_BOUND * (total + 1.0) / n) : 0;
    for (uint32_t i = 0; i < n; i++)
        if (use_active(load_relaxed(&pool->slots[slots[i]].use)) < bound) return slots[i];
    if (n) return slots[0];
    uint32_t slot = view_next(pool, pick->view, jump(hash, high));
    while (slot != NO_BIT && !pick_takes(pool, pick, slot)) slot = view_next(pool, pick->view, slot + 1);
    if (slot != NO_BIT) return slot;
    slot = view_next(pool, pick->view, 0);
    while (slot != NO_BIT && !pick_takes(pool, pick, slot)) slot = view_next(pool, pick->view, slot + 1);
    return slot;
}
