/* test_polite.c: gates on a clock of the test's own: distance, number at a time, slowing down and speeding up. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "instrumented.h"
#include "job/polite.h"

static int near(double a, double b)
{
    return fabs(a - b) < 1e-9;
}

static void test_distance(void **state)
{
    (void)state;
    struct gyre__gate *gate = gyre__gate_new((struct gyre__gate_limits){0.5, 2});
    assert_true(gyre__gate_enter(gate, "a", 10) == 0);
    assert_true(near(gyre__gate_enter(gate, "a", 10.2), 0.3));
    assert_true(gyre__gate_enter(gate, "b", 10.2) == 0); /* keys know nothing of each other */
    assert_true(gyre__gate_enter(gate, "a", 10.5) == 0);
    gyre__gate_delete(gate);
}

static void test_at_a_time(void **state)
{
    (void)state;
    struct gyre__gate *gate = gyre__gate_new((struct gyre__gate_limits){0, 2});
    assert_true(gyre__gate_enter(gate, "a", 1) == 0);
    assert_true(gyre__gate_enter(gate, "a", 1) == 0);
    assert_true(isinf(gyre__gate_enter(gate, "a", 1)));
    gyre__gate_leave(gate, "a", 1, 2, GYRE__GATE_FINE, -1);
    assert_true(gyre__gate_enter(gate, "a", 2) == 0);
    assert_true(isinf(gyre__gate_enter(gate, "a", 2)));
    gyre__gate_delete(gate);

    gate = gyre__gate_new((struct gyre__gate_limits){0, 0}); /* no limit */
    for (int i = 0; i < 1000; i++) assert_true(gyre__gate_enter(gate, "a", 1) == 0);
    gyre__gate_delete(gate);
}

/* What was never sent costs the next one nothing. */
static void test_undone(void **state)
{
    (void)state;
    struct gyre__gate *gate = gyre__gate_new((struct gyre__gate_limits){5, 1});
    assert_true(gyre__gate_enter(gate, "a", 1) == 0);
    gyre__gate_leave(gate, "a", 1, 1.1, GYRE__GATE_UNDONE, -1);
    assert_true(gyre__gate_enter(gate, "a", 1.1) == 0);
    gyre__gate_leave(gate, "a", 1.1, 1.2, GYRE__GATE_FINE, -1);
    assert_true(near(gyre__gate_enter(gate, "a", 1.2), 4.9));
    gyre__gate_delete(gate);
}

static void test_retry_after(void **state)
{
    (void)state;
    struct gyre__gate *gate = gyre__gate_new((struct gyre__gate_limits){0, 8});
    for (int i = 0; i < 3; i++) assert_true(gyre__gate_enter(gate, "a", 1) == 0);
    gyre__gate_leave(gate, "a", 1, 2, GYRE__GATE_SLOWER, 30);
    assert_true(near(gyre__gate_enter(gate, "a", 2), 30));
    gyre__gate_leave(gate, "a", 1, 3, GYRE__GATE_FINE, -1); /* the others come in: the pause stays */
    assert_true(near(gyre__gate_enter(gate, "a", 3), 29));
    gyre__gate_leave(gate, "a", 1, 3, GYRE__GATE_SLOWER, 5); /* a shorter one does not shorten it */
    assert_true(near(gyre__gate_enter(gate, "a", 3), 29));
    assert_true(gyre__gate_enter(gate, "a", 32) == 0);
    assert_int_equal(gyre__gate_count(gate).slowed, 1); /* both were under way together */
    gyre__gate_delete(gate);
}

/* Requests one after the other over `seconds`; returns how many began. `refuse`: each is answered 429. */
static int pace(struct gyre__gate *gate, double *now, double seconds, int refuse)
{
    double end = *now + seconds;
    int begun = 0;

    while (*now < end) {
        double wait = gyre__gate_enter(gate, "a", *now), began = *now;
        if (wait > 0) {
            *now += wait;
            continue;
        }
        begun++;
        *now += 0.001;
        gyre__gate_leave(gate, "a", began, *now, refuse ? GYRE__GATE_SLOWER : GYRE__GATE_FINE, -1);
    }
    return begun;
}

