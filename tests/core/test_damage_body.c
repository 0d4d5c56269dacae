/*
 * Damaged segments, thoroughly: cut off at every page, each byte of the header changed, random bytes, zeros and ones over the
 * body, and words that look like structure. Each file is opened and used in a child that has ten seconds.
 */
#include "support.h"

#include "../fuzz/use_segment.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGE = 4096, HEADER = 4096, BATCH = 20 };

static char path[128];
static unsigned char *image, *work;
static size_t image_size;

static int make_image(void **state)
{
    struct stat status;
    FILE *file;

    (void)state;
    snprintf(path, sizeof path, "%s", temp_path("body"));
    OK(segment_make(path));
    assert_int_equal(stat(path, &status), 0);
    image_size = (size_t)status.st_size;
    image = malloc(image_size);
    work = malloc(image_size);
    file = fopen(path, "rb");
    assert_true(image && work && file);
    assert_int_equal(fread(image, 1, image_size, file), image_size);
    fclose(file);
    return 0;
}

static int drop_image(void **state)
{
    free(image);
    free(work);
    return remove_temp(state);
}

/* Writes over what is there: the file keeps its blocks, which is fast. */
static void put(int fd, const unsigned char *from, size_t size)
{
    REQUIRE(pwrite(fd, from, size, 0) == (ssize_t)size);
}

struct damage {
    void (*spoil)(struct rng *rng, unsigned long round);
    unsigned long round;
    uint64_t seed;
    unsigned count;
};

/* A child spoils and uses several files one after the other; the one it dies of is told by GYRE_VERBOSE. */
static void use_batch(void *argument)
{
    const struct damage *damage = argument;
    int fd = open(path, O_RDWR);

    for (unsigned i = 0; i < damage->count; i++) {
        struct rng rng = {damage->seed + damage->round + i};

        if (getenv("GYRE_VERBOSE")) fprintf(stderr, "round %lu\n", damage->round + i);
        memcpy(work, image, image_size);
        damage->spoil(&rng, damage->round + i);
        put(fd, work, image_size);
        alarm(under_valgrind() ? 100 : 10);
        segment_use(path);
        alarm(0);
    }
    close(fd);
}

static void spoil_many(void (*spoil)(struct rng *, unsigned long), unsigned long n)
{
    struct damage damage = {.spoil = spoil, .seed = test_seed(23)};

    for (damage.round = 0; damage.round < n; damage.round += BATCH) {
        damage.count = n - damage.round < BATCH ? (unsigned)(n - damage.round) : BATCH;
        pid_t child = spawn(use_batch, &damage);
        int status;

        assert_int_equal(waitpid(child, &status, 0), child);
        if (!WIFEXITED(status) || WEXITSTATUS(status))
            fail_msg("status %x in rounds %lu to %lu (14: hangs); GYRE_VERBOSE=1 tells which", status, damage.round, damage.round + damage.count - 1);
    }
}

/* ---- sizes and header ---- */

static void test_cut_at_every_page(void **state)
{
    int fd = open(path, O_RDWR);

    (void)state;
    put(fd, image, image_size);
    for (size_t size = image_size; size >= PAGE; size -= PAGE) {
        size_t cut = (size - 1) / PAGE * PAGE;

        assert_int_equal(ftruncate(fd, (off_t)cut), 0);
        EXPECT(GYRE_ECORRUPT, segment_use(path));
    }
    assert_int_equal(ftruncate(fd, (off_t)image_size), 0);
    close(fd);
}

/* What lies behind the struct in its page means nothing and may change; every byte of the struct is covered. */
static void test_every_header_byte(void **state)
{
    struct gyre_options options = segment_options(path);
    int fd = open(path, O_RDWR);
    size_t refused = 0, header_size;
    uint32_t word;

    (void)state;
    memcpy(&word, image + 12, sizeof word); /* segment_header.header_size */
    header_size = word;
    assert_true(header_size > 256 && header_size <= HEADER);
    put(fd, image, image_size);
    for (size_t at = 0; at < HEADER; at++) {
        for (unsigned way = 0; way < 3; way++) {
            unsigned char byte = way == 0 ? (unsigned char)(image[at] ^ 1u << at % 8) : way == 1 ? (unsigned char)~image[at] : (unsigned char)(image[at] + 1);
            struct gyre_pool *pool = NULL;

            REQUIRE(pwrite(fd, &byte, 1, (off_t)at) == 1);
            int result = gyre_pool_open(&options, &pool);
            if (result == 0) gyre_pool_close(pool);
            else refused++;
            if (at < header_size && result != GYRE_ECORRUPT && result != GYRE_EABI)
                fail_msg("byte %zu changed to %u: %d", at, byte, result);
        }
        REQUIRE(pwrite(fd, image + at, 1, (off_t)at) == 1);
    }
    assert_true(refused >= 3 * header_size);
    close(fd);
}

