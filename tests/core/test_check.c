/*
 * gyre_pool_check() and gyre_pool_repair(): each kind of damage, planted by hand, is found and named, and repaired so that
 * the check finds nothing and the pool works; a sound segment is sound in the middle of everything, and after kill -9.
 */
#include "support.h"

#include "../../src/core/lease.h"

#include "../../src/core/host.h"

#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PROXIES = 20, BENCHED = 3, HALF = 4, RATED = 5, MORTAL = 6, LABELLED = 7, HELD = 8, BANNED = 9, PLAIN = 10 };

static uint64_t ids[PROXIES];
static struct gyre_lease held, probe;

static uint32_t slot_at(int i)
{
    return id_slot(ids[i]);
}

static void lease_for(struct gyre_pool *pool, uint64_t id, const char *host, int verdict, double retry_after)
{
    struct gyre_outcome outcome = outcome_of(verdict);
    struct gyre_lease lease;

    OK(gyre_acquire_id(pool, id, &lease));
    if (host) OK(gyre_lease_host(&lease, host));
    outcome.retry_after = retry_after;
    OK(gyre_complete(pool, &lease, &outcome));
}

/* A pool in which something of everything is under way. */
static struct gyre_pool *busy_pool(void)
{
    struct gyre_options options = manual_options();
    struct gyre_proxy_spec spec = {.size = sizeof spec};
    struct gyre_request request = {.size = sizeof request, .session = "cart"};
    struct gyre_pool *pool;
    uint64_t removed;

    options.max_proxies = 8192; /* bitmaps with two words of summary */
    options.max_leases = 1024;
    options.max_bans = 64;
    options.breaker_base = 1000;
    pool = pool_of(PROXIES, ids, &options);
    removed = add_url(pool, "http://user:password@a-name-that-takes-more-than-one-block-of-text.example:3128");
    add_url(pool, "http://last:1");
    OK(gyre_pool_remove(pool, removed)); /* a tombstone, a free extent, a gap */
    for (int i = 0; i < 5; i++) lease_for(pool, ids[HALF], NULL, GYRE_PROXY_BAD, 0);
    pass_time(pool, 1001);
    OK(gyre_acquire_id(pool, ids[HALF], &probe));
    for (int i = 0; i < 5; i++) lease_for(pool, ids[BENCHED], NULL, GYRE_PROXY_BAD, 0);
    spec.rate = "3/h";
    OK(gyre_pool_update(pool, ids[RATED], &spec));
    for (int i = 0; i < 3; i++) lease_for(pool, ids[RATED], NULL, GYRE_OK, 0);
    spec = (struct gyre_proxy_spec){.size = sizeof spec, .has_ttl = 1, .ttl = 1000};
    OK(gyre_pool_update(pool, ids[MORTAL], &spec));
    spec = (struct gyre_proxy_spec){.size = sizeof spec, .country = "de", .region = "x", .tags = "a,b"};
    OK(gyre_pool_update(pool, ids[LABELLED], &spec));
    OK(gyre_acquire_id(pool, ids[HELD], &held));
    lease_for(pool, ids[BANNED], "shop.example", GYRE_BANNED, 500);
    OK(gyre_host_ban(pool, ids[PLAIN], "shop.example", 500));
    OK(gyre_host_throttle(pool, "slow.example", 500));
    OK(gyre_acquire(pool, &request, &(struct gyre_lease){0}));
    lease_for(pool, ids[PLAIN], NULL, GYRE_OK, 0);
    return pool;
}

static uint32_t ban_at(const struct gyre_pool *pool)
{
    for (uint32_t at = 0; at <= pool->ban_mask; at++)
        if (pool->ban_keys[at] && pool->bans[at].id == ids[BANNED]) return at;
    fail();
    return 0;
}

static uint32_t host_at(const struct gyre_pool *pool)
{
    uint64_t hash = pool->bans[ban_at(pool)].host;
    uint32_t at = host_find(pool, hash);

    assert_true(at != NO_BIT);
    return at;
}

static void clear_bit(const struct bits *b, uint32_t i)
{
    b->word[i / 64] &= ~(UINT64_C(1) << (i % 64));
}
static void set_bit(const struct bits *b, uint32_t i)
{
    b->word[i / 64] |= UINT64_C(1) << (i % 64);
}