/* Halves with each refusal down to one a minute, and comes back in steps of a tenth of the full rate. */
static void test_slows_down_and_recovers(void **state)
{
    (void)state;
    struct gyre__gate *gate = gyre__gate_new((struct gyre__gate_limits){0.5, 2});
    double now = 0;

    assert_in_range(pace(gate, &now, 60, 0), 119, 121);
    double wanted = 0.5;
    for (int i = 0; i < 10; i++) {
        double began = now += 100;
        assert_true(gyre__gate_enter(gate, "a", now) == 0);
        gyre__gate_leave(gate, "a", began, now + 0.01, GYRE__GATE_SLOWER, -1);
        wanted = wanted * 2 > 60 ? 60 : wanted * 2;
        assert_true(near(gyre__gate_delay(gate, "a"), wanted));
    }
    now += 100;
    for (int i = 1; i <= 9; i++) { /* 1/60 + 0.2 i a second */
        assert_true(gyre__gate_enter(gate, "a", now) == 0);
        gyre__gate_leave(gate, "a", now, now + 0.01, GYRE__GATE_FINE, -1);
        assert_true(near(gyre__gate_delay(gate, "a"), 1 / (1 / 60.0 + 0.2 * i)));
        now += 100;
    }
    pace(gate, &now, 10, 0);
    assert_true(near(gyre__gate_delay(gate, "a"), 0.5));
    assert_in_range(pace(gate, &now, 60, 0), 119, 121);
    gyre__gate_delete(gate);
}

/* A gate without a delay gets one when it is asked for patience, and half as many at a time. */
static void test_slows_down_from_full_speed(void **state)
{
    (void)state;
    struct gyre__gate *gate = gyre__gate_new((struct gyre__gate_limits){0, 8});
    for (int i = 0; i < 8; i++) assert_true(gyre__gate_enter(gate, "a", 1) == 0);
    for (int i = 0; i < 8; i++) gyre__gate_leave(gate, "a", 1, 1.1, GYRE__GATE_SLOWER, -1);
    assert_true(near(gyre__gate_delay(gate, "a"), 0.25));
    double now = 2;
    for (int i = 0; i < 4; i++, now += 0.25) assert_true(gyre__gate_enter(gate, "a", now) == 0);
    assert_true(isinf(gyre__gate_enter(gate, "a", now))); /* 4 at a time */
    gyre__gate_delete(gate);
}

/* Crawl-delay: limits of a key's own, counted from the request before. */
static void test_own_limits(void **state)
{
    (void)state;
    struct gyre__gate *gate = gyre__gate_new((struct gyre__gate_limits){0.5, 2});
    assert_true(gyre__gate_enter(gate, "a", 1) == 0);
    gyre__gate_leave(gate, "a", 1, 1.1, GYRE__GATE_FINE, -1);
    gyre__gate_limit(gate, "a", (struct gyre__gate_limits){10, 1});
    assert_true(near(gyre__gate_enter(gate, "a", 2), 9));
    assert_true(gyre__gate_enter(gate, "a", 11) == 0);
    assert_true(isinf(gyre__gate_enter(gate, "a", 30)));
    gyre__gate_delete(gate);
}

/* Ten million hosts, each seen once: what has nothing to remember is forgotten. */
static void test_forgets(void **state)
{
    (void)state;
    struct gyre__gate *gate = gyre__gate_new((struct gyre__gate_limits){0.5, 2});
    char name[32];
    for (int i = 0, count = is_instrumented() ? 10000 : 300000; i < count; i++) {
        double now = i * 0.001;
        snprintf(name, sizeof name, "host%d", i);
        assert_true(gyre__gate_enter(gate, name, now) == 0);
        gyre__gate_leave(gate, name, now, now, GYRE__GATE_FINE, -1);
        assert_true(gyre__gate_count(gate).keys < 2000);
    }
    gyre__gate_delete(gate);
}

static void test_hold(void **state)
{
    (void)state;
    struct gyre__gate *gate = gyre__gate_new((struct gyre__gate_limits){0, 1});
    gyre__gate_hold(gate, "a", 1, 5);
    gyre__gate_hold(gate, "a", 1, 2);
    assert_true(near(gyre__gate_enter(gate, "a", 1), 5));
    assert_true(gyre__gate_enter(gate, "a", 6) == 0);
    gyre__gate_delete(gate);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_distance),    cmocka_unit_test(test_at_a_time),
        cmocka_unit_test(test_undone),      cmocka_unit_test(test_retry_after),
        cmocka_unit_test(test_slows_down_and_recovers), cmocka_unit_test(test_slows_down_from_full_speed),
        cmocka_unit_test(test_own_limits),  cmocka_unit_test(test_forgets),
        cmocka_unit_test(test_hold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
