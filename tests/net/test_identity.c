/* test_identity.c: two identities of one endpoint never share a CURLM, however many there are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "net/identity.h"

enum { SHARDS = 256 };

static unsigned shard_of(struct gyre__identities *table, const char *endpoint, unsigned user, int *crowded)
{
    char credentials[32];
    unsigned shard = ~0u;
    snprintf(credentials, sizeof credentials, "user%u:secret", user);
    *crowded = gyre__identity_shard(table, endpoint, credentials, SHARDS, &shard);
    assert_true(shard < SHARDS);
    return shard;
}

/* Every shard once per endpoint; the same answer again, after the table has grown many times. */
static void test_exclusive(void **state)
{
    (void)state;
    static const char *const endpoints[] = {"http://192.0.2.1:80", "http://192.0.2.1:81", "https://192.0.2.1:80"};
    struct gyre__identities table = {0};
    unsigned first[3][SHARDS];
    int crowded;

    for (size_t e = 0; e < 3; e++) {
        char taken[SHARDS] = {0};
        for (unsigned user = 0; user < SHARDS; user++) {
            first[e][user] = shard_of(&table, endpoints[e], user, &crowded);
            assert_int_equal(crowded, 0);
            assert_int_equal(taken[first[e][user]]++, 0);
        }
    }
    for (size_t e = 0; e < 3; e++) {
        for (unsigned user = 0; user < SHARDS; user++) {
            assert_int_equal(shard_of(&table, endpoints[e], user, &crowded), first[e][user]);
            assert_int_equal(crowded, 0);
        }
    }
    gyre__identities_clear(&table);
}

/* One more than there are shards must not reuse connections, each time it is asked for. */
static void test_crowded(void **state)
{
    (void)state;
    struct gyre__identities table = {0};
    int crowded;

    for (unsigned user = 0; user < SHARDS; user++) shard_of(&table, "http://192.0.2.1:80", user, &crowded);
    for (int again = 0; again < 2; again++) {
        shard_of(&table, "http://192.0.2.1:80", SHARDS, &crowded);
        assert_int_equal(crowded, 1);
    }
    shard_of(&table, "http://192.0.2.1:80", 0, &crowded);
    assert_int_equal(crowded, 0);
    gyre__identities_clear(&table);
}

/* Proxies without credentials go around the common shards evenly, and use no others. */
static void test_spread(void **state)
{
    (void)state;
    struct gyre__identities table = {0};
    unsigned counts[SHARDS] = {0};

    for (int i = 0; i < 10 * GYRE__COMMON_SHARDS; i++) {
        char endpoint[64];
        unsigned shard;
        snprintf(endpoint, sizeof endpoint, "http://192.0.2.1:%d", i + 1);
        assert_int_equal(gyre__identity_shard(&table, endpoint, ":", SHARDS, &shard), 0);
        counts[shard]++;
    }
    for (unsigned i = 0; i < SHARDS; i++) assert_int_equal(counts[i], i < GYRE__COMMON_SHARDS ? 10 : 0);
    gyre__identities_clear(&table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exclusive),
        cmocka_unit_test(test_crowded),
        cmocka_unit_test(test_spread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
