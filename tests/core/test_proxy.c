/* The pool as a set of proxies: identity, ids, labels, capacity; at the end against a model. */
#include "support.h"

#include <math.h>

static struct gyre_proxy_spec spec_of(const char *url)
{
    return (struct gyre_proxy_spec){.size = sizeof(struct gyre_proxy_spec), .url = url};
}

static void test_add_get_remove(void **state)
{
    struct gyre_pool *pool = pool_of(0, NULL, NULL);
    struct gyre_proxy proxy = {.size = sizeof proxy};
    uint64_t id, other;

    (void)state;
    assert_int_equal(gyre_pool_count(pool), 0);
    id = add_url(pool, "socks5h://bob:pass%3Aword@[2001:DB8::1]");
    assert_int_equal(gyre_pool_count(pool), 1);
    proxy = proxy_of(pool, id);
    assert_int_equal(proxy.state, GYRE_CLOSED);
    assert_int_equal(proxy.scheme, GYRE_SOCKS5H);
    assert_int_equal(proxy.port, 1080);
    assert_string_equal(proxy.host, "2001:db8::1");
    assert_string_equal(proxy.country, "");
    assert_string_equal(proxy.region, "");
    assert_string_equal(proxy.tags, "");
    assert_true(proxy.weight == 1.0 && isnan(proxy.cost) && isnan(proxy.ema_ms) && proxy.success_rate == 1.0);
    assert_true(proxy.last_used == 0 && proxy.benched_until == 0);
    assert_int_equal(proxy.max_active, 0);
    EXPECT_COUNT(proxy.started + proxy.window_started + proxy.bytes + proxy.consecutive_failures, 0, "new proxy");

    OK(gyre_pool_find(pool, "SOCKS5H://bob:pass%3aword@[2001:db8::1]:1080/", &other));
    EXPECT_COUNT(other, id, "found by another spelling");
    OK(gyre_pool_remove(pool, id));
    assert_int_equal(gyre_pool_count(pool), 0);
    EXPECT(GYRE_ENOT_FOUND, gyre_pool_get(pool, id, &proxy));
    EXPECT(GYRE_ENOT_FOUND, gyre_pool_remove(pool, id));
    EXPECT(GYRE_ENOT_FOUND, gyre_pool_find(pool, "socks5h://bob:pass%3Aword@[2001:db8::1]", &other));
    gyre_pool_close(pool);
}

static void test_identity(void **state)
{
    static const char *const different[] = {
        "http://h:8080",          "https://h:8080",         "socks4://h:8080",     "socks4a://h:8080",
        "socks5://h:8080",        "socks5h://h:8080",       "http://h:8081",       "http://h2:8080",
        "http://u@h:8080",        "http://u:p@h:8080",      "http://u:q@h:8080",   "http://v:p@h:8080",
        "http://U:p@h:8080",      "http://up@h:8080",       "http://u%3Ap@h:8080", "http://u:p%40@h:8080",
        "http://sess-1:p@h:8080", "http://sess-2:p@h:8080", "http://[::1]:8080",   "http://[::2]:8080"};
    static const char *const same[][2] = {
        {"http://same", "http://same:80"},          {"https://same", "https://same:443/"},
        {"socks4://same", "socks4://same:1080"},    {"http://same", "HTTP://SAME"},
        {"http://a:b@same", "http://%61:%62@same"}, {"http://a:b%3Bc@same", "http://a:b;c@same:80"}};
    struct gyre_pool *pool = pool_of(0, NULL, NULL);
    uint64_t ids[COUNT(different)], id, again;

    (void)state;
    for (size_t i = 0; i < COUNT(different); i++) ids[i] = add_url(pool, different[i]);
    for (size_t i = 0; i < COUNT(different); i++) {
        struct gyre_proxy_spec spec = spec_of(different[i]);

        again = 0;
        EXPECT(GYRE_EEXISTS, gyre_pool_add(pool, &spec, &again));
        EXPECT_COUNT(again, ids[i], "EXISTS stores the id that %s has", different[i]);
        for (size_t j = 0; j < i; j++) assert_true(ids[i] != ids[j]);
    }
    assert_int_equal(gyre_pool_count(pool), COUNT(different));
    for (size_t i = 0; i < COUNT(same); i++) {
        struct gyre_proxy_spec first = spec_of(same[i][0]), second = spec_of(same[i][1]);

        OK(gyre_pool_add(pool, &first, &id));
        EXPECT(GYRE_EEXISTS, gyre_pool_add(pool, &second, &again));
        EXPECT_COUNT(again, id, "%s is %s", same[i][0], same[i][1]);
        OK(gyre_pool_remove(pool, id));
    }
    gyre_pool_close(pool);
}

