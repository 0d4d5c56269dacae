/*
 * Requests that ask for a state: GYRE_CLOSED is nobody's probe, GYRE_HALF_OPEN is always one, whatever picks, filters and
 * excludes beside it, and while proxies go from state to state: in one thread against a model, in five by what a wrong probe
 * would leave behind.
 */
#include "support.h"

#include <sched.h>
#include <stdatomic.h>

enum { N = 24, FIRST_HALF = 6, FIRST_OPEN = 12, FIRST_OUT = 14, FIRST_CLOSED = 16 };
static const uint32_t states[] = {0, GYRE_CLOSED, GYRE_HALF_OPEN};

static struct gyre_request asks(uint32_t picker, uint32_t state, const char *country)
{
    return (struct gyre_request){
        .size = sizeof(struct gyre_request), .picker = picker, .state = state, .country = country, .key = "k"};
}

/* One failure benches; everybody may be benched. */
static struct gyre_options frail(void)
{
    struct gyre_options options = manual_options();

    options.breaker_failures = 1;
    options.max_benched = 1;
    return options;
}

static void make_half_open(struct gyre_pool *pool, uint64_t id)
{
    struct gyre_books books = {.size = sizeof books};

    OK(gyre_books_get(pool, id, &books));
    books.state = GYRE_HALF_OPEN;
    books.bench_left = 0;
    OK(gyre_books_set(pool, id, &books));
    EXPECT_COUNT(proxy_of(pool, id).state, GYRE_HALF_OPEN, "state");
}

/* Every other one is in DE; closed, half-open, benched, disabled and draining, closed. */
static struct gyre_pool *mixed_pool(uint64_t *ids)
{
    struct gyre_options options = frail();
    struct gyre_proxy_spec spec = {.size = sizeof spec, .country = "DE"};
    struct gyre_pool *pool = pool_of(N, ids, &options);

    for (int i = 0; i < N; i += 2) OK(gyre_pool_update(pool, ids[i], &spec));
    for (int i = FIRST_HALF; i < FIRST_OPEN; i++) make_half_open(pool, ids[i]);
    for (int i = FIRST_OPEN; i < FIRST_OUT; i++) use_proxy(pool, ids[i], GYRE_PROXY_BAD);
    OK(gyre_pool_disable(pool, ids[FIRST_OUT]));
    OK(gyre_pool_drain(pool, ids[FIRST_OUT + 1]));
    return pool;
}

static int wanted(uint32_t i, uint32_t state, const char *country)
{
    int half = i >= FIRST_HALF && i < FIRST_OPEN, closed = i < FIRST_HALF || i >= FIRST_CLOSED;

    if (country && i % 2) return 0;
    return state == GYRE_CLOSED ? closed : state == GYRE_HALF_OPEN ? half : closed || half;
}

static uint32_t index_of(const uint64_t *ids, uint32_t n, uint64_t id)
{
    uint32_t i = 0;

    while (i < n && ids[i] != id) i++;
    if (i == n) fail_msg("%llu is no proxy of the test", (unsigned long long)id);
    return i;
}

/* Leases by each picker; nobody else is had, and all who can be had are, where the picker shares out. */
static void try_picker(struct gyre_pool *pool, const uint64_t *ids, uint32_t picker, uint32_t state, const char *country)
{
    struct gyre_request request = asks(picker, state, country);
    int seen[N] = {0};
    uint64_t id;

    for (int turn = 0; turn < 12 * N; turn++) {
        struct gyre_lease lease;
        uint32_t i;
        OK(gyre_acquire(pool, &request, &lease));
        i = index_of(ids, N, lease.id);
        if (!wanted(i, state, country)) fail_msg("picker %u gave %u for state %u in %s", picker, i, state, country);
        EXPECT_COUNT(proxy_of(pool, lease.id).state, i >= FIRST_HALF && i < FIRST_OPEN ? GYRE_HALF_OPEN : GYRE_CLOSED, "state");
        OK(gyre_complete_ms(pool, &lease, GYRE_ABORTED, -1));
        seen[i] = 1;
    }
    for (int turn = 0; turn < N; turn++) {
        OK(gyre_pick(pool, &request, &id));
        assert_true(wanted(index_of(ids, N, id), state, country));
    }
    if (picker == GYRE_PICK_HASH || picker == GYRE_PICK_LEAST_ACTIVE || picker == GYRE_PICK_LEAST_USED) return;
    for (uint32_t i = 0; i < N; i++)
        if (seen[i] != wanted(i, state, country))
            fail_msg("picker %u never gave %u for state %u in %s", picker, i, state, country);
}

static void test_every_picker(void **unused)
{
    uint64_t ids[N];

    (void)unused;
    struct gyre_pool *pool = mixed_pool(ids);
    for (uint32_t picker = GYRE_PICK_ROUND_ROBIN; picker <= GYRE_PICK_HASH; picker++)
        for (size_t s = 0; s < COUNT(states); s++) {
            try_picker(pool, ids, picker, states[s], NULL);
            try_picker(pool, ids, picker, states[s], "DE");
            try_picker(pool, ids, picker, states[s], "FR,DE");
        }
    expect_nothing_found(pool, "check");
    gyre_pool_close(pool);
}

