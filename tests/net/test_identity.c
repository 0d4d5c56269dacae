/* test_identity.c: identities are told apart by endpoint, credentials and session; each has what it keeps for itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "net/identity.h"

static struct gyre__identity *get(struct gyre__identities *table, const char *proxy, const char *session, int apart)
{
    struct gyre__identity *identity = gyre__identity_get(table, proxy, session, apart, 0);
    assert_non_null(identity);
    return identity;
}

/* Gets it and puts it back; only for comparing. */
static struct gyre__identity *touch(struct gyre__identities *table, const char *proxy, const char *session, int apart)
{
    struct gyre__identity *identity = get(table, proxy, session, apart);
    gyre__identity_put(table, identity);
    return identity;
}

static void test_told_apart(void **state)
{
    static const char *const texts[][2] = {
        {"http://a:b@h:1", NULL}, {"http://a:b@h:2", NULL}, {"https://a:b@h:1", NULL}, {"http://a:c@h:1", NULL},
        {"http://h:1", NULL},     {"http://a:b@h:1", "s"},  {"http://a:b@h:1", "t"},   {"", NULL}, {"", "s"},
    };
    enum { N = sizeof texts / sizeof *texts };
    struct gyre__identities table;
    struct gyre__identity *found[N];

    (void)state;
    gyre__identities_init(&table, 1000);
    for (size_t i = 0; i < N; i++) {
        found[i] = touch(&table, texts[i][0], texts[i][1], 1);
        assert_true(found[i]->scope >= 0x80000000u && found[i]->scope < UINT32_MAX);
        for (size_t k = 0; k < i; k++) {
            assert_ptr_not_equal(found[i], found[k]);
            assert_int_not_equal(found[i]->scope, found[k]->scope);
        }
    }
    for (size_t i = 0; i < N; i++) assert_ptr_equal(touch(&table, texts[i][0], texts[i][1], 1), found[i]);
    struct gyre__identity *variant = gyre__identity_get(&table, texts[0][0], NULL, 1, 1);
    assert_ptr_not_equal(variant, found[0]);
    gyre__identity_put(&table, variant);
    gyre__identities_clear(&table);
}

/* Not kept apart: no scope, and everything shared by all. */
static void test_together(void **state)
{
    struct gyre__identities table;

    (void)state;
    gyre__identities_init(&table, 1000);
    struct gyre__identity *one = touch(&table, "http://h:1", "s", 0), *other = touch(&table, "http://h:2", NULL, 0);
    assert_int_equal(one->scope, 0);
    assert_int_equal(other->scope, 0);
    assert_ptr_equal(gyre__identity_share(one, 0), gyre__identity_share(other, 0));
    assert_ptr_equal(gyre__identity_share(one, 1), gyre__identity_share(other, 1));
    struct gyre__identity *apart = touch(&table, "http://h:1", "s", 1);
    assert_ptr_not_equal(apart, one);
    assert_ptr_not_equal(gyre__identity_share(one, 0), gyre__identity_share(apart, 0));
    assert_ptr_not_equal(gyre__identity_share(apart, 0), gyre__identity_share(apart, 1));
    assert_ptr_equal(gyre__identity_share(apart, 0), gyre__identity_share(apart, 0));
    gyre__identities_clear(&table);
}

/* Many, over all shards alike; the table grows and loses nobody who is in use. */
static void test_many(void **state)
{
    enum { N = 4096, IDLE = 100 };
    static struct gyre__identity *used[N];
    struct gyre__identities table;
    unsigned counts[GYRE__SHARDS] = {0};
    char session[16];

    (void)state;
    gyre__identities_init(&table, IDLE);
    for (int i = 0; i < N; i++) {
        snprintf(session, sizeof session, "s%d", i);
        used[i] = get(&table, "http://h:1", session, 1);
        counts[used[i]->shard]++;
    }
    for (int i = 0; i < GYRE__SHARDS; i++) assert_int_equal(counts[i], N / GYRE__SHARDS);
    assert_int_equal(table.count, N);
    uint32_t gone = used[0]->scope, kept = used[N - 1]->scope;
    for (int i = 0; i < N; i++) gyre__identity_put(&table, used[i]);
    assert_int_equal(table.count, IDLE);
    assert_int_equal(touch(&table, "http://h:1", "s4095", 1)->scope, kept); /* used last */
    assert_int_not_equal(touch(&table, "http://h:1", "s0", 1)->scope, gone);
    gyre__identities_clear(&table);
}