/* ---- damages ---- */

#define DAMAGE(name) static void name(struct gyre_pool *pool)
DAMAGE(not_eligible) { clear_bit(&pool->eligible, slot_at(PLAIN)); }
DAMAGE(eligible_though_benched) { set_bit(&pool->eligible, slot_at(BENCHED)); }
DAMAGE(eligible_though_empty) { set_bit(&pool->eligible, 5000); set_bit(&(struct bits){.word = pool->eligible.summary}, 5000 / 64); set_bit(&(struct bits){.word = pool->eligible.top}, 1); }
DAMAGE(eligible_over_rate) { set_bit(&pool->eligible, slot_at(RATED)); }
DAMAGE(summary_lost) { pool->eligible.summary[0] = 0; }
DAMAGE(top_lost) { pool->free.top[0] = 0; }
DAMAGE(summary_false) { pool->live.summary[1] |= 1; }
DAMAGE(summary_stray) { pool->paced.top[0] |= UINT64_C(1) << 40; }
DAMAGE(not_live) { clear_bit(&pool->live, slot_at(PLAIN)); }
DAMAGE(live_and_free) { set_bit(&pool->free, slot_at(PLAIN)); }
DAMAGE(nobody_looks) { clear_bit(&pool->paced, slot_at(RATED)); }
DAMAGE(nobody_looks_at_any) { pool->control->due_paced = UINT32_MAX; }
DAMAGE(bench_not_due) { pool->control->due = UINT32_MAX; }
DAMAGE(ttl_not_due) { pool->control->due_mortal = UINT32_MAX; }
DAMAGE(bench_forgotten) { clear_bit(&pool->benched, slot_at(BENCHED)); }
DAMAGE(half_forgotten) { clear_bit(&pool->benched, slot_at(HALF)); }
DAMAGE(ttl_forgotten) { clear_bit(&pool->mortal, slot_at(MORTAL)); }
DAMAGE(open_and_half) { pool->slots[slot_at(BENCHED)].flags |= SLOT_HALF; }
DAMAGE(probe_without_half) { pool->slots[slot_at(PLAIN)].flags |= SLOT_PROBE; }
DAMAGE(probe_without_lease)
{
    struct lease_entry *entry = &pool->leases[probe.entry];
    entry->word &= ~(uint64_t)LEASE_PROBE;
}
DAMAGE(left_quiet) { pool->slots[slot_at(PLAIN)].flags |= SLOT_QUIET; }
DAMAGE(limit_unknown) { pool->slots[slot_at(RATED)].flags &= ~(uint32_t)SLOT_LIMITED; }
DAMAGE(no_limit) { pool->slots[slot_at(PLAIN)].flags |= SLOT_LIMITED; }
DAMAGE(generation_zero) { pool->slots[slot_at(PLAIN)].generation = 0; }
DAMAGE(success_nan) { pool->slots[slot_at(PLAIN)].success_rate = NAN; }
DAMAGE(weight_infinite) { pool->slots[slot_at(PLAIN)].weight = INFINITY; }
DAMAGE(weight_negative) { pool->slots[slot_at(PLAIN)].weight = -1; }
DAMAGE(ema_negative) { pool->slots[slot_at(PLAIN)].ema_ms = -1; }
DAMAGE(bench_endless) { pool->health[slot_at(BENCHED)].until = UINT32_MAX; }
DAMAGE(window_future) { pool->slots[slot_at(PLAIN)].window_bucket = UINT32_MAX; }
DAMAGE(live_count) { pool->control->live++; }
DAMAGE(benched_count) { pool->control->benched--; }
DAMAGE(high_low) { pool->control->high = 2; }
DAMAGE(high_high) { pool->control->high = UINT32_MAX; }
DAMAGE(index_hole)
{
    for (uint32_t i = 0; i < pool->header->index_size; i++)
        if (pool->index[i] == slot_at(PLAIN) + 1) pool->index[i] = 0;
}
DAMAGE(index_wild) { for (uint32_t i = 0; i < pool->header->index_size; i++) if (!pool->index[i]) { pool->index[i] = 0x7fffffff; return; } }
DAMAGE(index_dead) { for (uint32_t i = 0; i < pool->header->index_size; i++) if (!pool->index[i]) { pool->index[i] = 4001; return; } }
DAMAGE(index_tombs) { pool->control->tombstones += 3; }
DAMAGE(text_wild) { pool->identity[slot_at(PLAIN)].text = UINT32_MAX; }
DAMAGE(text_shared) { pool->identity[slot_at(PLAIN)] = pool->identity[slot_at(PLAIN + 1)]; }
DAMAGE(text_long) { pool->identity[slot_at(PLAIN)].user_size = 60000; }
DAMAGE(scheme_unknown) { pool->identity[slot_at(PLAIN)].scheme = 77; }
DAMAGE(hash_wrong) { pool->identity[slot_at(PLAIN)].hash ^= 1; }
DAMAGE(text_changed)
{
    uint32_t text = pool->identity[slot_at(PLAIN)].text;
    if (text < pool->header->text_blocks) pool->text[(size_t)text * TEXT_BLOCK] ^= 1;
}
DAMAGE(free_text_in_use) { pool->control->text_free[1] = pool->identity[slot_at(PLAIN)].text + 1; }
DAMAGE(free_text_wild) { pool->control->text_free[4] = UINT32_MAX; }
DAMAGE(free_text_cycle)
{
    for (uint32_t n = 1; n < TEXT_CLASSES; n++) {
        uint32_t first = pool->control->text_free[n];
        if (first && first <= pool->header->text_blocks) memcpy(pool->text + (size_t)(first - 1) * TEXT_BLOCK, &first, sizeof first);
    }
}
DAMAGE(text_leaked) { memset(pool->control->text_free, 0, sizeof pool->control->text_free); }
DAMAGE(text_end_low) { pool->control->text_next = 1; }
DAMAGE(text_end_high) { pool->control->text_next = UINT32_MAX; }
DAMAGE(label_wild) { pool->labels[slot_at(LABELLED)].country = 60000; }
DAMAGE(tag_wild) { pool->labels[slot_at(LABELLED)].tags[1] = 60000; }
DAMAGE(tags_many) { pool->labels[slot_at(LABELLED)].tag_count = 60000; }
DAMAGE(label_count) { pool->control->labels = 0; }
DAMAGE(label_long) { pool->label_texts[1].size = 255; }
DAMAGE(active_high) { pool->slots[slot_at(PLAIN)].use += 2; }
DAMAGE(active_low) { pool->slots[slot_at(HELD)].use -= 1; }
DAMAGE(failed_high) { pool->slots[slot_at(PLAIN)].failed = 1000; }
DAMAGE(aborted_high) { pool->slots[slot_at(PLAIN)].aborted = 1000; }
DAMAGE(lease_state_wild) { pool->leases[200].word = 0xf; pool->control->chunks = 4; }
DAMAGE(lease_of_nobody) { pool->leases[640].word = lease_word(1, slot_at(PLAIN), 0, LEASE_HELD); }
DAMAGE(lease_slot_wild) { pool->leases[held.entry].word = lease_word(held.serial, SLOT_MASK, 0, LEASE_HELD); }
DAMAGE(chunks_high) { pool->control->chunks = UINT32_MAX; }
DAMAGE(process_state) { pool->processes[7].state = 99; }
DAMAGE(rate_frozen) { pool->rates[slot_at(RATED)].word = UINT64_MAX; }
DAMAGE(rate_offset) { pool->rates[slot_at(RATED)].word |= 0x7fff; }
DAMAGE(rate_number) { pool->rates[slot_at(RATED)].word |= UINT64_C(511) << 15; }
DAMAGE(rate_future) { pool->rates[slot_at(RATED)].word |= UINT64_C(1) << 60; }
DAMAGE(rate_wild) { pool->rates[slot_at(RATED)].rule = 5; }
DAMAGE(ban_elsewhere)
{
    uint32_t at = ban_at(pool), to = (at + 32) & pool->ban_mask;
    pool->ban_keys[to] = pool->ban_keys[at];
    pool->bans[to] = pool->bans[at];
    pool->ban_keys[at] = 0;
}
DAMAGE(ban_of_another) { pool->bans[ban_at(pool)].id ^= 1; }
DAMAGE(ban_endless) { pool->bans[ban_at(pool)].until = UINT32_MAX; }
DAMAGE(ban_uncounted) { pool->bans[ban_at(pool)].bits = 0; }
DAMAGE(ban_count) { pool->control->bans += 5; }
DAMAGE(host_elsewhere)
{
    uint32_t at = host_at(pool), to = (at + 32) & pool->host_mask;
    pool->host_keys[to] = pool->host_keys[at];
    pool->hosts[to] = pool->hosts[at];
    pool->host_keys[at] = 0;
}
DAMAGE(host_name) { pool->hosts[host_at(pool)].text[0] ^= 1; pool->hosts[host_at(pool)].size |= 1; }
DAMAGE(host_name_long) { pool->hosts[host_at(pool)].size = 500; }
DAMAGE(host_bans) { pool->hosts[host_at(pool)].bans = 0; }
DAMAGE(host_judged) { pool->hosts[host_at(pool)].judged = 7; }
DAMAGE(host_count) { pool->control->hosts = 0; }
DAMAGE(throttle_endless) { pool->hosts[host_at(pool)].throttle = UINT64_MAX; }