/* ---- body ---- */

static size_t anywhere(struct rng *rng)
{
    /* Half the time in the first pages behind the header, where the control words and the slots are. */
    size_t span = rng_below(rng, 2) ? 8 * PAGE : image_size - HEADER;

    return HEADER + rng_below(rng, (uint32_t)span);
}

static void spoil_bytes(struct rng *rng, unsigned long round)
{
    for (uint32_t n = 1 + rng_below(rng, 1u << round % 12); n; n--) work[anywhere(rng)] = (unsigned char)rng_next(rng);
}

static void spoil_words(struct rng *rng, unsigned long round)
{
    static const uint64_t words[] = {0, 1, 2, 63, 64, 65, UINT32_MAX, UINT64_MAX, INT32_MAX, (uint64_t)INT64_MAX + 1, 0x100000001, 0x3ff000000, 0x7ff8000000000000};

    for (uint32_t n = 1 + rng_below(rng, 1u << round % 9); n; n--) {
        size_t at = anywhere(rng) & ~(size_t)7;
        uint64_t word = rng_below(rng, 4) ? words[rng_below(rng, COUNT(words))] : rng_below(rng, 200);

        memcpy(work + at, &word, rng_below(rng, 2) ? 4 : 8);
    }
}

/* One word of the control page at a time, to what sums and comparisons overflow at. */
enum { CONTROL_WORDS = 160, EXTREMES = 5, CONTROL_ROUNDS = CONTROL_WORDS * EXTREMES };

static unsigned long control_step = 1; /* of what there is to do, where all is slow */

static void spoil_control(struct rng *rng, unsigned long round)
{
    static const uint64_t extremes[EXTREMES] = {UINT64_MAX, UINT64_MAX - 1000, (uint64_t)INT64_MAX + 1, (UINT64_C(1) << 40) - 1, 0};

    (void)rng;
    round = round * control_step % CONTROL_ROUNDS;
    memcpy(work + HEADER + round / EXTREMES * sizeof *extremes, &extremes[round % EXTREMES], sizeof *extremes);
}

static void spoil_pages(struct rng *rng, unsigned long round)
{
    size_t at = HEADER + round % (image_size / PAGE - 1) * PAGE;

    for (size_t i = 0; i < PAGE; i++) work[at + i] = round / 2 % 3 == 0 ? 0 : round / 2 % 3 == 1 ? 0xff : (unsigned char)rng_next(rng);
}

static void spoil_all(struct rng *rng, unsigned long round)
{
    for (size_t i = HEADER; i < image_size; i++)
        if (rng_below(rng, 1u << (round % 8)) == 0) work[i] = (unsigned char)rng_next(rng);
}

static void test_random_bytes(void **state)
{
    (void)state;
    spoil_many(spoil_bytes, rounds(300));
}

static void test_random_words(void **state)
{
    (void)state;
    spoil_many(spoil_words, rounds(400));
}

static void test_control_words(void **state)
{
    unsigned long n = rounds(CONTROL_ROUNDS);

    (void)state;
    if (n > CONTROL_ROUNDS) n = CONTROL_ROUNDS;
    control_step = CONTROL_ROUNDS / n;
    if (control_step % EXTREMES == 0) control_step++; /* it would meet the same extreme each time */
    spoil_many(spoil_control, n);
}

static void test_whole_pages(void **state)
{
    (void)state;
    spoil_many(spoil_pages, rounds(200));
}

static void test_everything(void **state)
{
    (void)state;
    spoil_many(spoil_all, rounds(40));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cut_at_every_page), cmocka_unit_test(test_every_header_byte), cmocka_unit_test(test_random_bytes),
        cmocka_unit_test(test_random_words),      cmocka_unit_test(test_control_words),     cmocka_unit_test(test_whole_pages),
        cmocka_unit_test(test_everything),
    };

    return cmocka_run_group_tests(tests, make_image, drop_image);
}