static void test_bad_arguments(void **state)
{
    struct gyre_pool *pool = pool_of(1, &(uint64_t){0}, NULL);
    static const double bad[] = {-1.0, -0.001, NAN, INFINITY, -INFINITY};
    struct gyre_proxy_spec spec = spec_of("http://u:hunter2@h:bad");
    char too_long[1024];
    uint64_t id = 77, victim = add_url(pool, "http://victim");

    (void)state;
    EXPECT(GYRE_EINVALID, gyre_pool_add(pool, &spec, &id));
    assert_null(strstr(gyre_detail(), "hunter2"));
    EXPECT(GYRE_EINVALID, gyre_pool_find(pool, "http://u:hunter2@h:bad", &id));
    assert_null(strstr(gyre_detail(), "hunter2"));
    EXPECT(GYRE_EINVALID, gyre_pool_add(pool, NULL, &id));
    spec = spec_of(NULL);
    EXPECT(GYRE_EINVALID, gyre_pool_add(pool, &spec, &id));
    spec = spec_of("http://h");
    spec.size = 0;
    EXPECT(GYRE_EINVALID, gyre_pool_add(pool, &spec, &id));
    for (size_t i = 0; i < COUNT(bad); i++) {
        spec = spec_of("http://h");
        spec.weight = bad[i];
        spec.has_weight = 1;
        EXPECT(GYRE_EINVALID, gyre_pool_add(pool, &spec, &id));
        EXPECT(GYRE_EINVALID, gyre_pool_update(pool, victim, &spec));
        spec = spec_of("http://h");
        spec.cost = bad[i];
        spec.has_cost = 1;
        EXPECT(GYRE_EINVALID, gyre_pool_add(pool, &spec, &id));
        EXPECT(GYRE_EINVALID, gyre_pool_update(pool, victim, &spec));
    }
    memset(too_long, 'x', sizeof too_long);
    too_long[sizeof too_long - 1] = 0;
    for (int field = 0; field < 3; field++) { /* refused, not cut: a cut label is another label */
        spec = spec_of("http://h");
        *(field == 0 ? &spec.country : field == 1 ? &spec.region : &spec.tags) = too_long;
        EXPECT(GYRE_EINVALID, gyre_pool_add(pool, &spec, &id));
        EXPECT(GYRE_EINVALID, gyre_pool_update(pool, victim, &spec));
    }
    assert_int_equal(gyre_pool_count(pool), 2);
    assert_true(proxy_of(pool, victim).weight == 1.0);
    EXPECT(GYRE_EINVALID, gyre_pool_get(pool, victim, &(struct gyre_proxy){.size = 0}));

    spec = spec_of("http://weightless");
    spec.has_weight = 1; /* weight 0 is legal: it excludes from weighted picks */
    OK(gyre_pool_add(pool, &spec, &id));
    assert_true(proxy_of(pool, id).weight == 0.0);
    gyre_pool_close(pool);
}

