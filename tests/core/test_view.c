/*
 * Filters: a view is exactly the proxies that match, whatever was added, removed and relabelled meanwhile; looking
 * without leasing.
 */
#include "support.h"

#include <locale.h>
#include <stdbool.h>
#include <sys/stat.h>

enum { N = 200, SAMPLED = 80 };

static struct gyre_request asks(const char *country, const char *region, const char *tags)
{
    return (struct gyre_request){.size = sizeof(struct gyre_request), .country = country, .region = region, .tags = tags};
}

static uint64_t add_labelled(struct gyre_pool *pool, const char *url, const char *country, const char *region,
                             const char *tags)
{
    struct gyre_proxy_spec spec = {.size = sizeof spec, .url = url, .country = country, .region = region, .tags = tags};
    uint64_t id;

    OK(gyre_pool_add(pool, &spec, &id));
    return id;
}

static uint64_t pick(struct gyre_pool *pool, const struct gyre_request *request)
{
    struct gyre_lease lease;

    OK(gyre_acquire(pool, request, &lease));
    OK(gyre_complete_ms(pool, &lease, GYRE_OK, 1.0));
    return lease.id;
}

static void test_filters(void **state)
{
    struct gyre_pool *pool = pool_of(0, NULL, NULL);
    uint64_t berlin = add_labelled(pool, "http://a", "de", "Berlin", "fast,Home");
    uint64_t bonn = add_labelled(pool, "http://b", "DE", "Bonn", "fast");
    uint64_t paris = add_labelled(pool, "http://c", "fr", "Paris", "home");
    struct gyre_request request;
    struct gyre_lease lease;

    (void)state;
    add_labelled(pool, "http://d", NULL, NULL, NULL);
    request = asks("de", NULL, NULL);
    EXPECT_COUNT(gyre_pool_eligible(pool, &request), 2, "country, any case");
    request = asks("De", "Bonn", NULL);
    EXPECT_COUNT(pick(pool, &request), bonn, "country and region");
    request = asks(NULL, "bonn", NULL);
    EXPECT(GYRE_ENO_PROXY, gyre_acquire(pool, &request, &lease));
    request = asks(NULL, NULL, "HOME,fast");
    EXPECT_COUNT(pick(pool, &request), berlin, "all of the tags");
    request = asks(NULL, NULL, "home");
    EXPECT_COUNT(gyre_pool_eligible(pool, &request), 2, "one tag");
    request = asks("xx,fr,de", NULL, NULL);
    for (int i = 0; i < 5; i++) EXPECT_COUNT(pick(pool, &request), paris, "the first country that has one");
    OK(gyre_pool_disable(pool, paris));
    for (int i = 0; i < 5; i++) assert_true(pick(pool, &request) != paris);
    request = asks("xx", NULL, NULL);
    EXPECT(GYRE_ENO_PROXY, gyre_acquire(pool, &request, &lease));
    assert_non_null(strstr(gyre_detail(), "4 not in the filter"));
    struct gyre_proxy_spec limit = {.size = sizeof limit, .max_active = 1, .has_max_active = 1};
    struct gyre_lease held;
    OK(gyre_pool_update(pool, bonn, &limit));
    OK(gyre_acquire_id(pool, bonn, &held));
    EXPECT(GYRE_ENO_PROXY, gyre_acquire(pool, &request, &lease)); /* who is at a limit outside the filter makes nobody busy */
    request = asks("de", "Bonn", NULL);
    EXPECT(GYRE_EBUSY, gyre_acquire(pool, &request, &lease));
    OK(gyre_complete_ms(pool, &held, GYRE_OK, 1.0));
    request = asks("", "", "");
    EXPECT_COUNT(gyre_pool_eligible(pool, &request), 3, "empty filters let all through");
    gyre_pool_close(pool);
}