/* gyre_pool_eligible(), gyre_list() and gyre_sample() agree with what is there. */
static void test_looking(void **unused)
{
    uint64_t ids[N], found[64];
    uint32_t slots[N];

    (void)unused;
    struct gyre_pool *pool = mixed_pool(ids);
    for (size_t s = 0; s < COUNT(states); s++)
        for (int in_country = 0; in_country < 2; in_country++) {
            const char *country = in_country ? "de" : NULL;
            struct gyre_request request = asks(0, states[s], country);
            int n = 0;

            for (uint32_t i = 0; i < N; i++) n += wanted(i, states[s], country);
            EXPECT_COUNT(gyre_pool_eligible(pool, &request), (uint64_t)n, "eligible in state %u", states[s]);
            EXPECT_COUNT(gyre_list(pool, &request, slots, N), (uint64_t)n, "listed in state %u", states[s]);
            for (int i = 0; i < n; i++) assert_true(wanted(slots[i], states[s], country));
            EXPECT_COUNT(gyre_sample(pool, &request, found, 64), (uint64_t)n, "sampled in state %u", states[s]);
            for (int i = 0; i < n; i++) assert_true(wanted(index_of(ids, N, found[i]), states[s], country));
            request.exclude = &ids[FIRST_HALF];
            request.exclude_count = 2;
            int left = wanted(FIRST_HALF, states[s], country) + wanted(FIRST_HALF + 1, states[s], country);
            EXPECT_COUNT(gyre_list(pool, &request, slots, N), (uint64_t)(n - left), "without the excluded");
        }
    gyre_pool_close(pool);
}

static void test_states_of_nobody(void **unused)
{
    static const char *const why[] = {[GYRE_OPEN] = "open", [GYRE_DRAINING] = "draining", [GYRE_DISABLED] = "disabled",
                                      [6] = "request.state 6 is no state"};
    struct gyre_lease lease;
    uint64_t ids[N];
    uint32_t slots[N];

    (void)unused;
    struct gyre_pool *pool = mixed_pool(ids);
    for (uint32_t state = 0; state < COUNT(why); state++) {
        struct gyre_request request = asks(0, state, NULL);

        if (!why[state]) continue;
        EXPECT(GYRE_EINVALID, gyre_acquire(pool, &request, &lease));
        if (!strstr(gyre_detail(), why[state])) fail_msg("state %u: %s", state, gyre_detail());
        EXPECT(GYRE_EINVALID, gyre_pick(pool, &request, &ids[0]));
        EXPECT(GYRE_EINVALID, gyre_sample(pool, &request, &ids[0], 1));
        EXPECT(GYRE_EINVALID, gyre_list(pool, &request, slots, N));
        EXPECT(GYRE_EINVALID, gyre_pool_eligible(pool, &request));
        EXPECT(GYRE_EINVALID, gyre_acquire_chosen(pool, &request, ids[1], &lease));
        request.session = "cart-17";
        EXPECT(GYRE_EINVALID, gyre_acquire(pool, &request, &lease));
    }
    gyre_pool_close(pool);
}

static void expect_detail(struct gyre_pool *pool, const struct gyre_request *request, int error, const char *said)
{
    struct gyre_lease lease;

    EXPECT(error, gyre_acquire(pool, request, &lease));
    if (!strstr(gyre_detail(), said)) fail_msg("'%s' is not in: %s", said, gyre_detail());
}

/* Who is left out by the state is counted, once, and by nothing else. */
static void test_reasons(void **unused)
{
    struct gyre_proxy_spec full = {.size = sizeof full, .max_active = 1, .has_max_active = 1};
    struct gyre_request closed = asks(0, GYRE_CLOSED, NULL), half = asks(0, GYRE_HALF_OPEN, NULL);
    struct gyre_options options = frail();
    struct gyre_lease probe, held;
    uint64_t ids[5];

    (void)unused;
    struct gyre_pool *pool = pool_of(5, ids, &options);
    expect_detail(pool, &half, GYRE_ENO_PROXY, "none of 5 proxies can be used: 5 not half_open, 0 benched, 0 disabled");
    for (int i = 0; i < 4; i++) make_half_open(pool, ids[i]);
    OK(gyre_pool_disable(pool, ids[4]));
    expect_detail(pool, &closed, GYRE_ENO_PROXY, "4 not closed, 0 benched, 1 disabled, 0 draining, 0 excluded");
    OK(gyre_acquire(pool, &half, &probe)); /* whose probe is out is out for either */
    expect_detail(pool, &closed, GYRE_ENO_PROXY, "3 not closed, 1 benched, 1 disabled");
    half.exclude = ids;
    half.exclude_count = 5;
    expect_detail(pool, &half, GYRE_ENO_PROXY, "used: 1 benched, 1 disabled, 0 draining, 3 excluded");
    half.country = "DE";
    expect_detail(pool, &half, GYRE_ENO_PROXY, "used: 5 not in the filter, 0 benched");
    OK(gyre_complete_ms(pool, &probe, GYRE_ABORTED, -1));

    OK(gyre_pool_enable(pool, ids[4]));
    OK(gyre_pool_update(pool, ids[4], &full));
    OK(gyre_acquire_id(pool, ids[4], &held));
    half = asks(0, GYRE_HALF_OPEN, NULL);
    for (int i = 0; i < 4; i++) OK(gyre_pool_enable(pool, ids[i]));
    expect_detail(pool, &half, GYRE_ENO_PROXY, "5 not half_open, 0 benched"); /* who is full in another state makes nobody busy */
    for (int i = 0; i < 4; i++) make_half_open(pool, ids[i]);
    expect_detail(pool, &closed, GYRE_EBUSY, "4 not closed, 0 benched, 0 disabled, 0 draining, 0 excluded, 1 at their limit");
    gyre_pool_close(pool);
}