static void test_labels_and_update(void **state)
{
    struct gyre_pool *pool = pool_of(0, NULL, NULL);
    struct gyre_proxy_spec spec = spec_of("http://u:p@h");
    struct gyre_proxy proxy, lower;
    uint64_t id, other;

    (void)state;
    spec.country = "DE";
    spec.region = "Nordrhein-Westfalen \xc3\xbc";
    spec.tags = "Cheap,SLOW, cheap,slow,,Cheap";
    spec.weight = 2.5;
    spec.cost = 0.001;
    spec.max_active = 3;
    spec.has_weight = spec.has_cost = spec.has_max_active = 1;
    OK(gyre_pool_add(pool, &spec, &id));
    proxy = proxy_of(pool, id);
    assert_string_equal(proxy.region, "Nordrhein-Westfalen \xc3\xbc");
    assert_string_equal(proxy.tags, "cheap,slow");
    assert_true(proxy.weight == 2.5 && proxy.cost == 0.001);
    assert_int_equal(proxy.max_active, 3);

    spec = spec_of("http://h2");
    spec.country = "de"; /* any case means the same country */
    OK(gyre_pool_add(pool, &spec, &other));
    lower = proxy_of(pool, other);
    assert_string_equal(proxy.country, lower.country);
    assert_int_equal(strlen(proxy.country), 2);

    spec = spec_of(NULL); /* NULL leaves everything */
    OK(gyre_pool_update(pool, id, &spec));
    assert_string_equal(proxy_of(pool, id).tags, "cheap,slow");
    assert_true(proxy_of(pool, id).weight == 2.5 && proxy_of(pool, id).max_active == 3);

    spec.country = spec.tags = "";
    spec.region = "x";
    spec.cost = 0.0;
    spec.has_cost = spec.has_max_active = 1;
    OK(gyre_pool_update(pool, id, &spec));
    proxy = proxy_of(pool, id);
    assert_string_equal(proxy.country, "");
    assert_string_equal(proxy.tags, "");
    assert_string_equal(proxy.region, "x");
    assert_true(proxy.weight == 2.5 && proxy.cost == 0.0);
    assert_int_equal(proxy.max_active, 0);
    OK(gyre_pool_find(pool, "http://u:p@h", &other));
    EXPECT_COUNT(other, id, "update leaves the identity");
    OK(gyre_pool_remove(pool, id));
    EXPECT(GYRE_ENOT_FOUND, gyre_pool_update(pool, id, &spec));

    id = add_url(pool, "http://u:p@h"); /* the slot's next owner inherits nothing */
    proxy = proxy_of(pool, id);
    assert_string_equal(proxy.region, "");
    assert_true(proxy.weight == 1.0 && isnan(proxy.cost));
    gyre_pool_close(pool);
}

static void test_urls_out(void **state)
{
    static const char url[] = "socks5h://cust%3Ao%40mer:p%25%23%2F%3F%20%C3%BC;=+@[2001:db8::7]:3128";
    static const char zone[] = "http://[fe80::1%25eth0]:3128";
    struct gyre_pool *pool = pool_of(0, NULL, NULL);
    uint64_t id = add_url(pool, url), found;
    char text[4096];
    struct gyre_url in, out;
    int length;

    (void)state;
    length = gyre_pool_url(pool, id, text, sizeof text);
    assert_int_equal(length, strlen(text));
    assert_string_equal(text, "socks5h://[2001:db8::7]:3128");
    assert_int_equal(gyre_pool_url(pool, id, text, (size_t)length + 1), length);
    EXPECT(GYRE_EINVALID, gyre_pool_url(pool, id, text, (size_t)length));
    EXPECT(GYRE_EINVALID, gyre_pool_url(pool, id, text, 0));

    length = gyre_pool_url_with_credentials(pool, id, text, sizeof text);
    assert_int_equal(length, strlen(text));
    OK(gyre_url_parse(url, &in));
    OK(gyre_url_parse(text, &out));
    assert_string_equal(out.user, in.user);
    assert_string_equal(out.password, in.password);
    assert_string_equal(out.host, in.host);
    assert_int_equal(out.port, in.port);
    assert_int_equal(out.scheme, in.scheme);
    OK(gyre_pool_find(pool, text, &found));
    EXPECT_COUNT(found, id, "the pool's own text of it finds it");
    assert_int_equal(gyre_pool_url_with_credentials(pool, id, text, (size_t)length + 1), length);
    EXPECT(GYRE_EINVALID, gyre_pool_url_with_credentials(pool, id, text, (size_t)length));
    OK(gyre_pool_remove(pool, id));
    EXPECT(GYRE_ENOT_FOUND, gyre_pool_url(pool, id, text, sizeof text));
    EXPECT(GYRE_ENOT_FOUND, gyre_pool_url_with_credentials(pool, id, text, sizeof text));
    assert_int_equal(gyre_pool_url(pool, add_url(pool, zone), text, sizeof text), strlen(zone));
    assert_string_equal(text, zone);
    gyre_pool_close(pool);
}