static const struct damage {
    const char *name;
    void (*plant)(struct gyre_pool *pool);
    bool loses; /* a proxy, and with it perhaps more findings */
} damages[] = {
#define D(name) {#name, name, false}
#define LOSES(name) {#name, name, true}
    D(not_eligible), D(eligible_though_benched), D(eligible_though_empty), D(eligible_over_rate), D(summary_lost), D(top_lost),
    D(summary_false), D(summary_stray), D(not_live), D(live_and_free), D(nobody_looks), D(nobody_looks_at_any), D(bench_not_due), D(ttl_not_due), D(bench_forgotten), D(half_forgotten), D(ttl_forgotten),
    D(open_and_half), D(probe_without_half), D(probe_without_lease), D(left_quiet), D(limit_unknown), D(no_limit),
    LOSES(generation_zero), D(success_nan), D(weight_infinite), D(weight_negative), D(ema_negative), D(bench_endless),
    D(window_future), D(live_count), D(benched_count), D(high_low), D(high_high), D(index_hole), D(index_wild), D(index_dead),
    D(index_tombs), LOSES(text_wild), LOSES(text_shared), LOSES(text_long), LOSES(scheme_unknown), D(hash_wrong),
    LOSES(text_changed), D(free_text_in_use), D(free_text_wild), D(free_text_cycle), D(text_leaked), D(text_end_low),
    D(text_end_high), D(label_wild), D(tag_wild), D(tags_many), D(label_count), D(label_long), D(active_high), D(active_low),
    D(failed_high), D(aborted_high), D(lease_state_wild), D(lease_of_nobody), D(lease_slot_wild), D(chunks_high),
    D(process_state), D(rate_frozen), D(rate_offset), D(rate_number), D(rate_future), D(rate_wild), D(ban_elsewhere),
    D(ban_of_another), D(ban_endless), D(ban_uncounted), D(ban_count), D(host_elsewhere), D(host_name), D(host_name_long),
    D(host_bans), D(host_judged), D(host_count), D(throttle_endless),
};

