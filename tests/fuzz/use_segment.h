/*
 * Opens a segment file that may be damaged and calls everything there is on it. Every result is allowed; a crash, an access out
 * of bounds, or a loop without end is not. For fuzz_segment.c and core/test_damage_body.c.
 */
#ifndef GYRE_TEST_USE_SEGMENT_H
#define GYRE_TEST_USE_SEGMENT_H

#include <gyre/gyre.h>

#include <stdio.h>
#include <string.h>

enum { SEGMENT_PROXIES = 64 };

static struct gyre_options segment_options(const char *path)
{
    return (struct gyre_options){.size = sizeof(struct gyre_options), .path = path, .max_proxies = SEGMENT_PROXIES, .max_leases = 64,
                                 .max_sessions = 64, .max_bans = 64, .clock = GYRE_CLOCK_MANUAL, .seed = 1, .breaker_failures = 2};
}

static void segment_url(char *url, size_t size, int i)
{
    snprintf(url, size, "http://user%d:secret@10.0.0.%d:3128", i, i);
}

/* A segment with something in every part of it. 0 or an error. */
static int segment_make(const char *path)
{
    struct gyre_options options = segment_options(path);
    struct gyre_request request = {.size = sizeof request};
    struct gyre_pool *pool;
    struct gyre_lease lease;
    char text[64];
    int result = gyre_pool_open(&options, &pool);
    if (result < 0) return result;
    gyre_pool_set_time(pool, 1000.0);
    for (int i = 0; i < SEGMENT_PROXIES - 4; i++) {
        struct gyre_proxy_spec spec = {.size = sizeof spec, .url = text, .country = i % 2 ? "DE" : "US", .tags = "a,b,c", .region = "x",
                                       .rate = i % 5 ? NULL : "3/10s", .max_active = (uint32_t)i % 3, .has_max_active = 1, .ttl = 5000, .has_ttl = i % 7 == 0};
        segment_url(text, sizeof text, i);
        if ((result = gyre_pool_add(pool, &spec, NULL)) < 0) return result;
    }
    for (int i = 0; i < 300; i++) {
        struct gyre_outcome outcome = {.size = sizeof outcome, .verdict = 1 + (uint32_t)i % 6, .has_ms = 1, .ms = i, .bytes = 9};
        snprintf(text, sizeof text, "s%d", i % 20);
        request.session = i % 3 ? NULL : text;
        request.host = i % 4 ? NULL : "shop.example";
        request.picker = 1 + (uint32_t)i % GYRE_PICK_HASH;
        request.key = "k";
        if (gyre_acquire(pool, &request, &lease) == 0 && i % 50) gyre_complete(pool, &lease, &outcome);
        gyre_counter_add(pool, text, 1.0, NULL);
    }
    struct gyre_strategy strategy = {.size = sizeof strategy, .picker = GYRE_PICK_BEST, .choices = 2, .name = "mine", .options = "{\"a\":1}"};
    struct gyre_decision decision = {.size = sizeof decision, .strategy = "mine", .reason = "because"};
    gyre_strategy_set(pool, &strategy, NULL);
    gyre_log_enable(pool, 1.0);
    for (int i = 0; i < 20; i++) gyre_log_write(pool, &decision);
    gyre_host_throttle(pool, "slow.example", 100.0);
    gyre_pool_close(pool);
    return 0;
}