/* Any bytes in the credentials come back after encoding and decoding, empty password and no password apart. */
static void test_credentials_round_trip(void **state)
{
    struct gyre_pool *pool = pool_of(0, NULL, NULL);
    struct rng rng = {test_seed(5)};

    (void)state;
    for (unsigned long round = rounds(1000); round; round--) {
        char url[8192] = "http://", text[8192];
        uint32_t user = 1 + rng_below(&rng, 20), password = rng_below(&rng, 20),
                 has_password = rng_below(&rng, 4) > 0;
        struct gyre_url in, out;
        uint64_t id, found;

        for (uint32_t i = 0; i < user + password; i++) {
            uint32_t byte = 0x20 + rng_below(&rng, 0xe0);

            if (i == user && has_password) strcat(url, ":");
            if (i >= user && !has_password) break;
            sprintf(url + strlen(url), "%%%02x", byte == 0x7f ? 0x7eU : byte);
        }
        if (has_password && password == 0) strcat(url, ":");
        strcat(url, "@h:1");
        OK(gyre_url_parse(url, &in));
        id = add_url(pool, url);
        assert_true(gyre_pool_url_with_credentials(pool, id, text, sizeof text) > 0);
        OK(gyre_url_parse(text, &out));
        assert_memory_equal(&in.has_user, &out.has_user, 2 * sizeof in.has_user);
        assert_string_equal(in.user, out.user);
        assert_string_equal(in.password, out.password);
        OK(gyre_pool_find(pool, text, &found));
        EXPECT_COUNT(found, id, "%s", text);
        OK(gyre_pool_remove(pool, id));
    }
    gyre_pool_close(pool);
}

static void test_full(void **state)
{
    struct gyre_options options = manual_options();
    struct gyre_pool *pool;
    struct gyre_proxy_spec spec = spec_of("http://one.too.many");
    uint64_t ids[64], id, old;

    (void)state;
    options.max_proxies = 50; /* rounded up to 64 */
    pool = pool_of(64, ids, &options);
    for (int i = 0; i < 64; i++) use_proxy(pool, ids[i], GYRE_OK);
    for (int attempt = 0; attempt < 3; attempt++) {
        EXPECT(GYRE_EFULL, gyre_pool_add(pool, &spec, &id));
        EXPECT(GYRE_ENOT_FOUND, gyre_pool_find(pool, spec.url, &id));
    }
    assert_int_equal(gyre_pool_count(pool), 64);
    for (uint32_t i = 0; i < 64; i++) {
        char host[32];

        snprintf(host, sizeof host, "10.0.0.%u", i);
        assert_string_equal(proxy_of(pool, ids[i]).host, host);
        EXPECT_COUNT(proxy_of(pool, ids[i]).succeeded, 1, "proxy %u", i);
    }
    /* EXISTS is still told apart from FULL, and one place freed is one place. */
    spec.url = "http://10.0.0.9:3128";
    EXPECT(GYRE_EEXISTS, gyre_pool_add(pool, &spec, &id));
    OK(gyre_pool_remove(pool, ids[17]));
    old = ids[17];
    ids[17] = add_url(pool, "http://one.too.many");
    assert_true((ids[17] & 0xfffff) == (old & 0xfffff)); /* the only free slot */
    assert_true(ids[17] != old);
    EXPECT(GYRE_ENOT_FOUND, gyre_pool_get(pool, old, &(struct gyre_proxy){.size = sizeof(struct gyre_proxy)}));
    EXPECT(GYRE_ENOT_FOUND, gyre_pool_disable(pool, old));
    EXPECT(GYRE_ENOT_FOUND, gyre_pool_remove(pool, old));
    EXPECT_COUNT(proxy_of(pool, ids[17]).started, 0, "a new proxy in a used slot");
    spec.url = "http://two.too.many";
    EXPECT(GYRE_EFULL, gyre_pool_add(pool, &spec, &id));
    gyre_pool_close(pool);
}

