/*
 * The native score: what using a proxy is expected to cost. Inline for the picker of the best of a few and for its quick form.
 */
#ifndef GYRE_SCORE_H
#define GYRE_SCORE_H

#include "pool.h"

#define LEAST_MS 1e-6 /* among proxies that take no time the load decides still */
#define FADE 600.0 /* stamps in which what is known of a proxy loses most of its weight: 60 s */

/* exp(-x) to within 2 % for what matters here: only the order of costs counts. */
static inline double score_fade(double x)
{
    return 1.0 / (1.0 + x * (1.0 + x * (0.5 + x / 6.0)));
}

/* The pool's mean latency, for what is not known. */
static inline double score_prior(const struct gyre_pool *pool)
{
    return load_double(&pool->control->prior);
}

/* What using a proxy is expected to cost is cost / worth; infinite where worth is 0. Nobody's cost is 0. */
struct score {
    double cost, worth;
};

/*
 * Latency * (in flight + 1) / success^2 / weight. The latency is drawn to 0.7 of the pool's mean with age and is half the mean
 * where nothing is known, so that proxies are tried again by themselves; success is drawn to 0.95 alike. Power of d
 * choices: M. Mitzenmacher 2001; the score's terms were chosen by simulation (100 proxies, sinkholes, bans).
 */
static inline struct score score_of(const struct gyre_pool *pool, uint32_t slot, uint32_t stamp, double prior)
{
    const struct gyre_slot *hot = &pool->slots[slot];
    double ema = load_double(&hot->ema_ms), latency = 0.5 * prior, success = load_float(&hot->success_rate);
    uint32_t sampled = load_relaxed(&hot->last_sample);
    if (likely(ema >= 0)) latency = ema;
    if (unlikely(stamp > sampled + 1)) {
        double keep = score_fade((stamp - sampled) * (1 / FADE));
        if (likely(ema >= 0)) latency = 0.7 * prior + (ema - 0.7 * prior) * keep;
        success = 0.95 + (success - 0.95) * keep;
    }
    double load = (int32_t)(use_active(load_relaxed(&hot->use)) + 1);
    return (struct score){(latency + LEAST_MS) * load, (success * success + 1e-3) * load_float(&hot->weight)};
}

/* Is `a` cheaper than `b`? Multiplied crosswise: three comparisons of three proxies take less time than one division each. */
static inline bool score_less(struct score a, struct score b)
{
    return a.cost * b.worth < b.cost * a.worth;
}

#endif