static void test_excludes_and_bans(void **unused)
{
    uint64_t ids[N];

    (void)unused;
    struct gyre_pool *pool = mixed_pool(ids);
    for (int i = FIRST_HALF; i < FIRST_HALF + 3; i++) OK(gyre_host_ban(pool, ids[i], "shop.example", 60));
    for (uint32_t picker = GYRE_PICK_ROUND_ROBIN; picker <= GYRE_PICK_HASH; picker++) {
        struct gyre_request request = asks(picker, GYRE_HALF_OPEN, NULL);
        struct gyre_lease lease, other;

        request.exclude = &ids[FIRST_HALF + 3];
        request.exclude_count = 2;
        request.host = "shop.example";
        OK(gyre_acquire(pool, &request, &lease));
        EXPECT_COUNT(lease.id, ids[FIRST_OPEN - 1], "the only one left, picker %u", picker);
        expect_detail(pool, &request, GYRE_ENO_PROXY, "14 not half_open, 3 benched, 1 disabled, 1 draining, 2 excluded, 0 at their limit, 3 banned by shop.example");
        OK(gyre_complete_ms(pool, &lease, GYRE_ABORTED, -1));
        request.state = 0; /* the same, by who comes to the half-open without asking for them */
        request.country = "DE";
        OK(gyre_acquire(pool, &request, &other));
        OK(gyre_complete_ms(pool, &other, GYRE_ABORTED, -1));
    }
    gyre_pool_close(pool);
}

static void test_chosen(void **unused)
{
    struct gyre_request closed = asks(0, GYRE_CLOSED, NULL), half = asks(0, GYRE_HALF_OPEN, NULL);
    struct gyre_lease lease;
    uint64_t ids[N];

    (void)unused;
    struct gyre_pool *pool = mixed_pool(ids);
    EXPECT(GYRE_ENO_PROXY, gyre_acquire_chosen(pool, &closed, ids[FIRST_HALF], &lease));
    EXPECT(GYRE_ENO_PROXY, gyre_acquire_chosen(pool, &half, ids[0], &lease));
    assert_non_null(strstr(gyre_detail(), "is not one that the request lets through"));
    EXPECT(GYRE_ENO_PROXY, gyre_acquire_chosen(pool, &closed, ids[FIRST_OPEN], &lease));
    EXPECT(GYRE_ENO_PROXY, gyre_acquire_chosen(pool, &half, ids[FIRST_OPEN], &lease));
    OK(gyre_acquire_chosen(pool, &closed, ids[0], &lease));
    OK(gyre_complete_ms(pool, &lease, GYRE_OK, 1));
    OK(gyre_acquire_chosen(pool, &half, ids[FIRST_HALF], &lease));
    OK(gyre_complete_ms(pool, &lease, GYRE_OK, 1));
    EXPECT_COUNT(proxy_of(pool, ids[FIRST_HALF]).state, GYRE_CLOSED, "it was its probe");
    EXPECT(GYRE_ENO_PROXY, gyre_acquire_chosen(pool, &half, ids[FIRST_HALF], &lease));
    gyre_pool_close(pool);
}

static uint64_t use_session(struct gyre_pool *pool, struct gyre_request *request, uint32_t state, int verdict)
{
    struct gyre_lease lease;

    request->state = state;
    OK(gyre_acquire(pool, request, &lease));
    OK(gyre_complete_ms(pool, &lease, verdict, -1));
    return lease.id;
}