/* Against a model: random adds, removals and relabellings, more in one go than the ring of changes holds. */
/* "cost=" and "cost<=" among the tags compare numbers; who has no known cost is in neither. */
static void test_costs(void **state)
{
    static const char *const terms[] = {"cost=0", "cost<=0", "cost=0.5", "cost<=0.5", "cost<=1e9", "fast,cost<=0.5", "cost=5e-1", " fast , Cost<=0.5 ", "cost<=inf"};
    static const int counts[] = {1, 1, 2, 3, 4, 1, 2, 1, 4};
    struct gyre_pool *pool = pool_of(1, &(uint64_t){0}, NULL);
    uint64_t id = 0;

    (void)state;
    for (int i = 0; i < 4; i++) {
        char url[32];
        struct gyre_proxy_spec spec = {.size = sizeof spec, .url = url, .has_cost = 1, .cost = i == 3 ? 7 : i ? 0.5 : 0,
                                       .tags = i == 1 ? "fast,cost,costs=x" : NULL};

        snprintf(url, sizeof url, "http://h%d", i);
        OK(gyre_pool_add(pool, &spec, &id));
    }
    for (size_t i = 0; i < COUNT(terms); i++) {
        struct gyre_request request = asks(NULL, NULL, terms[i]);

        EXPECT_COUNT(gyre_pool_eligible(pool, &request), counts[i], "%s", terms[i]);
    }
    for (int i = 0; i < 2; i++) { /* what is no comparison is a tag */
        struct gyre_request request = asks(NULL, NULL, i ? "costs=x" : "cost");

        EXPECT_COUNT(gyre_pool_eligible(pool, &request), 1, "tag %d", i);
    }
    OK(gyre_pool_update(pool, id, &(struct gyre_proxy_spec){.size = sizeof(struct gyre_proxy_spec), .has_cost = 1}));
    struct gyre_request free_ones = asks(NULL, NULL, terms[0]);
    EXPECT_COUNT(gyre_pool_eligible(pool, &free_ones), 2, "after an update");
    gyre_pool_close(pool);
}

/* A comparison that is none must not be taken for a tag, which nobody would have. */
static void test_broken_comparisons(void **state)
{
    static const char *const broken[] = {"cost<=x", "cost=x", "cost<=", "cost=", "cost<5", "cost>=1", "cost>1", "cost==1", "cost<=nan",
                                         "Cost<=1x", "cost<=1 2", "cost<=11111111111111111111111111111111111111111"};
    struct gyre_pool *pool = pool_of(1, &(uint64_t){0}, NULL);
    uint64_t id = add_labelled(pool, "http://h", NULL, NULL, "fast");

    (void)state;
    for (size_t i = 0; i < COUNT(broken); i++) {
        char tags[128], named[64];
        struct gyre_request request = asks(NULL, NULL, tags);
        struct gyre_proxy_spec spec = {.size = sizeof spec, .tags = tags};
        struct gyre_lease lease;
        uint32_t slot;

        snprintf(tags, sizeof tags, "fast,%s", broken[i]);
        snprintf(named, sizeof named, "'%s'", broken[i]);
        EXPECT(GYRE_EINVALID, gyre_acquire(pool, &request, &lease));
        assert_non_null(strstr(gyre_detail(), named));
        EXPECT(GYRE_EINVALID, gyre_acquire_chosen(pool, &request, id, &lease));
        EXPECT(GYRE_EINVALID, gyre_list(pool, &request, &slot, 1));
        EXPECT(GYRE_EINVALID, gyre_pool_update(pool, id, &spec));
        assert_non_null(strstr(gyre_detail(), named));
    }
    assert_string_equal(proxy_of(pool, id).tags, "fast");
    gyre_pool_close(pool);
}

/* Words and numbers mean the same in a program with a locale of its own. */
static void test_locales(void **state)
{
    static const char *const names[] = {"tr_TR", "de_DE"};
    const char *place = temp_path("locales");
    char command[512];
    int made = 0;

    (void)state;
    assert_int_equal(mkdir(place, 0700), 0);
    setenv("LOCPATH", place, 1);
    for (size_t i = 0; i < COUNT(names); i++) {
        char url[32], tags[] = "CHILI,cost<=0.5";
        struct gyre_request request = asks("it", NULL, tags);
        struct gyre_proxy_spec spec = {.size = sizeof spec, .url = url, .country = "it", .tags = "chili", .cost = 0.5, .has_cost = 1};
        struct gyre_pool *other = pool_of(0, NULL, NULL);

        snprintf(command, sizeof command, "localedef -i %s -f UTF-8 %s/%s.UTF-8 >/dev/null 2>&1", names[i], place, names[i]);
        snprintf(url, sizeof url, "%s.UTF-8", names[i]);
        if (system(command) != 0 || !setlocale(LC_ALL, url)) continue; /* a machine without the sources of locales */
        made++;
        snprintf(url, sizeof url, "http://h%zu", i);
        OK(gyre_pool_add(other, &spec, NULL));
        EXPECT_COUNT(gyre_pool_eligible(other, &request), 1, "in %s", names[i]);
        setlocale(LC_ALL, "C");
        EXPECT_COUNT(gyre_pool_eligible(other, &request), 1, "of %s, elsewhere", names[i]);
        gyre_pool_close(other);
    }
    snprintf(command, sizeof command, "rm -r %s", place);
    assert_int_equal(system(command), 0);
    unsetenv("LOCPATH");
    if (!made) skip();
}