/* It works: proxies are served, added, removed and found; those in flight may end. */
static void expect_works(struct gyre_pool *pool, const struct damage *damage)
{
    struct gyre_lease lease;
    uint64_t id;

    for (int i = 0; i < 100; i++) {
        OK(gyre_acquire(pool, NULL, &lease));
        OK(gyre_complete_ms(pool, &lease, GYRE_OK, 5.0));
    }
    id = add_url(pool, "http://new:1");
    lease_for(pool, id, "new.example", GYRE_THROTTLED, 1);
    OK(gyre_pool_remove(pool, id));
    gyre_complete_ms(pool, &held, GYRE_OK, 1.0);
    gyre_complete_ms(pool, &probe, GYRE_OK, 1.0);
    if (!damage->loses) assert_int_equal(gyre_pool_count(pool), PROXIES + 1);
    pass_time(pool, 2000);
    for (int i = 0; i < 100; i++) {
        OK(gyre_acquire(pool, NULL, &lease));
        OK(gyre_complete_ms(pool, &lease, GYRE_OK, 5.0));
    }
}

static void test_damage(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(damages); i++) {
        struct gyre_pool *pool = busy_pool();
        struct gyre_check report = {.size = sizeof report};
        int found;

        expect_nothing_found(pool, "before");
        damages[i].plant(pool);
        found = gyre_pool_check(pool, &report);
        if (found <= 0) fail_msg("%s is not found", damages[i].name);
        assert_true(*report.first && (int)report.findings == found);
        if (getenv("GYRE_LONG")) print_message("%s: %s\n", damages[i].name, report.first);
        OK(gyre_pool_repair(pool));
        expect_nothing_found(pool, "%s", damages[i].name);
        expect_works(pool, &damages[i]);
        expect_nothing_found(pool, "%s", damages[i].name);
        gyre_pool_close(pool);
    }
}