/* A session whose proxy is not in the state asked for gets another, which sticks: as with a country. */
static void test_sessions(void **unused)
{
    struct gyre_options options = frail();
    struct gyre_session_stats stats = {.size = sizeof stats};
    struct gyre_lease lease;
    uint64_t ids[4], first, second, third;

    (void)unused;
    struct gyre_pool *pool = pool_of(4, ids, &options);
    for (uint32_t picker = 0; picker <= GYRE_PICK_HASH; picker++) {
        struct gyre_request request = asks(picker, 0, NULL);

        request.session = "cart-17";
        for (int i = 0; i < 4; i++) OK(gyre_pool_enable(pool, ids[i]));
        first = use_session(pool, &request, 0, GYRE_OK);
        EXPECT_COUNT(use_session(pool, &request, GYRE_CLOSED, GYRE_OK), first, "it is closed");
        make_half_open(pool, first);
        EXPECT_COUNT(use_session(pool, &request, 0, GYRE_ABORTED), first, "half-open is no reason to move by itself");
        second = use_session(pool, &request, GYRE_CLOSED, GYRE_OK);
        assert_true(second != first);
        EXPECT_COUNT(use_session(pool, &request, 0, GYRE_OK), second, "it sticks, picker %u", picker);
        EXPECT_COUNT(use_session(pool, &request, GYRE_HALF_OPEN, GYRE_OK), first, "the only one half-open");
        EXPECT_COUNT(proxy_of(pool, first).state, GYRE_CLOSED, "that was its probe");
        EXPECT_COUNT(use_session(pool, &request, GYRE_CLOSED, GYRE_OK), first, "it sticks again");
        EXPECT(GYRE_ENO_PROXY, (request.state = GYRE_HALF_OPEN, gyre_acquire(pool, &request, &lease)));
        EXPECT_COUNT(use_session(pool, &request, 0, GYRE_OK), first, "where nobody can be had it stays as it was");
        make_half_open(pool, first);
        request.state = GYRE_CLOSED;
        EXPECT(GYRE_ENO_PROXY, gyre_acquire_chosen(pool, &request, 0, &lease));
        third = ids[first == ids[0]];
        OK(gyre_acquire_chosen(pool, &request, third, &lease));
        EXPECT_COUNT(lease.id, third, "what was chosen, and the session moves");
        OK(gyre_complete_ms(pool, &lease, GYRE_OK, 1));
        OK(gyre_session_get(pool, "cart-17", &first));
        EXPECT_COUNT(first, third, "it sticks");
        OK(gyre_session_close(pool, "cart-17"));
    }
    OK(gyre_session_stats(pool, &stats));
    EXPECT_COUNT(stats.moved, 3 * (GYRE_PICK_HASH + 1), "moves");
    expect_nothing_found(pool, "check");
    gyre_pool_close(pool);
}

/*
 * Requests with different filters in turn, by round-robin: each goes round its own. With one cursor for all, those for the
 * half-open would draw those for the closed to the same slots for ever.
 */
static void test_in_turn(void **unused)
{
    enum { ROUNDS = 7 };
    static const char *const countries[] = {NULL, "DE"};
    uint64_t ids[N];

    (void)unused;
    struct gyre_pool *pool = mixed_pool(ids);
    int seen[3][2][N] = {0}, members[3][2] = {0};
    for (int s = 0; s < 3; s++)
        for (int c = 0; c < 2; c++)
            for (uint32_t i = 0; i < N; i++) members[s][c] += wanted(i, states[s], countries[c]);
    for (int turn = 0; turn < ROUNDS * N * N; turn++)
        for (int s = 0; s < 3; s++)
            for (int c = 0; c < 2; c++) {
                struct gyre_request request = asks(GYRE_PICK_ROUND_ROBIN, states[s], countries[c]);
                struct gyre_lease lease;

                if (turn >= ROUNDS * members[s][c]) continue;
                OK(gyre_acquire(pool, &request, &lease));
                OK(gyre_complete_ms(pool, &lease, GYRE_ABORTED, -1));
                seen[s][c][index_of(ids, N, lease.id)]++;
            }
    for (int s = 0; s < 3; s++)
        for (int c = 0; c < 2; c++)
            for (uint32_t i = 0; i < N; i++)
                EXPECT_COUNT((uint64_t)seen[s][c][i], wanted(i, states[s], countries[c]) ? ROUNDS : 0,
                             "proxy %u for state %u in %s", i, states[s], countries[c] ? countries[c] : "any country");
    gyre_pool_close(pool);
}

/*
 * The list of the least used that a thread keeps was made when a proxy was closed, and its count is still the same: it
 * was benched by a lease that had begun before.
 */