static void test_against_a_model(void **state)
{
    static const char *const countries[] = {"DE", "FR", "US", ""};
    struct gyre_pool *pool = pool_of(0, NULL, NULL);
    struct rng rng = {test_seed(9)};
    uint64_t ids[N] = {0};
    int country[N], count[4] = {0}, number = 0;

    (void)state;
    for (int round = 0; round < 300; round++) {
        int changes = round % 50 == 49 ? 5000 : (int)rng_below(&rng, 20);

        for (int k = 0; k < changes; k++) {
            int i = (int)rng_below(&rng, N), to = (int)rng_below(&rng, 4);
            struct gyre_proxy_spec spec = {.size = sizeof spec, .country = countries[to]};
            char url[64];

            if (ids[i]) count[country[i]]--;
            if (ids[i] && rng_below(&rng, 2)) {
                OK(gyre_pool_remove(pool, ids[i]));
                ids[i] = 0;
                continue;
            }
            snprintf(url, sizeof url, "http://h%d:1", number++);
            if (ids[i]) OK(gyre_pool_update(pool, ids[i], &spec));
            else ids[i] = add_labelled(pool, url, countries[to], NULL, NULL);
            country[i] = to;
            count[to]++;
        }
        for (int c = 0; c < 3; c++) {
            struct gyre_request request = asks(countries[c], NULL, NULL);

            request.picker = 1 + rng_below(&rng, 6);
            EXPECT_COUNT(gyre_pool_eligible(pool, &request), (uint64_t)count[c], "%s in round %d", countries[c], round);
            if (count[c]) assert_string_equal(proxy_of(pool, pick(pool, &request)).country, countries[c]);
        }
    }
    gyre_pool_close(pool);
}

/* More filters than a thread keeps views and a segment keeps cursors. */
static void test_many_filters(void **state)
{
    struct gyre_pool *pool = pool_of(0, NULL, NULL);
    uint64_t ids[400];

    (void)state;
    for (int i = 0; i < 400; i++) {
        char url[32], tag[32];

        snprintf(url, sizeof url, "http://h%d", i);
        snprintf(tag, sizeof tag, "t%d", i);
        ids[i] = add_labelled(pool, url, NULL, NULL, tag);
    }
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 400; i++) {
            char tag[32];
            struct gyre_request request = asks(NULL, NULL, tag);

            snprintf(tag, sizeof tag, "t%d", i);
            EXPECT_COUNT(pick(pool, &request), ids[i], "filter %d", i);
        }
    }
    gyre_pool_close(pool);
}

static void test_looking(void **state)
{
    uint64_t ids[10], found[64];
    struct gyre_pool *pool = pool_of(10, ids, NULL);
    struct gyre_request request = asks(NULL, NULL, NULL);

    (void)state;
    for (int round = 0; round < 100; round++) {
        int n = gyre_sample(pool, NULL, found, 4);

        assert_int_equal(n, 4);
        for (int i = 0; i < n; i++)
            for (int k = 0; k < i; k++) assert_true(found[i] != found[k]);
    }
    assert_int_equal(gyre_sample(pool, NULL, found, 64), 10);
    assert_int_equal(gyre_sample(pool, NULL, found, 65), GYRE_EINVALID);
    request.picker = GYRE_PICK_LEAST_USED;
    OK(gyre_pick(pool, &request, &found[0]));
    EXPECT_COUNT(found[0], ids[0], "the first of the ties");
    EXPECT_COUNT(stats_of(pool).started, 0, "nothing was leased");
    gyre_pool_close(pool);
}

