/*
 * The summarised bitmap alone: against a plain one, and with another writer between any two instructions of a set or a clear, after
 * which each summary bit is set just where the word below it is not empty.
 */
#include "support.h"

#include "step.h"

#include "../../src/core/bits.c"

#ifdef GYRE_PREEMPT
#include <sched.h>

void gyre__preempt(void)
{
    static __thread unsigned n;

    if (++n % 7 == 0) sched_yield();
}
#endif

enum { BITS = 300000 }; /* two words of top */

static struct bits new_bits(void)
{
    void *memory = calloc(1, bits_bytes(BITS));

    assert_non_null(memory);
    return bits_at(memory, BITS);
}

static void expect_level(const uint64_t *below, uint32_t count, const uint64_t *above, const char *when, uint64_t at)
{
    for (uint32_t i = 0; i < count; i++)
        if ((above[i / 64] >> (i % 64) & 1) != (below[i] != 0))
            fail_msg("%s, after instruction %llu: the summary of word %u is %d", when, (unsigned long long)at, i, !below[i]);
}

static void expect_agree(const struct bits *b, const char *when, uint64_t at)
{
    expect_level(b->word, b->words, b->summary, when, at);
    expect_level(b->summary, b->summaries, b->top, when, at);
}

/* Bits near each other and far apart, so that words and summaries fill and empty. */
static void test_model(void **state)
{
    struct bits b = new_bits();
    struct rng rng = {test_seed(3)};
    char *model = calloc(1, BITS);

    (void)state;
    for (unsigned long n = rounds(20000); n; n--) {
        uint32_t i = rng_below(&rng, 3) * 131072 + rng_below(&rng, 3) * 64 + rng_below(&rng, 2), next = i, set = rng_below(&rng, 2);

        if (set) bits_set(&b, i);
        else bits_clear(&b, i);
        model[i] = (char)set;
        i = rng_below(&rng, BITS);
        for (next = i; next < BITS && !model[next];) next++;
        assert_int_equal(bits_next(&b, i), next < BITS ? next : NO_BIT);
        assert_int_equal(bits_test(&b, i), model[i]);
        if (n % 256 == 0) expect_agree(&b, "model", n);
    }
    free(model);
    free(b.word);
}

struct change {
    const struct bits *bits;
    uint32_t set, clear; /* NO_BIT: none */
};

static void apply(void *argument)
{
    const struct change *change = argument;

    if (change->set != NO_BIT) bits_set(change->bits, change->set);
    if (change->clear != NO_BIT) bits_clear(change->bits, change->clear);
}

static void test_two_writers(void **state)
{
    static const struct {
        const char *name;
        uint32_t before; /* bit that is set at first */
        struct change act, other;
    } cases[] = {
        {"set, cleared by another", NO_BIT, {.set = 5, .clear = NO_BIT}, {.set = NO_BIT, .clear = 5}},
        {"set, another's set and cleared", NO_BIT, {.set = 5, .clear = NO_BIT}, {.set = 6, .clear = 5}},
        {"set, and the word next to it cleared", 70, {.set = 5, .clear = NO_BIT}, {.set = NO_BIT, .clear = 70}},
        {"cleared, set by another", 5, {.set = NO_BIT, .clear = 5}, {.set = 5, .clear = NO_BIT}},
        {"cleared, another set", 5, {.set = NO_BIT, .clear = 5}, {.set = 6, .clear = NO_BIT}},
        {"cleared, another set and cleared", 5, {.set = NO_BIT, .clear = 5}, {.set = 6, .clear = 6}},
        {"cleared, the word next to it set", 5, {.set = NO_BIT, .clear = 5}, {.set = 70, .clear = NO_BIT}},
        {"moved, and moved back by another", 5, {.set = 140000, .clear = 5}, {.set = 5, .clear = 140000}},
    };

    (void)state;
    if (under_valgrind()) skip();
    for (size_t i = 0; i < COUNT(cases); i++) {
        uint64_t steps = 1;

        for (uint64_t at = 0; at <= steps; at++) {
            struct bits b = new_bits();
            struct change act = cases[i].act, other = cases[i].other;

            act.bits = other.bits = &b;
            if (cases[i].before != NO_BIT) bits_set(&b, cases[i].before);
            if (at == 0) steps = step_through(apply, &act, 0);
            else step_and_disturb(apply, &act, at, apply, &other);
            expect_agree(&b, cases[i].name, at);
            free(b.word);
        }
    }
}

struct writer {
    const struct bits *bits;
    uint64_t seed;
};

static void *write_bits(void *argument)
{
    const struct writer *writer = argument;
    struct rng rng = {writer->seed};

    for (unsigned long n = rounds(200000); n; n--) {
        uint32_t i = rng_below(&rng, 2) * 140000 + rng_below(&rng, 2) * 64 + rng_below(&rng, 2);

        if (rng_below(&rng, 2)) bits_set(writer->bits, i);
        else bits_clear(writer->bits, i);
    }
    return NULL;
}

static void test_threads(void **state)
{
    struct bits b = new_bits();
    struct writer writers[4];
    uint64_t seed = test_seed(4);

    (void)state;
    for (size_t i = 0; i < COUNT(writers); i++) writers[i] = (struct writer){&b, seed + i};
    run_threads(COUNT(writers), write_bits, writers, sizeof *writers);
    expect_agree(&b, "threads", 0);
    free(b.word);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model),
        cmocka_unit_test(test_two_writers),
        cmocka_unit_test(test_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