static void test_least_used_list(void **unused)
{
    struct gyre_request closed = asks(GYRE_PICK_LEAST_USED, GYRE_CLOSED, NULL), any = asks(GYRE_PICK_LEAST_USED, 0, NULL);
    struct gyre_request half = asks(GYRE_PICK_LEAST_USED, GYRE_HALF_OPEN, NULL);
    struct gyre_options options = frail();
    struct gyre_lease early, lease;
    uint64_t ids[10], id;
    int turns = 0, before;

    (void)unused;
    struct gyre_pool *pool = pool_of(10, ids, &options);
    OK(gyre_acquire_id(pool, ids[3], &early));
    for (int i = 0; i < 10; i++) { /* all are at one, then the first again, from a list of all */
        OK(gyre_acquire(pool, &closed, &lease));
        OK(gyre_complete_ms(pool, &lease, GYRE_OK, 1));
    }
    EXPECT_COUNT(proxy_of(pool, ids[3]).started, 1, "not yet");
    OK(gyre_complete_ms(pool, &early, GYRE_PROXY_BAD, -1));
    pass_time(pool, 40);
    OK(gyre_acquire(pool, &any, &lease)); /* the bench ends; who looks at all puts those that came back level */
    OK(gyre_complete_ms(pool, &lease, GYRE_ABORTED, -1));
    for (int i = 0; i < 9; i++) OK(gyre_pick(pool, &any, &id));
    EXPECT_COUNT(proxy_of(pool, ids[3]).state, GYRE_HALF_OPEN, "the bench is over");
    before = (int)proxy_of(pool, ids[3]).started;
    for (int i = 0; i < 90; i++) {
        OK(gyre_acquire(pool, &closed, &lease));
        assert_true(lease.id != ids[3]);
        OK(gyre_complete_ms(pool, &lease, GYRE_OK, 1));
    }
    EXPECT_COUNT(proxy_of(pool, ids[3]).started, (uint64_t)before, "left out");
    for (int i = 0; i < 3; i++) { /* the list of the half-open has it, as long as it is */
        OK(gyre_acquire(pool, &half, &lease));
        EXPECT_COUNT(lease.id, ids[3], "the half-open one");
        OK(gyre_complete_ms(pool, &lease, i < 2 ? GYRE_ABORTED : GYRE_OK, -1));
    }
    EXPECT(GYRE_ENO_PROXY, gyre_acquire(pool, &half, &lease));
    for (int i = 0; i < 100; i++) { /* back among the closed: neither flooded to catch up nor starved */
        OK(gyre_acquire(pool, &closed, &lease));
        OK(gyre_complete_ms(pool, &lease, GYRE_OK, 1));
        turns += lease.id == ids[3];
        if (i == 9) assert_in_range(turns, 0, 2);
    }
    assert_in_range(turns, 9, 11);
    gyre_pool_close(pool);
}

/* Enabled by hand while it is eligible as half-open: to those who ask for the closed it comes back all the same. */
static void test_least_used_enabled(void **unused)
{
    struct gyre_request closed = asks(GYRE_PICK_LEAST_USED, GYRE_CLOSED, NULL), any = asks(GYRE_PICK_LEAST_USED, 0, NULL);
    struct gyre_options options = frail();
    struct gyre_lease lease;
    uint64_t ids[10], id;
    int turns = 0;

    (void)unused;
    struct gyre_pool *pool = pool_of(10, ids, &options);
    use_proxy(pool, ids[3], GYRE_PROXY_BAD);
    pass_time(pool, 40);
    OK(gyre_acquire(pool, &closed, &lease));
    OK(gyre_complete_ms(pool, &lease, GYRE_OK, 1));
    OK(gyre_pick(pool, &any, &id)); /* puts it level */
    for (int i = 0; i < 100; i++) {
        OK(gyre_acquire(pool, &closed, &lease));
        OK(gyre_complete_ms(pool, &lease, GYRE_OK, 1));
    }
    OK(gyre_pool_enable(pool, ids[3]));
    for (int i = 0; i < 20; i++) {
        OK(gyre_acquire(pool, &closed, &lease));
        OK(gyre_complete_ms(pool, &lease, GYRE_OK, 1));
        turns += lease.id == ids[3];
    }
    assert_in_range(turns, 1, 3);
    gyre_pool_close(pool);
}

/* More filters than a thread keeps views, with and without a state in turn. */
static void test_many_filters(void **unused)
{
    uint64_t ids[N];

    (void)unused;
    struct gyre_pool *pool = mixed_pool(ids);
    for (int i = 0; i < 1000; i++) {
        char tag[32], url[32];
        struct gyre_proxy_spec spec = {.size = sizeof spec, .url = url, .tags = tag};
        struct gyre_request request = asks(GYRE_PICK_ROUND_ROBIN, states[i % 3], NULL);
        struct gyre_lease lease;
        uint64_t id;

        snprintf(tag, sizeof tag, "t%d", i);
        snprintf(url, sizeof url, "http://h%d", i);
        OK(gyre_pool_add(pool, &spec, &id));
        if (states[i % 3] == GYRE_HALF_OPEN) make_half_open(pool, id);
        if (i % 5) request.tags = tag;
        OK(gyre_acquire(pool, &request, &lease));
        if (request.tags) EXPECT_COUNT(lease.id, id, "filter %d", i);
        OK(gyre_complete_ms(pool, &lease, GYRE_ABORTED, -1));
        request.state = states[(i + 1) % 3];
        request.tags = i % 7 ? NULL : tag;
        int result = gyre_acquire(pool, &request, &lease);
        if (result == 0) OK(gyre_complete_ms(pool, &lease, GYRE_ABORTED, -1));
        else EXPECT(GYRE_ENO_PROXY, result);
    }
    gyre_pool_close(pool);
}