/* Several countries: each proxy counts and is listed once, under the first that admits it. */
static void test_several_countries(void **state)
{
    static const struct {
        const char *country, *tags;
        int count;
        uint32_t slots[5];
    } cases[] = {
        {"DE,FR", NULL, 4, {0, 2, 3, 1}}, {"FR,DE", NULL, 4, {1, 2, 0, 3}}, {"DE,de", NULL, 3, {0, 2, 3}}, {"de,XX,De,dE", NULL, 3, {0, 2, 3}},
        {"XX,FR", NULL, 2, {2, 1}}, {"DE,FR", "fast", 2, {3, 1}}, {"DE", NULL, 3, {0, 2, 3}},
    };
    struct gyre_pool *pool = pool_of(0, NULL, NULL);
    uint64_t ids[5] = {add_labelled(pool, "http://a", "DE", NULL, NULL), add_labelled(pool, "http://b", "FR", NULL, "fast"),
                       add_labelled(pool, "http://c", "*", NULL, NULL), add_labelled(pool, "http://d", "DE", NULL, "fast"),
                       add_labelled(pool, "http://e", "US", NULL, NULL)};

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct gyre_request request = asks(cases[i].country, NULL, cases[i].tags);
        uint32_t slots[8];

        for (int again = 0; again < 2; again++) {
            EXPECT_COUNT(gyre_pool_eligible(pool, &request), (uint64_t)cases[i].count, "eligible of '%s'", cases[i].country);
            EXPECT_COUNT(gyre_list(pool, &request, slots, 8), (uint64_t)cases[i].count, "listed of '%s'", cases[i].country);
            assert_memory_equal(slots, cases[i].slots, (size_t)cases[i].count * sizeof *slots);
        }
        EXPECT_COUNT(gyre_list(pool, &request, slots, 2), 2, "two of '%s'", cases[i].country);
    }
    struct gyre_request without = asks("DE,FR", NULL, NULL);
    uint32_t slots[8];
    without.exclude = &ids[2];
    without.exclude_count = 1;
    EXPECT_COUNT(gyre_list(pool, &without, slots, 8), 3, "one excluded");
    OK(gyre_pool_disable(pool, ids[0]));
    EXPECT_COUNT(gyre_pool_eligible(pool, &without), 3, "one out");
    EXPECT(GYRE_EINVALID, gyre_pool_eligible(NULL, &without));
    gyre_pool_close(pool);
}

/* A sample goes through several countries in order of preference, and to the next only for those that are still wanted. */
static void test_samples_of_several_countries(void **state)
{
    struct gyre_pool *pool = pool_of(0, NULL, NULL);
    uint64_t found[64];
    int likely[32] = {0};

    (void)state;
    for (int i = 0; i < 32; i++) { /* 0 and 1 DE, 2 anywhere, 3 to 22 FR, the rest US */
        char url[32];

        snprintf(url, sizeof url, "http://h%d", i);
        add_labelled(pool, url, i < 2 ? "DE" : i == 2 ? "*" : i < 23 ? "FR" : "US", NULL, NULL);
    }
    for (int round = 0; round < 4000; round++) {
        struct gyre_request request = asks("xx,DE,FR", NULL, NULL);
        int first = 0;

        assert_int_equal(gyre_sample(pool, &request, found, 6), 6);
        for (int i = 0; i < 6; i++) {
            uint32_t slot = found[i] & 0xfffff;

            assert_true(slot < 23);
            for (int k = 0; k < i; k++) assert_true(found[i] != found[k]);
            first += i < 3 && slot < 3;
            likely[slot]++;
        }
        assert_int_equal(first, round < 2000 ? 3 : 2);
        if (round == 1999) OK(gyre_pool_disable(pool, found[0])); /* any of the first three */
    }
    for (int i = 3; i < 23; i++) /* 2000 times 3 of 20 and 2000 times 4 of 20: sigma = sqrt(2000 (.15 * .85 + .2 * .8)) = 24 */
        assert_in_range(likely[i], 700 - 4 * 24, 700 + 4 * 24);
    EXPECT_COUNT(gyre_sample(pool, &(struct gyre_request){.size = sizeof(struct gyre_request), .country = "DE,FR"}, found, 64), 22,
                 "all there are");
    EXPECT(GYRE_ENO_PROXY, gyre_sample(pool, &(struct gyre_request){.size = sizeof(struct gyre_request), .country = "xx,yy", .region = "none"}, found, 3));
    gyre_pool_close(pool);
}

/* A sample of `want` has so many, all different, all allowed; fewer only where there are no more. `allowed` is indexed by slot. */
static void expect_samples(struct gyre_pool *pool, const struct gyre_request *request, const bool *allowed, int want)
{
    int eligible = 0;

    for (int i = 0; i < SAMPLED; i++) eligible += allowed[i];
    for (unsigned long round = rounds(200); round; round--) {
        uint64_t found[64];
        bool seen[SAMPLED] = {false};
        int n = gyre_sample(pool, request, found, want);

        if (n != (want < eligible ? want : eligible)) fail_msg("%d of %d eligible, wanted %d", n, eligible, want);
        for (int i = 0; i < n; i++) {
            uint32_t slot = found[i] & 0xfffff;

            assert_true(slot < SAMPLED && allowed[slot] && !seen[slot]);
            seen[slot] = true;
        }
    }
}