/* Several at a time, by seed. */
static void test_damages_together(void **state)
{
    struct rng rng = {test_seed(21)};

    (void)state;
    for (unsigned long round = 0; round < rounds(40); round++) {
        struct gyre_pool *pool = busy_pool();
        static const struct damage any = {.loses = true};

        for (int i = 0; i < 6; i++) {
            const struct damage *damage = &damages[rng_below(&rng, COUNT(damages))];
            /* These look for what an earlier one may have taken away. */
            if (strncmp(damage->name, "ban_", 4) && strncmp(damage->name, "host_", 5) && strncmp(damage->name, "throttle", 8)) damage->plant(pool);
        }
        OK(gyre_pool_repair(pool));
        expect_nothing_found(pool, "together");
        expect_works(pool, &any);
        gyre_pool_close(pool);
    }
}

/* A file that is damaged while nobody has it open is repaired by whoever opens it. */
static void test_on_open(void **state)
{
    struct gyre_options options = manual_options();
    struct gyre_pool *pool;

    (void)state;
    options.path = strdup(temp_path("check"));
    options.max_proxies = 128;
    pool = pool_of(PROXIES, ids, &options);
    pool->control->live = 77;
    clear_bit(&pool->eligible, slot_at(PLAIN));
    pool->slots[slot_at(HELD)].success_rate = NAN;
    gyre_pool_close(pool);
    pool = open_pool(&options);
    expect_nothing_found(pool, "after open");
    assert_int_equal(gyre_pool_count(pool), PROXIES);
    gyre_pool_close(pool);
    free((char *)options.path);
}

static void test_arguments(void **state)
{
    struct gyre_pool *pool = pool_of(1, ids, NULL);
    struct gyre_check report = {.size = 4};

    (void)state;
    EXPECT(GYRE_EINVALID, gyre_pool_check(NULL, NULL));
    EXPECT(GYRE_EINVALID, gyre_pool_check(pool, &report));
    EXPECT(GYRE_EINVALID, gyre_pool_repair(NULL));
    assert_int_equal(gyre_pool_check(pool, NULL), 0);
    gyre_pool_close(pool);
}

/* ---- in the middle of everything ---- */

struct worker {
    struct gyre_pool *pool;
    uint64_t seed;
    unsigned long steps; /* 0: until killed */
};

static void step(struct gyre_pool *pool, struct rng *rng)
{
    static const char *const rates[] = {"", "1/10ms", "7/50ms", "100/s"};
    struct gyre_request request = {.size = sizeof request, .host = rng_below(rng, 2) ? "h" : NULL, .picker = rng_below(rng, GYRE_PICK_WEIGHTED + 1)};
    struct gyre_outcome outcome = outcome_of(1 + (int)rng_below(rng, 6));
    struct gyre_proxy_spec spec = {.size = sizeof spec, .rate = rates[rng_below(rng, 4)], .max_active = rng_below(rng, 3), .has_max_active = 1};
    uint32_t what = rng_below(rng, 100);
    struct gyre_lease lease;
    uint64_t id = 0;
    char url[32];

    snprintf(url, sizeof url, "http://h%u:1", rng_below(rng, 40));
    outcome.retry_after = 0.1;
    if (what < 90) {
        if (rng_below(rng, 10) == 0) request.session = "s";
        if (gyre_acquire(pool, &request, &lease) == 0 && rng_below(rng, 200)) REQUIRE(gyre_complete(pool, &lease, &outcome) == 0);
        return;
    }
    if (gyre_pool_find(pool, url, &id) < 0) {
        spec.url = url;
        gyre_pool_add(pool, &spec, &id);
    } else if (what < 93) {
        gyre_pool_remove(pool, id);
    } else if (what < 97) {
        gyre_pool_update(pool, id, &spec);
    } else if (what < 98) {
        gyre_pool_disable(pool, id);
    } else {
        gyre_pool_enable(pool, id);
    }
}