/* Few half-open ones in many, at the edges of words and of levels of the bitmaps; and few closed ones. */
static void test_sparse(void **unused)
{
    enum { SLOTS = 5000 };
    static const uint32_t kept[] = {0, 1, 62, 63, 64, 127, 128, 1000, 4095, 4096, 4097, SLOTS - 1};
    static uint64_t ids[SLOTS];
    static uint32_t slots[SLOTS];
    struct gyre_options options = frail();

    (void)unused;
    for (int few_closed = 0; few_closed < 2; few_closed++) {
        struct gyre_pool *pool = pool_of(SLOTS, ids, &options);
        struct gyre_request request = asks(GYRE_PICK_ROUND_ROBIN, few_closed ? GYRE_CLOSED : GYRE_HALF_OPEN, NULL);
        uint32_t k = 0;

        for (uint32_t i = 0; i < SLOTS; i++) {
            int is = k < COUNT(kept) && kept[k] == i;

            k += (uint32_t)is;
            if (is != few_closed) make_half_open(pool, ids[i]);
        }
        EXPECT_COUNT(gyre_pool_eligible(pool, &request), COUNT(kept), "eligible");
        EXPECT_COUNT(gyre_list(pool, &request, slots, SLOTS), COUNT(kept), "listed");
        assert_memory_equal(slots, kept, sizeof kept);
        for (uint32_t picker = GYRE_PICK_ROUND_ROBIN; picker <= GYRE_PICK_HASH; picker++) {
            request.picker = picker;
            for (size_t i = 0; i < 10 * COUNT(kept); i++) {
                struct gyre_lease lease;
                OK(gyre_acquire(pool, &request, &lease));
                OK(gyre_complete_ms(pool, &lease, GYRE_ABORTED, -1));
            }
        }
        uint64_t started = 0;
        for (k = 0; k < COUNT(kept); k++) {
            started += proxy_of(pool, ids[kept[k]]).started;
            assert_true(proxy_of(pool, ids[kept[k]]).started >= 10); /* its share of round-robin */
        }
        EXPECT_COUNT(started, 10 * COUNT(kept) * GYRE_PICK_HASH, "no other was leased");
        gyre_pool_close(pool);
    }
}

/* ---- against a model ---- */

enum { M = 60, HELD = 12 };
static const char *const countries[] = {"DE", "FR", ""};

struct world {
    struct gyre_pool *pool;
    struct rng rng;
    uint64_t ids[M];
    int country[M], full[M], probed[M], number;
    struct gyre_lease held[HELD];
    int holds[HELD];
};

static void end_lease(struct world *w, uint32_t h)
{
    static const int verdicts[] = {GYRE_OK, GYRE_PROXY_BAD, GYRE_ABORTED, GYRE_TARGET_BAD, GYRE_BANNED};
    int result, verdict = verdicts[rng_below(&w->rng, COUNT(verdicts))];

    result = gyre_complete_ms(w->pool, &w->held[h], verdict, -1);
    if (result != GYRE_ECLOSED) OK(result); /* its deadline may have passed */
    w->holds[h] = 0;
}

static void end_all(struct world *w)
{
    for (uint32_t h = 0; h < HELD; h++)
        if (w->holds[h]) end_lease(w, h);
}

static void renew(struct world *w, uint32_t i)
{
    char url[64];

    end_all(w);
    if (w->ids[i]) OK(gyre_pool_remove(w->pool, w->ids[i]));
    snprintf(url, sizeof url, "http://h%d:1", w->number++);
    w->ids[i] = add_url(w->pool, url);
    w->country[i] = 2;
    w->full[i] = 0;
}

static void change(struct world *w)
{
    uint32_t i = rng_below(&w->rng, M), to = rng_below(&w->rng, 3);
    uint64_t id = w->ids[i];
    struct gyre_proxy_spec spec = {.size = sizeof spec, .country = countries[to], .has_max_active = 1};
    struct gyre_lease lease;

    switch (rng_below(&w->rng, 10)) {
    case 0:
        end_all(w);
        pass_time(w->pool, rng_below(&w->rng, 4) ? 0.5 : 45.0);
        break;
    case 1: OK(gyre_pool_enable(w->pool, id)); break;
    case 2: OK(gyre_pool_disable(w->pool, id)); break;
    case 3: OK(gyre_pool_drain(w->pool, id)); break;
    case 4:
        spec.max_active = rng_below(&w->rng, 3);
        OK(gyre_pool_update(w->pool, id, &spec));
        w->country[i] = (int)to;
        w->full[i] = (int)spec.max_active;
        break;
    case 5: renew(w, i); break;
    case 6:
        if (gyre_probe(w->pool, id, &lease) == 0) OK(gyre_complete_ms(w->pool, &lease, 1 + (int)rng_below(&w->rng, 6), -1));
        break;
    case 7: end_all(w); break;
    default:
        for (int k = 0; k < 3; k++)
            if (gyre_acquire_id(w->pool, w->ids[rng_below(&w->rng, M)], &lease) == 0)
                OK(gyre_complete_ms(w->pool, &lease, GYRE_PROXY_BAD, -1));
    }
}