/* An empty country is any: a list with one is a mistake, not a way out through another country. */
static void test_damaged_country_lists(void **state)
{
    static const char *const lists[] = {"us,", ",us", "us,,fr", ",", "us, de", "us,de "};
    struct gyre_pool *pool = pool_of(0, NULL, NULL);
    struct gyre_proxy_spec spec = {.size = sizeof spec, .url = "http://one:1", .country = "de"};
    struct gyre_lease lease;
    uint64_t id;

    (void)state;
    OK(gyre_pool_add(pool, &spec, NULL));
    for (size_t i = 0; i < COUNT(lists); i++) {
        struct gyre_request request = {.size = sizeof request, .country = lists[i]};
        EXPECT(GYRE_EINVALID, gyre_acquire(pool, &request, &lease));
        EXPECT(GYRE_EINVALID, gyre_pool_eligible(pool, &request));
        EXPECT(GYRE_EINVALID, gyre_pick(pool, &request, &id));
        assert_non_null(strstr(gyre_detail(), "empty or holds a space"));
    }
    OK(gyre_acquire(pool, &(struct gyre_request){.size = sizeof(struct gyre_request), .country = "us,de"}, &lease));
    gyre_pool_close(pool);
}

/* Nobody is missing: not where all that are eligible are wanted, nor with a filter, nor with excludes. */
static void test_samples_are_complete(void **state)
{
    static const int wants[] = {1, 2, 9, 10, 11, 31, 32, 33, 63, 64};
    struct gyre_options options = manual_options();
    bool all[SAMPLED], german[SAMPLED], rest[SAMPLED];
    struct gyre_request filter = asks("de", NULL, NULL), excludes = asks(NULL, NULL, NULL);
    uint64_t ids[SAMPLED], out[SAMPLED];

    (void)state;
    options.seed = test_seed(51);
    for (int n = 1; n <= SAMPLED; n = n < 10 ? n + 3 : n * 3 / 2) {
        struct gyre_pool *pool = pool_of(0, NULL, &options);

        memset(all, 0, sizeof all);
        memset(german, 0, sizeof german);
        memset(rest, 0, sizeof rest);
        excludes.exclude = out;
        excludes.exclude_count = 0;
        for (int i = 0; i < n; i++) {
            char url[32];

            snprintf(url, sizeof url, "http://h%d", i);
            ids[i] = add_labelled(pool, url, i % 3 ? "de" : "fr", NULL, NULL);
            all[i] = rest[i] = true;
            german[i] = i % 3 != 0;
            if (i % 4 == 1) {
                out[excludes.exclude_count++] = ids[i];
                rest[i] = false;
            }
        }
        for (size_t w = 0; w < COUNT(wants); w++) {
            expect_samples(pool, NULL, all, wants[w]);
            if (n > 1) expect_samples(pool, &filter, german, wants[w]);
            expect_samples(pool, &excludes, rest, wants[w]);
        }
        gyre_pool_close(pool);
    }
}

/* Each is in as many samples as any other, also where most are wanted: 30,000 times 9 of 10, sigma = sqrt(30000 * .9 * .1) = 52. */
static void test_samples_are_fair(void **state)
{
    struct gyre_options options = manual_options();
    uint64_t ids[10], found[9];
    int count[10] = {0};

    (void)state;
    options.seed = test_seed(52);
    struct gyre_pool *pool = pool_of(10, ids, &options);
    for (int round = 0; round < 30000; round++) {
        assert_int_equal(gyre_sample(pool, NULL, found, 9), 9);
        for (int i = 0; i < 9; i++) count[found[i] & 0xfffff]++;
    }
    for (int i = 0; i < 10; i++) assert_in_range(count[i], 27000 - 4 * 52, 27000 + 4 * 52);
    gyre_pool_close(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_filters), cmocka_unit_test(test_costs), cmocka_unit_test(test_broken_comparisons), cmocka_unit_test(test_locales),
        cmocka_unit_test(test_against_a_model),
        cmocka_unit_test(test_many_filters),
        cmocka_unit_test(test_looking), cmocka_unit_test(test_several_countries), cmocka_unit_test(test_samples_of_several_countries),
        cmocka_unit_test(test_damaged_country_lists), cmocka_unit_test(test_samples_are_complete), cmocka_unit_test(test_samples_are_fair),
    };

    return cmocka_run_group_tests(tests, NULL, remove_temp);
}
