/*
 * What a session is known by, instead of its text: the hash must keep all ids apart. Whole families of ids that people use, with
 * all bits and with fewer, of which just so many pairs are to be equal as chance makes.
 */
#include "support.h"

#include "../../src/core/session.h"

enum { BUCKETS = 10923 }; /* of a table for 131,072 sessions */

struct known {
    uint64_t seal, hash;
};

static struct known known_by(uint64_t seed, const char *id)
{
    struct gyre_pool pool = {.session_buckets = BUCKETS, .session_seed = {seed, seed * UINT64_C(0x2545f4914f6cdd1d) + 1}};
    struct session_key key = {0};

    assert_true(session_key_make(&pool, id, &key));
    assert_true(key.bucket[0] < BUCKETS && key.bucket[1] < BUCKETS && key.bucket[0] != key.bucket[1]);
    assert_true(key.tag && !(key.seal & SEAL_VERSION));
    return (struct known){key.seal >> 8, key.hash};
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static uint32_t equal_neighbours(uint64_t *value, uint32_t n)
{
    uint32_t pairs = 0;

    qsort(value, n, sizeof *value, by_value);
    for (uint32_t i = 1; i < n; i++) pairs += value[i] == value[i - 1];
    return pairs;
}

/* The seal with the hash's upper 8 or lower 12 bits: with so few, some pairs are equal, and not many more than there should be. */
static void expect_apart(const struct known *known, uint32_t n, const char *family)
{
    uint64_t *value = calloc(n, sizeof *value);
    double pairs = (double)n * n / 2;

    assert_non_null(value);
    for (uint32_t i = 0; i < n; i++) value[i] = known[i].hash;
    EXPECT_COUNT(equal_neighbours(value, n), 0, "%s: the hash alone", family);
    for (unsigned bits = 8; bits <= 12; bits += 4) {
        double expected = pairs / (double)(1u << 24) / (1u << bits);

        for (uint32_t i = 0; i < n; i++)
            value[i] = known[i].seal << bits | (bits == 8 ? known[i].hash >> 56 : known[i].hash & 0xfff);
        uint32_t equal = equal_neighbours(value, n);
        if (equal > expected + 5 * __builtin_sqrt(expected) + 5)
            fail_msg("%s: %u pairs have the same seal and %u bits of the hash, where %.1f should", family, equal, bits, expected);
    }
    free(value);
}

static void test_families(void **state)
{
    static const char *const family[] = {"%u", "cart-%u", "session-%07u", "%08x%08x", "user.%08x@example.com", "%u:%u",
                                         "a-long-name-of-a-host.example:checkout:%u", "%u:behind-it-a-long-name-of-a-host.example"};
    struct rng rng = {test_seed(41)};
    uint64_t seeds[] = {0, rng_next(&rng), rng_next(&rng)};
    uint32_t n = (uint32_t)rounds(200000);
    struct known *known = calloc(n, sizeof *known);

    (void)state;
    assert_non_null(known);
    for (size_t f = 0; f < COUNT(family); f++)
        for (size_t k = 0; k < COUNT(seeds); k++) {
            for (uint32_t i = 0; i < n; i++) {
                char id[SESSION_ID + 1];

                snprintf(id, sizeof id, family[f], i, i);
                known[i] = known_by(seeds[k], id);
            }
            expect_apart(known, n, family[f]);
        }
    free(known);
}

/* All ids of up to three characters, and runs of one character up to the longest id. */
static void test_short_and_long(void **state)
{
    static const char letter[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:@-";
    uint32_t letters = sizeof letter - 1, most = letters * letters * letters + letters * letters + letters * SESSION_ID, n = 0;
    struct known *known = calloc(most, sizeof *known);
    char id[SESSION_ID + 1] = "";

    (void)state;
    assert_non_null(known);
    for (uint32_t i = 0; i < letters * letters * letters; i++) {
        id[0] = letter[i % letters], id[1] = letter[i / letters % letters], id[2] = letter[i / letters / letters], id[3] = 0;
        known[n++] = known_by(7, id);
        id[2] = 0;
        if (i < letters * letters && id[0] != id[1]) known[n++] = known_by(7, id);
    }
    for (uint32_t i = 0; i < letters; i++)
        for (uint32_t size = 1; size <= SESSION_ID; size += size == 2 ? 2 : 1) {
            memset(id, letter[i], size);
            id[size] = 0;
            known[n++] = known_by(7, id);
        }
    expect_apart(known, n, "short and long");
    free(known);
}

/* A character more or another one, wherever in the id: another hash, and another seal all but once in 2^24. */
static void test_each_byte_counts(void **state)
{
    struct rng rng = {test_seed(43)};
    uint32_t same = 0, n = 0;

    (void)state;
    for (uint32_t size = 1; size <= SESSION_ID; size++)
        for (uint32_t at = 0; at < size; at++) {
            char id[SESSION_ID + 1] = "";

            for (uint32_t i = 0; i < size; i++) id[i] = (char)('a' + rng_below(&rng, 26));
            struct known before = known_by(11, id);
            id[at] ^= 1;
            struct known after = known_by(11, id);
            if (before.hash == after.hash) fail_msg("%s: byte %u does not count", id, at);
            same += before.seal == after.seal;
            n++;
        }
    assert_true(n == SESSION_ID * (SESSION_ID + 1) / 2 && same < 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_families),
        cmocka_unit_test(test_short_and_long),
        cmocka_unit_test(test_each_byte_counts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