static void *work(void *argument)
{
    struct worker *worker = argument;
    struct rng rng = {worker->seed};

    for (unsigned long i = 0; !worker->steps || i < worker->steps; i++) {
        step(worker->pool, &rng);
        if (i % 500 == 0) {
            struct gyre_check report = {.size = sizeof report};
            int found = gyre_pool_check(worker->pool, &report);
            if (found) fprintf(stderr, "%d findings, first: %s\n", found, report.first);
            REQUIRE(found == 0);
        }
        if (i % 2000 == 999) REQUIRE(gyre_pool_repair(worker->pool) == 0);
    }
    return NULL;
}

static struct gyre_options storm_options(void)
{
    return (struct gyre_options){.size = sizeof(struct gyre_options), .seed = 9, .max_proxies = 64, .max_leases = 2048, .max_bans = 64,
                                 .max_sessions = 64, .breaker_base = 0.1, .breaker_max = 0.2, .lease_timeout = 0.5};
}

/* No false alarm, and no harm by repair, while four threads do all there is. */
static void test_threads(void **state)
{
    struct gyre_options options = storm_options();
    struct gyre_pool *pool = open_pool(&options);
    struct worker workers[4];
    uint64_t seed = test_seed(31);

    (void)state;
    for (int i = 0; i < 4; i++) workers[i] = (struct worker){pool, seed + (uint64_t)i, rounds(10000)};
    run_threads(4, work, workers, sizeof *workers);
    expect_nothing_found(pool, "after four threads");
    gyre_pool_close(pool);
}

struct watch {
    struct gyre_pool *pool;
    uint64_t banned;
    atomic_int *stop;
};

/* Everything that looks at the segment without its lock. Whom the host bans is never leased for it. */
static void *look(void *argument)
{
    struct watch *watch = argument;
    struct gyre_pool *pool = watch->pool;

    for (uint32_t i = 0; !atomic_load(watch->stop); i++) {
        struct gyre_request request = {.size = sizeof request, .host = "shop.example", .picker = 1 + i % GYRE_PICK_WEIGHTED,
                                       .country = i % 3 ? NULL : "de,fr", .tags = i % 5 ? NULL : "cost<=2,a", .session = i % 7 ? NULL : "cart"};
        struct gyre_stats stats = {.size = sizeof stats};
        struct gyre_strategy strategy = {.size = sizeof strategy};
        struct gyre_session session = {.size = sizeof session};
        struct gyre_lease lease;
        uint32_t slots[PROXIES];
        uint64_t id;
        double value;

        REQUIRE(gyre_acquire(pool, &request, &lease) == 0);
        REQUIRE(lease.id != watch->banned);
        REQUIRE(gyre_complete_ms(pool, &lease, GYRE_OK, 5.0) == 0);
        REQUIRE(gyre_host_delay(pool, "slow.example") > 0);
        REQUIRE(gyre_host_blamed(pool, "shop.example") >= 0);
        REQUIRE(gyre_list(pool, &request, slots, PROXIES) > 0 && gyre_pool_eligible(pool, &request) > 0);
        REQUIRE(gyre_pool_stats(pool, &stats) == 0 && stats.proxies == PROXIES);
        REQUIRE(gyre_strategy_get(pool, &strategy) == 0);
        REQUIRE(gyre_counter_get(pool, "count", &value) == 0 && value == 7);
        REQUIRE(gyre_session_info(pool, "other", &session) == 0);
        REQUIRE(gyre_acquire_id(pool, watch->banned, &lease) == 0);
        REQUIRE(gyre_lease_host(&lease, "moody.example") == 0);
        REQUIRE(gyre_complete_ms(pool, &lease, i % 9 ? GYRE_OK : GYRE_BANNED, -1.0) == 0);
        for (id = 0; gyre_pool_next(pool, &id) == 1;) {}
    }
    return NULL;
}

