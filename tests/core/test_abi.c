/*
 * The ABI at run time: the number a loader compares, the sizes it asks for, the hot record that it reads. Constants
 * and offsets are compared with what was agreed by layout.sh.
 */
#include "support.h"

/* The number this file was written for. */
enum { ABI = 4 };

static void test_abi_number(void **state)
{
    (void)state;
    assert_int_equal(gyre_abi(), ABI);
    assert_string_equal(gyre_version(), GYRE_VERSION);
}

/* What a loader asks before anything else: the library was built with the sizes that its callers use. */
static void test_struct_sizes(void **state)
{
    static const struct {
        const char *name;
        size_t size;
    } structs[] = {
#define NAMED(name) {#name, sizeof(struct gyre_##name)}
        NAMED(options), NAMED(proxy_spec), NAMED(slot),    NAMED(proxy), NAMED(stats),
        NAMED(request), NAMED(lease),      NAMED(outcome), NAMED(url),
        NAMED(session), NAMED(session_stats), NAMED(counter), NAMED(decision),
#undef NAMED
    };

    (void)state;
    for (size_t i = 0; i < COUNT(structs); i++) {
        int size = gyre_struct_size(structs[i].name);

        if (size != (int)structs[i].size) fail_msg("%s: %d, not %zu", structs[i].name, size, structs[i].size);
    }
    EXPECT(GYRE_ENOT_FOUND, gyre_struct_size("pool")); /* opaque */
    EXPECT(GYRE_ENOT_FOUND, gyre_struct_size("gyre_lease"));
    EXPECT(GYRE_ENOT_FOUND, gyre_struct_size(""));
}

static void test_hot_record_is_a_cache_line(void **state)
{
    uint64_t ids[3];
    struct gyre_pool *pool = pool_of(3, ids, NULL);

    (void)state;
    assert_int_equal(sizeof(struct gyre_slot), 64);
    assert_int_equal((uintptr_t)gyre_pool_slots(pool) % 64, 0);
    for (int i = 0; i < 3; i++) assert_int_equal(gyre_pool_slots(pool)[ids[i] & 0xfffff].generation, ids[i] >> 20);
    gyre_pool_close(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_abi_number),
        cmocka_unit_test(test_struct_sizes),
        cmocka_unit_test(test_hot_record_is_a_cache_line),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