static void segment_lease(struct gyre_pool *pool, int i)
{
    static const char *const countries[] = {NULL, "DE", "US,DE", "XX"};
    struct gyre_request request = {.size = sizeof request, .picker = (uint32_t)i % (GYRE_PICK_HASH + 1), .country = countries[i % 4],
                                   .tags = i % 5 ? NULL : "a,c", .host = i % 3 ? NULL : "shop.example", .key = "k"};
    static const uint32_t states[] = {0, GYRE_CLOSED, GYRE_HALF_OPEN};
    struct gyre_lease lease;
    uint64_t ids[8] = {0};
    uint32_t slots[SEGMENT_PROXIES];
    char session[16];
    snprintf(session, sizeof session, "s%d", i % 30);
    if (i % 2) request.session = session;
    request.state = states[i / 2 % 3];
    if (gyre_acquire(pool, &request, &lease) == 0 && i % 9) gyre_complete_ms(pool, &lease, 1 + i % 6, 5.0);
    gyre_pick(pool, &request, ids);
    gyre_sample(pool, &request, ids, 8);
    gyre_pool_eligible(pool, &request);
    gyre_list(pool, &request, slots, SEGMENT_PROXIES);
    if (gyre_acquire_chosen(pool, &request, i % 4 ? ids[0] : 0, &lease) == 0 && i % 9) gyre_complete_ms(pool, &lease, 1 + i % 6, 5.0);
    if (i % 7 == 0) gyre_session_close(pool, session);
    gyre_counter_add(pool, session, 1.0, NULL);
}

/* What moves a pool to another segment: read, and written back. */
static void segment_restore(struct gyre_pool *pool, uint64_t id, int i)
{
    struct gyre_books books = {.size = sizeof books};
    struct gyre_session session = {.size = sizeof session};
    char text[16];
    uint64_t proxy = 0;
    if (gyre_books_get(pool, id, &books) == 0) gyre_books_set(pool, id, &books);
    snprintf(text, sizeof text, "s%d", i % 30);
    if (gyre_session_info(pool, text, &session) == 0) gyre_session_restore(pool, session.id, session.proxy, 5.0, 1.0);
    gyre_session_get(pool, text, &proxy);
    gyre_session_use(pool, text, &proxy);
    gyre_session_assign(pool, text, id, i % 2 ? proxy : 0, &proxy);
    gyre_session_restore(pool, text, id, 50.0, 10.0);
}

/* Bans and throttles, the strategy, and the log. */
static void segment_restore_all(struct gyre_pool *pool)
{
    struct gyre_ban ban = {.size = sizeof ban};
    struct gyre_throttle throttle = {.size = sizeof throttle};
    struct gyre_strategy strategy = {.size = sizeof strategy};
    struct gyre_decision decision = {.size = sizeof decision};
    uint32_t at = 0;
    uint64_t cursor = 0;
    for (int i = 0; i < 200 && gyre_host_next(pool, &at, &ban) == 1; i++) gyre_ban_restore(pool, &ban);
    at = 0;
    for (int i = 0; i < 200 && gyre_throttle_next(pool, &at, &throttle) == 1; i++) gyre_throttle_restore(pool, &throttle);
    gyre_host_throttle(pool, "new.example", 2.0);
    gyre_host_throttle(pool, "slow.example", 0.0);
    gyre_host_delay(pool, "shop.example");
    gyre_host_blamed(pool, "shop.example");
    if (gyre_strategy_get(pool, &strategy) == 0) gyre_strategy_set(pool, &strategy, NULL);
    strategy = (struct gyre_strategy){.size = sizeof strategy, .picker = GYRE_PICK_LEAST_ACTIVE, .name = "other"};
    gyre_strategy_set(pool, &strategy, NULL);
    gyre_log_enable(pool, 0.5);
    gyre_log_share(pool);
    gyre_log_sample(pool);
    decision.session = gyre_session_hash(pool, "s1");
    gyre_log_write(pool, &decision);
    for (int i = 0; i < 10000 && gyre_log_read(pool, &cursor, &decision) == 1; i++) {}
    cursor = UINT64_MAX;
    gyre_log_read(pool, &cursor, &decision);
}