/* Every proxy of a full pool may have the longest everything: capacity is a number of proxies, not of bytes. */
static void test_long_strings_everywhere(void **state)
{
    struct gyre_options options = manual_options();
    char url[8192], user[512], password[1024], region[64], tags[768], text[8192];
    struct gyre_proxy_spec spec = spec_of(url);
    struct gyre_pool *pool;
    uint64_t ids[64];

    (void)state;
    options.max_proxies = 64;
    pool = pool_of(0, NULL, &options);
    memset(user, 'u', sizeof user);
    memset(password, 'p', sizeof password);
    memset(tags, 't', sizeof tags);
    user[511] = password[1023] = 0;
    for (size_t i = 0; i < 12; i++) {
        tags[64 * i] = (char)('a' + i);
        tags[64 * i + 63] = i < 11 ? ',' : 0;
    }
    spec.region = region;
    spec.tags = tags;
    for (int cycle = 0; cycle < 3; cycle++) { /* what removal frees can be used again */
        for (int i = 0; i < 64; i++) {
            snprintf(url, sizeof url, "http://%s:%s@host%d", user, password, i);
            snprintf(region, sizeof region, "region-%054u-%c", (unsigned)i, 'a' + cycle);
            assert_int_equal(strlen(region), 63);
            OK(gyre_pool_add(pool, &spec, &ids[i]));
        }
        for (int i = 0; i < 64; i++) {
            snprintf(url, sizeof url, "http://%s:%s@host%d:80", user, password, i);
            snprintf(region, sizeof region, "region-%054u-%c", (unsigned)i, 'a' + cycle);
            assert_true(gyre_pool_url_with_credentials(pool, ids[i], text, sizeof text) > 0);
            assert_int_equal(strncmp(text, url, strlen(text)), 0);
            assert_string_equal(proxy_of(pool, ids[i]).tags, tags);
            assert_string_equal(proxy_of(pool, ids[i]).region, region);
            OK(gyre_pool_remove(pool, ids[i]));
        }
    }
    gyre_pool_close(pool);
}

/* What one proxy after another was labelled with does not fill the segment: labels go with their proxies. */
static void test_labels_come_and_go(void **state)
{
    struct gyre_options options = manual_options();
    char region[64], tags[64];
    struct gyre_proxy_spec spec = spec_of("http://h");
    struct gyre_pool *pool;
    uint64_t id;

    (void)state;
    options.max_proxies = 64;
    pool = pool_of(0, NULL, &options);
    spec.region = region;
    spec.tags = tags;
    for (unsigned i = 0; i < 5000; i++) { /* four labels each, of which 16383 fit */
        snprintf(region, sizeof region, "region %u", i);
        snprintf(tags, sizeof tags, "first-%u,second-%u", i, i);
        OK(gyre_pool_add(pool, &spec, &id));
        assert_string_equal(proxy_of(pool, id).tags, tags);
        snprintf(tags, sizeof tags, "third-%u", i);
        OK(gyre_pool_update(pool, id, &spec));
        assert_string_equal(proxy_of(pool, id).tags, tags);
        assert_string_equal(proxy_of(pool, id).region, region);
        OK(gyre_pool_remove(pool, id));
        if (i == 4900) OK(gyre_pool_repair(pool));
        if (i % 100 == 0) expect_nothing_found(pool, "after %u", i);
    }
    gyre_pool_close(pool);
}