/* Others than the connections it has: once, however many transfers met the same one; and only its own. */
static void test_renew(void **state)
{
    struct gyre__identities table;

    (void)state;
    gyre__identities_init(&table, 1000);
    struct gyre__identity *own = get(&table, "http://h:1", "cart", 1), *mixed = get(&table, "http://h:1", "cart", 0);
    uint32_t first = own->scope, other = touch(&table, "http://h:2", "cart", 1)->scope;
    gyre__identity_renew(&table, own, first);
    uint32_t second = own->scope;
    assert_int_not_equal(second, first);
    assert_int_not_equal(second, other);
    gyre__identity_renew(&table, own, first);
    assert_int_equal(own->scope, second);
    gyre__identity_renew(&table, mixed, mixed->scope);
    assert_int_equal(mixed->scope, 0);
    gyre__identity_put(&table, own);
    gyre__identity_put(&table, mixed);
    gyre__identities_clear(&table);
}

/* A session that is forgotten is a stranger when it comes back, on every proxy; whoever uses it meanwhile may finish. */
static void test_forget(void **state)
{
    struct gyre__identities table;

    (void)state;
    gyre__identities_init(&table, 1000);
    struct gyre__identity *busy = get(&table, "http://h:1", "cart", 1);
    uint32_t scopes[] = {busy->scope, touch(&table, "http://h:2", "cart", 1)->scope};
    uint32_t other = touch(&table, "http://h:1", "cart2", 1)->scope, nobody = touch(&table, "http://h:1", NULL, 1)->scope;
    gyre__identities_forget(&table, "cart");
    gyre__identities_forget(&table, "");
    assert_int_not_equal(touch(&table, "http://h:1", "cart", 1)->scope, scopes[0]);
    assert_int_not_equal(touch(&table, "http://h:2", "cart", 1)->scope, scopes[1]);
    assert_int_equal(touch(&table, "http://h:1", "cart2", 1)->scope, other);
    assert_int_equal(touch(&table, "http://h:1", NULL, 1)->scope, nobody);
    assert_int_equal(table.count, 5);
    assert_non_null(gyre__identity_share(busy, 1));
    gyre__identity_put(&table, busy);
    assert_int_equal(table.count, 4);
    gyre__identity_put(&table, NULL);
    gyre__identities_clear(&table);
}

/* Transfers fill one CURLM after the other, and the first that has room again; what they have too many, the last takes. */
static void test_lanes(void **state)
{
    enum { MANY = GYRE__LANE * GYRE__LANES + 5 };
    struct gyre__identities table;
    unsigned lanes[MANY], count[GYRE__LANES] = {0}, shards[GYRE__LANES];

    (void)state;
    gyre__identities_init(&table, 1000);
    struct gyre__identity *identity = get(&table, "http://h:1", NULL, 1), *other = get(&table, "http://h:2", NULL, 1);
    for (int i = 0; i < MANY; i++) count[lanes[i] = gyre__identity_enter(identity)]++;
    for (int i = 0; i < GYRE__LANES; i++) {
        assert_int_equal(count[i], i < GYRE__LANES - 1 ? GYRE__LANE : GYRE__LANE + 5);
        shards[i] = gyre__identity_shard(identity, (unsigned)i);
        assert_in_range(shards[i], 0, GYRE__SHARDS - 1);
        for (int k = 0; k < i; k++) assert_int_not_equal(shards[k], shards[i]);
    }
    assert_int_equal(gyre__identity_enter(other), 0); /* counted by identity */
    gyre__identity_leave(identity, 3);
    gyre__identity_leave(identity, 7);
    assert_int_equal(gyre__identity_enter(identity), 3);
    assert_int_equal(gyre__identity_enter(identity), 7);
    assert_int_equal(gyre__identity_enter(identity), GYRE__LANES - 1);
    gyre__identity_leave(identity, GYRE__LANES - 1);
    for (int i = 0; i < MANY; i++) gyre__identity_leave(identity, lanes[i]);
    for (int i = 0; i < GYRE__LANES; i++) assert_int_equal(identity->lanes[i], 0);
    gyre__identity_put(&table, identity);
    gyre__identity_put(&table, other);
    gyre__identities_clear(&table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_told_apart),
        cmocka_unit_test(test_together),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_renew),
        cmocka_unit_test(test_forget),
        cmocka_unit_test(test_lanes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