/* Repair writes what others read meanwhile. Under tsan this looks for writes that are not atomic. */
static void test_repair_under_readers(void **state)
{
    struct gyre_options options = manual_options();
    struct gyre_proxy_spec spec = {.size = sizeof spec, .country = "de", .region = "x", .tags = "a,b", .cost = 1, .has_cost = 1};
    pthread_t threads[3];
    atomic_int stop = 0;
    struct gyre_pool *pool;

    (void)state;
    options.max_proxies = options.max_bans = options.max_sessions = 64;
    options.max_leases = 1024;
    pool = pool_of(PROXIES, ids, &options);
    for (int i = 0; i < PROXIES; i += 2) OK(gyre_pool_update(pool, ids[i], &spec));
    OK(gyre_host_ban(pool, ids[BANNED - 1], "shop.example", 5000));
    OK(gyre_host_ban(pool, ids[BANNED], "shop.example", 5000));
    OK(gyre_host_throttle(pool, "slow.example", 5000));
    OK(gyre_counter_add(pool, "count", 7, NULL));
    OK(gyre_session_assign(pool, "other", ids[0], 0, NULL));
    struct watch watch = {pool, ids[BANNED - 1], &stop};
    for (size_t i = 0; i < COUNT(threads); i++) assert_int_equal(pthread_create(&threads[i], NULL, look, &watch), 0);
    for (unsigned long i = rounds(10000); i; i--) {
        OK(gyre_pool_repair(pool));
        if (i % 10 == 0) OK(gyre_pool_update(pool, ids[i % PROXIES], &spec));
        if (i % 100 == 0) expect_nothing_found(pool, "under readers");
    }
    atomic_store(&stop, 1);
    for (size_t i = 0; i < COUNT(threads); i++) assert_int_equal(pthread_join(threads[i], NULL), 0);
    expect_nothing_found(pool, "after the readers");
    gyre_pool_close(pool);
}

/* Locks of a process that was never there, in an entry that says it is of another container: nobody waits for it. */
static void test_lock_of_nobody(void **state)
{
    struct gyre_options options = storm_options();
    struct gyre_pool *pool;
    struct process_entry *entry;
    uint32_t word = 4 + 1; /* of entry 4, which had never been taken */
    struct gyre_request request = {.size = sizeof request, .session = "cart"};
    struct gyre_lease lease;

    (void)state;
    options.path = temp_path("nobody");
    pool = open_pool(&options);
    entry = &pool->processes[4];
    entry->pid = 4711;
    entry->pid_space = pool->processes[pool->process].pid_space + 1;
    entry->state = PROCESS_ALIVE;
    for (uint32_t i = 0; i < pool->session_buckets; i++) pool->session_locks[i] = word;
    pool->control->lock = word;
    alarm(60);
    add_url(pool, "http://p:1");
    OK(gyre_acquire(pool, &request, &lease));
    OK(gyre_complete_ms(pool, &lease, GYRE_OK, 1.0));
    alarm(0);
    expect_nothing_found(pool, "after a lock of nobody");
    gyre_pool_close(pool);
}

static void work_as_child(void *argument)
{
    work(argument);
}

/* Killed anywhere: the repair that follows leaves nothing in flight and nothing to find. */
static void test_killed(void **state)
{
    struct gyre_options options = storm_options();
    struct gyre_pool *pool = open_pool(&options);
    struct rng rng = {test_seed(41)};

    (void)state;
    for (unsigned long round = 0; round < rounds(30); round++) {
        struct worker worker = {.pool = pool, .seed = rng_next(&rng)};
        pid_t children[2] = {spawn(work_as_child, &worker), 0};

        worker.seed++;
        children[1] = spawn(work_as_child, &worker);
        usleep(1000 + rng_below(&rng, 20000));
        for (int i = 0; i < 2; i++) {
            int status = 0;
            assert_int_equal(kill(children[i], SIGKILL), 0);
            assert_int_equal(waitpid(children[i], &status, 0), children[i]);
            assert_true(WIFSIGNALED(status)); /* not by a finding of its own */
        }
        OK(gyre_pool_repair(pool));
        expect_nothing_found(pool, "after two kills");
        EXPECT_COUNT(stats_of(pool).active, 0, "round %lu", round);
    }
    gyre_pool_close(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_damage),  cmocka_unit_test(test_damages_together), cmocka_unit_test(test_on_open),
        cmocka_unit_test(test_arguments), cmocka_unit_test(test_threads),        cmocka_unit_test(test_killed),
        cmocka_unit_test(test_repair_under_readers), cmocka_unit_test(test_lock_of_nobody),
    };

    return cmocka_run_group_tests(tests, NULL, remove_temp);
}