/* May it be leased, by what the pool says of it alone? Of a half-open one nobody may hold the probe. */
static int may(struct world *w, uint32_t i, uint32_t state, int country)
{
    struct gyre_proxy proxy = proxy_of(w->pool, w->ids[i]);

    if (proxy.state != GYRE_CLOSED && proxy.state != GYRE_HALF_OPEN) return 0;
    if (state && proxy.state != state) return 0;
    if (country >= 0 && w->country[i] != country) return 0;
    if (w->full[i] && proxy.active >= (uint32_t)w->full[i]) return 0;
    for (uint32_t h = 0; h < HELD && proxy.state == GYRE_HALF_OPEN; h++)
        if (w->holds[h] == 2 && w->held[h].id == w->ids[i]) return 0;
    return 1;
}

static void compare(struct world *w, struct gyre_request *request, int country, const char *when)
{
    uint32_t slots[M], n = 0;
    int listed = gyre_list(w->pool, request, slots, M);

    for (uint32_t i = 0; i < M; i++) {
        int is = 0;

        for (int k = 0; k < listed; k++) is |= slots[k] == (uint32_t)(w->ids[i] & 0xfffff);
        if (is != may(w, i, request->state, country))
            fail_msg("%s: proxy %u in state %u is%s listed for state %u, country %d", when, i, proxy_of(w->pool, w->ids[i]).state,
                     is ? "" : " not", request->state, country);
        n += (uint32_t)is;
    }
    EXPECT_COUNT((uint64_t)listed, n, "listed");
    EXPECT_COUNT(gyre_pool_eligible(w->pool, request), n, "eligible");
}

static void lease_one(struct world *w, uint32_t h)
{
    int country = (int)rng_below(&w->rng, 3) - 1;
    struct gyre_request request = asks(1 + rng_below(&w->rng, GYRE_PICK_HASH), states[rng_below(&w->rng, 3)],
                                       country >= 0 ? countries[country] : NULL);
    int result;

    if (w->holds[h]) end_lease(w, h);
    compare(w, &request, country, "before");
    uint32_t was[M];
    for (uint32_t i = 0; i < M; i++) was[i] = (uint32_t)may(w, i, request.state, country);
    result = gyre_acquire(w->pool, &request, &w->held[h]);
    if (result == 0) {
        uint32_t i = index_of(w->ids, M, w->held[h].id), state = proxy_of(w->pool, w->ids[i]).state;

        w->holds[h] = state == GYRE_HALF_OPEN ? 2 : 1;
        if (request.state && state != request.state) fail_msg("state %u for %u by picker %u", state, request.state, request.picker);
        if (country >= 0) assert_int_equal(w->country[i], country);
        /* A bench may have ended on the way; who was closed and could be had stays so. */
        if (!was[i] && state == GYRE_CLOSED) fail_msg("%u was leased by picker %u and could not be", i, request.picker);
        return;
    }
    if (result != GYRE_EBUSY) EXPECT(GYRE_ENO_PROXY, result);
    for (uint32_t i = 0; i < M; i++)
        if (may(w, i, request.state, country)) fail_msg("%u could be leased, picker %u: %s", i, request.picker, gyre_detail());
}

static void test_against_a_model(void **unused)
{
    static struct world w;
    struct gyre_options options = frail();

    (void)unused;
    memset(&w, 0, sizeof w);
    w.rng.state = test_seed(31);
    options.max_benched = 0.9;
    w.pool = pool_of(0, NULL, &options);
    for (uint32_t i = 0; i < M; i++) renew(&w, i);
    for (unsigned long round = 0; round < rounds(4000); round++) {
        change(&w);
        lease_one(&w, rng_below(&w.rng, HELD));
        if (round % 50 == 0) end_all(&w), expect_nothing_found(w.pool, "check");
    }
    end_all(&w);
    expect_nothing_found(w.pool, "check");
    gyre_pool_close(w.pool);
}

/* ---- threads ---- */

enum { ASKING = 3, FEW = 4 };

struct worker {
    struct gyre_pool *pool;
    uint64_t seed;
    atomic_int *asking; /* threads that have not asked often enough yet; the others go on as long */
    unsigned long leases;
};

/* Time is so fast that a lease may be too old before it is ended. */
static int end(struct gyre_pool *pool, struct gyre_lease *lease, int verdict)
{
    int result = gyre_complete_ms(pool, lease, verdict, -1);

    REQUIRE(result == 0 || result == GYRE_ECLOSED);
    return result;
}

static int ask(struct worker *w, struct rng *rng, uint32_t state, struct gyre_lease *lease)
{
    struct gyre_request request = asks(1 + rng_below(rng, GYRE_PICK_HASH), state, NULL);
    int result = gyre_acquire(w->pool, &request, lease);

    REQUIRE(result == 0 || result == GYRE_ENO_PROXY);
    if (result) sched_yield(); /* the others have to do something first */
    return result;
}

