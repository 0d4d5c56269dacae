/*
 * Damaged segment files: each is opened in a child, so that a crash is seen as one. A file with a wrong number in
 * front or an end missing is refused by name; damage anywhere else may go unnoticed, but never crashes or hangs
 * who opens it and works on it.
 */
#include "support.h"

#include <fcntl.h>
#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PROXIES = 60 };

static char *image;
static size_t image_size;
static char path[128];

static struct gyre_options options_here(void)
{
    struct gyre_options options = manual_options();

    options.path = path;
    options.max_proxies = 64;
    options.max_leases = 64;
    options.max_sessions = options.max_bans = 64; /* a small image has its flips where they matter */
    return options;
}

/* A segment with something in every part of it, kept in memory to be damaged again and again. */
static int make_image(void **state)
{
    struct gyre_options options;
    uint64_t ids[PROXIES];
    struct gyre_pool *pool;
    struct stat status;
    FILE *file;

    (void)state;
    snprintf(path, sizeof path, "%s", temp_path("image"));
    options = options_here();
    options.breaker_failures = 1;
    pool = pool_of(PROXIES, ids, &options);
    for (int i = 0; i < PROXIES; i++) use_proxy(pool, ids[i], 1 + i % 6);
    OK(gyre_pool_remove(pool, ids[7]));
    OK(gyre_pool_disable(pool, ids[8]));
    gyre_pool_close(pool);
    assert_int_equal(stat(path, &status), 0);
    image_size = (size_t)status.st_size;
    image = malloc(image_size);
    file = fopen(path, "rb");
    assert_non_null(image);
    assert_non_null(file);
    assert_int_equal(fread(image, 1, image_size, file), image_size);
    fclose(file);
    return 0;
}

static int drop_image(void **state)
{
    free(image);
    return remove_temp(state);
}

static void write_image(size_t size)
{
    FILE *file = fopen(path, "wb");

    assert_non_null(file);
    if (size) assert_int_equal(fwrite(image, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static int open_result(void)
{
    struct gyre_options options = options_here();
    struct gyre_pool *pool = NULL;
    int result = gyre_pool_open(&options, &pool);

    if (result == 0)
        gyre_pool_close(pool);
    else
        assert_string_not_equal(gyre_detail(), "");
    return result;
}

static void test_truncated(void **state)
{
    (void)state;
    write_image(image_size);
    OK(open_result()); /* the image itself is good */
    for (size_t size = image_size - 1; size > 0; size = size * 2 / 3) {
        write_image(size);
        EXPECT(GYRE_ECORRUPT, open_result());
    }
}

/* The ABI number stands somewhere in the first 64 bytes; the file says another one: ABI, not CORRUPT. */
static void test_other_abi(void **state)
{
    int said = 0;

    (void)state;
    for (size_t at = 0; at < 64; at += 4) {
        uint32_t word, other;

        memcpy(&word, image + at, 4);
        if (word != (uint32_t)gyre_abi()) continue;
        other = word + 1;
        memcpy(image + at, &other, 4);
        write_image(image_size);
        said += open_result() == GYRE_EABI;
        memcpy(image + at, &word, 4);
    }
    assert_int_equal(said, 1);
}

static void test_other_magic(void **state)
{
    (void)state;
    for (int bit = 0; bit < 64; bit++) {
        image[bit / 8] ^= (char)(1 << bit % 8);
        write_image(image_size);
        EXPECT(GYRE_ECORRUPT, open_result());
        image[bit / 8] ^= (char)(1 << bit % 8);
    }
}

/* Works on whatever it opened; only that it comes back counts. */
static void work_on_it(void *argument)
{
    struct gyre_options options = options_here();
    struct gyre_proxy_spec spec = {.size = sizeof spec, .url = "http://user:password@new-one"};
    struct gyre_proxy proxy = {.size = sizeof proxy};
    struct gyre_stats stats = {.size = sizeof stats};
    struct gyre_pool *pool;
    struct gyre_lease lease;
    char text[4096];
    uint64_t id = 0;

    (void)argument;
    alarm(20);
    if (gyre_pool_open(&options, &pool) < 0) return;
    for (int i = 0; i < 200 && gyre_pool_next(pool, &id) == 1; i++) {
        gyre_pool_get(pool, id, &proxy);
        gyre_pool_url_with_credentials(pool, id, text, sizeof text);
        if (gyre_acquire_id(pool, id, &lease) == 0) gyre_complete_ms(pool, &lease, 1 + i % 6, 5.0);
    }
    for (int i = 0; i < 200; i++) {
        struct gyre_request request = {.size = sizeof request, .picker = 1 + (uint32_t)i % 2};

        if (gyre_acquire(pool, &request, &lease) == 0) gyre_complete_ms(pool, &lease, 1 + i % 6, 5.0);
    }
    for (int i = 0; i < 5; i++) {
        if (gyre_pool_add(pool, &spec, &id) == 0 && i % 2) gyre_pool_remove(pool, id);
        gyre_pool_find(pool, "http://10.0.0.3:3128", &id);
    }
    gyre_pool_set_time(pool, gyre_pool_time(pool) + 1000);
    gyre_pool_stats(pool, &stats);
    gyre_pool_reset_counters(pool);
    gyre_pool_close(pool);
}

static void test_flipped_bits(void **state)
{
    struct rng rng = {test_seed(17)};
    char *good = malloc(image_size);

    (void)state;
    assert_non_null(good);
    memcpy(good, image, image_size);
    for (unsigned long round = rounds(300); round; round--) {
        for (uint32_t flips = 1 + rng_below(&rng, 8); flips; flips--) {
            /* Half of them near the front, where structure is. */
            size_t at = rng_below(&rng, rng_below(&rng, 2) ? 1024 : (uint32_t)image_size);

            image[at] ^= (char)(1 << rng_below(&rng, 8));
        }
        write_image(image_size);
        reap(spawn(work_on_it, NULL));
        memcpy(image, good, image_size);
    }
    free(good);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_other_abi),
        cmocka_unit_test(test_other_magic),
        cmocka_unit_test(test_flipped_bits),
    };

    return cmocka_run_group_tests(tests, make_image, drop_image);
}