/* Texts that grow from one generation of proxies to the next: what is free in small pieces serves for large ones. */
static void test_texts_come_and_go(void **state)
{
    enum { N = 64 };
    struct gyre_options options = manual_options();
    struct gyre_pool *pool;
    uint64_t ids[N];

    (void)state;
    options.max_proxies = N;
    pool = pool_of(0, NULL, &options);
    for (int size = 10; size < 1000; size += 30) { /* 64 of them are up to 2000 of 4288 blocks */
        for (int i = 0; i < N; i++) {
            char url[1100];

            snprintf(url, sizeof url, "http://u:%0*d@h%d:1", size, 0, i);
            ids[i] = add_url(pool, url);
        }
        for (int i = 0; i < N; i++) OK(gyre_pool_remove(pool, ids[(i * 7) % N]));
        expect_nothing_found(pool, "at %d bytes", size);
    }
    gyre_pool_close(pool);
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

static void test_ids_are_never_reused(void **state)
{
    enum { N = 20000 };
    struct gyre_options options = manual_options();
    struct gyre_pool *pool;
    uint64_t *ids = calloc(N, sizeof *ids);
    unsigned long n = rounds(N) < N ? rounds(N) : N;

    (void)state;
    options.max_proxies = 64;
    pool = pool_of(0, NULL, &options);
    assert_non_null(ids);
    for (unsigned long i = 0; i < n; i++) {
        ids[i] = add_url(pool, "http://the.same:1");
        OK(gyre_pool_remove(pool, ids[i]));
    }
    qsort(ids, n, sizeof *ids, by_value);
    for (unsigned long i = 1; i < n; i++) assert_true(ids[i] != ids[i - 1]);
    free(ids);
    gyre_pool_close(pool);
}

/* Also when the index is full of what has been removed, and built anew. */
static void test_sound_after_many_removals(void **state)
{
    struct gyre_options options = manual_options();
    struct gyre_pool *pool;
    char url[32];

    (void)state;
    options.max_proxies = 64;
    pool = open_pool(&options);
    add_url(pool, "http://stays:1");
    for (int i = 0; i < 200; i++) {
        snprintf(url, sizeof url, "http://h%d:1", i);
        OK(gyre_pool_remove(pool, add_url(pool, url)));
        expect_nothing_found(pool, "after %d removals", i + 1);
    }
    EXPECT_COUNT(gyre_pool_count(pool), 1, "proxies left");
    gyre_pool_close(pool);
}

static void test_iteration(void **state)
{
    enum { N = 1000 };
    struct gyre_pool *pool;
    uint64_t ids[N], id = 0, last = 0;
    unsigned seen = 0;

    (void)state;
    pool = pool_of(N, ids, NULL);
    for (uint32_t i = 0; i < N; i += 3) OK(gyre_pool_remove(pool, ids[i]));
    while (gyre_pool_next(pool, &id) == 1) {
        uint32_t number;

        assert_true(seen == 0 || (id & 0xfffff) > (last & 0xfffff)); /* by slot */
        assert_int_equal(sscanf(proxy_of(pool, id).host, "10.0.%u", &number), 1);
        last = id;
        seen++;
        if (seen % 5 == 0) OK(gyre_pool_remove(pool, id)); /* the walk survives the removal of where it stands */
    }
    assert_int_equal(seen, N - (N + 2) / 3);
    EXPECT_COUNT(id, 0, "the end of the walk");
    assert_int_equal(gyre_pool_count(pool), (int)(seen - seen / 5));
    gyre_pool_close(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_add_get_remove),
        cmocka_unit_test(test_identity),
        cmocka_unit_test(test_bad_arguments),
        cmocka_unit_test(test_labels_and_update),
        cmocka_unit_test(test_urls_out),
        cmocka_unit_test(test_credentials_round_trip),
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_long_strings_everywhere),
        cmocka_unit_test(test_labels_come_and_go), cmocka_unit_test(test_texts_come_and_go),
        cmocka_unit_test(test_ids_are_never_reused),
        cmocka_unit_test(test_sound_after_many_removals), cmocka_unit_test(test_iteration),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