static void *ask_for_closed(void *argument)
{
    struct worker *w = argument;
    struct rng rng = {w->seed};
    struct gyre_lease lease;

    while (w->leases < rounds(10000)) {
        if (ask(w, &rng, GYRE_CLOSED, &lease)) continue;
        end(w->pool, &lease, rng_below(&rng, 2) ? GYRE_OK : GYRE_PROXY_BAD);
        w->leases++;
    }
    atomic_fetch_sub(w->asking, 1);
    return NULL;
}

static void *ask_for_half_open(void *argument)
{
    struct worker *w = argument;
    struct rng rng = {w->seed};
    struct gyre_lease lease;

    while (w->leases < rounds(5000)) {
        struct gyre_proxy proxy = {.size = sizeof proxy};

        if (ask(w, &rng, GYRE_HALF_OPEN, &lease)) continue;
        REQUIRE(gyre_pool_get(w->pool, lease.id, &proxy) == 0);
        /* What could be ended was its own while we looked. */
        if (end(w->pool, &lease, rng_below(&rng, 2) ? GYRE_OK : GYRE_ABORTED) == 0) REQUIRE(proxy.state == GYRE_HALF_OPEN);
        w->leases++;
    }
    atomic_fetch_sub(w->asking, 1);
    return NULL;
}

static void *harm_the_closed(void *argument)
{
    struct worker *w = argument;
    struct rng rng = {w->seed};
    struct gyre_lease lease;

    while (atomic_load(w->asking))
        if (ask(w, &rng, GYRE_CLOSED, &lease) == 0) end(w->pool, &lease, GYRE_PROXY_BAD);
    return NULL;
}

/* Benches end as soon as they begin. */
static void *move_time(void *argument)
{
    struct worker *w = argument;

    while (atomic_load(w->asking)) {
        REQUIRE(gyre_pool_set_time(w->pool, gyre_pool_time(w->pool) + 0.1) == 0);
        sched_yield();
    }
    return NULL;
}

/* Closes what is half-open; a proxy is benched once until then, and a second time by nothing but a probe that fails. */
static void *enable(void *argument)
{
    struct worker *w = argument;
    struct gyre_books books = {.size = sizeof books};
    struct gyre_proxy proxy = {.size = sizeof proxy};

    while (atomic_load(w->asking)) {
        for (uint64_t id = 0; gyre_pool_next(w->pool, &id) == 1;) {
            REQUIRE(gyre_books_get(w->pool, id, &books) == 0);
            REQUIRE(books.opened <= 1);
            REQUIRE(gyre_pool_get(w->pool, id, &proxy) == 0);
            if (proxy.state == GYRE_HALF_OPEN) REQUIRE(gyre_pool_enable(w->pool, id) == 0);
        }
        sched_yield();
    }
    return NULL;
}

struct role {
    void *(*run)(void *);
    struct worker worker;
};

static void *play(void *argument)
{
    struct role *role = argument;

    return role->run(&role->worker);
}

/* Three threads that ask, and two others. */
static void run_five(void *(*asking)(void *), void *(*other)(void *), uint64_t seed)
{
    struct role roles[ASKING + 2];
    struct gyre_options options = frail();
    atomic_int running = ASKING;
    uint64_t ids[FEW];

    options.breaker_base = options.breaker_max = 0.1;
    options.seed = seed;
    struct gyre_pool *pool = pool_of(FEW, ids, &options);
    for (int i = 0; i < ASKING + 2; i++) {
        roles[i].run = i < ASKING ? asking : i == ASKING ? other : move_time;
        roles[i].worker = (struct worker){pool, seed + (uint64_t)i, &running, 0};
    }
    run_threads(ASKING + 2, play, roles, sizeof *roles);
    expect_nothing_found(pool, "check");
    gyre_pool_close(pool);
}

/* Where nobody asks for the half-open nobody probes. */
static void test_closed_never_probes(void **unused)
{
    (void)unused;
    run_five(ask_for_closed, enable, test_seed(32));
}

static void test_half_open_always_probes(void **unused)
{
    (void)unused;
    run_five(ask_for_half_open, harm_the_closed, test_seed(33));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_picker),       cmocka_unit_test(test_looking),
        cmocka_unit_test(test_states_of_nobody),   cmocka_unit_test(test_reasons),
        cmocka_unit_test(test_excludes_and_bans),  cmocka_unit_test(test_chosen),
        cmocka_unit_test(test_sessions),           cmocka_unit_test(test_in_turn),
        cmocka_unit_test(test_least_used_list),    cmocka_unit_test(test_least_used_enabled),
        cmocka_unit_test(test_many_filters),       cmocka_unit_test(test_sparse),
        cmocka_unit_test(test_against_a_model),    cmocka_unit_test(test_closed_never_probes),
        cmocka_unit_test(test_half_open_always_probes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