static void segment_operate(struct gyre_pool *pool, uint64_t id, int i)
{
    struct gyre_proxy proxy = {.size = sizeof proxy};
    struct gyre_proxy_spec spec = {.size = sizeof spec, .country = "FR", .tags = "d,e", .rate = "9/1s", .max_active = 5, .has_max_active = 1};
    struct gyre_lease lease;
    char text[2048];
    gyre_pool_get(pool, id, &proxy);
    if (gyre_pool_url_with_credentials(pool, id, text, sizeof text) > 0) gyre_pool_find(pool, text, &id);
    if (gyre_acquire_id(pool, id, &lease) == 0) gyre_complete_ms(pool, &lease, 1 + i % 6, 5.0);
    if (gyre_probe(pool, id, &lease) == 0) {
        struct gyre_outcome outcome = {.size = sizeof outcome, .verdict = 1 + (uint32_t)i % 6, .retry_after = i % 2 ? 3.0 : 0.0};
        gyre_lease_host(&lease, i % 2 ? "shop.example" : "slow.example");
        gyre_complete(pool, &lease, &outcome);
    }
    segment_restore(pool, id, i);
    switch (i % 6) {
    case 0: gyre_pool_disable(pool, id); break;
    case 1: gyre_pool_enable(pool, id); break;
    case 2: gyre_pool_update(pool, id, &spec); break;
    case 3: gyre_host_ban(pool, id, "shop.example", 100.0); break;
    case 4: gyre_pool_remove(pool, id); break;
    default: gyre_pool_drain(pool, id);
    }
}

static void segment_look(struct gyre_pool *pool)
{
    struct gyre_stats stats = {.size = sizeof stats};
    struct gyre_check check = {.size = sizeof check};
    struct gyre_session session = {.size = sizeof session};
    struct gyre_session_stats sessions = {.size = sizeof sessions};
    struct gyre_counter counter = {.size = sizeof counter};
    struct gyre_ban ban = {.size = sizeof ban};
    struct gyre_throttle throttle = {.size = sizeof throttle};
    struct gyre_strategy strategy = {.size = sizeof strategy};
    struct gyre_decision decision = {.size = sizeof decision};
    struct gyre_options options = {.size = sizeof options};
    uint64_t cursor = 0;
    uint32_t at = 0;
    double value;
    for (int i = 0; i < 5000 && gyre_session_next(pool, &cursor, &session) == 1; i++) {}
    cursor = 0;
    for (int i = 0; i < 5000 && gyre_counter_next(pool, &cursor, &counter) == 1; i++) {}
    for (int i = 0; i < 5000 && gyre_host_next(pool, &at, &ban) == 1; i++) {}
    at = 0;
    for (int i = 0; i < 5000 && gyre_throttle_next(pool, &at, &throttle) == 1; i++) {}
    cursor = 0;
    for (int i = 0; i < 10000 && gyre_log_read(pool, &cursor, &decision) == 1; i++) {}
    gyre_strategy_get(pool, &strategy);
    gyre_counter_get(pool, "s1", &value);
    gyre_pool_options(pool, &options);
    gyre_pool_stats(pool, &stats);
    gyre_session_stats(pool, &sessions);
    gyre_pool_check(pool, &check);
}

/* 0 or the error that opening it gave. */
static int segment_use(const char *path)
{
    struct gyre_options options = segment_options(path);
    struct gyre_pool *pool;
    uint64_t id = 0;
    int result = gyre_pool_open(&options, &pool), steps = 0;
    if (result < 0) return result;
    segment_look(pool);
    for (int i = 0; i < 60; i++) segment_lease(pool, i);
    while (steps < 2 * SEGMENT_PROXIES && gyre_pool_next(pool, &id) == 1) segment_operate(pool, id, steps++);
    segment_restore_all(pool);
    for (int i = 0; i < 8; i++) {
        char url[64];
        struct gyre_proxy_spec spec = {.size = sizeof spec, .url = url, .country = "IT", .tags = "new", .ttl = 10, .has_ttl = 1};
        segment_url(url, sizeof url, 200 + i);
        gyre_pool_add(pool, &spec, &id);
    }
    gyre_pool_set_time(pool, gyre_pool_time(pool) + 5000.0);
    for (int i = 0; i < 30; i++) segment_lease(pool, i);
    gyre_host_unban(pool, 0, "shop.example");
    gyre_pool_repair(pool);
    segment_look(pool);
    gyre_pool_reset_counters(pool);
    gyre_session_cleanup(pool);
    gyre_session_close_all(pool);
    gyre_pool_close(pool);
    return 0;
}

#endif
